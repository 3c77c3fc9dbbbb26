import os

import pytest

from wg_dynamic.store.holder import find_pid

LOCKS = """\
1: POSIX  ADVISORY  WRITE 11753 fe:00:2146347 1073741826 1073742335
1: -> POSIX  ADVISORY  WRITE 11754 fe:00:5 0 EOF
2: FLOCK  ADVISORY  WRITE 812 00:19:77 0 EOF
3: POSIX  ADVISORY  READ 0 fe:00:9 0 EOF
4: POSIX  ADVISORY  READ x fe:00:8 0 EOF
""".splitlines()


@pytest.mark.parametrize(
    ("device", "pid"),
    [("fe:00:2146347", 11753), ("00:19:77", 812), ("fe:00:5", 0), ("fe:00:9", 0), ("fe:00:8", 0)],
)
def test_the_holder_of_a_lock_is_found(device: str, pid: int) -> None:
    assert find_pid(LOCKS, device) == pid


def test_our_own_lock_is_nobody_elses() -> None:
    line = f"1: POSIX  ADVISORY  WRITE {os.getpid()} fe:00:7 0 EOF"
    assert find_pid([line], "fe:00:7") == 0

import errno

import pytest

from wg_dynamic.system import libc

PR_GET_DUMPABLE = 3
SYS_GETPID = {"x86_64": 39}


def test_what_a_call_returns_is_returned() -> None:
    assert libc.prctl(PR_GET_DUMPABLE) in (0, 1, 2)


def test_what_the_kernel_refuses_is_an_error_with_its_number() -> None:
    with pytest.raises(OSError, match="Invalid argument") as refused:
        libc.prctl(123456)
    assert refused.value.errno == errno.EINVAL
    with pytest.raises(OSError, match="Invalid argument"):
        libc.unshare(1)
    with pytest.raises(OSError, match="Function not implemented"):
        libc.system_call(100_000, None, b"", 1)
    with pytest.raises(OSError, match="Bad address"):
        libc.capset(None, None)
    with pytest.raises(OSError, match=r"Bad address|Invalid argument"):
        libc.capget(None, None)

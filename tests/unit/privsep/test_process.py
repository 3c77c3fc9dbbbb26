"""The parent's view of a child; what a network process is given is tests/integration."""

import os
import signal

import pytest

from wg_dynamic.privsep.process import NetworkProcess, start_process
from wg_dynamic.system.privileges import Account


def child(status: int | None = None) -> NetworkProcess:
    """A process that ends with a status, or goes on until it is killed."""
    pid = os.fork()
    if pid == 0:
        if status is None:
            signal.pause()
        os._exit(status or 0)
    return NetworkProcess(pid)


def test_its_status_is_that_of_its_end() -> None:
    one = child(7)
    assert one.wait() == 7
    assert one.wait(0) == 7, "said as often as it is asked"
    one.kill()  # nobody


def test_one_that_goes_on_is_not_waited_for_longer_and_can_be_killed() -> None:
    one = child()
    with pytest.raises(TimeoutError, match=f"process {one.pid} goes on after 0 s"):
        one.wait(0)
    one.kill()
    assert one.wait(10) == -signal.SIGKILL


def test_an_older_kernel_is_looked_at_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: int) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", unknown)
    one = child()
    with pytest.raises(TimeoutError):
        one.wait(0)
    one.kill()
    assert one.wait(10) == -signal.SIGKILL


def test_one_that_somebody_else_has_waited_for_has_ended() -> None:
    one = child(7)
    os.waitpid(one.pid, 0)
    assert one.wait(10) == 0


def test_what_cannot_be_started_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        start_process("module", Account(1, 1), [])
    assert len(os.listdir("/proc/self/fd")) == before

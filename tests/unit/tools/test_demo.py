import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import demo
from tools.demo import SIGNALS, Interruption, private_directories, still_running
from tools.processes import wait_until


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    old = {number: signal.getsignal(number) for number in SIGNALS}
    yield Interruption()
    for number, handler in old.items():
        signal.signal(number, handler)


def test_a_signal_interrupts_only_where_it_is_allowed(interruption: Interruption) -> None:
    os.kill(os.getpid(), signal.SIGTERM)  # while something is set up, say
    assert interruption.number == signal.SIGTERM
    with pytest.raises(InterruptedError, match="SIGTERM"), interruption.allowed():
        pytest.fail("it waited for this moment")


def test_a_second_signal_does_not_disturb_the_clearing_up(interruption: Interruption) -> None:
    def interrupted_and_cleared_up() -> None:
        try:
            with interruption.allowed():
                os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGHUP)
            cleared.append(True)

    cleared: list[bool] = []
    with pytest.raises(InterruptedError, match="SIGINT"):
        interrupted_and_cleared_up()
    assert cleared
    assert interruption.number == signal.SIGINT


def test_directories_that_hold_the_checkout_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(demo, "ROOT", Path("/var/lib/builder/wg-dynamic"))
    assert "/var/lib" not in private_directories()
    assert "/var/lib/wg-dynamic" in private_directories()
    assert "/run" in private_directories()


def test_a_process_that_ended_runs_no_more() -> None:
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        programs = {process.pid: " ".join(command)}
        wait_until(lambda: still_running(programs) == programs)  # not yet between fork and exec
    assert still_running(programs) == {}

"""Programs that a lab starts: their environment, output and end. Used through tools.netlab."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

PATIENCE: Final = float(os.environ.get("WG_DYNAMIC_TEST_PATIENCE", "1"))
"""Time limits are multiplied by this: on an emulated processor all takes twenty times as long."""
LONGEST_PAUSE: Final = 0.1 * min(PATIENCE, 5.0)
"""Seconds between two looks of wait_until."""
TERM_TIME: Final = 3.0 * PATIENCE
"""Seconds that a program has between SIGTERM and SIGKILL."""

_PASSED_ON: Final = ("COVERAGE_FILE", "COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START")
"""Variables of this process that programs get too, so that they are measured."""


class LabError(Exception):
    """The lab could not be set up or a command in it failed."""


class CommandError(LabError):
    """A command ended with a status that was not wanted."""

    def __init__(self, where: str, done: "subprocess.CompletedProcess[str]") -> None:
        self.done = done
        command = " ".join(done.args)
        super().__init__(
            f"{where}: {command!r} ended with {done.returncode}, expected 0\n"
            f"{done.stdout}{done.stderr}"
        )


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of programs in a lab: nothing of this process's but what is named here."""
    return {
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin"
        ":/usr/sbin:/usr/bin:/sbin:/bin",
        "PYTHONUNBUFFERED": "1",
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        **(more or {}),
    }


def unmeasured() -> dict[str, str]:
    """The same, for a program that cannot write coverage data, or is not to be slowed by it."""
    return {name: text for name, text in environment().items() if "COVERAGE" not in name}


def wait_until(
    condition: Callable[[], object], *, timeout: float = 5.0, what: str = "the condition"
) -> None:
    """Return once `condition()` is true; raise LabError after `timeout` seconds (PATIENCE).

    It looks ever less often: on an emulated processor to look is what keeps others from working.
    """
    timeout *= PATIENCE
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited >= timeout:
            msg = f"{what} did not come true within {timeout} s"
            raise LabError(msg)
        time.sleep(min(max(waited / 20, 0.005), LONGEST_PAUSE))


class Program:
    """A program that runs in a host; what it prints goes to `log`."""

    def __init__(self, process: "subprocess.Popen[str]", log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        """Its process ID; it is the program itself, nothing stands between."""
        return self.process.pid

    def is_running(self) -> bool:
        """True until the program has ended."""
        return self.process.poll() is None

    def output(self) -> str:
        """What it has printed so far, stdout and stderr."""
        return self.log.read_text(errors="replace")

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        self.process.send_signal(number)

    def wait(self, timeout: float = 10.0) -> int:
        """Wait for its end and return its status (negative: the signal that ended it)."""
        timeout *= PATIENCE
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            msg = f"process {self.pid} runs on after {timeout} s:\n{self.output()}"
            raise LabError(msg) from None

    def stop(self, timeout: float = TERM_TIME) -> int:
        """End it by SIGTERM, after `timeout` seconds by SIGKILL, and return its status."""
        self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def wait_for_output(self, text: str, timeout: float = 10.0) -> None:
        """Wait until it has printed `text`; raise LabError when it ends or time is up first."""

        def printed() -> bool:
            running = self.is_running()  # before reading: its last words count
            if text in self.output():
                return True
            if not running:
                msg = f"ended before printing {text!r}:\n{self.output()}"
                raise LabError(msg)
            return False

        try:
            wait_until(printed, timeout=timeout, what=f"output of {text!r}")
        except LabError as error:
            msg = f"{error}\n{self.output()}"
            raise LabError(msg) from None


def end_all(processes: Sequence["subprocess.Popen[str]"], timeout: float) -> None:
    """Wait for processes that were told to end; kill those that do not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def in_main_thread() -> bool:
    """True in the thread that may set signal handlers."""
    return threading.current_thread() is threading.main_thread()


def exit_on_term(number: int, _frame: FrameType | None) -> NoReturn:
    """Handle SIGTERM by leaving every `with` and `finally` on the way out."""
    sys.exit(128 + number)


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """Let nobody interrupt the clearing up."""
    if not in_main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    old = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)

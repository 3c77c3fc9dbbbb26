"""In which order the walls are put up, and what is said; whether they hold is tests/netns."""

import logging
import resource
from pathlib import Path

import pytest

from wg_dynamic.privsep import landlock, seccomp
from wg_dynamic.privsep.sandbox import CHECK, CLIENT, SERVER, Sandbox


class FakeKernel:
    """Writes down what was asked of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[object] = []
        self.landlock: int | OSError = 6
        self.filter_error: OSError | None = None
        monkeypatch.setattr(resource, "setrlimit", self.setrlimit)
        monkeypatch.setattr(landlock, "restrict", self.restrict)
        monkeypatch.setattr(seccomp, "install", self.install)

    def setrlimit(self, which: int, limits: tuple[int, int]) -> None:
        self.done.append((which, *limits))

    def restrict(self, **files: object) -> int:
        if isinstance(self.landlock, OSError):
            raise self.landlock
        self.done.append(files)
        return self.landlock

    def install(self, program: list[object]) -> None:
        if self.filter_error is not None:
            raise self.filter_error
        self.done.append(len(program))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    return FakeKernel(monkeypatch)


def test_the_filter_comes_last(kernel: FakeKernel) -> None:
    work = (Path("/var/lib/x"),)
    Sandbox([], tell=True).close(CLIENT, work=work)
    limits, files, program = kernel.done[:2], kernel.done[2], kernel.done[3]
    assert limits == [(resource.RLIMIT_NPROC, 0, 0), (resource.RLIMIT_NOFILE, 64, 64)]
    assert files == {"work": work, "scratch": (), "readable": ()}
    assert isinstance(program, int)


def test_who_needs_threads_and_files_is_left_them(kernel: FakeKernel) -> None:
    Sandbox([], tell=True).close(SERVER)
    Sandbox([], tell=True).close(CHECK)
    assert len(kernel.done) == 4, "no limits"


def test_with_every_wall_nothing_is_said(
    kernel: FakeKernel, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    Sandbox([], tell=True).close(CLIENT)
    assert caplog.text == ""
    assert kernel.done


def test_what_is_lacking_is_said_in_one_line(
    kernel: FakeKernel, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.landlock = OSError(38, "Function not implemented")
    kernel.filter_error = OSError(22, "Invalid argument")
    Sandbox(["an empty network namespace (no)"], tell=True).close(CLIENT)
    (line,) = caplog.messages
    assert line == (
        "less confined than could be: this system gives us not: an empty network namespace (no), "
        "Landlock (Function not implemented), filter of system calls (Invalid argument)"
    )
    caplog.clear()
    Sandbox(["x"], tell=False).close(CLIENT)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (2, ["Landlock 2 of this kernel has no rules for connections and signals"]),
        (5, ["Landlock 5 of this kernel has no rules for signals"]),
        (6, []),
    ],
)
def test_an_older_landlock_is_said_more_quietly(
    kernel: FakeKernel, caplog: pytest.LogCaptureFixture, version: int, said: list[str]
) -> None:
    caplog.set_level(logging.INFO)
    kernel.landlock = version
    Sandbox([], tell=True).close(CLIENT)
    assert caplog.messages == said
    assert all(record.levelno == logging.INFO for record in caplog.records)


def test_a_machine_whose_calls_are_not_known_has_no_filter(
    kernel: FakeKernel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seccomp, "this_machine", lambda: "vax")
    Sandbox([], tell=True).close(CLIENT)
    assert "filter of system calls (not known for vax)" in caplog.text
    assert len(kernel.done) == 3

"""Verdicts; forks are tests/integration/test_background.py."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from wg_dynamic.system.background import Verdict, redirect_stderr, signal_descriptor


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Reader and writer; the verdict closes the writer."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


def test_a_verdict_goes_down_the_pipe_and_ends_it(pipe: tuple[int, int]) -> None:
    verdict = Verdict(pipe[1])
    given = [verdict.is_given]
    verdict.give(3, "no such interface")
    given.append(verdict.is_given)
    assert given == [False, True]
    assert os.read(pipe[0], 4096) == b"3 no such interface"
    assert os.read(pipe[0], 1) == b""


def test_the_first_verdict_counts(pipe: tuple[int, int]) -> None:
    verdict = Verdict(pipe[1])
    verdict.give(0, "leased")
    verdict.give(1, "failed")
    assert os.read(pipe[0], 4096) == b"0 leased"


@pytest.mark.parametrize("text", ["x" * 99_999, "\N{SNOWMAN}" * 99_999, "\0" * 99_999])
def test_a_long_verdict_is_cut_and_blocks_nobody(pipe: tuple[int, int], text: str) -> None:
    os.set_blocking(pipe[1], False)
    Verdict(pipe[1]).give(1, text)
    data = b"".join(iter(lambda: os.read(pipe[0], 4096), b""))
    status, _, said = data.decode().partition(" ")
    assert status == "1"
    assert said == text[: len(said)]
    assert len(said) >= 1000


def test_a_foreground_that_has_left_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    Verdict(writer).give(0, "leased")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writer)


def test_in_the_foreground_nobody_is_told() -> None:
    verdict = Verdict(None)
    verdict.give(0, "leased")
    verdict.give(1, "failed")
    assert verdict.is_given


def test_standard_error_goes_to_a_file_or_nowhere(tmp_path: Path) -> None:
    kept, log = os.dup(2), tmp_path / "log"
    log.write_text("before\n")
    try:
        redirect_stderr(log)
        os.write(2, b"said\n")
        redirect_stderr(None)
        os.write(2, b"lost\n")
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
    assert log.read_text() == "before\nsaid\n"


def test_a_new_log_file_is_roots_alone_and_never_behind_a_link(tmp_path: Path) -> None:
    kept, log = os.dup(2), tmp_path / "log"
    try:
        redirect_stderr(log)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert log.stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(log)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        redirect_stderr(tmp_path / "link")


def test_a_signal_becomes_a_byte() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    reader = signal_descriptor((signal.SIGUSR1,))
    writer = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        with pytest.raises(BlockingIOError):
            os.read(reader, 64)
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        assert set(os.read(reader, 64)) == {signal.SIGUSR1}
        assert not os.get_inheritable(reader)
        assert not os.get_inheritable(writer)
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGUSR1, before)
        os.close(reader)
        os.close(writer)

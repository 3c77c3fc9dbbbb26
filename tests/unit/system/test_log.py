"""Where lines go, and what strangers can make us write."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.clock import FakeClock
from wg_dynamic.system import log
from wg_dynamic.system.log import (
    JOURNAL,
    STDERR,
    SYSLOG,
    RateLimit,
    complain,
    logger,
    printable,
    set_up_log,
    standard_error,
    watch,
)


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    log.forget()
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_lines_go_to_standard_error(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_log("wg-dynamic-client", STDERR)
    logger("any").info("leased %s", "10.0.0.1")
    logger("any").debug("not this")
    assert capsys.readouterr().err == "wg-dynamic-client: INFO: leased 10.0.0.1\n"


def test_verbose_adds_lines(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_log("x", STDERR, verbose=True)
    logger("any").debug("this too")
    assert capsys.readouterr().err == "x: DEBUG: this too\n"


def test_in_the_background_lines_go_to_syslog(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(log, "SYSLOG_SOCKET", tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        set_up_log("wg-dynamic-server", SYSLOG)
        logger("any").info("leased %s", "10.0.0.1")
        assert syslog.recv(1000) == b"<30>wg-dynamic-server: leased 10.0.0.1\0"


def test_a_system_log_that_is_restarted_gets_what_comes_after(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(log, "SYSLOG_SOCKET", tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        set_up_log("x", SYSLOG)
    logger("any").error("nobody listens")
    (tmp_path / "log").unlink()
    logger("any").error("nor is it there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        logger("any").error("back")
        assert syslog.recv(1000) == b"<27>x: back\0"


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 31), (logging.INFO, 30), (logging.WARNING, 28), (logging.ERROR, 27)],
)
def test_each_level_has_its_priority(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, level: int, priority: int
) -> None:
    monkeypatch.setattr(log, "SYSLOG_SOCKET", tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        set_up_log("x", SYSLOG, verbose=True)
        logger("any").log(level, "line")
        assert syslog.recv(1000) == b"<%d>x: line\0" % priority


def test_without_a_syslog_socket_lines_go_to_standard_error(
    root: logging.Logger,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(log, "SYSLOG_SOCKET", tmp_path / "missing")
    set_up_log("x", SYSLOG)
    logger("any").warning("said")
    assert capsys.readouterr().err == "x: WARNING: said\n"


def test_the_journal_is_told_the_priority_of_each_line(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_log("x", JOURNAL, verbose=True)
    told = logger("any")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, 1):
        told.log(level, "at %d", level)
    try:
        raise RuntimeError
    except RuntimeError:
        told.exception("a bug")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:5] == ["<7>at 10", "<6>at 20", "<4>at 30", "<3>at 40", "<2>at 50"]
    assert lines[5:7] == ["<3>a bug", "<3>Traceback (most recent call last):"]
    assert all(line.startswith("<3>") for line in lines[7:])


def test_standard_error_is_the_journal_only_if_systemd_says_so_of_this_very_file(
    tmp_path: Path,
) -> None:
    with (tmp_path / "err").open("w") as stream:
        status = os.fstat(stream.fileno())
        right = f"{status.st_dev}:{status.st_ino}"
        assert standard_error({"JOURNAL_STREAM": right}, stream.fileno()) == JOURNAL
        for other in (f"{status.st_dev}:{status.st_ino + 1}", "", "nonsense"):
            assert standard_error({"JOURNAL_STREAM": other}, stream.fileno()) == STDERR
        assert standard_error({}, stream.fileno()) == STDERR
    assert standard_error({"JOURNAL_STREAM": right}, 1_000_000) == STDERR


def test_a_complaint_names_its_program_on_each_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    complain("wg-x", "one\ntwo")
    assert capsys.readouterr().err == "wg-x: one\nwg-x: two\n"
    monkeypatch.setattr(log, "standard_error", lambda: JOURNAL)
    complain("wg-x", "one")
    assert capsys.readouterr().err == "<3>wg-x: one\n"


def test_a_second_set_up_takes_the_place_of_the_first(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_log("x", STDERR)
    set_up_log("y", STDERR)
    logger("any").info("once")
    assert capsys.readouterr().err == "y: INFO: once\n"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("plain text", "plain text"),
        ("two\nlines", "two?lines"),
        ("\x1b[31mred", "?[31mred"),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}", "caf?"),
        ("\udcff\0\x7f", "???"),
        ("", ""),
    ],
)
def test_foreign_text_becomes_one_printable_line(text: str, printed: str) -> None:
    assert printable(text) == printed


def test_foreign_text_is_cut() -> None:
    assert len(printable("x" * 200)) == len(printable("x" * 201)) == 200
    assert printable("abc", limit=2) == "ab"


def test_a_limit_allows_so_many_in_a_span() -> None:
    clock = FakeClock()
    limit = RateLimit(clock.now, count=2, span=10.0)
    assert [limit.allow() for _ in range(4)] == [True, True, False, False]
    assert limit.suppressed == 2
    clock.pass_time(9.9)
    assert not limit.allow()
    clock.pass_time(0.1)
    assert [limit.allow() for _ in range(3)] == [True, True, False]
    assert limit.suppressed == 4


def test_what_others_write_with_logging_goes_the_same_way(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_log("x", STDERR)
    logging.getLogger("asyncio").warning("slow: %d", 7)
    logging.getLogger("asyncio").debug("not this")
    assert capsys.readouterr().err == "x: WARNING: slow: 7\n"


def test_before_it_is_set_up_lines_go_to_logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    told = logger("any")
    told.info("leased %s", "10.0.0.1")
    told.debug("not this")
    assert [(r.name, r.levelno, r.getMessage()) for r in caplog.records] == [
        ("any", logging.INFO, "leased 10.0.0.1")
    ]
    assert (told.is_enabled_for(log.INFO), told.is_enabled_for(log.DEBUG)) == (True, False)


def test_without_logging_only_what_matters_is_told_before_it_is_set_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "logging", None)
    told = logger("any")
    told.info("not this")
    told.warning("%s is odd", "it")
    assert capsys.readouterr().err == "it is odd\n"
    assert (told.is_enabled_for(log.INFO), told.is_enabled_for(log.DEBUG)) == (True, False)


def test_what_is_logged_depends_on_verbose(root: logging.Logger) -> None:
    told = logger("any")
    set_up_log("x", STDERR)
    assert (told.is_enabled_for(log.INFO), told.is_enabled_for(log.DEBUG)) == (True, False)
    set_up_log("x", STDERR, verbose=True)
    assert told.is_enabled_for(log.DEBUG)


@pytest.mark.parametrize("arguments", [(), (1,), (1, 2)])
def test_a_line_whose_arguments_do_not_fit_is_written_all_the_same(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], arguments: tuple[int, ...]
) -> None:
    set_up_log("x", STDERR)
    logger("any").info("100 %s %s" if len(arguments) < 2 else "100 %d", *arguments)
    assert capsys.readouterr().err.startswith("x: INFO: 100 %")


def test_standard_error_that_is_closed_stops_nobody(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up_log("x", STDERR)
    monkeypatch.setattr(sys, "stderr", None)
    logger("any").error("to nobody")


def test_who_watches_is_told_of_warnings_and_errors_whatever_is_written() -> None:
    seen: list[str] = []
    watch(seen.append)
    try:
        logger("any").info("all is %s", "well")
        logger("any").warning("%d faults", 2)
    finally:
        watch(None)
    logger("any").error("unseen")
    assert seen == ["2 faults"]

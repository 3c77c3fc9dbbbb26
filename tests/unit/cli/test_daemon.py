import argparse
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wg_dynamic.cli import daemon as module
from wg_dynamic.cli.daemon import (
    NO_LOG,
    confine_helper,
    log_place,
    network_arguments,
    run_daemon,
    umask,
    verdict_on_failure,
)
from wg_dynamic.cli.options import Parser, add_daemon_options
from wg_dynamic.errors import ConfigError
from wg_dynamic.system.background import Verdict


class FakeVerdict(Verdict):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(None)
        self.given: list[tuple[int, str]] = []

    def give(self, status: int, text: str) -> None:
        self.given.append((status, text))


@pytest.fixture(autouse=True)
def keep_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def background(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeVerdict, list[Path | None]]:
    """Run the background part here and now; where standard error was sent."""
    verdict, targets = FakeVerdict(), list[Path | None]()

    def go(daemon: Callable[[Verdict], int], wait: float | None, away: str, _note: str) -> int:
        assert (wait, away.partition("; log: ")[0]) == (5.0, "away")
        return daemon(verdict)

    monkeypatch.setattr(module, "go_to_background", go)
    monkeypatch.setattr(module, "redirect_stderr", targets.append)
    return verdict, targets


def parse(*arguments: str) -> argparse.Namespace:
    parser = Parser("wg-x")
    add_daemon_options(parser)
    return parser.parse_args(list(arguments))


@pytest.mark.parametrize("verbose", [True, False])
def test_the_network_process_is_told_about_the_log(*, verbose: bool) -> None:
    expected = ["syslog", "verbose" if verbose else "quiet"]
    assert network_arguments("syslog", verbose=verbose) == expected


def test_in_the_foreground_nobody_waits() -> None:
    seen: list[str] = []

    def daemon(verdict: Verdict, destination: str) -> int:
        verdict.give(0, "nobody reads this")
        seen.append(destination)
        return 7

    assert run_daemon("wg-x", parse("--foreground"), daemon, 5.0, "away") == 7
    assert seen == ["stderr"]


@pytest.mark.parametrize(
    ("arguments", "target", "destination"),
    [([], None, "syslog"), (["--log-file", "x.log"], Path.cwd() / "x.log", "stderr")],
)
def test_in_the_background_it_logs_to_syslog_or_a_file(
    background: tuple[FakeVerdict, list[Path | None]],
    arguments: list[str],
    target: Path | None,
    destination: str,
) -> None:
    seen: list[str] = []

    def daemon(_: Verdict, where: str) -> int:
        seen.append(where)
        return 7

    assert run_daemon("wg-x", parse(*arguments), daemon, 5.0, "away") == 7
    assert seen == [destination]
    assert background[1] == [target]


@pytest.mark.parametrize(
    ("error", "given"),
    [
        (ConfigError("wg0 is no good"), (3, "wg-x: wg0 is no good")),
        (OSError(28, "No space left"), (1, "wg-x: [Errno 28] No space left")),
    ],
)
def test_in_the_background_an_error_is_told_and_logged(
    background: tuple[FakeVerdict, list[Path | None]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    given: tuple[int, str],
) -> None:
    monkeypatch.setattr(module, "set_up_log", lambda *_, **__: None)

    def daemon(_: Verdict, __: str) -> int:
        raise error

    assert run_daemon("wg-x", parse(), daemon, 5.0, "away") == given[0]
    assert background[0].given == [given]
    assert str(error) in caplog.text


def test_in_the_background_a_bug_leaves_its_traceback_in_the_log(
    background: tuple[FakeVerdict, list[Path | None]],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "set_up_log", lambda *_, **__: None)

    def daemon(_: Verdict, __: str) -> int:
        return 1 // 0

    with pytest.raises(ZeroDivisionError):
        run_daemon("wg-x", parse(), daemon, 5.0, "away")
    assert "ended by a bug" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert background[0].given == []


def test_a_log_file_that_cannot_be_written_is_told(
    background: tuple[FakeVerdict, list[Path | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = []

    def redirect(path: Path | None) -> None:
        targets.append(path)
        if path is not None:
            raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(module, "redirect_stderr", redirect)

    def daemon(_: Verdict, __: str) -> int:
        raise AssertionError

    assert run_daemon("wg-x", parse("--log-file", "/nowhere/x"), daemon, 5.0, "away") == 3
    expected = (
        "wg-x: cannot write --log-file /nowhere/x: No such file or directory,"
        " expected a file in a directory that exists"
    )
    assert background[0].given == [(3, expected)]
    assert targets == [Path("/nowhere/x"), None]


def test_why_the_network_process_cannot_serve_is_told_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    verdict = FakeVerdict()
    assert verdict_on_failure("wg-x", verdict, "no database") == 3
    assert verdict.given == [(3, "wg-x: no database")]
    assert "no database" in caplog.text


def test_what_is_made_is_nobody_else_s() -> None:
    old = os.umask(0)
    try:
        umask()
        assert os.umask(0) == 0o077
    finally:
        os.umask(old)


def test_it_says_where_the_log_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert log_place(Path("/var/log/x.log")) == "/var/log/x.log"
    monkeypatch.setattr(module, "SYSLOG_SOCKET", tmp_path)
    assert log_place(None) == "syslog"
    monkeypatch.setattr(module, "SYSLOG_SOCKET", tmp_path / "log")
    assert log_place(None) == "nowhere, as there is no /dev/log: use --log-file"


@pytest.mark.parametrize("there", [True, False])
def test_a_log_that_goes_nowhere_is_told_even_if_all_is_well(
    there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SYSLOG_SOCKET", tmp_path if there else tmp_path / "log")
    told: list[str] = []

    def go(_daemon: object, _wait: object, *texts: str) -> int:
        told.extend(texts)
        return 0

    monkeypatch.setattr(module, "go_to_background", go)
    run_daemon("wg-x", parse(), lambda *_: 0, 5.0, "away")
    where = "syslog" if there else NO_LOG
    assert told == [f"away; log: {where}", "" if there else f"; log: {where}"]


def test_limits_that_cannot_be_set_are_logged(
    limits: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    confine_helper()
    assert caplog.text == ""
    limits += ["a (no)", "b (never)"]
    confine_helper()
    assert caplog.messages == ["the helper is less confined than could be: not a (no), b (never)"]

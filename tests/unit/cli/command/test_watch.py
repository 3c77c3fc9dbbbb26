"""Showing something again and again."""

import argparse
import sys
import time

import pytest

from wg_dynamic.cli.command.watch import add_watch, again
from wg_dynamic.cli.options import Parser


def parsed(*words: str) -> argparse.Namespace:
    parser = Parser("x")
    add_watch(parser)
    return parser.parse_args(words)


def test_without_the_option_it_is_shown_once() -> None:
    shown: list[int] = []
    assert again(parsed(), lambda: shown.append(1) or 7) == 7  # type: ignore[func-returns-value]
    assert shown == [1]


@pytest.mark.parametrize(
    ("terminal", "json", "expected"),
    [(True, False, "\x1b[H\x1b[2Jx"), (False, False, "x"), (True, True, "x")],
)
def test_on_a_terminal_it_takes_the_place_of_what_was_shown(
    terminal: bool,
    json: bool,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    arguments = parsed("--watch")
    arguments.json = json
    with pytest.raises(KeyboardInterrupt):
        again(arguments, lambda: sys.stdout.write("x"))
    assert pauses == [2.0, 2.0]
    assert capsys.readouterr().out == expected * 2


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "x", "1e9"])
def test_a_pause_has_bounds(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--watch", text)
    assert "expected 0.1 to 86400 seconds" in capsys.readouterr().err

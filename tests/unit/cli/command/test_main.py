"""The command as a whole."""

import os
import subprocess
import sys

import pytest

from wg_dynamic import __version__
from wg_dynamic.cli.command import main as command
from wg_dynamic.cli.status import FAILED
from wg_dynamic.errors import UsageError


def test_it_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"wg-dynamic {__version__}\n"


def test_help_names_every_noun(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--help"])
    out = capsys.readouterr().out
    for module in command.NOUNS:
        assert module.__name__.rpartition(".")[2] in out


def test_an_error_becomes_a_line_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        msg = "no such thing"
        raise UsageError(msg)

    monkeypatch.setattr(command, "_main", fail)
    assert command.main(["config", "default"]) == 2
    assert capsys.readouterr().err == "wg-dynamic: no such thing\n"


def test_a_reader_that_left_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = [sys.executable, "-m", "wg_dynamic.cli.command.main", "config", "default"]
    done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (FAILED, b"")

"""What the command prints steers no terminal."""

import json

import pytest

from wg_dynamic.cli.command.output import escaped, print_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("büro 3", "büro 3"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\r", "a\\x0ab\\x0d"),
        ("\u202eevil", "\\u202eevil"),
        ("\\x1b", "\\\\x1b"),
        ("\x9b31m", "\\x9b31m"),
        ("\udcff", "\\udcff"),
    ],
)
def test_what_is_not_printable_is_spelled_out(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_json_is_ascii_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "\x1b]0;\n\u202eü"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert out[:-1].isprintable()
    assert json.loads(out) == {"name": "\x1b]0;\n\u202eü"}

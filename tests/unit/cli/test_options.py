import argparse

import pytest

from wg_dynamic.cli.options import Parser, add_daemon_options


def parse(*arguments: str) -> argparse.Namespace:
    parser = Parser("wg-x")
    add_daemon_options(parser)
    return parser.parse_args(list(arguments))


def test_the_options_have_defaults() -> None:
    assert vars(parse()) == {"foreground": False, "log_file": None, "user": None, "verbose": False}


def test_an_error_of_the_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("--frobnicate")
    assert ended.value.code == 2
    expected = "wg-x: unrecognized arguments: --frobnicate; see wg-x --help\n"
    assert capsys.readouterr() == ("", expected)

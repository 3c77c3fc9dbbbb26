import sys
from xml.etree import ElementTree

import pytest

from tools.terminal_picture import Run, chosen, plain, record, runs, svg

LINES = [
    "\x1b[1mtitle\x1b[0m",
    "",
    "\x1b[1m1. one\x1b[0m",
    "   \x1b[36mhub# \x1b[0mwg show",
    "",
    "\x1b[1m2. two\x1b[0m",
    "   \x1b[32m✓\x1b[0m seen <it>",
    "",
    "\x1b[1m3. three\x1b[0m",
    "",
    "\x1b[1mAll 3 steps were seen to work\x1b[0m",
]


def test_a_line_is_cut_into_runs_of_one_style() -> None:
    assert list(runs("   \x1b[36mhub# \x1b[0mwg show")) == [
        Run(3, "hub# ", ("36",)),
        Run(8, "wg show", ()),
    ]
    assert list(runs("")) == []
    assert plain(LINES[3]) == "   hub# wg show"


def test_steps_left_out_leave_a_mark() -> None:
    shown = [plain(line) for line in chosen(LINES, [2])]
    expected = ["title", "", "…", "", "2. two", "   ✓ seen <it>", "", "…", ""]
    assert shown == [*expected, "All 3 steps were seen to work"]


def test_the_picture_has_every_character_in_its_colour() -> None:
    picture = ElementTree.fromstring(svg(LINES))  # noqa: S314 - our own
    texts = picture.findall(".//{http://www.w3.org/2000/svg}text")
    assert [text.text for text in texts][3:6] == ["wg show", "2. two", "✓"]
    assert "seen <it>" in [text.text for text in texts]
    assert len({text.get("fill") for text in texts}) == 4


def test_a_command_runs_on_a_terminal_and_its_failure_is_one() -> None:
    lines = record([sys.executable, "-c", "import sys; print(sys.stdout.isatty()); print('ä')"])
    assert lines == ["True", "ä"]
    with pytest.raises(Exception, match="status 3"):
        record([sys.executable, "-c", "raise SystemExit(3)"])

"""docs/command.md shows what the commands print."""

from tools.command_output import PAGE, Stage, commands, differences
from tools.netlab import Lab


def test_the_page_shows_what_each_command_prints(lab: Lab) -> None:
    assert differences(PAGE.read_text("utf-8"), Stage(lab).run) == []


def test_no_private_key_is_shown(lab: Lab) -> None:
    shown = Stage(lab).run("hub", "wg-dynamic peer add x --preshared-key")
    assert shown.count("Key = (44 characters)") == 2
    assert commands(f"hub# x\n{shown}")

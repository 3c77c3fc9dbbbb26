"""What the nouns of the command take alike."""

import pytest

from wg_dynamic.cli.command.arguments import add_json, add_noun, add_verb
from wg_dynamic.cli.options import Parser


def parser() -> Parser:
    made = Parser("wg-dynamic")
    nouns = made.add_subparsers(metavar="COMMAND", required=True)
    verbs = add_noun(nouns, "fruit", "look after fruit")
    add_json(add_verb(verbs, "peel", lambda arguments: 40 + arguments.json, "take the skin off"))
    return made


def test_a_verb_brings_what_does_it() -> None:
    arguments = parser().parse_args(["fruit", "peel", "--json"])
    assert arguments.run(arguments) == 41


@pytest.mark.parametrize("words", [[], ["fruit"], ["fruit", "eat"], ["fruit", "peel", "--xml"]])
def test_what_is_not_understood_is_told_with_where_to_read_more(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parser().parse_args(words)
    assert caught.value.code == 2
    assert capsys.readouterr().err.strip().endswith("--help")


def test_help_says_what_a_verb_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["fruit", "peel", "--help"])
    assert "Take the skin off." in capsys.readouterr().out

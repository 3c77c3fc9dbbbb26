import io
import json

import pytest

from wg_dynamic.cli.command.main import main

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def test_the_address_is_printed_as_a_configuration_has_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["lladdr", KEY]) == 0
    assert capsys.readouterr().out == "fe80::3fd5:5dd2:f7da:c9a3/128\n"


def test_a_program_gets_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lladdr", KEY, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "public_key": KEY,
        "link_local": "fe80::3fd5:5dd2:f7da:c9a3",
    }


def test_the_key_may_come_from_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{KEY}\n"))
    assert main(["lladdr", "-"]) == 0
    assert capsys.readouterr().out.startswith("fe80::3fd5:")


@pytest.mark.parametrize("text", ["", "secret", KEY[:-1], f"{KEY}="])
def test_what_is_no_key_is_refused_and_not_repeated(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lladdr", text]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "expected" in shown.err
    assert text not in shown.err or not text

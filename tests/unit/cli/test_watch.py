"""The command wg-dynamic-watch, up to where processes begin: tests/netns/test_watch.py."""

import os
from pathlib import Path

import pytest

from wg_dynamic.cli import watch as module
from wg_dynamic.cli.status import NOT_PERMITTED, UNQUALIFIED, USAGE
from wg_dynamic.cli.watch import follower_account, main, make_queues
from wg_dynamic.errors import PrivilegeError
from wg_dynamic.helper.config import file as file_module
from wg_dynamic.helper.config.beside import Beside, Hook
from wg_dynamic.system.privileges import Account


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(file_module, "CONFIG_ROOT", tmp_path)
    monkeypatch.setattr(file_module, "_refuse_foreign", lambda *_: None)
    return tmp_path / "wg0.toml"


@pytest.mark.parametrize(
    ("text", "status", "expected"),
    [
        ("", USAGE, "nothing to do"),
        ("[[hook]]", USAGE, "command is missing"),
        ("[[hook]]\ncommand = ['/no/such']", UNQUALIFIED, "/no/such is no program"),
        (
            "[[hook]]\ncommand = ['/bin/true']\nuser = 'no-such'",
            UNQUALIFIED,
            "no account 'no-such'",
        ),
        ("[metrics]\nlisten = '192.0.2.1:9'", UNQUALIFIED, "cannot listen on 192.0.2.1, port 9"),
    ],
)
def test_what_cannot_be_is_told(
    text: str, status: int, expected: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(text)
    assert main(["wg0"]) == status
    assert expected in capsys.readouterr().err


def test_another_user_takes_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PrivilegeError, match="is to run as nobody, which takes root"):
        make_queues(Beside((Hook(("/bin/true",)),)))
    assert NOT_PERMITTED


def test_who_follows_has_an_account_of_its_own_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "ACCOUNT", "games")
    games = follower_account()
    monkeypatch.setattr(module, "ACCOUNT", "no-such")
    nobody = follower_account()
    assert isinstance(games, Account)
    assert games != nobody
    assert games.uid != 0 != nobody.uid

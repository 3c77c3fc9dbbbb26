"""`wg-dynamic config`."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from wg_dynamic.cli.command.config import SERVER, default_text
from wg_dynamic.cli.command.main import main
from wg_dynamic.cli.status import OK, USAGE
from wg_dynamic.helper.config.checks import checked_terms
from wg_dynamic.helper.config.client import parse_client_config
from wg_dynamic.helper.config.document import CLIENT, ServerConfig, parse_config
from wg_dynamic.helper.policy import DEFAULT_ACCEPTANCE
from wg_dynamic.leases.push import SILENT
from wg_dynamic.record import replace


def with_all(text: str) -> str:
    """A default file with each key that it shows."""
    return re.sub(r"^#(?=\S)", "", text, flags=re.M)


@pytest.mark.parametrize(("words", "kind"), [([], SERVER), (["--client"], CLIENT)])
def test_the_default_file_passes_the_check_as_it_is_and_with_each_key(
    words: list[str], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "default", *words]) == OK
    text = capsys.readouterr().out
    path = tmp_path / "wg0.toml"
    for each in (text, with_all(text)):
        path.write_text(each)
        path.chmod(0o644)
        assert main(["config", "check", str(path)]) == OK
        shown = capsys.readouterr()
        assert shown.out == f"{path}: a {kind}'s file, nothing wrong with it\n"
        assert shown.err == ""


def test_the_default_files_say_nothing_that_is_not_so_anyway() -> None:
    assert parse_config(default_text(SERVER), "") == ServerConfig()
    assert parse_client_config(default_text(CLIENT), "") == DEFAULT_ACCEPTANCE


def test_what_the_server_s_settings_show_are_the_defaults() -> None:
    before_tables = with_all(default_text(SERVER)).split("\n[[pool]]")[0]
    shown = parse_config(before_tables, "")
    assert shown.push != SILENT
    told = checked_terms(replace(shown, push=SILENT))
    assert told == ServerConfig().terms()
    assert (shown.user, str(shown.database)) == ("wg-dynamic", "/var/lib/wg-dynamic/wg0.sqlite")


def test_the_server_s_file_shows_every_key_that_there_is() -> None:
    config = parse_config(with_all(default_text(SERVER)), "x")
    for field in fields(ServerConfig):
        assert getattr(config, field.name) not in ((), None), field.name
    pool = config.pools[0]
    assert None not in (pool.lease_time, pool.network_length, pool.push.mtu)
    assert pool.excluded


WRONG = """\
lease_tme = "1h"

[[pool]]
network = "10.44.0.1/24"
"""


def test_what_is_wrong_is_told_with_file_table_key_and_a_suggestion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wg0.toml"
    path.write_text(WRONG)
    path.chmod(0o644)
    assert main(["config", "check", str(path)]) == USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    first, second = shown.err.splitlines()
    assert first == (
        f"wg-dynamic config: {path}: [[pool]] 1: network: pool '10.44.0.1/24' has host bits set,"
        " expected 10.44.0.0/24 (line 4)"
    )
    assert second.startswith(
        f"wg-dynamic config: {path}: unknown key 'lease_tme', did you mean lease_time? Expected"
    )


@pytest.mark.parametrize(
    ("text", "kind", "problem"),
    [
        ("[client]\naccept-rutes = []\n", CLIENT, "did you mean accept-routes?"),
        ("[client]\n[[pool]]\n", CLIENT, "is for wg-dynamic-server"),
        ("lease_time = 1\n", SERVER, "expected 60 to"),
        ("a = = 1", SERVER, "not understood as TOML"),
        ("min_lease_time = 90\nmax_lease_time = 80\n", SERVER, "at most max_lease_time"),
    ],
)
def test_json_tells_the_same(
    text: str, kind: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "\x1b[2J.toml"
    path.write_text(text)
    path.chmod(0o644)
    assert main(["config", "check", "--json", str(path)]) == USAGE
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert (told["file"], told["kind"], told["ok"]) == (str(path), kind, False)
    (only,) = told["problems"]
    assert problem in only
    assert "\x1b" not in shown.out + shown.err
    main(["config", "check", str(path)])
    assert "\x1b" not in capsys.readouterr().err


def test_a_file_that_others_may_write_is_told_as_a_daemon_would(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wg0.toml"
    path.write_text("")
    path.chmod(0o666)
    assert main(["config", "check", str(path)]) == USAGE
    assert "chmod go-w" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "check", str(tmp_path / "none")]) == USAGE
    assert "cannot be read: No such file" in capsys.readouterr().err

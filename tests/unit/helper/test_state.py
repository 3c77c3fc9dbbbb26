import os
from pathlib import Path

import pytest

from wg_dynamic.errors import ConfigError
from wg_dynamic.helper.state import prepare_state_directory
from wg_dynamic.system.privileges import Account

ACCOUNT = Account(60970, 60971)


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """What was given to whom; only root could give it."""
    given: list[tuple[str, int, int]] = []

    def chown(path: str, uid: int, gid: int) -> None:
        given.append((os.readlink(path), uid, gid))

    monkeypatch.setattr(os, "chown", chown)
    return given


def test_our_own_directory_is_made_and_given_away_each_time(
    tmp_path: Path, owners: list[tuple[str, int, int]]
) -> None:
    root = tmp_path / "wg-dynamic"
    for _ in range(2):
        prepare_state_directory(root / "wg0.sqlite", root, ACCOUNT)
    assert root.stat().st_mode & 0o777 == 0o700
    assert owners == [(str(root), 60970, 60971)] * 2


def test_another_directory_is_made_where_it_is_missing(
    tmp_path: Path, owners: list[tuple[str, int, int]]
) -> None:
    database = tmp_path / "leases" / "wg0.sqlite"
    prepare_state_directory(database, tmp_path / "other", ACCOUNT)
    assert database.parent.stat().st_mode & 0o777 == 0o700
    assert owners == [(str(database.parent), 60970, 60971)]
    prepare_state_directory(database, tmp_path / "other", ACCOUNT)
    assert len(owners) == 1, "what is there is an administrator's business"
    assert not (tmp_path / "other").exists()


def test_what_cannot_be_made_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot prepare .*/a/b for the lease .*: No such file"):
        prepare_state_directory(tmp_path / "a" / "b" / "x.sqlite", tmp_path / "other", ACCOUNT)


def test_a_link_in_its_place_is_not_followed(
    tmp_path: Path, owners: list[tuple[str, int, int]]
) -> None:
    root = tmp_path / "wg-dynamic"
    root.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="cannot prepare"):
        prepare_state_directory(root / "wg0.sqlite", root, ACCOUNT)
    assert owners == []


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_directory_where_others_can_put_a_database_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(ConfigError, match=f"{tmp_path} may be written by others, expected not"):
        prepare_state_directory(tmp_path / "x.sqlite", tmp_path / "other", ACCOUNT)


def test_one_of_the_account_s_group_will_do(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    account = Account(60970, tmp_path.stat().st_gid)
    prepare_state_directory(tmp_path / "x.sqlite", tmp_path / "other", account)


def test_our_own_directory_is_closed_to_others(
    tmp_path: Path, owners: list[tuple[str, int, int]]
) -> None:
    root = tmp_path / "wg-dynamic"
    root.mkdir()
    root.chmod(0o777)
    prepare_state_directory(root / "wg0.sqlite", root, ACCOUNT)
    assert root.stat().st_mode & 0o777 == 0o700
    assert owners

"""Who is let in to the administration socket. As root: its group is another's."""

import os
import socket
import stat
from pathlib import Path

import pytest

from wg_dynamic.errors import ConfigError
from wg_dynamic.helper import admin_socket as module
from wg_dynamic.helper.admin_socket import AdminSocket, admin_group

GROUP = os.getgid() if os.getgid() else 12345


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "admin" / "n1-2" / "socket"


def test_root_and_the_group_are_let_in_and_nobody_else(path: Path) -> None:
    old = os.umask(0o077)  # as in the daemons
    try:
        made = AdminSocket(path, GROUP)
    finally:
        os.umask(old)
    assert [mode(one) for one in (path.parents[1], path.parent, path)] == [0o755, 0o750, 0o660]
    assert {one.stat().st_gid for one in (path.parent, path)} == {GROUP}
    assert {one.stat().st_uid for one in (path.parent, path)} == {os.geteuid()}
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        made.listener.accept()[0].close()
    made.close()
    made.close()
    assert not path.parent.exists()


def test_without_a_group_it_is_root_s_alone(path: Path) -> None:
    made = AdminSocket(path, 0)
    assert [mode(one) for one in (path.parent, path)] == [0o700, 0o600]
    made.close()


def test_what_a_killed_server_left_is_replaced_and_closed_to_the_former_group(path: Path) -> None:
    left = AdminSocket(path, GROUP)
    left.listener.close()
    made = AdminSocket(path, 0)
    assert [mode(one) for one in (path.parent, path)] == [0o700, 0o600]
    assert path.parent.stat().st_gid == 0
    made.close()


def test_a_directory_that_others_can_write_in_is_refused(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="may be written by others"):
        AdminSocket(path, GROUP)


def test_what_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot make the administration socket"):
        AdminSocket(tmp_path / "admin" / ("n" * 200) / "socket", GROUP)


def test_the_group_is_the_one_named_or_the_default_or_root_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert admin_group("root") == 0
    monkeypatch.setattr(module, "DEFAULT_GROUP", "no-such-group")
    assert admin_group(None) == 0
    monkeypatch.setattr(module, "DEFAULT_GROUP", "daemon")
    assert admin_group(None) == 1
    with pytest.raises(ConfigError, match="no group 'no-such-group' on this machine"):
        admin_group("no-such-group")

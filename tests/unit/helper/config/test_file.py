"""Which files are read and which refused; owners are played, so that nobody need be root."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.processes import unmeasured
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config import file as module
from wg_dynamic.helper.config.document import ServerConfig
from wg_dynamic.helper.config.file import (
    default_path,
    load_client_config,
    load_config,
    read_safely,
)
from wg_dynamic.helper.policy import Acceptance


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> dict[Path, int]:
    """Owners by path; everything else belongs to us, as it would all to root."""
    owners: dict[Path, int] = {}
    refuse = module._refuse_foreign

    def play(label: str, there: Path, status: os.stat_result) -> None:
        values = list(status)
        values[4] = owners.get(there, os.geteuid())
        refuse(label, there, os.stat_result(values))

    monkeypatch.setattr(module, "_refuse_foreign", play)
    return owners


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "etc"
    directory.mkdir(0o755)
    monkeypatch.setattr(module, "CONFIG_ROOT", directory)
    return directory


@pytest.fixture
def path(etc: Path) -> Path:
    made = etc / "wg0.toml"
    made.write_text("lease_time = 60\n")
    made.chmod(0o644)
    return made


def refused(path: Path, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_safely(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert expected in message
    assert "\n" not in message


# --- which one -------------------------------------------------------------------------------


def test_each_interface_has_its_own() -> None:
    assert default_path("wg0") == Path("/etc/wg-dynamic/wg0.toml")
    assert default_path("../wg0") is None


def test_the_interface_s_own_is_read_if_it_exists(path: Path) -> None:
    assert load_config(None, "wg0") == ServerConfig(str(path), lease_time=60)
    assert load_config(None, "wg1") == ServerConfig()
    assert load_config(None, "x/wg0") == ServerConfig()


def test_one_that_is_named_has_to_exist(path: Path, etc: Path) -> None:
    other = etc / "other.toml"
    with pytest.raises(UsageError, match=r"other\.toml: cannot be read: No such file or direct"):
        load_config(other, "wg0")
    other.write_text("lease_time = '2m'")
    assert load_config(other, "wg0").lease_time == 120


def test_a_client_has_its_table_there(path: Path) -> None:
    path.write_text("[client]\naccept-default-route = true\n")
    assert load_client_config("wg0") == Acceptance(default_route=True)
    assert load_client_config("wg1") == Acceptance()
    with pytest.raises(UsageError, match="'client' is for wg-dynamic-client"):
        load_config(None, "wg0")
    path.write_text("lease_time = 60\n")
    with pytest.raises(UsageError, match="'lease_time' is for wg-dynamic-server"):
        load_client_config("wg0")
    path.chmod(0o666)
    with pytest.raises(UsageError, match="may be written by others than root"):
        load_client_config("wg0")


def test_a_client_without_a_file_needs_no_parser() -> None:
    code = (
        "import sys; from wg_dynamic.cli import client;"
        " client.load_client_config('no-such-interface'); print('tomllib' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=unmeasured(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"


def test_a_link_to_nowhere_is_not_taken_for_no_file(etc: Path) -> None:
    (etc / "wg0.toml").symlink_to("nowhere")
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_config(None, "wg0")


def test_what_it_says_is_told_with_its_name(path: Path) -> None:
    path.write_text("lease_time = 1\n")
    with pytest.raises(UsageError, match=rf"^{path}: lease_time: 1, expected 60 to"):
        load_config(None, "wg0")


def test_a_relative_name_is_meant_from_here(
    path: Path, etc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(etc)
    assert read_safely(Path("wg0.toml")) == "lease_time = 60\n"
    (etc / "sub").mkdir()
    assert read_safely(Path("sub/../wg0.toml")) == "lease_time = 60\n"


# --- whose it is -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o644, 0o755])
def test_others_may_read(path: Path, mode: int) -> None:
    path.chmod(mode)
    assert read_safely(path) == "lease_time = 60\n"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_one_that_others_may_write_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    refused(path, "may be written by others than root, expected not, since it steers a root")
    refused(path, f"chmod go-w {path}")


def test_one_of_another_owner_is_refused(path: Path, nobody_else: dict[Path, int]) -> None:
    nobody_else[path] = 12345
    refused(path, "belongs to user 12345, expected root, since it steers a root process: chown ro")


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_directory_that_others_may_write_is_refused(path: Path, etc: Path, mode: int) -> None:
    etc.chmod(mode)
    refused(path, f"{etc}, on the way to it, may be written by others than root")


def test_a_directory_above_counts_too(
    path: Path, etc: Path, tmp_path: Path, nobody_else: dict[Path, int]
) -> None:
    nobody_else[tmp_path] = 12345
    refused(path, f"{tmp_path}, on the way to it, belongs to user 12345, expected root")


def test_in_a_sticky_directory_nobody_moves_what_is_root_s(path: Path, etc: Path) -> None:
    etc.chmod(0o1777)
    assert read_safely(path) == "lease_time = 60\n"


def test_links_are_followed_through_directories_that_are_root_s(
    path: Path, etc: Path, tmp_path: Path, nobody_else: dict[Path, int]
) -> None:
    home = tmp_path / "home"
    home.mkdir(0o755)
    (home / "there").symlink_to("../etc")  # a directory, relative
    (etc / "wg1.toml").symlink_to(home / "there" / "wg0.toml")  # a file, absolute
    assert read_safely(etc / "wg1.toml") == "lease_time = 60\n"
    nobody_else[home] = 12345  # who could let the link lead elsewhere
    refused(etc / "wg1.toml", f"{home}, on the way to it, belongs to user 12345")


def test_links_in_a_circle_are_given_up(etc: Path) -> None:
    (etc / "a").symlink_to("b")
    (etc / "b").symlink_to("a")
    refused(etc / "a", "more than 40 symbolic links on the way")


# --- what it is ------------------------------------------------------------------------------


def test_what_is_no_file_is_refused_and_waited_for_by_nobody(etc: Path) -> None:
    refused(etc, "is no regular file, expected one")
    os.mkfifo(etc / "fifo")
    refused(etc / "fifo", "is no regular file, expected one")
    refused(etc / "fifo" / "x", "cannot be read: Not a directory")


def test_one_that_is_too_large_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SIZE", 16)
    assert read_safely(path) == "lease_time = 60\n"
    monkeypatch.setattr(module, "MAX_SIZE", 15)
    refused(path, "more than 15 bytes, expected at most as many")


def test_one_that_is_no_text_is_refused_with_its_line(path: Path) -> None:
    path.write_bytes(b"# caf\xc3\xa9\n# caf\xe9\n")
    refused(path, "line 2 is not UTF-8, expected TOML")


KEY = "A" * 43 + "="


def test_what_commands_have_added_is_read_beside_the_file(etc: Path, path: Path) -> None:
    peers = etc / "wg0.peers.toml"
    peers.write_text(f'[[peer]]\nname = "laptop"\npublic_key = "{KEY}"\n')
    config = load_config(None, "wg0")
    assert (config.lease_time, config.peer_names) == (60, ("laptop",))
    assert config.source == f"{path} with {peers}"
    path.unlink()
    assert load_config(None, "wg0").source == str(peers)
    elsewhere = etc / "other.toml"
    elsewhere.write_text("lease_time = 70\n")
    config = load_config(elsewhere, "wg0")
    assert (config.lease_time, config.peer_names) == (70, ("laptop",))


def test_what_others_could_have_added_is_refused(etc: Path) -> None:
    peers = etc / "wg0.peers.toml"
    peers.write_text("")
    peers.chmod(0o666)
    with pytest.raises(UsageError, match="may be written by others"):
        load_config(None, "wg0")


def test_a_link_that_leads_nowhere_is_told(etc: Path) -> None:
    (etc / "wg0.peers.toml").symlink_to("nowhere")
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(None, "wg0")


def test_an_interface_with_a_slash_has_neither_file(etc: Path) -> None:
    assert load_config(None, "a/b") == ServerConfig()

"""The runtime directory of one interface; racing processes are tests/integration."""

import os
from pathlib import Path

import pytest

from wg_dynamic.errors import ConfigError, PrivilegeError
from wg_dynamic.system import runtime
from wg_dynamic.system.runtime import RuntimeDirectory, control_path, namespace_key

WHO = "wg-dynamic-client wg0"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "run"


def a_directory(root: Path, ifindex: int = 7, role: str = "") -> RuntimeDirectory:
    return RuntimeDirectory(ifindex, root, role)


def test_the_key_is_that_of_the_namespace() -> None:
    key = namespace_key()
    assert key == namespace_key()
    assert key[0] in "ni"
    assert int(key[1:]) > 0


def test_an_older_kernel_names_it_by_the_inode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_SO_NETNS_COOKIE", 9999)
    assert namespace_key() == f"i{Path('/proc/self/ns/net').stat().st_ino}"


def test_each_interface_has_a_directory_that_only_root_reads(root: Path) -> None:
    old = os.umask(0)
    try:
        one, other = a_directory(root, 7), a_directory(root, 8)
    finally:
        os.umask(old)
    assert one.path != other.path
    assert one.path.name == f"{namespace_key()}-7"
    assert one.path.stat().st_mode & 0o777 == 0o700
    assert root.stat().st_mode & 0o777 == 0o755


def test_each_role_has_a_ledger_and_a_socket_of_its_own(root: Path) -> None:
    client, server = a_directory(root, role="client"), a_directory(root, role="server")
    assert client.path == server.path
    assert len({client.ledger, server.ledger, client.control, server.control}) == 4
    assert a_directory(root).ledger.name == "ledger"


def test_a_lock_is_taken_once(root: Path) -> None:
    one, other = a_directory(root), a_directory(root, role="server")
    assert one.lock(WHO)
    assert not other.lock("wg-dynamic-server wg0")
    assert not one.lock(WHO)
    with pytest.raises(ConfigError) as caught:
        other.take("wg-dynamic-server wg0")
    assert f"{WHO} (PID {os.getpid()}) runs on this interface already" in str(caught.value)
    one.release()
    other.take("wg-dynamic-server wg0")
    other.release()


def test_a_release_leaves_nothing_behind(root: Path) -> None:
    directory = a_directory(root)
    directory.take(WHO)
    directory.control.touch()
    directory.ledger.touch()
    directory.release()
    assert not directory.path.exists()
    directory.release()
    directory.take(WHO)  # and again
    directory.release()


def test_a_release_leaves_a_ledger_that_names_something(root: Path) -> None:
    directory = a_directory(root)
    directory.take(WHO)
    directory.ledger.write_text("+ address 10.0.0.1/32\n")
    directory.release()
    assert directory.ledger.exists()
    directory.take(WHO)
    directory.release()


def test_a_release_leaves_what_is_anothers(root: Path) -> None:
    directory, other = a_directory(root, role="client"), a_directory(root, role="server")
    directory.take(WHO)
    other.ledger.write_text("+ address 10.0.0.1/32\n")
    directory.release()
    assert other.ledger.exists()
    assert not (directory.path / "lock").exists()


def test_a_lock_that_is_not_held_is_not_released(root: Path) -> None:
    holder, other = a_directory(root), a_directory(root)
    holder.take(WHO)
    other.release()
    assert not other.lock(WHO)
    holder.release()


def test_the_control_socket_of_a_daemon_is_found_without_making_anything(root: Path) -> None:
    assert not control_path(7, "client", root / "none").parent.parent.exists()
    assert control_path(7, "client", root) == RuntimeDirectory(7, root, "client").control


def test_a_lock_file_that_a_dead_daemon_left_is_taken(root: Path) -> None:
    directory = a_directory(root)
    (directory.path / "lock").write_text("999999 somebody who wrote more than we do\n")
    directory.take(WHO)
    assert (directory.path / "lock").read_text() == f"{os.getpid()} {WHO}\n"
    directory.release()


def test_a_directory_that_was_removed_meanwhile_is_made_again(root: Path) -> None:
    directory = a_directory(root)
    directory.path.rmdir()
    directory.take(WHO)
    directory.release()


def test_a_lock_file_that_is_removed_between_two_looks_is_not_the_lock(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder ends while a newcomer has opened its file, and then its directory too."""
    holder, newcomer = a_directory(root), a_directory(root)
    holder.take(WHO)
    opened = newcomer._open_lock
    turns: list[int] = []

    def open_then_lose() -> int:
        descriptor = opened()
        if not turns:
            holder.release()
        turns.append(descriptor)
        return descriptor

    monkeypatch.setattr(newcomer, "_open_lock", open_then_lose)
    assert newcomer.lock("newcomer")
    assert len(turns) == 2
    assert not a_directory(root).lock("third")
    newcomer.release()


def test_a_newcomer_that_was_too_late_for_one_holder_waits_not_for_the_next(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is locked and gone; the one that stands there now is locked by another."""
    holder, second, newcomer = a_directory(root), a_directory(root), a_directory(root)
    holder.take(WHO)
    opened = newcomer._open_lock
    turns: list[int] = []

    def open_then_lose() -> int:
        descriptor = opened()
        if not turns:
            (holder.path / "lock").unlink()  # half of a release: the lock itself still stands
            second.take("second")
        turns.append(descriptor)
        return descriptor

    monkeypatch.setattr(newcomer, "_open_lock", open_then_lose)
    assert not newcomer.lock("newcomer")
    assert len(turns) == 2
    second.release()
    holder.release()


def test_a_directory_that_vanishes_before_the_lock_is_opened_is_made_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = a_directory(root)
    make = Path.mkdir
    missed: list[Path] = []

    def mkdir(path: Path, mode: int) -> None:
        make(path, mode)
        if not missed:
            path.rmdir()
            missed.append(path)

    directory.path.rmdir()
    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert directory.lock(WHO)
    assert missed
    directory.release()


def test_a_directory_that_can_never_be_had_is_given_up(root: Path) -> None:
    directory = a_directory(root)
    directory.path.rmdir()
    directory.path.symlink_to("nowhere")
    with pytest.raises(ConfigError, match="again and again"):
        directory.lock(WHO)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe"])
def test_a_holder_that_is_unknown_is_called_so(root: Path, content: bytes) -> None:
    directory = a_directory(root)
    (directory.path / "lock").write_bytes(content)
    assert directory.holder() == "another daemon (PID unknown)"
    (directory.path / "lock").unlink()
    assert directory.holder() == "another daemon (PID unknown)"


def test_a_link_in_place_of_the_lock_is_not_followed(root: Path, tmp_path: Path) -> None:
    directory = a_directory(root)
    (tmp_path / "precious").write_text("precious")
    (directory.path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic link"):
        directory.lock(WHO)
    assert (tmp_path / "precious").read_text() == "precious"


def test_who_may_not_make_the_directory_is_told_so(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(PrivilegeError, match="Permission denied; run as root"):
        a_directory(root)


def test_something_else_in_the_way_is_said(root: Path) -> None:
    root.write_text("a file")
    with pytest.raises(ConfigError, match="is no directory"):
        a_directory(root)


@pytest.mark.parametrize("which", ["root", "its own"])
def test_a_directory_that_others_can_write_in_is_refused(root: Path, which: str) -> None:
    directory = a_directory(root)
    planted = root if which == "root" else directory.path
    planted.chmod(0o777)
    with pytest.raises(ConfigError, match=f"{planted} may be written by others"):
        a_directory(root)


def test_a_link_in_place_of_the_directory_is_refused(root: Path, tmp_path: Path) -> None:
    directory = a_directory(root)
    directory.path.rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(0o700)
    directory.path.symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="is no directory"):
        a_directory(root)
    assert list(elsewhere.iterdir()) == []


def test_a_lock_file_that_is_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    directory = a_directory(root)
    target = tmp_path / "target"
    target.write_text("as it was")
    (directory.path / "lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        directory.lock(WHO)
    assert target.read_text() == "as it was"

import os
from pathlib import Path

import pytest

from wg_dynamic.system.replacing import replace_file


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_new_file_gets_the_mode_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        replace_file(tmp_path / "a", b"text", 0o644)
    finally:
        os.umask(old)
    assert (tmp_path / "a").read_bytes() == b"text"
    assert mode_of(tmp_path / "a") == 0o644
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_that_is_there_passes_its_mode_on(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o640)
    replace_file(path, b"new" * 100_000, 0o600)
    assert path.read_bytes() == b"new" * 100_000
    assert mode_of(path) == 0o640


def test_a_file_that_is_there_passes_its_owner_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    status = path.stat()
    given: list[tuple[int, int]] = []
    other = os.stat_result([*status[:4], status.st_uid + 1, *status[5:]])
    monkeypatch.setattr(os, "fstat", lambda _: other)
    monkeypatch.setattr(os, "fchown", lambda _, uid, gid: given.append((uid, gid)))
    replace_file(path, b"new", 0o600)
    assert given == [(status.st_uid, status.st_gid)]


def test_a_symbolic_link_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere" / "real"
    real.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(real)
    replace_file(link, b"new", 0o600)
    assert link.readlink() == real
    assert real.read_bytes() == b"new"
    assert os.listdir(real.parent) == ["real"]


def test_what_a_kill_left_behind_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / ".a.new").write_bytes(b"half")
    (tmp_path / ".a.new").chmod(0o400)
    replace_file(tmp_path / "a", b"new", 0o600)
    assert os.listdir(tmp_path) == ["a"]


def test_when_it_cannot_be_written_the_old_one_is_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(descriptor: int) -> None:
        assert Path(f"/proc/self/fd/{descriptor}").read_bytes() == b"new"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"new", 0o600)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "none" / "a", b"new", 0o600)

"""With files of our own: what is another's is shown by telling that we are another."""

import os
from pathlib import Path

import pytest

from wg_dynamic.errors import ConfigError
from wg_dynamic.system.ownership import check_directory, open_log, refuse_foreign


@pytest.fixture
def as_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory that is not ours."""
    if os.geteuid() == 0:
        os.chown(tmp_path, 60970, 60970)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 60971)
    return tmp_path


def test_a_directory_of_ours_will_do(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    check_directory(tmp_path)


def test_one_of_somebody_else_is_refused(as_another: Path) -> None:
    with pytest.raises(ConfigError, match=r"belongs to user \d+, expected root: move it away"):
        check_directory(as_another)
    refuse_foreign(as_another, as_another.stat(), users=[as_another.stat().st_uid])


@pytest.mark.parametrize("mode", [0o777, 0o702, 0o720, 0o1777])
def test_one_that_others_can_write_in_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(ConfigError, match="may be written by others, expected not: chmod go-w"):
        check_directory(tmp_path)


def test_a_group_may_be_let_in(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    status = tmp_path.stat()
    refuse_foreign(tmp_path, status, groups=[status.st_gid])
    with pytest.raises(ConfigError, match="may be written"):
        refuse_foreign(tmp_path, status, groups=[status.st_gid + 1])


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(ConfigError, match="is no directory"):
            check_directory(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        check_directory(tmp_path / "missing")


def test_a_log_is_made_for_us_alone_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in (b"one\n", b"two\n"):
        descriptor = open_log(path)
        os.write(descriptor, text)
        assert os.get_blocking(descriptor)
        os.close(descriptor)
    assert path.read_text() == "one\ntwo\n"
    path.unlink()
    old = os.umask(0)
    os.close(open_log(path))
    os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_log_may_be_a_device_or_a_group_s_to_read(tmp_path: Path) -> None:
    os.close(open_log(Path(os.devnull)))
    path = tmp_path / "log"
    path.touch(0o640)
    path.chmod(0o660)
    os.close(open_log(path))


def test_a_log_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("as it was")
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        open_log(tmp_path / "link")
    os.link(target, tmp_path / "hard")
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    before = len(os.listdir("/proc/self/fd"))
    for name in ("hard", "fifo"):
        with pytest.raises(ConfigError, match="is no file of one name"):
            open_log(tmp_path / name)
    (tmp_path / "hard").unlink()
    target.chmod(0o602)
    with pytest.raises(ConfigError, match="may be written by others"):
        open_log(target)
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(reader)
    assert target.read_text() == "as it was"


def test_a_fifo_that_nobody_reads_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="No such device"):
        open_log(tmp_path / "fifo")

"""Which rules are made, by version; what they deny is tests/netns/test_taken_process.py."""

import errno
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from wg_dynamic.privsep import landlock
from wg_dynamic.privsep.landlock import SCOPE_FROM, restrict

CREATE, ADD, RESTRICT = 444, 445, 446
EXECUTE, WRITE, READ, READ_DIR, MAKE_DIR, MAKE_REG, REFER, TRUNCATE, IOCTL = (
    1 << bit for bit in (0, 1, 2, 3, 7, 8, 13, 14, 15)
)


class FakeKernel:
    """Landlock of one version."""

    def __init__(self) -> None:
        self.version = 7
        self.handled: tuple[int, ...] = ()
        self.rules: list[tuple[int, str]] = []
        self.in_force = 0
        self.error = 0

    def __call__(self, number: int, *words: Any) -> int:
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        if number == CREATE:
            attributes, size, flags = words
            if flags:
                assert (attributes, size, flags) == (None, 0, 1)
                return self.version
            self.handled = struct.unpack(f"={size // 8}Q", attributes)
            return os.open("/", os.O_PATH | os.O_CLOEXEC)
        if number == ADD:
            rights, descriptor = struct.unpack("=Qi", words[2])
            assert (words[1], words[3], rights & ~self.handled[0]) == (1, 0, 0)
            self.rules.append((rights, os.readlink(f"/proc/self/fd/{descriptor}")))
            return 0
        assert (number, words[1]) == (RESTRICT, 0)
        self.in_force += 1
        return 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    fake = FakeKernel()
    monkeypatch.setattr(landlock, "system_call", fake)
    return fake


@pytest.mark.parametrize(
    ("version", "files", "words"),
    [
        (1, 13, 1),
        (2, 14, 1),
        (3, 15, 1),
        (4, 15, 2),
        (5, 16, 2),
        (6, 16, 3),
        (7, 16, 3),
        (99, 16, 3),
    ],
)
def test_all_that_the_kernel_can_handle_is_handled(
    kernel: FakeKernel, version: int, files: int, words: int
) -> None:
    kernel.version = version
    assert restrict() == min(version, SCOPE_FROM)
    assert kernel.handled == ((1 << files) - 1, 3, 3)[:words]
    assert (kernel.rules, kernel.in_force) == ([], 1)


def test_a_newer_kernel_can_be_used_as_an_older_one(kernel: FakeKernel) -> None:
    assert restrict(up_to=2) == 2
    assert kernel.handled == ((1 << 14) - 1,)


def test_what_is_named_is_allowed(kernel: FakeKernel, tmp_path: Path) -> None:
    for name in ("work", "scratch", "file"):
        (tmp_path / name).mkdir()
    restrict(
        work=[tmp_path / "work", tmp_path / "missing"],
        scratch=[tmp_path / "scratch"],
        readable=[tmp_path / "file"],
    )
    (work, at), (scratch, _), (readable, _) = kernel.rules
    assert at == str(tmp_path / "work")
    assert work & (WRITE | READ | READ_DIR | MAKE_REG | TRUNCATE)
    assert not work & (EXECUTE | MAKE_DIR | REFER | IOCTL)
    assert scratch & MAKE_DIR
    assert not scratch & (EXECUTE | REFER | IOCTL)
    assert readable == READ


def test_nothing_stays_open(kernel: FakeKernel, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    restrict(work=[tmp_path])
    assert len(os.listdir("/proc/self/fd")) == before
    kernel.error = errno.ENOSYS
    with pytest.raises(OSError, match="Function not implemented"):
        restrict()
    assert len(os.listdir("/proc/self/fd")) == before

"""Which calls are made; that they do what they should is tests/integration/test_privileges.py."""

import errno
import struct
from typing import Any

import pytest

from wg_dynamic.system import capabilities, libc
from wg_dynamic.system.capabilities import KILL, NET_ADMIN, SETUID, hold, limit, limit_bounding

LAST = 40
READ, DROP, AMBIENT = 23, 24, 47


class FakeKernel:
    """Capabilities of one process."""

    def __init__(self, permitted: int, bounding: set[int]) -> None:
        self.permitted = permitted
        self.effective = self.inheritable = permitted
        self.bounding = bounding
        self.may_drop = True
        self.ambient_error = 0

    def prctl(self, option: int, number: int) -> int:
        if option == AMBIENT:
            if self.ambient_error:
                raise OSError(self.ambient_error, "")
            return 0
        if number > LAST:
            raise OSError(errno.EINVAL, "Invalid argument")
        if option == READ:
            return int(number in self.bounding)
        assert option == DROP
        if not self.may_drop:
            raise OSError(errno.EPERM, "Operation not permitted")
        self.bounding.remove(number)
        return 0

    def capget(self, _: bytes, data: Any) -> None:
        low, high = self.permitted & 0xFFFFFFFF, self.permitted >> 32
        data.raw = struct.pack("=6I", low, low, low, high, high, high)

    def capset(self, header: bytes, data: bytes) -> None:
        assert header == struct.pack("=Ii", 0x20080522, 0)
        words = struct.unpack("=6I", data)
        self.effective, self.permitted, self.inheritable = (
            words[at] | words[at + 3] << 32 for at in range(3)
        )


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """All that there are."""
    fake = FakeKernel((1 << LAST + 1) - 1, set(range(LAST + 1)))
    monkeypatch.setattr(capabilities, "libc", fake)
    return fake


def test_what_is_not_named_is_given_up(kernel: FakeKernel) -> None:
    limit({NET_ADMIN, 38}, {NET_ADMIN, SETUID})
    assert kernel.permitted == kernel.effective == 1 << NET_ADMIN | 1 << 38
    assert kernel.inheritable == 0
    assert kernel.bounding == {NET_ADMIN, SETUID}


def test_what_is_not_there_is_not_gained(kernel: FakeKernel) -> None:
    kernel.permitted = 1 << NET_ADMIN
    kernel.bounding = {NET_ADMIN}
    limit({NET_ADMIN, KILL}, {NET_ADMIN, KILL})
    assert (kernel.permitted, kernel.bounding) == (1 << NET_ADMIN, {NET_ADMIN})


def test_a_bounding_set_that_cannot_be_changed_keeps_nothing_else_from_going(
    kernel: FakeKernel,
) -> None:
    kernel.may_drop = False
    with pytest.raises(PermissionError):
        limit((), ())
    assert kernel.permitted == 0
    kernel.bounding = {NET_ADMIN}
    limit_bounding({NET_ADMIN})


def test_a_kernel_without_ambient_capabilities_will_do(kernel: FakeKernel) -> None:
    kernel.ambient_error = errno.EINVAL
    hold(())
    assert kernel.permitted == 0
    kernel.ambient_error = errno.EPERM
    with pytest.raises(PermissionError):
        hold(())


def test_what_is_locked_is_said_by_its_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[int, ...]] = []
    monkeypatch.setattr(libc, "prctl", lambda *words: said.append(words))
    capabilities.lock_securebits()
    ((option, bits),) = said
    names = ("NOROOT", "", "NO_SETUID_FIXUP", "", "KEEP_CAPS", "", "NO_CAP_AMBIENT_RAISE", "")
    on = {name for bit, name in enumerate(names) if bits >> bit & 1 and name}
    locked = {names[bit - 1] for bit, name in enumerate(names) if bits >> bit & 1 and not name}
    assert option == 28
    assert on == {"NOROOT", "NO_CAP_AMBIENT_RAISE"}
    assert locked == {name for name in names if name}

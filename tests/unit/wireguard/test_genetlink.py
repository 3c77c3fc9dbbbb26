"""A kernel of memory: steps are played on a fake, with and without the flag for removals."""

import errno
from collections.abc import Iterator, Sequence
from struct import pack, unpack

import pytest

from tests.contract.wireguard_control import (
    ALICE,
    BOB,
    WireGuardControlContract,
    WireGuardUnderTest,
    a_peer,
    adding,
    removing,
)
from tests.data.netlink import captured
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import Prefix
from wg_dynamic.errors import PrivilegeError
from wg_dynamic.netlink.errors import (
    InterfaceNotFoundError,
    MalformedMessageError,
    NetlinkError,
)
from wg_dynamic.netlink.wire import (
    Message,
    iter_attributes,
    pack_attribute,
    pack_nested,
    parse_attributes,
    parse_u32,
    split_messages,
)
from wg_dynamic.wireguard import genetlink
from wg_dynamic.wireguard.control import (
    NotWireGuardError,
    WireGuardError,
    WireGuardGoneError,
)
from wg_dynamic.wireguard.device import AllowedIPChange, Endpoint, Peer
from wg_dynamic.wireguard.genetlink import GenetlinkControl

FAMILY = 22
IFINDEX = 7


def pack_endpoint(endpoint: Endpoint) -> bytes:
    if len(endpoint.packed) == 4:
        return pack("=H", 2) + pack("!H", endpoint.port) + endpoint.packed + bytes(8)
    return pack("=H", 10) + pack("!HI", endpoint.port, 0) + endpoint.packed + bytes(4)


def pack_prefix(prefix: Prefix) -> bytes:
    family = pack("=H", 2 if prefix.is_ipv4 else 10)
    return pack_nested(
        0,
        pack_attribute(3, bytes([prefix.length]))
        + pack_attribute(1, family)
        + pack_attribute(2, prefix.packed),
    )


class MemoryKernel:
    """Answers what GenetlinkControl sends, as drivers/net/wireguard/netlink.c does."""

    def __init__(self, *, has_remove_flag: bool) -> None:
        self.fake = FakeWireGuard()
        self.has_remove_flag = has_remove_flag
        self.messages: list[bytes] = []
        """Those of WG_CMD_SET_DEVICE."""
        self.dumps = 0
        self.error: NetlinkError | PrivilegeError | None = None
        self.family_answer: Sequence[Message] = split_messages(captured.WIREGUARD_FAMILY)
        self.closed = False

    def request(self, kind: int, payload: bytes, flags: int, _what: str) -> Sequence[Message]:
        assert flags == 0
        if self.error is not None:
            raise self.error
        if kind == 16:
            return self.family_answer
        assert kind == FAMILY
        self.messages.append(payload)
        if self.fake.gone:
            raise InterfaceNotFoundError(errno.ENODEV, "set")
        attributes = parse_attributes(payload, 4)
        if 7 in attributes:
            self.fake.set_fwmark(parse_u32(attributes[7]))
        for _kind, peer in iter_attributes(attributes.get(8, b"")):
            self._set_peer(parse_attributes(peer))
        return ()

    def dump(self, kind: int, payload: bytes, _what: str) -> Sequence[Message]:
        assert (kind, parse_attributes(payload, 4)) == (FAMILY, {1: pack("=I", IFINDEX)})
        self.dumps += 1
        if self.error is not None:
            raise self.error
        if self.fake.gone:
            raise InterfaceNotFoundError(errno.ENODEV, "dump")
        parts = [part for peer in self.fake.peers.values() for part in self._parts(peer)]
        head = pack("=BBxx", 0, 1)
        first = head + pack_attribute(7, pack("=I", self.fake.fwmark))
        return [
            Message(FAMILY, 2, 1, payload)
            for payload in [first, *(head + pack_nested(8, part) for part in parts)]
        ]

    def close(self) -> None:
        self.closed = True

    def _parts(self, peer: Peer) -> Iterator[bytes]:
        """A peer whose allowed IPs do not fit comes again with the rest of them."""
        attributes = pack_attribute(1, peer.public_key)
        if peer.endpoint is not None:
            attributes += pack_attribute(4, pack_endpoint(peer.endpoint))
        attributes += pack_attribute(5, pack("=H", peer.persistent_keepalive))
        prefixes = peer.allowed_ips
        while prefixes:
            nests = b"".join(map(pack_prefix, prefixes[:700]))
            yield pack_nested(0, attributes + pack_nested(9, nests))
            attributes, prefixes = pack_attribute(1, peer.public_key), prefixes[700:]
        if not peer.allowed_ips:
            yield pack_nested(0, attributes)

    def _set_peer(self, attributes: dict[int, bytes]) -> None:
        public_key, flags = attributes[1], parse_u32(attributes[3])
        if flags & 1:
            self.fake.remove_peer(public_key)
            return
        if not self.fake.has_peer(public_key):
            if flags & 4:
                return
            self.fake.put_peer(Peer(public_key))
        self._complete(public_key, attributes)
        changes = []
        for _kind, nest in iter_attributes(attributes.get(9, b"")):
            found = parse_attributes(nest)
            if 4 in found and not self.has_remove_flag:
                raise NetlinkError(errno.EINVAL, "set", "Unknown attribute type")
            changes.append(
                AllowedIPChange(public_key, Prefix(found[2], found[3][0]), 4 not in found)
            )
        self.fake.change_allowed_ips(changes)

    def _complete(self, public_key: bytes, attributes: dict[int, bytes]) -> None:
        if 2 in attributes:
            self.fake.add_peer(Peer(public_key), attributes[2])
        if 4 in attributes:
            address = attributes[4]
            packed = address[4:8] if len(address) == 16 else address[8:24]
            endpoint = Endpoint(packed, int.from_bytes(address[2:4], "big"))
            self.fake.add_peer(Peer(public_key, endpoint=endpoint))
        if 5 in attributes:
            (seconds,) = unpack("=H", attributes[5])
            self.fake.add_peer(Peer(public_key, persistent_keepalive=seconds))


class KernelUnderTest:
    def __init__(self, kernel: MemoryKernel) -> None:
        self.kernel = kernel
        self.control = GenetlinkControl(IFINDEX)

    def put_peer(self, peer: Peer) -> None:
        self.kernel.fake.put_peer(peer)

    def remove_peer(self, public_key: bytes) -> None:
        self.kernel.fake.remove_peer(public_key)

    def allowed_ips(self) -> dict[bytes, set[str]]:
        return {key: self.kernel.fake.allowed_ips(key) for key in self.kernel.fake.peers}

    def delete(self) -> None:
        self.kernel.fake.gone = True


@pytest.fixture(params=[True, False], ids=["with the flag", "without the flag"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MemoryKernel:
    made = MemoryKernel(has_remove_flag=request.param)
    monkeypatch.setattr(genetlink, "NetlinkSocket", lambda _protocol: made)
    return made


class TestGenetlinkControl(WireGuardControlContract):
    @pytest.fixture
    def wireguard(self, kernel: MemoryKernel) -> WireGuardUnderTest:
        return KernelUnderTest(kernel)


def test_many_grants_are_one_message_and_no_dump(kernel: MemoryKernel) -> None:
    control = GenetlinkControl(IFINDEX)
    kernel.fake.put_peer(a_peer(ALICE))
    control.change_allowed_ips(adding(ALICE, *(f"10.0.0.{n}/32" for n in range(200))))
    assert len(kernel.messages) == 1
    assert kernel.dumps == 0


def test_the_flag_is_tried_once(kernel: MemoryKernel) -> None:
    control = GenetlinkControl(IFINDEX)
    kernel.fake.put_peer(a_peer(ALICE, "10.0.0.1/32", "10.0.0.2/32"))
    control.change_allowed_ips(removing(ALICE, "10.0.0.1/32"))
    control.change_allowed_ips(removing(ALICE, "10.0.0.2/32"))
    if kernel.has_remove_flag:
        assert (len(kernel.messages), kernel.dumps) == (2, 0)
    else:
        assert (len(kernel.messages), kernel.dumps) == (3, 2)


def test_without_anything_to_take_over_nothing_is_sent(kernel: MemoryKernel) -> None:
    control = GenetlinkControl(IFINDEX)
    kernel.fake.put_peer(a_peer(ALICE))
    control.change_allowed_ips(removing(ALICE, "10.0.0.1/32"))
    kernel.messages.clear()
    control.change_allowed_ips(removing(ALICE, "10.0.0.1/32"))
    assert len(kernel.messages) == (1 if kernel.has_remove_flag else 0)


def test_a_throwaway_peer_that_was_left_behind_is_removed(
    kernel: MemoryKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.has_remove_flag = False
    control = GenetlinkControl(IFINDEX)
    kernel.fake.put_peer(a_peer(ALICE, "10.0.0.1/32"))
    kernel.fake.put_peer(a_peer(BOB))
    control.change_allowed_ips(removing(ALICE, "10.0.0.9/32"))
    real = kernel.fake.change_allowed_ips

    def fail_once(changes: Sequence[AllowedIPChange]) -> None:
        monkeypatch.setattr(kernel.fake, "change_allowed_ips", real)
        real(changes)
        raise NetlinkError(errno.ENOMEM, "set")

    monkeypatch.setattr(kernel.fake, "change_allowed_ips", fail_once)
    with pytest.raises(WireGuardError, match="Cannot allocate memory"):
        control.change_allowed_ips(removing(ALICE, "10.0.0.1/32"))
    assert set(kernel.fake.peers) == {ALICE, BOB}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (InterfaceNotFoundError(errno.ENODEV, "dump"), WireGuardGoneError),
        (NetlinkError(errno.EOPNOTSUPP, "dump"), NotWireGuardError),
        (NetlinkError(errno.EINTR, "dump"), WireGuardError),
        (NetlinkError(errno.EINVAL, "set"), WireGuardError),
        (MalformedMessageError("half a message"), WireGuardError),
        (PrivilegeError("dump"), PrivilegeError),
    ],
)
def test_errors_are_those_of_the_interface(
    kernel: MemoryKernel, error: NetlinkError | PrivilegeError, kind: type[Exception]
) -> None:
    control = GenetlinkControl(IFINDEX)
    kernel.error = error
    with pytest.raises(kind) as caught:
        control.device()
    assert type(caught.value) is kind
    for changes in (adding(ALICE, "10.0.0.1/32"), removing(ALICE, "10.0.0.1/32")):
        with pytest.raises(kind):
            control.change_allowed_ips(changes)


def test_a_kernel_without_wireguard_says_so_and_nothing_stays_open(kernel: MemoryKernel) -> None:
    kernel.error = NetlinkError(errno.ENOENT, "look up")
    with pytest.raises(WireGuardError, match="the kernel knows no WireGuard"):
        GenetlinkControl(IFINDEX)
    assert kernel.closed
    kernel.error = NetlinkError(errno.EBUSY, "look up")
    with pytest.raises(WireGuardError, match="look up"):
        GenetlinkControl(IFINDEX)


def test_an_answer_without_a_family_is_an_error(kernel: MemoryKernel) -> None:
    kernel.family_answer = []
    with pytest.raises(WireGuardError, match="expected a family"):
        GenetlinkControl(IFINDEX)

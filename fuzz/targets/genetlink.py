"""What the kernel's WireGuard answers by generic netlink: a dump in one datagram or more.

- Each function parses, or raises MalformedMessageError.
- The two ways of reading allowed IPs agree; what was read is written and read back the same.
"""

from collections.abc import Iterator
from contextlib import suppress

from tests.data.netlink import captured
from wg_dynamic.netlink.errors import MalformedMessageError
from wg_dynamic.netlink.wire import split_messages
from wg_dynamic.wireguard.batch import Action, Step
from wg_dynamic.wireguard.genetlink_codec import (
    build_steps,
    parse_allowed_ips,
    parse_device,
    parse_family,
)

MAX_SIZE = 4096
PARSERS = ("netlink.wire", "wireguard.genetlink_codec")


def seeds() -> Iterator[bytes]:
    """As Linux sent them."""
    yield from (captured.WIREGUARD_DEVICE, captured.WIREGUARD_DEVICE_PADDED)
    yield captured.WIREGUARD_DEVICE + captured.WIREGUARD_DEVICE_PADDED
    yield captured.WIREGUARD_FAMILY


def words() -> Iterator[bytes]:
    """Headers of attributes: length and type, some nested."""
    for length in (4, 6, 8, 20, 28, 36, 40):
        for kind in (1, 2, 3, 4, 5, 6, 8, 9):
            yield length.to_bytes(2, "little") + kind.to_bytes(2, "little")
            yield length.to_bytes(2, "little") + kind.to_bytes(1) + b"\x80"


def check(data: bytes) -> None:
    """A datagram, and the same bytes as a payload."""
    _check_payloads([data])
    with suppress(MalformedMessageError):
        _check_payloads([message.payload for message in split_messages(data)])


def _check_payloads(payloads: list[bytes]) -> None:
    for payload in payloads:
        with suppress(MalformedMessageError):
            parse_family(payload)
    with suppress(MalformedMessageError):
        parse_allowed_ips(payloads, {b"\x01" + bytes(31)})
    try:
        device = parse_device(payloads)
    except MalformedMessageError:
        return
    held = {peer.public_key: set(peer.allowed_ips) for peer in device.peers}
    assert parse_allowed_ips(payloads, held.keys()) == held
    steps = [Step(Action.ADD, key, tuple(prefixes)) for key, prefixes in held.items()]
    assert parse_allowed_ips(build_steps(1, steps), held.keys()) == held

"""What a WireGuard in user space answers.

- Each function parses, or raises MalformedReplyError.
- The two ways of reading allowed IPs agree; what was read is written and read back the same.
"""

from collections.abc import Iterator
from contextlib import suppress

from wg_dynamic.wireguard.batch import Action, Step
from wg_dynamic.wireguard.uapi_codec import (
    MalformedReplyError,
    build_steps,
    parse_allowed_ips,
    parse_device,
    parse_status,
)

MAX_SIZE = 4096
PARSERS = ("wireguard.uapi_codec",)

_REPLY = f"""\
private_key={"0a" * 32}
listen_port=51820
fwmark=1
public_key={"0b" * 32}
preshared_key={"0c" * 32}
protocol_version=1
endpoint=192.0.2.1:51820
last_handshake_time_sec=1795367839
last_handshake_time_nsec=5
tx_bytes=1
rx_bytes=1
persistent_keepalive_interval=25
allowed_ip=10.0.0.1/32
allowed_ip=fe80::1/128
allowed_ip=::ffff:192.0.2.1/128
public_key={"0d" * 32}
endpoint=[fe80::1%eth0]:1
errno=0

"""


def seeds() -> Iterator[bytes]:
    """Answers of wireguard-go."""
    yield _REPLY.encode()
    yield b"errno=0\n\n"
    yield b"errno=-22\n\n"


def words() -> Iterator[bytes]:
    """Keys, and values that are near to wrong."""
    yield from (line.partition("=")[0].encode() + b"=" for line in _REPLY.split("\n") if line)
    yield b"public_key=" + b"0e" * 32
    yield from (b"0a" * 32, b"/32", b"/128", b"/0", b"::", b"1:2:3:4:5:6:7:8", b"10.0.0.2", b"\n\n")
    yield from (b"[2001:db8::9]:1", b"65536", b"4294967296", b"9223372036854775808", b"-1", b"%")


def check(data: bytes) -> None:
    """One whole reply."""
    with suppress(MalformedReplyError):
        parse_status(data)
    with suppress(MalformedReplyError):
        parse_allowed_ips(data, {b"\x0b" * 32})
    try:
        device = parse_device(data)
    except MalformedReplyError:
        return
    held = {peer.public_key: set(peer.allowed_ips) for peer in device.peers}
    assert parse_allowed_ips(data, held.keys()) == held
    steps = [Step(Action.ADD, key, tuple(prefixes)) for key, prefixes in held.items()]
    written = build_steps(steps).removesuffix(b"\n") + b"errno=0\n\n"
    assert parse_allowed_ips(written, held.keys()) == held

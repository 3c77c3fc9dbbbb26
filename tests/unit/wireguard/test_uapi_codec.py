import pytest

from tests.contract.wireguard_control import ALICE, BOB, CAROL
from wg_dynamic.address import parse_address, parse_prefix
from wg_dynamic.wireguard.batch import Action, Step
from wg_dynamic.wireguard.control import WireGuardError
from wg_dynamic.wireguard.device import Device, Endpoint, Peer
from wg_dynamic.wireguard.uapi_codec import (
    MalformedReplyError,
    build_fwmark,
    build_peer,
    build_peer_removal,
    build_steps,
    parse_allowed_ips,
    parse_device,
    parse_status,
)

PRIVATE = "e0" * 32
PRESHARED = "c7" * 32

# As wireguard-go 0.0.20220316 answers.
REPLY = f"""\
private_key={PRIVATE}
listen_port=12912
fwmark=51
public_key={ALICE.hex()}
preshared_key={PRESHARED}
protocol_version=1
endpoint=[abcd:23::33%2]:51820
last_handshake_time_sec=1700000000
last_handshake_time_nsec=250000000
tx_bytes=1024
rx_bytes=2048
persistent_keepalive_interval=25
allowed_ip=192.168.4.4/32
allowed_ip=fe80::1/128
public_key={BOB.hex()}
preshared_key={"00" * 32}
protocol_version=1
endpoint=182.122.22.19:3233
last_handshake_time_sec=0
last_handshake_time_nsec=0
tx_bytes=0
rx_bytes=0
persistent_keepalive_interval=0
allowed_ip=0.0.0.0/0
allowed_ip=::/0
public_key={CAROL.hex()}
preshared_key={"00" * 32}
protocol_version=1
errno=0

""".encode()


def test_a_device_is_read() -> None:
    assert parse_device(REPLY) == Device(
        public_key=None,
        listen_port=12912,
        fwmark=51,
        peers=(
            Peer(
                ALICE,
                (parse_prefix("192.168.4.4/32"), parse_prefix("fe80::1/128")),
                Endpoint(parse_address("abcd:23::33"), 51820),
                1_700_000_000.25,
                25,
            ),
            Peer(
                BOB,
                (parse_prefix("0.0.0.0/0"), parse_prefix("::/0")),
                Endpoint(parse_address("182.122.22.19"), 3233),
            ),
            Peer(CAROL),
        ),
    )


def test_neither_private_nor_preshared_key_is_kept() -> None:
    read = repr(parse_device(REPLY))
    for secret in (PRIVATE, PRESHARED):
        assert secret not in read
        assert repr(bytes.fromhex(secret))[2:-1] not in read


def test_an_interface_without_anything_is_read() -> None:
    assert parse_device(b"errno=0\n\n") == Device(None, 0, 0, ())
    text = f"public_key={ALICE.hex()}\nerrno=0\n\n".encode()
    assert parse_device(text) == Device(None, 0, 0, (Peer(ALICE),))


def test_the_allowed_ips_of_named_peers_alone_are_read() -> None:
    assert parse_allowed_ips(REPLY, {BOB, CAROL}) == {
        BOB: {parse_prefix("0.0.0.0/0"), parse_prefix("::/0")},
        CAROL: set(),
    }


@pytest.mark.parametrize(("reply", "status"), [(b"errno=0\n\n", 0), (b"a=1\nerrno=-22\n\n", 22)])
def test_the_status_is_the_last_line(reply: bytes, status: int) -> None:
    assert parse_status(reply) == status


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"\n\n",
        b"errno=0\n",
        b"errno=\n\n",
        b"errno=x\n\n",
        b"errno=--1\n\n",
        b"errno=65536\n\n",
        b"listen_port=1\n\n",
        b"errno=0\nmore=1\n\n",
        b"\xff\n\n",
    ],
)
def test_a_reply_without_a_status_is_refused(reply: bytes) -> None:
    with pytest.raises(MalformedReplyError):
        parse_status(reply)


KEY = f"public_key={ALICE.hex()}"


@pytest.mark.parametrize(
    "text",
    [
        "listen_port=65536",
        "listen_port=-1",
        "listen_port=",
        "listen_port=1_0",
        "fwmark=4294967296",
        "listen_port=" + "9" * 5000,
        "public_key=",
        f"public_key={ALICE.hex()[:-2]}",
        f"public_key={ALICE.hex()[:-1]}g",
        f"public_key={' ' * 64}",
        f"{KEY}\npersistent_keepalive_interval=65536",
        f"{KEY}\nlast_handshake_time_sec=9223372036854775808",
        f"{KEY}\nlast_handshake_time_sec=1\nlast_handshake_time_nsec=x",
        f"{KEY}\nendpoint=",
        f"{KEY}\nendpoint=192.0.2.1",
        f"{KEY}\nendpoint=192.0.2.1:65536",
        f"{KEY}\nendpoint=host:1",
        f"{KEY}\nendpoint=[]:1",
        f"{KEY}\nallowed_ip=",
        f"{KEY}\nallowed_ip=10.0.0.1",
        f"{KEY}\nallowed_ip=10.0.0.1/33",
        f"{KEY}\nallowed_ip=::1/129",
        f"{KEY}\nallowed_ip=-10.0.0.1/32",
        f"{KEY}\nallowed_ip=10.0.0.1/32/1",
        "listen_port=\xe9",
    ],
)
def test_a_reply_without_sense_is_refused(text: str) -> None:
    with pytest.raises(MalformedReplyError):
        parse_device(f"{text}\nerrno=0\n\n".encode())


def test_what_is_refused_is_an_error_of_wireguard() -> None:
    assert issubclass(MalformedReplyError, WireGuardError)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "1::",
        "fe80::1:22:333:4444",
        "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7::",
        "::2:3:4:5:6:7:8",
        "::ffff:192.0.2.1",
        "ABCD::ef",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.4 ",
        "1.2.3.+4",
        "",
        "x",
        ":",
        ":::",
        "1::2::3",
        "1:::2",
        ":1",
        "1:",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1:2:3:4:5:6:7:8::",
        "12345::",
        "1 2::",
        "+1::",
        "-1::",
        "g::",
        "fe80::1%1",
        "::1.2.3.256",
    ],
)
def test_addresses_are_read_as_the_standard_library_reads_them(address: str) -> None:
    text = f"{KEY}\nallowed_ip={address}/0\nerrno=0\n\n".encode()
    try:
        expected = parse_address(address)
    except ValueError:
        with pytest.raises(MalformedReplyError):
            parse_device(text)
    else:
        assert parse_device(text).peers[0].allowed_ips[0].packed == expected


def test_steps_are_one_operation() -> None:
    four, six = parse_prefix("10.0.0.1/32"), parse_prefix("fe80::/64")
    steps = [
        Step(Action.ADD, ALICE, (four, six)),
        Step(Action.REMOVE, BOB, (four,)),
        Step(Action.TAKE_OVER, CAROL, (six,)),
    ]
    assert build_steps(steps).decode() == (
        "set=1\n"
        f"public_key={ALICE.hex()}\nupdate_only=true\n"
        "allowed_ip=10.0.0.1/32\nallowed_ip=fe80::/64\n"
        f"public_key={BOB.hex()}\nupdate_only=true\nallowed_ip=-10.0.0.1/32\n"
        f"public_key={CAROL.hex()}\nallowed_ip=fe80::/64\n"
        f"public_key={CAROL.hex()}\nremove=true\n"
        "\n"
    )


def test_a_peer_is_removed_by_its_key() -> None:
    expected = f"set=1\npublic_key={BOB.hex()}\nremove=true\n\n"
    assert build_peer_removal(BOB) == expected.encode()


def test_a_peer_is_made_with_its_keys_endpoint_keepalive_and_allowed_ips() -> None:
    endpoint = Endpoint(parse_address("2001:db8::1"), 51820)
    peer = Peer(ALICE, (parse_prefix("10.0.0.1/24"),), endpoint, 1.0, 25)
    assert build_peer(peer, bytes.fromhex(PRESHARED)).decode() == (
        f"set=1\npublic_key={ALICE.hex()}\npreshared_key={PRESHARED}\n"
        "endpoint=[2001:db8::1]:51820\npersistent_keepalive_interval=25\n"
        "allowed_ip=10.0.0.0/24\n\n"
    )


def test_what_a_peer_is_not_given_is_not_said() -> None:
    assert build_peer(Peer(BOB), None).decode() == f"set=1\npublic_key={BOB.hex()}\n\n"


def test_the_fwmark_is_set_with_nothing_else() -> None:
    assert build_fwmark(0) == b"set=1\nfwmark=0\n\n"
    assert build_fwmark(0xCA6C) == b"set=1\nfwmark=51820\n\n"

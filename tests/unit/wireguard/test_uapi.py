"""A wireguard-go of memory behind a scripted connection; tests/netns has the real one."""

import errno
import socket
from collections.abc import Callable
from pathlib import Path

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
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import format_address, parse_address, parse_prefix
from wg_dynamic.errors import PrivilegeError
from wg_dynamic.wireguard import uapi
from wg_dynamic.wireguard.control import WireGuardError, WireGuardGoneError
from wg_dynamic.wireguard.device import AllowedIPChange, Endpoint, Peer
from wg_dynamic.wireguard.uapi import UapiControl
from wg_dynamic.wireguard.uapi_codec import MalformedReplyError

EINVAL = b"errno=-22\n\n"
OK = b"errno=0\n\n"


class MemoryWireGuardGo:
    """Answers requests as device/uapi.go of wireguard-go does."""

    def __init__(self, *, has_remove_sign: bool = False, closes: bool = False) -> None:
        self.fake = FakeWireGuard()
        self.has_remove_sign = has_remove_sign
        self.closes = closes
        """After each answer, as boringtun does."""
        self.requests: list[bytes] = []
        self.connect_error: OSError | None = None
        self.answer: Callable[[bytes], bytes | OSError] = self.answer_truly
        self.connections: list[Connection] = []

    def answer_truly(self, request: bytes) -> bytes:
        lines = request.decode().split("\n")
        assert lines[-2:] == ["", ""]
        if lines[0] == "get=1":
            mark = f"fwmark={self.fake.fwmark}\n" if self.fake.fwmark else ""
            return (mark + "".join(map(self._peer, self.fake.peers.values()))).encode() + OK
        assert lines[0] == "set=1"
        return OK if all(self._set(lines[1:-2])) else EINVAL

    def _peer(self, peer: Peer) -> str:
        lines = [f"public_key={peer.public_key.hex()}", f"preshared_key={'00' * 32}"]
        if peer.endpoint is not None:
            host = format_address(peer.endpoint.packed)
            host = f"[{host}]" if ":" in host else host
            lines.append(f"endpoint={host}:{peer.endpoint.port}")
        lines.append(f"persistent_keepalive_interval={peer.persistent_keepalive}")
        lines += [f"allowed_ip={prefix}" for prefix in peer.allowed_ips]
        return "\n".join([*lines, ""])

    def _set(self, lines: list[str]) -> list[bool]:
        done, public_key, created = [], b"", False
        for line in lines:
            key, _, value = line.partition("=")
            if key == "fwmark":
                self.fake.set_fwmark(int(value))
            elif key == "public_key":
                public_key = bytes.fromhex(value)
                created = not self.fake.has_peer(public_key)
                if created:
                    self.fake.put_peer(Peer(public_key))
            elif (line == "update_only=true" and created) or line == "remove=true":
                self.fake.remove_peer(public_key)
            elif key in ("preshared_key", "endpoint", "persistent_keepalive_interval"):
                self._complete(public_key, key, value)
            elif key == "allowed_ip":
                done.append(self._allowed_ip(public_key, value))
                if not done[-1]:
                    break
        return done

    def _complete(self, public_key: bytes, key: str, value: str) -> None:
        if key == "preshared_key":
            self.fake.add_peer(Peer(public_key), bytes.fromhex(value))
        elif key == "endpoint":
            host, _, port = value.rpartition(":")
            endpoint = Endpoint(parse_address(host.strip("[]")), int(port))
            self.fake.add_peer(Peer(public_key, endpoint=endpoint))
        else:
            self.fake.add_peer(Peer(public_key, persistent_keepalive=int(value)))

    def _allowed_ip(self, public_key: bytes, value: str) -> bool:
        add = not value.startswith("-")
        if not add and not self.has_remove_sign:
            return False
        change = AllowedIPChange(public_key, parse_prefix(value.removeprefix("-")), add)
        self.fake.change_allowed_ips([change])
        return True


class Connection:
    """A socket.socket as far as UapiControl uses one."""

    def __init__(self, peer: MemoryWireGuardGo) -> None:
        self.peer = peer
        self.waiting = b""
        self.error: OSError | None = None
        self.hung_up = False
        self.closed = False
        self.timeout: float | None = None
        peer.connections.append(self)

    def settimeout(self, seconds: float) -> None:
        self.timeout = seconds

    def connect(self, path: str) -> None:
        assert path == "/sockets/wg0.sock"
        if self.peer.fake.gone:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        if self.peer.connect_error is not None:
            raise self.peer.connect_error

    def sendall(self, data: bytes) -> None:
        assert not self.closed
        assert self.timeout
        if self.hung_up or self.peer.fake.gone:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        self.peer.requests.append(data)
        answer = self.peer.answer(data)
        if isinstance(answer, OSError):
            self.error = answer
        else:
            self.waiting = answer
        self.hung_up = self.peer.closes

    def recv(self, size: int) -> bytes:
        assert not self.closed
        if self.error is not None:
            raise self.error
        size = min(size, 7) if len(self.waiting) < 1000 else size  # in pieces, as it may come
        piece, self.waiting = self.waiting[:size], self.waiting[size:]
        return piece

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> MemoryWireGuardGo:
    made = MemoryWireGuardGo()
    monkeypatch.setattr(socket, "socket", lambda *_arguments: Connection(made))
    return made


def open_control() -> UapiControl:
    return UapiControl("wg0", Path("/sockets"))


class UapiUnderTest:
    def __init__(self, peer: MemoryWireGuardGo) -> None:
        self.peer = peer
        self.control = open_control()

    def put_peer(self, peer: Peer) -> None:
        self.peer.fake.put_peer(peer)

    def remove_peer(self, public_key: bytes) -> None:
        self.peer.fake.remove_peer(public_key)

    def allowed_ips(self) -> dict[bytes, set[str]]:
        return {key: self.peer.fake.allowed_ips(key) for key in self.peer.fake.peers}

    def delete(self) -> None:
        self.peer.fake.gone = True


class TestUapiControl(WireGuardControlContract):
    many = 200  # text has no limit

    @pytest.fixture(params=["2022", "2025", "boringtun"])
    def wireguard(
        self, request: pytest.FixtureRequest, peer: MemoryWireGuardGo
    ) -> WireGuardUnderTest:
        peer.has_remove_sign = request.param == "2025"
        peer.closes = request.param == "boringtun"
        return UapiUnderTest(peer)


def test_one_connection_is_kept(peer: MemoryWireGuardGo) -> None:
    control = open_control()
    for _ in range(3):
        control.device()
        control.change_allowed_ips(adding(ALICE, "10.0.0.1/32"))
    assert len(peer.connections) == 1
    control.close()
    control.close()
    assert peer.connections[0].closed


def test_many_grants_are_one_operation_and_no_dump(peer: MemoryWireGuardGo) -> None:
    control = open_control()
    peer.requests.clear()
    control.change_allowed_ips(adding(ALICE, *(f"10.0.0.{n}/32" for n in range(200))))
    assert len(peer.requests) == 1
    control.change_allowed_ips([])
    assert len(peer.requests) == 1


def test_a_connection_that_was_closed_is_made_anew_once(peer: MemoryWireGuardGo) -> None:
    control = open_control()
    peer.connections[0].hung_up = True
    assert control.device().peers == ()
    assert len(peer.connections) == 2
    assert peer.connections[0].closed
    peer.answer = lambda _request: b""
    with pytest.raises(WireGuardGoneError, match="closed the connection without an answer"):
        control.device()
    assert len(peer.connections) == 3


def test_the_sign_is_tried_once(peer: MemoryWireGuardGo) -> None:
    control = open_control()
    peer.fake.put_peer(a_peer(ALICE, "10.0.0.1/32", "10.0.0.2/32"))
    peer.requests.clear()
    control.change_allowed_ips(removing(ALICE, "10.0.0.1/32"))
    control.change_allowed_ips(removing(ALICE, "10.0.0.2/32"))
    signed = [b"allowed_ip=-" in request for request in peer.requests]
    assert signed == [True, False, False, False, False]
    assert peer.fake.allowed_ips(ALICE) == set()


def test_with_nothing_to_take_over_nothing_is_sent(peer: MemoryWireGuardGo) -> None:
    control = open_control()
    peer.fake.put_peer(a_peer(ALICE))
    control.change_allowed_ips(removing(ALICE, "10.0.0.1/32"))
    peer.requests.clear()
    control.change_allowed_ips(removing(ALICE, "10.0.0.1/32"))
    assert peer.requests == [b"get=1\n\n"]


def test_after_a_refusal_the_connection_is_not_used_again(peer: MemoryWireGuardGo) -> None:
    control = open_control()
    peer.answer = lambda _request: EINVAL
    with pytest.raises(WireGuardError, match="refused to change wg0: Invalid argument"):
        control.change_allowed_ips(adding(ALICE, "10.0.0.1/32"))
    assert peer.connections[0].closed
    peer.answer = peer.answer_truly
    assert control.device().peers == ()


def test_a_refusal_for_another_reason_is_raised(peer: MemoryWireGuardGo) -> None:
    control = open_control()
    peer.answer = lambda _request: b"errno=-5\n\n"
    with pytest.raises(WireGuardError, match="Input/output error"):
        control.change_allowed_ips(removing(ALICE, "10.0.0.1/32"))


def test_a_throwaway_peer_that_was_left_behind_is_removed(peer: MemoryWireGuardGo) -> None:
    control = open_control()
    peer.fake.put_peer(a_peer(ALICE, "10.0.0.1/32"))
    peer.fake.put_peer(a_peer(BOB))

    def fail_half_way(request: bytes) -> bytes:
        if b"remove=true" not in request or b"allowed_ip" not in request:
            return peer.answer_truly(request)
        half = request[: request.rindex(b"public_key=")]
        peer.answer_truly(half + b"\n")
        return b"errno=-12\n\n"

    peer.answer = fail_half_way
    with pytest.raises(WireGuardError, match="Cannot allocate memory"):
        control.change_allowed_ips(removing(ALICE, "10.0.0.1/32"))
    assert set(peer.fake.peers) == {ALICE, BOB}


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file"), WireGuardGoneError, "no WireGuard at"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), WireGuardGoneError, "refused"),
        (PermissionError(errno.EACCES, "Permission denied"), PrivilegeError, "denied"),
        (TimeoutError("timed out"), WireGuardError, "nobody took the connection"),
    ],
)
def test_a_socket_that_does_not_connect_says_why(
    peer: MemoryWireGuardGo, error: OSError, kind: type[Exception], words: str
) -> None:
    peer.connect_error = error
    with pytest.raises(kind, match=words) as caught:
        open_control()
    assert type(caught.value) is kind
    assert peer.connections[0].closed


def test_no_answer_in_time_is_an_error(peer: MemoryWireGuardGo) -> None:
    control = open_control()
    peer.answer = lambda _request: TimeoutError("timed out")
    with pytest.raises(WireGuardError, match="did not answer within 5 s") as caught:
        control.device()
    assert not isinstance(caught.value, WireGuardGoneError)
    assert peer.connections[0].closed


@pytest.mark.parametrize(
    "reply", [b"nonsense\n\n", b"errno=0\nx\n\n", b"public_key=1\nerrno=0\n\n"]
)
def test_a_senseless_reply_is_an_error(peer: MemoryWireGuardGo, reply: bytes) -> None:
    control = open_control()
    peer.answer = lambda _request: reply
    with pytest.raises(MalformedReplyError):
        control.device()


def test_a_reply_is_bounded(peer: MemoryWireGuardGo, monkeypatch: pytest.MonkeyPatch) -> None:
    control = open_control()
    size = len(peer.answer_truly(b"get=1\n\n"))
    monkeypatch.setattr(uapi, "MAX_REPLY", size)
    assert control.device().peers == ()
    monkeypatch.setattr(uapi, "MAX_REPLY", size - 1)
    with pytest.raises(MalformedReplyError, match=f"expected at most {size - 1}"):
        control.device()
    assert peer.connections[0].closed

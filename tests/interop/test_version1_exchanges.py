"""Exchanges of other implementations of version 1, replayed through ours.

Form and origin of the files: version1/README.md. docs/protocol.md section 5.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from wg_dynamic.protocol.buffer import MessageBuffer
from wg_dynamic.protocol.codec import decode_request, decode_version1_reply
from wg_dynamic.protocol.connection import (
    ClientConnection,
    ConnectionClosed,
    ConnectionFailed,
    ServerConnection,
    VersionRefused,
)
from wg_dynamic.protocol.messages import Request, RequestIP, RequestIPReply

FILES = sorted(Path(__file__).with_name("version1").glob("*.txt"))


@dataclass(frozen=True)
class Exchange:
    """One file."""

    client: bytes
    server: bytes
    replay: frozenset[str]
    server_closes: bool


def read(path: Path) -> Exchange:
    said = {"C>": b"", "S>": b""}
    heads: dict[str, str] = {}
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith("#"):
            continue
        if line[:2] in said:
            said[line[:2]] += spoken(line[3:])
            continue
        name, _, text = line.partition(": ")
        heads[name] = text
    assert heads.keys() <= {"replay", "closes"}
    replay = frozenset(heads["replay"].split())
    assert replay
    assert replay <= {"server", "client", "reader"}
    return Exchange(said["C>"], said["S>"], replay, heads.get("closes") == "server")


def spoken(text: str) -> bytes:
    ended = text.endswith("\\c")
    raw = text.removesuffix("\\c").encode("ascii").decode("unicode_escape").encode("latin-1")
    return raw if ended else raw + b"\n"


def messages(data: bytes) -> list[bytes]:
    buffer = MessageBuffer()
    buffer.receive_data(data)
    cut = list(iter(buffer.next_message, None))
    assert buffer.pending == 0
    return cut


EXCHANGES = {path.stem: read(path) for path in FILES}


def those(kind: str) -> list[str]:
    return [name for name, exchange in EXCHANGES.items() if kind in exchange.replay]


def test_there_are_exchanges_of_every_kind() -> None:
    assert all(those(kind) for kind in ("server", "client", "reader"))


@pytest.mark.parametrize("name", those("server"))
def test_our_server_writes_what_theirs_writes(name: str) -> None:
    exchange = EXCHANGES[name]
    answers = [decode_version1_reply(message) for message in messages(exchange.server)]
    server = ServerConnection()
    server.receive_data(exchange.client)
    written = b""
    event = server.next_event()
    while isinstance(event, Request):
        written += server.send(answers.pop(0))
        event = server.next_event()
    assert isinstance(event, ConnectionFailed) == exchange.server_closes
    if isinstance(event, ConnectionFailed):
        written += event.reply
    assert written == exchange.server


@pytest.mark.parametrize("name", those("client"))
def test_our_client_writes_what_theirs_writes_and_understands_the_answer(name: str) -> None:
    exchange = EXCHANGES[name]
    requests = [decode_request(message) for message in messages(exchange.client)]
    client = ClientConnection(requests[0].version)
    assert b"".join(client.send(request) for request in requests) == exchange.client
    check_answers(client, exchange)


@pytest.mark.parametrize("name", those("reader"))
def test_our_client_understands_the_answer(name: str) -> None:
    exchange = EXCHANGES[name]
    client = ClientConnection(1)
    for _ in messages(exchange.client):
        client.send(RequestIP(version=1))
    check_answers(client, exchange)


def check_answers(client: ClientConnection, exchange: Exchange) -> None:
    """Each request has its reply, in order, or the version is refused."""
    asked = client.pending
    client.receive_data(exchange.server)
    client.receive_eof()
    events = list(iter(client.next_event, None))
    if client.version == 2:
        assert [type(event) for event in events] == [VersionRefused]
        return
    expected = [decode_version1_reply(message) for message in messages(exchange.server)]
    assert events[:asked] == expected[:asked]
    assert all(isinstance(event, RequestIPReply) for event in events[:asked])
    last = ConnectionClosed if len(expected) == asked else ConnectionFailed
    assert [type(event) for event in events[asked:]] == [last]

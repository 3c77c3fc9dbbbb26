"""Following a server that is played by a thread; the real one: tests/netns/test_watch.py."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wg_dynamic.watch.follower import GoneError, NamesFile, Server, follow
from wg_dynamic.watch.link import CONNECT, MAX_DATAGRAM, NO, pair, read_event
from wg_dynamic.watch.names import Names

LEASE = {"address": "10.44.0.7", "public_key": "A", "name": "laptop"}
GRANTED = {"event": "granted", **LEASE}


class Other:
    """The process that gives connections, and the server behind them."""

    def __init__(self) -> None:
        self.link, self.theirs = pair()
        self.answers: list[list[bytes] | None] = []
        """What is said on each connection; None: there is no server. At the end we are gone."""
        self.events: list[dict[str, Any] | None] = []
        self.asked: list[str] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while data := self.theirs.recv(MAX_DATAGRAM):
            if data != CONNECT:
                self.events.append(read_event(data))
                continue
            if not self.answers:
                break
            answer = self.answers.pop(0)
            if answer is None:
                self.theirs.send(NO)
                continue
            ours, theirs = socket.socketpair()
            socket.send_fds(self.theirs, [CONNECT], [theirs.fileno()])
            theirs.close()
            with ours:
                self.asked.append(json.loads(ours.recv(1000))["request"]) if answer != [] else None
                ours.sendall(b"".join(answer))
        self.theirs.close()

    def close(self) -> None:
        self.link.close()
        self._thread.join()


@pytest.fixture
def other() -> Iterator[Other]:
    made = Other()
    yield made
    made.close()


def line(**values: object) -> bytes:
    return json.dumps(values).encode() + b"\n"


def run(other: Other, names: NamesFile | None = None) -> list[float]:
    pauses: list[float] = []
    with pytest.raises(GoneError):
        follow(Server(other.link), other.link, names, pauses.append)
    return pauses


def test_events_are_passed_on_until_the_server_ends_and_then_it_is_tried_again(
    other: Other, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    other.answers += [None, None, [line(row=GRANTED), line(row=GRANTED)], [line(row=GRANTED)]]
    assert run(other) == [1.0] * 4
    assert other.asked == ["events", "events"]
    missed = {**GRANTED, "lost": 1}
    assert other.events == [missed, GRANTED, missed]
    assert caplog.text.count("no server answers") == 1


def test_what_the_server_could_not_send_is_told_with_the_next_event(other: Other) -> None:
    other.answers += [[line(lost=3), line(lost=1), line(row=GRANTED), line(row=GRANTED)]]
    run(other)
    assert other.events == [{**GRANTED, "lost": 5}, GRANTED]


def test_metrics_are_those_of_the_server_or_that_it_is_down(
    other: Other, caplog: pytest.LogCaptureFixture
) -> None:
    other.answers += [None, [line(row={"pools": 7}), line(done={})], []]
    server = Server(other.link)
    for _ in range(3):
        assert server.metrics().splitlines()[-1] == "wg_dynamic_up 0"
    assert "no metrics" in caplog.text
    with pytest.raises(GoneError):
        server.metrics()


def test_names_are_written_as_they_change(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    names = NamesFile(Names("wg0", "wg"), path)
    names.tell(GRANTED)
    assert names.changed.is_set()
    names.write()
    assert path.read_text().splitlines()[1:] == ["10.44.0.7 laptop.wg"]
    assert path.stat().st_mode & 0o777 == 0o644
    names.replace([])
    names.write()
    assert path.read_text().splitlines()[1:] == []


def test_a_file_that_cannot_be_written_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    NamesFile(Names("wg0", "wg"), tmp_path / "none" / "hosts").write()
    assert "cannot be written" in caplog.text


def test_all_leases_are_read_when_following_begins_and_after_a_gap(
    other: Other, tmp_path: Path
) -> None:
    names = NamesFile(Names("wg0", "wg"), tmp_path / "hosts")
    # The first connection is asked for events before the second one is asked for the leases.
    other.answers += [[line(row=GRANTED)], [line(row=LEASE), line(done={})]]
    run(other, names)
    assert other.asked == ["events", "leases"]
    assert "10.44.0.7 laptop.wg" in names.names.text()


def test_an_event_that_finds_no_room_is_counted(other: Other) -> None:
    big = {**GRANTED, "reason": "x" * MAX_DATAGRAM}
    other.answers += [[line(row=big), line(row=GRANTED)]]
    run(other)
    assert other.events == [{**GRANTED, "lost": 2}]

"""What the two processes say to each other."""

import pytest

from wg_dynamic.watch.link import EVENT, MAX_DATAGRAM, event_datagram, pair, read_event


def test_an_event_comes_as_it_went() -> None:
    event = {"event": "granted", "time": 1.5, "address": "10.44.0.7", "lost": 3}
    ours, theirs = pair()
    with ours, theirs:
        ours.send(event_datagram(event))
        assert read_event(theirs.recv(MAX_DATAGRAM)) == event


def test_what_is_not_known_or_could_not_be_printed_is_left_out() -> None:
    event = {"event": "granted", "name": "\x1b[2J", "address": 7, "LD_PRELOAD": "x", "reason": "y"}
    assert read_event(event_datagram(event)) == {"event": "granted", "reason": "y"}


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"C",
        EVENT,
        EVENT + b"x",
        EVENT + b"[]",
        EVENT + b"{}",
        EVENT + b'{"event": 7}',
        EVENT + b"\xff",
        EVENT + b"[" * 5000,
        EVENT + b'{"event":"' + b"x" * MAX_DATAGRAM + b'"}',
    ],
)
def test_what_is_no_event_is_none(datagram: bytes) -> None:
    assert read_event(datagram) is None

"""The process that starts hooks, with a child that is played here."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wg_dynamic.errors import ConfigError
from wg_dynamic.watch.hooks import Hooks
from wg_dynamic.watch.link import CONNECT, EVENT, MAX_DATAGRAM, NO, event_datagram, pair
from wg_dynamic.watch.spawner import Spawner

GRANTED = {"event": "granted", "address": "10.44.0.7"}


class Recorder(Hooks):
    def __init__(self) -> None:
        super().__init__([], list)
        self.told: list[Any] = []

    def tell(self, event: Any) -> None:
        self.told.append(event)


class Scene:
    def __init__(self, place: Path) -> None:
        self.path = place / "socket"
        self.link, self.child = pair()
        self.hooks = Recorder()
        self.signals, self.signal = os.pipe()
        self.error: Exception | None = None

    def where(self) -> Path:
        if self.error:
            raise self.error
        return self.path

    def run(self) -> bool:
        return Spawner(self.link, self.where, self.hooks).run(self.signals)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.link.close()
    made.child.close()
    os.close(made.signals)
    os.close(made.signal)


def test_a_signal_ends_it_and_so_does_the_end_of_the_child(scene: Scene) -> None:
    os.write(scene.signal, b"x")
    assert scene.run()
    os.read(scene.signals, 1)
    scene.child.close()
    assert not scene.run()


def test_events_reach_the_hooks_and_what_is_none_does_not(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    for datagram in (event_datagram(GRANTED), b"rm -rf /", EVENT + b"[]", b"x" * 9000):
        scene.child.send(datagram)
    scene.child.close()
    assert not scene.run()
    assert scene.hooks.told == [GRANTED]
    assert caplog.text.count("is no event, passed over") == 3


def test_the_child_gets_a_connection_where_a_server_listens(scene: Scene) -> None:
    answers: list[tuple[bytes, int]] = []

    def ask() -> None:
        for _ in range(3):
            scene.child.send(CONNECT)
            data, descriptors, _, _ = socket.recv_fds(scene.child, MAX_DATAGRAM, 1)
            answers.append((data, len(descriptors)))
            for descriptor in descriptors:
                os.close(descriptor)
            if len(answers) == 1:
                listener.bind(str(scene.path))
                listener.listen()
            else:
                scene.error = ConfigError("no interface")
        scene.child.close()

    with socket.socket(socket.AF_UNIX) as listener:
        asking = threading.Thread(target=ask)
        asking.start()
        assert not scene.run()
        asking.join()
    assert answers == [(NO, 0), (CONNECT, 1), (NO, 0)]


def test_a_child_that_went_away_while_it_asked_is_gone(scene: Scene) -> None:
    scene.child.send(CONNECT)
    scene.child.close()
    assert not scene.run()

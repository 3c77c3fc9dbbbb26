import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wg_dynamic.helper import waiting as module
from wg_dynamic.helper.control_socket import ControlSocket
from wg_dynamic.helper.waiting import WaitingRoom, stop_waiting
from wg_dynamic.netlink.control import Event, Overrun


class Outside:
    """Kernel events and signals, which the test makes happen."""

    def __init__(self) -> None:
        self.events, self.kernel = socket.socketpair()
        self.signals, self.signaller = socket.socketpair()
        self.found: list[list[Event]] = []

    def fileno(self) -> int:
        return self.events.fileno()

    def read(self) -> list[Event]:
        self.events.recv(1)
        return self.found.pop(0)

    def happen(self, *events: Event) -> None:
        self.found.append(list(events))
        self.kernel.send(b"x")

    def wait(self, room: WaitingRoom) -> bool:
        source: Any = self
        return room.wait(source, self.signals.fileno())


@pytest.fixture
def outside() -> Iterator[Outside]:
    made = Outside()
    yield made
    for each in (made.events, made.kernel, made.signals, made.signaller):
        each.close()


@pytest.fixture
def room(tmp_path: Path) -> Iterator[WaitingRoom]:
    made = WaitingRoom("wg0", tmp_path)
    yield made
    made.close()


class Asker:
    """`--stop`, in a thread of its own."""

    def __init__(self, root: Path, name: str = "wg0") -> None:
        self.results: list[bool] = []
        self.thread = threading.Thread(target=lambda: self.results.append(stop_waiting(name, root)))
        self.thread.start()

    def result(self) -> bool:
        self.thread.join()
        return self.results[0]


def test_what_happens_in_the_kernel_ends_the_waiting(room: WaitingRoom, outside: Outside) -> None:
    outside.happen()  # something that is no event
    outside.happen(Overrun())
    assert outside.wait(room)


def test_what_the_kernel_does_not_tell_is_looked_at_in_time(
    room: WaitingRoom, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY", 0.0)
    assert outside.wait(room)


def test_sighup_is_a_reason_to_look_again_with_another_file(
    room: WaitingRoom, outside: Outside
) -> None:
    assert not room.reload_asked
    outside.signaller.send(bytes([signal.SIGHUP]))
    assert outside.wait(room)
    assert room.reload_asked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_says_stop_ends_it(
    room: WaitingRoom, outside: Outside, number: signal.Signals
) -> None:
    outside.signaller.send(bytes([signal.SIGUSR1]))
    outside.signaller.send(bytes([number]))
    assert not outside.wait(room)


def test_stop_ends_it_and_waits_until_it_is_over(
    room: WaitingRoom, outside: Outside, tmp_path: Path
) -> None:
    room.enter()
    asker = Asker(tmp_path)
    assert not outside.wait(room)
    assert asker.thread.is_alive()
    room.close()
    assert asker.result()
    assert list(tmp_path.iterdir()) == []


def test_it_is_found_by_its_own_name_only(room: WaitingRoom, tmp_path: Path) -> None:
    room.enter()
    room.enter()
    for name in ("wg", "wg1", "wg0.1", "*", "../wg0"):
        assert not stop_waiting(name, tmp_path)
    assert not stop_waiting("wg0", tmp_path / "nothing")
    (found,) = tmp_path.iterdir()
    assert found.stat().st_mode & 0o777 == 0o600


def test_one_that_has_left_is_not_found(room: WaitingRoom, tmp_path: Path) -> None:
    assert not room.leave(), "it was not even inside"
    room.enter()
    assert not room.leave()
    assert not stop_waiting("wg0", tmp_path)
    room.enter()
    assert len(list(tmp_path.iterdir())) == 1


def test_who_says_stop_just_before_it_leaves_is_heard(room: WaitingRoom, tmp_path: Path) -> None:
    room.enter()
    (path,) = tmp_path.iterdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asker:
        asker.connect(str(path))
        asker.send(b"\0\0")
        assert room.leave()
        room.close()
        assert asker.recv(8), "told when it is done"


def test_nonsense_ends_nothing(room: WaitingRoom, outside: Outside, tmp_path: Path) -> None:
    room.enter()
    (path,) = tmp_path.iterdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as nonsense:
        nonsense.connect(str(path))
        nonsense.send(b"stop")
        outside.happen(Overrun())
        assert outside.wait(room)


def test_what_a_killed_one_has_left_is_removed(room: WaitingRoom, tmp_path: Path) -> None:
    room.enter()
    (path,) = tmp_path.iterdir()
    left = path.with_name(path.name.removesuffix(str(os.getpid())) + "4194305")
    ControlSocket(left).close()
    room.leave()
    assert left.exists()
    assert not stop_waiting("wg0", tmp_path)
    assert not left.exists()

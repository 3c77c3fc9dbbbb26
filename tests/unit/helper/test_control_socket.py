import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper import control_socket as module
from wg_dynamic.helper.control_socket import (
    ControlSocket,
    ReloadCall,
    ask_reload,
    ask_status,
    stop_running,
)
from wg_dynamic.privsep.requests import MAX_STATUS, Reloaded, Stop


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def control(path: Path) -> Iterator[ControlSocket]:
    made = ControlSocket(path)
    yield made
    made.close()


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(call()))
    thread.start()
    return thread, results


def wait_for(control: ControlSocket) -> Stop | ReloadCall:
    while True:
        request = control.receive()
        if request is not None:
            return request


@pytest.mark.parametrize("release", [True, False])
def test_who_asks_waits_until_it_is_done(
    control: ControlSocket, path: Path, *, release: bool
) -> None:
    thread, results = in_thread(lambda: stop_running(path, release=release))
    assert wait_for(control) == Stop(release)
    assert thread.is_alive()
    control.close()
    thread.join()
    assert results == [True]


def test_only_root_may_ask(control: ControlSocket, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert control.fileno() > 2


def test_without_a_daemon_nobody_is_stopped(path: Path) -> None:
    assert not stop_running(path, release=True)


def test_a_socket_that_a_killed_daemon_left_is_nobody(path: Path) -> None:
    left = ControlSocket(path)
    left.close()
    assert path.exists()
    assert not stop_running(path, release=True)
    ControlSocket(path).close()  # and the next daemon takes its place


def test_nonsense_stops_nothing(control: ControlSocket, path: Path) -> None:
    assert control.receive() is None, "nobody is there"
    for data in (b"", b"stop", b"\1", b"\0\7", bytes(100)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asker:
            asker.connect(str(path))
            if data:
                asker.send(data)
            else:
                asker.shutdown(socket.SHUT_WR)
            assert control.receive() is None
            assert asker.recv(1) == b"", "it was closed"


def test_who_leaves_before_it_is_done_does_no_harm(control: ControlSocket, path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asker:
        asker.connect(str(path))
        asker.send(b"\0\1")
        assert control.receive() == Stop(release=True)
    control.close()


def test_the_last_call_hears_who_came_before(control: ControlSocket, path: Path) -> None:
    assert not control.last_call()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as nonsense:
        nonsense.connect(str(path))
        nonsense.send(b"stop")
        assert not control.last_call()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asker:
        asker.connect(str(path))
        asker.send(b"\0\0")
        path.unlink()
        assert control.last_call()
        assert control.last_call(), "also if it was received before"
        control.close()
        assert asker.recv(8), "and is told when it is done"


def test_a_daemon_that_does_not_stop_is_an_error(
    control: ControlSocket, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_TIMEOUT", 0.05)
    with pytest.raises(WgDynamicError, match=r"did not stop within 0\.05 s: see its log"):
        stop_running(path, release=True)
    assert control.receive() == Stop(release=True)


@pytest.mark.parametrize("error", [BrokenPipeError, ConnectionResetError])
def test_a_daemon_that_was_ending_already_has_stopped(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    class Ending(socket.socket):
        def connect(self, _: object) -> None:
            pass

        def send(self, *_: object) -> int:
            raise error

    monkeypatch.setattr(socket, "socket", Ending)
    assert stop_running(path, release=True)


# --- --status --------------------------------------------------------------------------------


def test_who_asks_for_the_status_is_answered_at_once(control: ControlSocket, path: Path) -> None:
    control.status = lambda: '{"state": "bound"}'
    thread, results = in_thread(lambda: ask_status(path))
    select.select([control], [], [], 5.0)
    assert control.receive() is None, "that is no stop"
    thread.join()
    assert results == ['{"state": "bound"}']


def test_one_that_has_nothing_to_say_of_itself_says_nothing(
    control: ControlSocket, path: Path
) -> None:
    thread, results = in_thread(lambda: ask_status(path))
    select.select([control], [], [], 5.0)
    assert control.receive() is None
    thread.join()
    assert results == [None]


def test_without_a_daemon_there_is_no_status(path: Path) -> None:
    assert ask_status(path) is None
    ControlSocket(path).close()
    assert ask_status(path) is None, "nor of a killed one"


def test_a_daemon_that_does_not_answer_is_an_error(
    control: ControlSocket, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STATUS_TIMEOUT", 0.05)
    with pytest.raises(WgDynamicError, match=r"did not answer within 0\.05 s: see its log"):
        ask_status(path)
    control.status = lambda: "{}"
    assert control.receive() is None, "who has left does no harm"


def test_one_that_ends_with_the_answer_to_a_stop_has_no_status(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as daemon:
        daemon.bind(str(path))
        daemon.listen()
        thread, results = in_thread(lambda: ask_status(path))
        with daemon.accept()[0] as caller:
            caller.send(b"\1")  # Ready
        thread.join()
    assert results == [None]


# --- --reload --------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [True, False])
def test_who_asks_for_a_reload_is_told_how_it_went(
    control: ControlSocket, path: Path, *, done: bool
) -> None:
    control.reloads = True
    thread, results = in_thread(lambda: ask_reload(path))
    call = wait_for(control)
    assert isinstance(call, ReloadCall)
    assert thread.is_alive()
    call.answer(done=done, text="pool \N{LATIN SMALL LETTER E WITH ACUTE}\nadded")
    thread.join()
    assert results == [Reloaded(done, "pool \N{LATIN SMALL LETTER E WITH ACUTE}\nadded")]


@pytest.mark.parametrize("size", [MAX_STATUS, MAX_STATUS + 1, 3 * MAX_STATUS])
def test_what_is_too_much_to_tell_is_cut(control: ControlSocket, path: Path, size: int) -> None:
    control.reloads = True
    thread, results = in_thread(lambda: ask_reload(path))
    call = wait_for(control)
    assert isinstance(call, ReloadCall)
    call.answer(done=True, text="x" * size)
    thread.join()
    assert results == [Reloaded(True, "x" * MAX_STATUS)]


def test_who_has_left_before_misses_nothing(control: ControlSocket, path: Path) -> None:
    control.reloads = True
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asker:
        asker.connect(str(path))
        asker.send(b"\4")
    call = wait_for(control)
    assert isinstance(call, ReloadCall)
    call.answer(done=True, text="")


def test_a_daemon_that_does_not_reload_says_so(control: ControlSocket, path: Path) -> None:
    thread, results = in_thread(lambda: ask_reload(path))
    select.select([control], [], [], 5.0)
    assert control.receive() is None
    thread.join()
    assert results == [Reloaded(False, "it reads its file at its start: restart it")]


def test_at_the_last_call_nothing_is_reloaded(control: ControlSocket, path: Path) -> None:
    control.reloads = True
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asker:
        asker.connect(str(path))
        asker.send(b"\4")
        assert not control.last_call()
        assert asker.recv(100).startswith(b"\5\0"), "not done"


def test_without_a_daemon_nothing_is_reloaded(path: Path) -> None:
    assert ask_reload(path) is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as daemon:
        daemon.bind(str(path))
        daemon.listen()
        for answer in (b"\1", b"\377"):  # Ready, as at a stop; nonsense
            thread, results = in_thread(lambda: ask_reload(path))
            with daemon.accept()[0] as caller:
                caller.send(answer)
            thread.join()
            assert results == [None]


def test_one_that_does_not_say_how_it_went_is_an_error(
    control: ControlSocket, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RELOAD_TIMEOUT", 0.05)
    with pytest.raises(WgDynamicError, match=r"did not answer within 0\.05 s: see its log"):
        ask_reload(path)
    assert control.receive() is None

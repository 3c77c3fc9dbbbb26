"""The end that asks: what it makes of answers, and of whatever else comes."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from wg_dynamic.admin import client as module
from wg_dynamic.admin.client import AdminClient, NotRunningError
from wg_dynamic.admin.protocol import EVENTS, LEASES, STATUS, AdminError, Request
from wg_dynamic.errors import PrivilegeError


class Server:
    """Answers each line with what the test says, or hangs up."""

    def __init__(self, path: Path, *answers: bytes) -> None:
        self.path = path
        self.asked: list[bytes] = []
        self._answers = answers
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection, connection.makefile("rb") as lines:
            for answer in self._answers:
                self.asked.append(lines.readline())
                connection.sendall(answer)

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


@pytest.fixture
def serve(tmp_path: Path) -> Callable[..., Server]:
    return lambda *answers: Server(tmp_path / "socket", *answers)


def test_rows_come_one_after_the_other_and_requests_too(serve: Callable[..., Server]) -> None:
    server = serve(b'{"row": {"a": 1}}\n{"row": {"a": 2}}\n{"done": {}}\n', b'{"done": {}}\n')
    with AdminClient(server.path) as client:
        assert [row["a"] for row in client.ask(Request(LEASES))] == [1, 2]
        assert list(client.ask(Request(STATUS))) == []
    server.close()
    assert server.asked == [b'{"request": "leases"}\n', b'{"request": "status"}\n']


def test_what_was_lost_is_told_among_the_events(serve: Callable[..., Server]) -> None:
    server = serve(b'{"row": {"event": "granted"}}\n{"lost": 3}\n')
    with AdminClient(server.path) as client:
        events = client.ask(Request(EVENTS, follow=True))
        assert [next(events), next(events)] == [{"event": "granted"}, {"lost": 3}]
        with pytest.raises(AdminError, match="has closed the connection"):
            next(events)
    server.close()


@pytest.mark.parametrize(
    ("answer", "expected", "code"),
    [
        (b'{"error": "busy", "text": "too many"}\n', "the server says: too many", "busy"),
        (b'{"error": 7}\n', "no answer", "7"),
        (b'{"row": 7}\n', "no answer", "None"),
        (b"garbage\n", "no JSON", "invalid"),
        (b"[]\n", "expected a JSON object", "invalid"),
        (b"", "has closed the connection", "invalid"),
        (b"x" * 70000, "more than 65536 bytes", "invalid"),
    ],
)
def test_what_is_no_answer_is_an_error(
    answer: bytes,
    expected: str,
    code: str,
    serve: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER", 65536)
    server = serve(answer)
    with (
        AdminClient(server.path) as client,
        pytest.raises(AdminError, match=expected) as caught,
    ):
        list(client.ask(Request(STATUS)))
    server.close()
    assert caught.value.code == code


def test_who_does_not_answer_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TIMEOUT", 0.01)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        with (
            AdminClient(tmp_path / "socket") as client,
            pytest.raises(AdminError, match="did not answer within"),
        ):
            list(client.ask(Request(STATUS)))


def test_nobody_there_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match="no wg-dynamic-server runs here"):
        AdminClient(tmp_path / "none" / "socket")
    left = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(left))
    with pytest.raises(NotRunningError):
        AdminClient(left)
    (tmp_path / "file").write_text("")
    with pytest.raises(AdminError, match="cannot connect"):
        AdminClient(tmp_path / "file" / "socket")


def test_who_may_not_is_told_who_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: socket.socket, _path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(PrivilegeError, match="wg-dynamic-admin"):
        AdminClient(tmp_path / "socket")


def accept(listener: socket.socket) -> None:
    listener.accept()[0].close()


def test_a_connection_waits_its_turn_behind_others_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(path))
        listener.listen(0)
        first.connect(str(path))
        monkeypatch.setattr(module, "TIMEOUT", 1)
        with pytest.raises(AdminError, match="took no connection within 1 s"):
            AdminClient(path)
        monkeypatch.setattr(module, "TIMEOUT", 15)
        accepting = threading.Timer(0.1, accept, [listener])
        accepting.start()
        with AdminClient(path):  # in the place that was made
            accepting.join()

"""What is read for the screen, and how the screen's process is fed."""

import io
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.admin.client import NotRunningError
from wg_dynamic.admin.protocol import EVENTS, LEASES, STATUS, Request
from wg_dynamic.cli.command import top
from wg_dynamic.cli.command.main import main
from wg_dynamic.cli.status import NOT_RUNNING
from wg_dynamic.errors import ConfigError
from wg_dynamic.record import replace
from wg_dynamic.wireguard.device import Peer
from wg_dynamic.wireguard.key import format_key

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[dict[str, Any]]]:
    answers: dict[str, list[dict[str, Any]]] = {
        STATUS: [{"interface": "wg0"}],
        LEASES: [{"address": f"10.44.0.{n}"} for n in range(5)],
        EVENTS: [{"event": "granted"}],
    }

    def ask(interface: str, request: Request) -> Iterator[dict[str, Any]]:
        assert interface == "wg0"
        return iter(answers[request.verb])

    @contextmanager
    def control(_: str) -> Iterator[tuple[FakeWireGuard, int]]:
        heard, silent = Peer(ALICE, (), latest_handshake=1), Peer(BOB, ())
        yield FakeWireGuard(replace(heard), silent), 7

    monkeypatch.setattr(top, "ask", ask)
    monkeypatch.setattr(top, "control_of", control)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return answers


def test_a_reading_is_all_that_the_screen_shows(
    server: dict[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top, "MAX_ROWS", 3)
    reading = top.read("wg0")
    assert (reading["status"], reading["events"]) == ({"interface": "wg0"}, server[EVENTS])
    assert (reading["leases"], reading["more"]) == (server[LEASES][:3], 2)
    assert list(reading["handshakes"]) == [format_key(ALICE)]
    assert reading["handshakes"][format_key(ALICE)] > 1e9


@pytest.mark.usefixtures("server")
def test_handshakes_are_roots_to_know_and_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: str) -> None:
        msg = "gone"
        raise ConfigError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(top, "control_of", refuse)
        assert top.read("wg0")["handshakes"] == {}
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert top.read("wg0")["handshakes"] == {}


def test_a_server_that_is_away_leaves_the_last_reading_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for error in (NotRunningError("none"), ConfigError("no interface")):

        def fail(_: str, error: Exception = error) -> dict[str, Any]:
            raise error

        monkeypatch.setattr(top, "read", fail)
        assert top.read_again("wg0", {"status": 1}) == {"status": 1, "error": str(error)}


class Pipe(io.RawIOBase):
    """Takes a few bytes at a time."""

    def __init__(self) -> None:
        self.got = b""

    def write(self, data: Any) -> int:
        self.got += data[:7]
        return min(7, len(data))


class Child:
    """Ends when it has been waited for so often."""

    def __init__(self, *waits: Callable[[float], None]) -> None:
        self.waits = list(waits)
        self.asked: list[float] = []

    def wait(self, timeout: float) -> int:
        self.asked.append(timeout)
        if self.waits:
            self.waits.pop(0)(timeout)
        return 0


def time_out(timeout: float) -> None:
    raise subprocess.TimeoutExpired([], timeout)


def interrupt(_: float) -> None:
    raise KeyboardInterrupt


def test_the_screen_is_fed_until_it_ends_and_less_often_where_a_reading_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, pipe = FakeClock(), Pipe()

    def read(_interface: str, _before: object) -> dict[str, Any]:
        clock.pass_time(0.5)
        return {"second": True}

    monkeypatch.setattr(top, "read_again", read)
    child: Any = Child(time_out, interrupt)
    top._feed(child, pipe, "wg0", {"first": True}, clock)
    assert child.asked == [1.0, 5.0, 5.0]
    assert pipe.got.decode().splitlines() == ['{"first": true}', *['{"second": true}'] * 2]


def test_a_screen_that_is_gone_is_fed_no_more() -> None:
    class Broken(Pipe):
        def write(self, _: Any) -> int:
            raise BrokenPipeError

    child: Any = Child()
    top._feed(child, Broken(), "wg0", {})
    assert child.asked == []


def test_without_a_terminal_it_says_what_else_there_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["top", "wg0"]) == 1
    assert "top needs a terminal" in capsys.readouterr().err


def test_where_no_server_runs_it_ends_as_others_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: str) -> dict[str, Any]:
        msg = "none"
        raise NotRunningError(msg)

    for stream in ("sys.stdin", "sys.stdout"):
        monkeypatch.setattr(f"{stream}.isatty", lambda: True)
    monkeypatch.setattr(top, "index_of", lambda _: 7)
    monkeypatch.setattr(top, "read", fail)
    assert main(["top", "wg0"]) == NOT_RUNNING
    assert capsys.readouterr().err == "wg-dynamic: wg0: none\n"


@pytest.mark.parametrize(("code", "status"), [(0, 0), (1, 1), (3, 1)])
@pytest.mark.usefixtures("server")
def test_the_screens_end_is_the_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int, status: int
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    class Screen(Child):
        returncode = code

        def __init__(self, command: list[str], **_: object) -> None:
            super().__init__()
            assert command[1:4] == ["-I", "-m", top.MODULE]

        def wait(self, timeout: float | None = None) -> int:
            del timeout
            return code

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setattr(top, "index_of", lambda _: 7)
    monkeypatch.setattr("subprocess.Popen", Screen)
    assert main(["top", "wg0"]) == status
    assert ("pip install textual" in capsys.readouterr().err) == (code == 3)

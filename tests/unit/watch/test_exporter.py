"""Metrics over HTTP."""

import contextlib
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from wg_dynamic.watch import exporter as module
from wg_dynamic.watch.exporter import Exporter, listen
from wg_dynamic.watch.metrics import CONTENT_TYPE


@pytest.fixture(params=["127.0.0.1", "::1"])
def where(request: pytest.FixtureRequest) -> Iterator[str]:
    listener = listen(request.param, 0)
    exporter = Exporter(listener, lambda: "up 1\n")
    thread = threading.Thread(target=exporter.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    host = f"[{request.param}]" if ":" in request.param else request.param
    yield f"http://{host}:{listener.getsockname()[1]}"
    exporter.shutdown()
    thread.join()
    exporter.server_close()


def test_the_text_is_served(where: str, capfd: pytest.CaptureFixture[str]) -> None:
    with urllib.request.urlopen(f"{where}/metrics?x=1") as answer:  # noqa: S310 - http
        assert answer.read() == b"up 1\n"
        assert answer.headers["Content-Type"] == CONTENT_TYPE
        assert "Python" not in answer.headers["Server"]
    assert capfd.readouterr().err == ""


def test_nothing_else_is(where: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{where}/")  # noqa: S310 - http


def test_one_who_asks_byte_by_byte_does_not_keep_the_others(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module._Handler, "timeout", 0.2)
    host, _, port = where.removeprefix("http://").rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port))) as slow:
        slow.settimeout(0.02)
        ended = False
        for _ in range(200):
            with contextlib.suppress(TimeoutError, ConnectionError):
                slow.send(b"G")
                ended = slow.recv(100) == b""
            if ended:
                break
        with urllib.request.urlopen(f"{where}/metrics") as answer:  # noqa: S310 - http
            assert answer.read() == b"up 1\n"
    assert ended

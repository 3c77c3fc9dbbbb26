"""sd_notify(3)."""

import socket
from pathlib import Path

import pytest

from wg_dynamic.system.notify import notify


@pytest.fixture
def manager(tmp_path: Path) -> socket.socket:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(1.0)
    return manager


def test_the_manager_is_told(manager: socket.socket) -> None:
    with manager:
        assert notify("READY=1", {"NOTIFY_SOCKET": manager.getsockname()})
        assert manager.recv(100) == b"READY=1"


def test_the_manager_may_have_an_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # the kernel chooses an abstract name
        name = manager.getsockname()
        assert isinstance(name, bytes)
        assert notify("STOPPING=1", {"NOTIFY_SOCKET": "@" + name[1:].decode()})
        assert manager.recv(100) == b"STOPPING=1"


def test_the_environment_is_asked(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    with manager:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
        assert not notify("READY=1")
        monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
        assert notify("READY=1")


@pytest.mark.parametrize("target", ["", "relative", "vsock:2:1234"])
def test_without_a_socket_nobody_is_told(target: str) -> None:
    assert not notify("READY=1", {"NOTIFY_SOCKET": target})


@pytest.mark.parametrize("target", ["/no/such/socket", "/" + "x" * 200])
def test_a_manager_that_is_gone_is_no_error(target: str) -> None:
    assert not notify("READY=1", {"NOTIFY_SOCKET": target})

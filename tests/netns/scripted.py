"""A server that says what a test wants, on the hub's own address and port."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

from tests.netns.daemons import Client
from tools.netlab import LabError, wait_until
from tools.star import Member
from wg_dynamic.address import parse_prefix


def address(ip: str, network: str = "", *, seconds: int = 600) -> str:
    """The section of one address."""
    on_link = network or str(parse_prefix(ip))
    times = f"preferred_time={seconds}\nvalid_time={seconds}\n"
    return f"section=address\nip={ip}\nnetwork={on_link}\n{times}"


def routes(*networks: str, metric: int | None = None) -> str:
    """The sections of routes."""
    more = "" if metric is None else f"metric={metric}\n"
    return "".join(f"section=route\nnetwork={network}\n{more}" for network in networks)


def reply(*sections: str, mtu: int = 0, more: bool = False) -> str:
    """A whole reply to request_ip."""
    head = "request_ip=2\nerrno=0\n"
    head += f"mtu={mtu}\n" if mtu else ""
    head += "more=1\n" if more else ""
    return f"{head}{''.join(sections)}\n"


class ScriptedServer:
    """Answers each request for addresses with `reply`, whatever was asked."""

    def __init__(self, hub: Member) -> None:
        self.reply = ""
        """'' leaves the client without an answer."""
        self.requests: list[str] = []
        with hub.host.netns():
            self._listener = socket.socket(socket.AF_INET6)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("fe80::", 970, 0, hub.interface.ifindex))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, name="scripted server")
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5.0)
                request = connection.recv(4096).decode()
                if request.startswith("release_ip"):
                    connection.sendall(b"release_ip=2\nerrno=0\n\n")
                elif self.reply:
                    connection.sendall(self.reply.encode())
                self.requests.append(request)
                connection.recv(1)  # the client closes

    def say(self, client: Client, *sections: str, mtu: int = 0) -> None:
        """Let this be the reply, and the client ask for it now: its interface goes down and up."""
        self.say_text(client, reply(*sections, mtu=mtu))

    def say_text(self, client: Client, text: str) -> None:
        """As `say`, with the reply as it is on the wire."""
        self.reply = text
        before, told = len(self.requests), client.program.output().count("wg0 is down")
        client.member.interface.down()
        wait_until(
            lambda: client.program.output().count("wg0 is down") > told, what="a client that looks"
        )
        client.member.interface.up()
        wait_until(lambda: len(self.requests) > before, timeout=15, what="the client to ask")

    def close(self) -> None:
        """End it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10.0)
        if self._thread.is_alive():
            msg = "the scripted server does not end"
            raise LabError(msg)


@contextlib.contextmanager
def scripted_server(hub: Member, *sections: str) -> Iterator[ScriptedServer]:
    """A server on the hub, until the end of the block."""
    server = ScriptedServer(hub)
    server.reply = reply(*sections)
    try:
        yield server
    finally:
        server.close()


def in_parts(networks: Sequence[str], size: int = 256) -> str:
    """A reply that brings so many routes that it comes in parts."""
    parts = [networks[at : at + size] for at in range(0, len(networks), size)]
    return "".join(
        reply(routes(*part), more=number < len(parts)) for number, part in enumerate(parts, start=1)
    )

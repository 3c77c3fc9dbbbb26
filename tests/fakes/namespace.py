"""Sockets with link-local addresses on a loopback interface of their own."""

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_CLONE_NEWNET = 0x40000000
_Result = TypeVar("_Result")


class LoopbackNamespace:
    """A thread in an empty network namespace; sockets made there work everywhere. Needs root."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._thread = ThreadPoolExecutor(1, "namespace")
        self._thread.submit(self._enter, addresses).result()
        self.ifindex: int = self.run(lambda: socket.if_nametoindex("lo"))

    def run(self, work: Callable[[], _Result]) -> _Result:
        """Do something inside."""
        return self._thread.submit(work).result()

    def close(self) -> None:
        """The namespace goes with its last socket."""
        self._thread.shutdown()

    @staticmethod
    def _enter(addresses: Sequence[str]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for address in addresses:
            subprocess.run(
                ["ip", "-6", "address", "add", f"{address}/128", "dev", "lo"], check=True
            )

    def listener(self, address: str, port: int) -> socket.socket:
        """A listening socket, as the helper makes it."""

        def make() -> socket.socket:
            listener = socket.socket(socket.AF_INET6)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port, 0, self.ifindex))
            listener.listen()
            return listener

        return self.run(make)

    def connect(self, source: str, target: str, port: int, source_port: int = 0) -> socket.socket:
        """A connection from one of the addresses; `source_port` 0 finds one below 1024."""

        def make() -> socket.socket:
            for number in [source_port] if source_port else range(1023, 600, -1):
                sock = socket.socket(socket.AF_INET6)
                try:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    sock.settimeout(10.0)
                    sock.bind((source, number, 0, self.ifindex))
                    sock.connect((target, port, 0, self.ifindex))
                except OSError:
                    sock.close()
                    if source_port:
                        raise
                else:
                    return sock
            raise AssertionError

        return self.run(make)

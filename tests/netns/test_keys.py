"""Private and preshared keys stay with the kernel, wireguard-go and the helper."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns.daemons import Client, Server
from tools.netlab import Lab, wait_until
from tools.star import make_star

pytestmark = pytest.mark.kernel


def spellings(key: str) -> list[bytes]:
    """A key in base64, as it stands in memory, and in hexadecimal, as UAPI spells it."""
    raw = base64.b64decode(key)
    return [key.rstrip("=").encode(), raw, raw.hex().encode(), raw.hex().upper().encode()]


def memory(pid: int) -> bytes:
    """All that a process has in memory and may write."""
    pieces = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, permissions = line.split()[:2]
            if permissions.startswith("rw"):
                begin, end = (int(word, 16) for word in span.split("-"))
                pieces.append(os.pread(file.fileno(), end - begin, begin))
    return b"\0".join(pieces)


KEEPER = """
import signal, sys
kept = sys.stdin.buffer.read()
print(flush=True)
signal.pause()
"""


def test_a_key_that_is_in_memory_is_found() -> None:
    key = base64.b64encode(os.urandom(32)).decode()
    for spelling in spellings(key):
        with subprocess.Popen(
            [sys.executable, "-c", KEEPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(spelling)
            process.stdin.close()
            process.stdout.readline()
            assert spelling in memory(process.pid)
            process.kill()


def test_no_secret_key_is_in_a_network_process_or_a_log(lab: Lab, database: Path) -> None:
    star = make_star(lab)
    hub, member = star.hub, star.clients[0]
    preshared = base64.b64encode(os.urandom(32)).decode()
    for one, other in ((hub, member), (member, hub)):
        peer = other.interface.keys.public
        command = ["wg", "set", "wg0", "peer", peer, "preshared-key", "/dev/stdin"]
        one.host.run(command, input=preshared)
    server, client = Server(hub, database, "--verbose"), Client(member, "--verbose")
    server.start()
    client.start()
    wait_until(lambda: len(server.leased(member)) == 2, what="a lease")
    secrets = [preshared, hub.interface.keys.private, member.interface.keys.private]
    for daemon in (server, client):
        held = memory(daemon.network_process())
        for number, key in enumerate(secrets):
            for spelling in spellings(key):
                assert spelling not in held, f"{daemon.name}, key {number}"
    assert base64.b64decode(member.interface.keys.public) in memory(server.network_process()), (
        "what it is to know is found"
    )
    server.stop()
    client.stop()
    said = server.program.output() + client.program.output()
    for key in secrets:
        for spelling in spellings(key):
            assert spelling.decode("latin-1") not in said

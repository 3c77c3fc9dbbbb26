"""Who is in an attack: the hostile peer's program, the honest peer beside it, the server's bill."""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.netns.daemons import Server, connect, exchange
from tools.netlab import Program
from tools.repository import ROOT
from tools.star import Member
from wg_dynamic.system.clock import SystemClock

_CLOCK = SystemClock()
PACE = 0.2
TICK = os.sysconf("SC_CLK_TCK")


def attack(member: Member, kind: str, *more: str, source: str | None = None) -> Program:
    """Start tests/attack/flood.py as this peer."""
    command = member.host.python("-m", "tests.attack.flood", kind, *more)
    command += ["--interface", member.interface.name, "--source", source or member.link_local]
    return member.host.popen(command, cwd=ROOT)


def result(program: Program, timeout: float = 60.0) -> dict[str, int]:
    """Wait for its end; what it did."""
    assert program.wait(timeout) == 0, program.output()
    counts: dict[str, int] = json.loads(program.output().splitlines()[-1])
    return counts


@dataclass(frozen=True, slots=True)
class Bill:
    """What a process has cost so far."""

    cpu: float
    """Seconds."""
    memory: int
    """Bytes that are resident."""
    files: int
    """Open descriptors."""


def bill(pid: int) -> Bill:
    """Of a process that is there."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    memory = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    return Bill((int(fields[11]) + int(fields[12])) / TICK, memory * 1024, files)


def ask(member: Member, text: str, *, port: int = 970) -> dict[str, str]:
    """One exchange on a connection of its own."""
    with connect(member, port=port) as connection:
        return exchange(connection, text)


def wish(*addresses: str, command: str = "request_ip") -> str:
    """A request of version 2 that names addresses."""
    named = "".join(f"section=address\nip={address}\n" for address in addresses)
    return f"{command}=2\n{named}\n"


def serve_while(member: Member, *programs: Program) -> Iterator[tuple[float, dict[str, str]]]:
    """Ask as an honest peer, again and again until all programs ended: seconds, and the reply.

    Each time a new connection, from another port; mostly pings, and five times a second at the
    most, for an honest peer's limits are the same.
    """
    number = 0
    pace = threading.Event()
    while any(each.is_running() for each in programs):
        begin = _CLOCK.now()
        text = wish() if number % 10 == 0 else "ping=2\n\n"
        reply = ask(member, text, port=1 + number % 1000)
        yield _CLOCK.now() - begin, reply
        number += 1
        pace.wait(PACE)


def is_untroubled(server: Server) -> bool:
    """Whether its log has neither a traceback nor a line too many."""
    output = server.program.output()
    return "Traceback" not in output and "ERROR" not in output and len(output.splitlines()) < 60

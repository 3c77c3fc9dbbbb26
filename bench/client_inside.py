"""The part of bench.client that runs inside the client's namespaces; prints one JSON object.

Being there already, it starts what it times by itself, with nothing in between (a `nsenter` costs
as much as a start of dhclient). What has become of a start is said by the kernel: a socket of
rtnetlink is open before it begins.
"""

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Final

from tests.netns.daemons import children

FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
PATIENCE: Final = 15.0
"""Seconds after which a start has failed."""
_GROUPS: Final = 0x10 | 0x100
"""linux/rtnetlink.h: RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR."""
_NEW_ADDRESS: Final = 20
_UNIVERSE: Final = 0
_SUBREAPER: Final = 36
"""linux/prctl.h"""
_PING: Final = {
    socket.AF_INET: (socket.IPPROTO_ICMP, 8, "10.44.0.1"),
    socket.AF_INET6: (socket.IPPROTO_ICMPV6, 128, "fd00:44::1"),
}
"""Protocol, type of an echo request, and the hub's address in the pools."""


class Addresses:
    """Addresses as the kernel tells of them, on one interface."""

    def __init__(self, interface: str) -> None:
        self._index = socket.if_nametoindex(interface)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self._socket.bind((0, _GROUPS))

    def wait_for(self, families: tuple[int, ...]) -> dict[int, float]:
        """When each family has got its first address that is not link-local."""
        found: dict[int, float] = {}
        end = perf_counter() + PATIENCE
        while set(families) - set(found):
            if not select.select([self._socket], [], [], max(0.0, end - perf_counter()))[0]:
                sys.exit(f"no address within {PATIENCE} s")
            data, now = self._socket.recv(1 << 16), perf_counter()
            for family in self._new(data):
                found.setdefault(family, now)
        return found

    def _new(self, data: bytes) -> Iterator[int]:
        while data:
            length, kind = struct.unpack_from("=IH", data)
            family, _, _, scope, index = struct.unpack_from("=BBBBI", data, 16)
            if (kind, scope, index) == (_NEW_ADDRESS, _UNIVERSE, self._index):
                yield family
            data = data[(length + 3) & ~3 :]

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()


def first_answer(family: int) -> float:
    """When the hub has answered a packet from the leased address: asked until it does."""
    protocol, kind, hub = _PING[socket.AddressFamily(family)]
    end = perf_counter() + PATIENCE
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as ping:
        while perf_counter() < end:
            with contextlib.suppress(OSError):  # there is no way to it yet
                ping.sendto(struct.pack("!BBHHH", kind, 0, 0, 0, 1), (hub, 0))
            if select.select([ping], [], [], 0.002)[0]:
                return perf_counter()
    sys.exit(f"no answer of {hub} within {PATIENCE} s")


def spawn(command: list[str]) -> int:
    """Start it with nothing on its standard streams."""
    null = [(os.POSIX_SPAWN_OPEN, n, os.devnull, os.O_RDWR, 0) for n in (0, 1, 2)]
    return os.posix_spawn(command[0], command, os.environ, file_actions=null)


def wait_for(pid: int) -> float:
    """Wait for its end; the seconds of a processor that it took, its children's included."""
    _, status, usage = os.wait4(pid, 0)
    if status not in (0, signal.SIGTERM):
        sys.exit(f"a program ended with {status}")
    return usage.ru_utime + usage.ru_stime


def processor_time(pid: int) -> float:
    """Seconds of a processor that a process has taken until now, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in tasks) / 1e9


def memory(pid: int) -> dict[str, int]:
    """Of one process, in kB: PSS and RSS now, RSS at its highest.

    PSS is less when more processes have the same files mapped; `pss_of_two` is what it would be if
    both of a daemon were the only ones, with no other program in Python and none with a C library.
    """
    rollup = numbers(Path(f"/proc/{pid}/smaps_rollup"))
    private = rollup["Private_Clean"] + rollup["Private_Dirty"]
    return {
        "pss": rollup["Pss"],
        "pss_of_two": private + (rollup["Shared_Clean"] + rollup["Shared_Dirty"]) // 2,
        "rss": rollup["Rss"],
        "private_dirty": rollup["Private_Dirty"],
        "peak_rss": numbers(Path(f"/proc/{pid}/status"))["VmHWM"],
    }


def numbers(path: Path) -> dict[str, int]:
    """The lines `name: number …` of a file below /proc."""
    return {
        name: int(value)
        for name, value in re.findall(r"^(\w+):\s+(\d+)", path.read_text(), re.MULTILINE)
    }


def wake_ups(pid: int) -> int:
    """How often it has waited, and so has been woken."""
    return numbers(Path(f"/proc/{pid}/status"))["voluntary_ctxt_switches"]


class Ours:
    """wg-dynamic-client on wg0, of one checkout."""

    def __init__(self, program: str) -> None:
        self._command = [program, "wg0"]

    def start(self) -> dict[str, float]:
        """Start it; milliseconds until this and that."""
        addresses = Addresses("wg0")
        begin = perf_counter()
        command = spawn(self._command)
        found = addresses.wait_for(FAMILIES)
        answered = [first_answer(family) for family in FAMILIES]
        spent = wait_for(command)
        returned = perf_counter()
        addresses.close()
        spent += sum(processor_time(pid) for pid in self.processes().values())
        return {
            "ipv4_address": (found[socket.AF_INET] - begin) * 1000,
            "ipv6_address": (found[socket.AF_INET6] - begin) * 1000,
            "both_addresses": (max(found.values()) - begin) * 1000,
            "both_answered": (max(answered) - begin) * 1000,
            "command_returned": (returned - begin) * 1000,
            "processor": spent * 1000,
        }

    def processes(self) -> dict[str, int]:
        """Both; the helper is a child of ours, as we are the subreaper."""
        (helper,) = children(os.getpid())
        (network,) = children(helper)
        return {"helper": helper, "network": network}

    def stop(self) -> None:
        """Give the lease back."""
        helper = self.processes()["helper"]
        wait_for(spawn([*self._command, "--stop"]))
        wait_for(helper)


class Theirs:
    """A DHCP client on dhcp0, in the foreground."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._pid = 0

    def start(self) -> dict[str, float]:
        """Start it; milliseconds until its address is there."""
        addresses = Addresses("dhcp0")
        begin = perf_counter()
        self._pid = spawn(self._command)
        found = addresses.wait_for((socket.AF_INET,))
        addresses.close()
        return {"ipv4_address": (found[socket.AF_INET] - begin) * 1000}

    def processes(self) -> dict[str, int]:
        """The one."""
        return {"client": self._pid}

    def stop(self) -> None:
        """End it, and take its address away."""
        os.kill(self._pid, signal.SIGTERM)
        wait_for(self._pid)
        wait_for(spawn(["/sbin/ip", "address", "flush", "dev", "dhcp0"]))


class Bare:
    """An interpreter that does nothing: what any program in Python takes."""

    def start(self) -> dict[str, float]:
        """Start it and wait for its end."""
        begin = perf_counter()
        spent = wait_for(spawn([sys.executable, "-c", "pass"]))
        return {"ended": (perf_counter() - begin) * 1000, "processor": spent * 1000}

    def processes(self) -> dict[str, int]:
        """None."""
        return {}

    def stop(self) -> None:
        """It has ended."""


def starts(clients: dict[str, Ours | Theirs | Bare], count: int) -> dict[str, object]:
    """So many of each, in turn, after one of each that is not counted."""
    times: dict[str, dict[str, list[float]]] = {name: {} for name in clients}
    sizes: dict[str, dict[str, dict[str, int]]] = {}
    for number in range(count + 1):
        for name, client in clients.items():
            took = client.start()
            sizes[name] = {each: memory(pid) for each, pid in client.processes().items()}
            client.stop()
            for what, value in took.items():
                if number:
                    times[name].setdefault(what, []).append(round(value, 3))
    return {"times": times, "memory": sizes}


def idle(client: Ours, servers: dict[str, int], seconds: float) -> dict[str, object]:
    """What both daemons do while nobody wants anything of them."""
    client.start()
    select.select([], [], [], 3.0)  # connections are closed, the last words said
    processes = {**client.processes(), **servers}
    before = {name: (processor_time(pid), wake_ups(pid)) for name, pid in processes.items()}
    begin = time.clock_gettime(time.CLOCK_BOOTTIME)
    select.select([], [], [], seconds)
    span = time.clock_gettime(time.CLOCK_BOOTTIME) - begin
    found = {}
    for name, pid in processes.items():
        spent, woken = processor_time(pid) - before[name][0], wake_ups(pid) - before[name][1]
        found[name] = {
            "seconds": round(span, 1),
            "wake_ups": woken,
            "processor_ms": round(spent * 1000, 3),
            "processor_seconds_a_day": round(spent / span * 86400, 2),
            "memory_kB": memory(pid),
        }
    client.stop()
    return dict(found)


def main() -> None:
    """Do what the first argument, a JSON object, says."""
    wanted = json.loads(sys.argv[1])
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    if seconds := wanted.get("idle"):
        result = idle(Ours(wanted["ours"]["this"]), wanted["servers"], seconds)
    else:
        clients: dict[str, Ours | Theirs | Bare] = {"python": Bare()}
        clients |= {name: Ours(program) for name, program in wanted["ours"].items()}
        clients |= {name: Theirs(command) for name, command in wanted["theirs"].items()}
        result = starts(clients, wanted["starts"])
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()

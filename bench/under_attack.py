"""Honest peers at half of the server's capacity, while one peer attacks it at full speed.

    python -m bench.under_attack --rounds 3

Each honest peer has a key and a WireGuard interface of its own, and renews its lease over a new
connection each time, as a client does; each request has its time in a plan, and its latency counts
from that time on. Capacity is what the same peers get through when each asks again at once. A
phase without attack and one with it follow each other, in changing order, within each minute of
the server's limits, so that no honest peer has used up what it may have; and each attack of a
minute is another peer's, which comes with its whole allowance.
Everything, attacker included, runs on the cores of one
machine: `nobody` is the flood of connections sent to a port on which nobody listens, to tell what
the machine pays from what the server pays. Root.
"""

import argparse
import errno
import selectors
import socket
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.machine import RESULTS, origin, record
from tests.attack.actors import attack, bill, result
from tests.crash.storm import StormServer
from tests.netns.daemons import database_path
from tools.netlab import LISTEN_PORT, Lab, PeerConfig
from tools.star import Member
from wg_dynamic.server.listener import MAX_REQUESTS, REQUEST_SPAN
from wg_dynamic.system.clock import SystemClock

KINDS = ("connections", "unprivileged", "pings", "renewals", "wishes", "slow", "nobody")
REQUEST = b"request_ip=2\n\n"
PORTS = range(1, 1024)
SHARE = 0.5
"""Of the capacity."""
ALLOWANCE = (MAX_REQUESTS - 10) // 2
"""Requests of one peer in one phase; two phases share a minute."""
LONGEST_PHASE = 5.0
ATTACKERS = 4
"""Each attacks once in a minute: the others' allowance is whole then."""
TIMEOUT = 10.0
"""Seconds after which a request has failed, as for the client."""
SETTLE = 1.0
"""Seconds between two phases."""
_CLOCK = SystemClock()


class Exchange:
    """One renewal: connect, ask, read, close."""

    def __init__(self, member: Member, port: int, planned: float) -> None:
        self.planned = planned
        self.failure = ""
        self._reply = b""
        self._asked = False
        with member.host.netns():
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind((member.link_local, port, 0, member.interface.ifindex))
        code = self.socket.connect_ex(("fe80::", 970, 0, member.interface.ifindex))
        if code != errno.EINPROGRESS:
            self.failure = errno.errorcode[code]

    def is_done(self) -> bool:
        """Go on; whether it is over, well or not."""
        try:
            if not self._asked:
                self.socket.send(REQUEST)
                self._asked = True
                return False
            piece = self.socket.recv(65536)
        except BlockingIOError:
            return False
        except OSError as error:
            self.failure = errno.errorcode[error.errno or 0]
            return True
        self._reply += piece
        if piece and not self._reply.endswith(b"\n\n"):
            return False
        if b"\nerrno=0\n" not in self._reply:
            self.failure = self._reply.decode().replace("\n", " ") or "closed"
        return True


class Honest:
    """All honest peers."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members
        self._used = [0] * len(members)
        self._selector = selectors.DefaultSelector()
        self._running: set[Exchange] = set()
        self.latencies: list[float] = []
        self.failures: list[str] = []

    def run(self, plan: Iterable[float], *, at_most: int) -> None:
        """Begin an exchange at each time of a plan, the peers in turn; `at_most` at a time.

        A time of 0 is now, whenever that is.
        """
        for number, planned in enumerate(plan):
            while (now := _CLOCK.now()) < planned or len(self._running) >= at_most:
                self._turn(planned - now if now < planned else 0.1)
            self._begin(number % len(self._members), planned or _CLOCK.now())
            self._turn(0.0)
        while self._running:
            self._turn(0.1)

    def _begin(self, index: int, planned: float) -> None:
        self._used[index] += 1
        port = PORTS[self._used[index] % len(PORTS)]
        exchange = Exchange(self._members[index], port, planned)
        if exchange.failure:
            self._end(exchange)
            return
        self._running.add(exchange)
        self._selector.register(exchange.socket, selectors.EVENT_WRITE, exchange)

    def _turn(self, wait: float) -> None:
        for key, mask in self._selector.select(min(wait, 0.1)):
            exchange: Exchange = key.data
            if exchange.is_done():
                self._selector.unregister(exchange.socket)
                self._end(exchange)
            elif mask == selectors.EVENT_WRITE:
                self._selector.modify(exchange.socket, selectors.EVENT_READ, exchange)
        late = _CLOCK.now() - TIMEOUT
        for exchange in [one for one in self._running if one.planned < late]:
            exchange.failure = "no answer"
            self._selector.unregister(exchange.socket)
            self._end(exchange)

    def _end(self, exchange: Exchange) -> None:
        self._running.discard(exchange)
        exchange.socket.close()
        if exchange.failure:
            self.failures.append(exchange.failure)
        else:
            self.latencies.append(_CLOCK.now() - exchange.planned)


class Field:
    """Hub, honest peers, one hostile peer, server."""

    def __init__(self, lab: Lab, database: Path, count: int) -> None:
        """Make them, and start the server."""
        hub, homes, away = lab.hosts("hub", "honest", "hostile")
        link = hub.wireguard(addrgenmode="none")
        peers = []
        for number in range(count + ATTACKERS):
            host = away if number < ATTACKERS else homes
            interface = host.wireguard(f"wg{number}", addrgenmode="none")
            peers.append(Member(host, interface, f"fe80::{number + 1:x}"))
        link.setconf(
            [PeerConfig(each.interface.keys.public, [f"{each.link_local}/128"]) for each in peers]
        )
        hub.ip("address add fe80::/64 dev wg0 nodad", "link set dev wg0 up")
        server = PeerConfig(link.keys.public, ["fe80::/128"], f"{hub.address}:{LISTEN_PORT}")
        for each in peers:
            each.interface.setconf([server], listen_port=None)
            each.host.ip(
                f"address add {each.link_local}/128 dev {each.interface.name} nodad",
                f"link set dev {each.interface.name} up",
                f"route append fe80::/128 dev {each.interface.name}",
            )
        self.hostile, self.honest = peers[:ATTACKERS], peers[ATTACKERS:]
        self.server = StormServer(Member(hub, link, "fe80::"), database)
        self.server.start()
        self._minute = 0.0
        self._used = 0.0
        """Requests of each honest peer in this minute."""
        self._attacks = 0

    def begin_minute(self) -> None:
        """Wait until everybody has a whole allowance again."""
        while (left := self._minute + REQUEST_SPAN + 2 - _CLOCK.now()) > 0:
            selectors.DefaultSelector().select(left)
        self._minute = _CLOCK.now()
        self._used, self._attacks = 0.0, 0

    def capacity(self) -> float:
        """Requests each second when every peer asks again at once."""
        self.begin_minute()
        honest = Honest(self.honest)
        begin = _CLOCK.now()
        count = len(self.honest) * ALLOWANCE * 2
        honest.run([0.0] * count, at_most=len(self.honest))
        took = _CLOCK.now() - begin
        self._used = 2 * ALLOWANCE
        if honest.failures:
            print(honest.failures[:3], file=sys.stderr)
        return len(honest.latencies) / took

    def phase(self, rate: float, kind: str | None) -> dict[str, object]:
        """Some seconds at this rate, under attack or not."""
        seconds = min(LONGEST_PHASE, len(self.honest) * ALLOWANCE / rate)
        self._used += seconds * rate / len(self.honest)
        program = None
        if kind is not None:
            more = ["--port", "971"] if kind == "nobody" else []
            name = "connections" if kind == "nobody" else kind
            hostile = self.hostile[self._attacks]
            program = attack(hostile, name, "--seconds", str(seconds + 1), *more)
            self._attacks += 1
        begin = _CLOCK.now() + (0.5 if program else 0.0)  # its interpreter starts
        honest = Honest(self.honest)
        before, lost = bill(self.server.network_process()), self._lost()
        honest.run((begin + number / rate for number in range(int(seconds * rate))), at_most=4096)
        after = bill(self.server.network_process())
        shown: dict[str, object] = {
            "requests": len(honest.latencies) + len(honest.failures),
            "failed": len(honest.failures),
            "failures": sorted(set(honest.failures))[:3],
            "seconds": round(seconds, 2),
            "p50_ms": round(quantile(honest.latencies, 50), 2),
            "p99_ms": round(quantile(honest.latencies, 99), 2),
            "server_cpu_share": round((after.cpu - before.cpu) / seconds, 3),
            "packets_lost_before_wireguard": self._lost() - lost,
        }
        if program is not None:
            shown["attack"] = result(program)
        return shown

    def _lost(self) -> int:
        """Datagrams for which the hub's WireGuard had no room in its UDP socket (wireguard-go)."""
        hub = self.server.member.host
        rows = [line.split() for line in hub.run(["cat", "/proc/net/snmp"]).stdout.splitlines()]
        names, values = (row for row in rows if row[0] == "Udp:")
        return int(values[names.index("RcvbufErrors")])

    def pair(self, rate: float, kind: str, *, quiet_first: bool) -> dict[str, object]:
        """A phase without this attack and one with it."""
        if (
            self._attacks == ATTACKERS
            or self._used + 2 * LONGEST_PHASE * rate / len(self.honest) > 2 * ALLOWANCE
        ):
            self.begin_minute()
        phases: dict[str, dict[str, object]] = {}
        for name in ("quiet", "attacked") if quiet_first else ("attacked", "quiet"):
            phases[name] = self.phase(rate, kind if name == "attacked" else None)
            selectors.DefaultSelector().select(SETTLE)
        quiet, attacked = (float(str(phases[name]["p99_ms"])) for name in ("quiet", "attacked"))
        return {**phases, "p99_ratio": round(attacked / quiet, 2)}


def quantile(values: Sequence[float], percent: int) -> float:
    """In milliseconds."""
    return statistics.quantiles(values, n=100)[percent - 1] * 1000 if len(values) > 1 else 0.0


def main() -> int:
    """Measure and record."""
    parser = argparse.ArgumentParser(prog="bench.under_attack")
    parser.add_argument("--peers", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", action="append", choices=KINDS)
    parser.add_argument("--output", type=Path, default=RESULTS / "under_attack.json")
    arguments = parser.parse_args()
    outcome = origin()
    with Lab() as lab, database_path() as database:
        field = Field(lab, database, arguments.peers)
        field.capacity()  # the first handshakes, and everybody's first lease
        capacity = field.capacity()
        rate = capacity * SHARE
        print(f"capacity {capacity:.0f}/s", file=sys.stderr)
        attacks: dict[str, object] = {}
        for kind in arguments.kind or KINDS:
            rounds = []
            for number in range(arguments.rounds):
                rounds.append(field.pair(rate, kind, quiet_first=number % 2 == 0))
                print(kind, rounds[-1], file=sys.stderr)
            ratios = [float(str(one["p99_ratio"])) for one in rounds]
            attacks[kind] = {"median_p99_ratio": statistics.median(ratios), "rounds": rounds}
    outcome |= {
        "honest_peers": arguments.peers,
        "capacity_per_second": round(capacity, 1),
        "rate_per_second": round(rate, 1),
        "attacks": attacks,
    }
    record(outcome, arguments.output)
    print(arguments.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A server under load that is killed and killed again, and what it has to show each time.

    with Lab() as lab, database_path() as database:
        storm = Storm(lab, database, seed=7)
        storm.start()
        storm.round()

Each round runs the load for a random time, kills the helper, the network process or both with
SIGKILL, compares the database that is left with what the clients were told, starts the server
again, and compares the allowed IPs with the database. A StormError says what was found and the
seed: the same seed gives the same kills and wishes; at which of its steps each kill meets the
server, it does not decide.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from tests.crash.load import Load, Peer
from tests.netns.daemons import Server, is_running
from tools.lease_history import History, Row, deviations, losses
from tools.netlab import LISTEN_PORT, Host, Interface, Lab, PeerConfig, wait_until
from tools.star import Member
from wg_dynamic.system.clock import SystemClock
from wg_dynamic.wireguard.key import format_key

POOLS = ("10.44.0.0/28", "fd00:44::/64")
"""Of 14 IPv4 addresses one is static: with twelve peers, each address changes hands often."""
STATIC_INSIDE = "10.44.0.9/32"
"""An address inside the pool that the administrator gave to the first peer."""
RECOVERY = 1.0
"""Seconds after the server says that it serves until the allowed IPs are right."""
AWAY = 120.0
"""Seconds for which a peer that went away is not heard of."""
KINDS = ("network", "helper", "both")
UNMEASURED = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}
"""A killed process leaves no data, and measuring makes each start slower."""
_CLOCK = SystemClock()


class StormError(AssertionError):
    """The server broke a promise."""


class StormServer(Server):
    """The real server, unmeasured."""

    def start(self, expected: str = "serving on") -> None:
        """Start it and wait until it serves."""
        self.program = self.member.host.popen(self.command("--foreground"), env=UNMEASURED)
        self.program.wait_for_output(expected, timeout=30.0)

    def kill_network_process(self) -> None:
        """Kill that one alone; the helper starts another."""
        network = self.network_process()
        os.kill(network, signal.SIGKILL)
        wait_until(lambda: not is_running(network), what="the end of the network process")

    def wait_for_another(self, times: int) -> None:
        """Wait until the `times`-th network process of this helper serves."""
        wait_until(
            lambda: self.program.output().count("serving on") >= times,
            timeout=60.0,
            what="another network process",
        )


class Storm:
    """One hub, its server, and the peers that ask it."""

    def __init__(
        self,
        lab: Lab,
        database: Path,
        *,
        seed: int,
        peers: int = 12,
        life: tuple[float, float] = (0.02, 0.3),
        absence: float = 0.0,
        pools: Sequence[str] = POOLS,
        options: Sequence[str] = (),
    ) -> None:
        """Make hub, peers and server; nothing runs yet.

        Args:
            lab: an open one.
            database: see `tests.netns.daemons.database_path`.
            seed: of all that is random.
            peers: how many.
            life: seconds of load before a kill, least and most.
            absence: how likely it is in each round that one peer goes away for two minutes.
            pools: of the server.
            options: more for it.
        """
        self.seed = seed
        self.chance = random.Random(seed)  # noqa: S311 - whom to kill, and when
        self.life = life
        self.absence = absence
        self.kills: Counter[str] = Counter()
        self.recovery = 0.0
        """Longest time, seconds, from "serving" to allowed IPs that were right."""
        self.history = History()
        self.hub, members, self.static = _make_hub(lab, peers)
        words = [word for pool in pools for word in ("--pool", pool)]
        self.server = StormServer(self.hub, database, *words, *options)
        self.load = Load(members[0], members[1], self.history, self.chance)
        self._served = 0
        """Network processes that this helper has brought to serve."""

    def start(self) -> None:
        """Start the server."""
        self.server.start()
        self._served = 1

    def round(self) -> None:
        """Load, kill, look, recover, look. Raises StormError."""
        if self.chance.random() < self.absence:
            self.load.send_away(_CLOCK.now() + AWAY)
        self.load.run(_CLOCK.now() + self.chance.uniform(*self.life))
        kind = self._choose()
        self.kills[kind] += 1
        self._kill(kind)
        rows = read_rows(self.server.database)  # before anybody else opens it
        self.load.drain()
        now = _CLOCK.now()
        self.judge([*losses(self.history.holdings(now), rows, now), *self.history.settle(now)])
        self._recover(kind)
        self._judge_allowed_ips(rows, now)

    def finish(self) -> None:
        """Load once more, so that every lease is renewed; stop under load, start, and look."""
        self.load.run(_CLOCK.now() + 1.0)
        self.server.stop()
        self.load.drain()
        rows = read_rows(self.server.database)
        now = _CLOCK.now()
        self.judge([*losses(self.history.holdings(now), rows, now), *self.history.settle(now)])
        self.start()  # what was granted and not answered when the server stopped, is put in force
        self._judge_allowed_ips(rows, now)
        self.load.close()
        self.server.stop()

    def judge(self, found: Sequence[str]) -> None:
        """Raise StormError if anything was found."""
        if found:
            count = sum(self.kills.values())
            listed = "\n".join(f"  {line}" for line in found)
            msg = f"seed {self.seed}, after {count} kills ({dict(self.kills)}):\n{listed}"
            raise StormError(msg)

    def _choose(self) -> str:
        # Each network process that dies is followed by a longer pause: a new helper starts afresh.
        return self.chance.choice(KINDS if self._served <= 1 else KINDS[1:])

    def _kill(self, kind: str) -> None:
        if kind == "network":
            self.server.kill_network_process()
        elif kind == "helper":
            self.server.kill()
        else:
            self.server.kill_both()

    def _recover(self, kind: str) -> None:
        if kind == "network":
            self._served += 1
            self.server.wait_for_another(self._served)
        else:
            self.start()

    def _judge_allowed_ips(self, rows: dict[str, Row], since: float) -> None:
        """The allowed IPs are what the database says, within RECOVERY. Nobody asks meanwhile."""
        begin = _CLOCK.now()
        while True:
            allowed = self.hub.interface.allowed_ips()
            now = _CLOCK.now()
            found = deviations(allowed, self.static, rows, since, now)
            if not found or now - begin > RECOVERY:
                break
        self.judge(found)
        self.recovery = max(self.recovery, now - begin)


def read_rows(database: Path) -> dict[str, Row]:
    """The database by address, from a copy: whoever has it open has locked it. {} without one."""
    with tempfile.TemporaryDirectory() as copy:
        for path in database.parent.glob(f"{database.name}*"):
            shutil.copy(path, copy)
        path = Path(copy) / database.name
        if not path.exists() or not path.stat().st_size:
            return {}
        with contextlib.closing(sqlite3.connect(path)) as db:
            (verdict,) = db.execute("PRAGMA integrity_check").fetchone()
            if verdict != "ok":
                msg = f"the database is malformed: {verdict}"
                raise StormError(msg)
            if not db.execute("PRAGMA user_version").fetchone()[0]:
                return {}  # killed before it was made
            found = db.execute("SELECT address, public_key, ends_at, ended FROM leases")
            return {
                str(ip_address(address)): Row(format_key(key), ends_at, bool(ended))
                for address, key, ends_at, ended in found
            }


def _make_hub(lab: Lab, count: int) -> tuple[Member, tuple[Host, list[Peer]], dict[str, set[str]]]:
    """A hub, and one host in which each of `count` peers is an interface of its own."""
    hub_host, host = lab.hosts("hub", "peers")
    hub = Member(hub_host, hub_host.wireguard("wg0", addrgenmode="none"), "fe80::")
    links: list[Interface] = [
        host.wireguard(f"peer{number}", addrgenmode="none") for number in range(1, count + 1)
    ]
    static = {
        link.keys.public: {f"fe80::{number:x}/128", f"10.45.{number}.0/24"}
        for number, link in enumerate(links, start=1)
    }
    static[links[0].keys.public].add(STATIC_INSIDE)
    hub.interface.setconf([PeerConfig(key, sorted(static[key])) for key in static])
    hub.host.ip("address add fe80::/64 dev wg0 nodad", "link set dev wg0 up")
    endpoint = f"{hub.host.address}:{LISTEN_PORT}"
    for link in links:
        server = PeerConfig(hub.interface.keys.public, ("fe80::/128",), endpoint)
        link.setconf([server], listen_port=None)
    host.ip(
        *(
            line
            for number, link in enumerate(links, start=1)
            for line in (
                f"address add fe80::{number:x}/128 dev {link.name} nodad",
                f"link set dev {link.name} up",
                f"route add fe80::/128 dev {link.name} metric {100 + number}",
            )
        )
    )
    with host.netns():
        peers = [
            Peer(link.keys.public, f"fe80::{number:x}", socket.if_nametoindex(link.name))
            for number, link in enumerate(links, start=1)
        ]
    return hub, (host, peers), static

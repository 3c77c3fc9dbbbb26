"""The real server under load, killed at random: what clients were told holds, every time."""

import contextlib
import os
import re
import secrets
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.crash.storm import STATIC_INSIDE, Storm, StormError
from tools.netlab import Lab
from wg_dynamic.system.clock import SystemClock

pytestmark = pytest.mark.netns

_CLOCK = SystemClock()
KILLS = 50
SEED = int(os.environ.get("WG_DYNAMIC_CRASH_SEED") or secrets.randbits(32))
"""Another one in each run; a failure names it."""


def test_no_kill_loses_or_doubles_an_acknowledged_lease(lab: Lab, database: Path) -> None:
    storm = Storm(lab, database, seed=SEED)
    storm.start()
    for _ in range(KILLS):
        storm.round()
    storm.finish()
    assert set(storm.kills) == {"network", "helper", "both"}, storm.seed
    assert storm.history.renewed > KILLS, "the load was no load"


class Sabotaged(Storm):
    """One whose server loses a lease at a kill, and whose hub gets a wrong allowed IP after it."""

    def __init__(self, lab: Lab, database: Path) -> None:
        super().__init__(lab, database, seed=SEED, peers=3, life=(0.5, 0.5))
        self.found: list[str] = []

    def judge(self, found: Sequence[str]) -> None:
        try:
            super().judge(found)
        except StormError as error:
            self.found.append(str(error))

    def _choose(self) -> str:
        while not any(":" in held.address for held in self.history.holdings(_CLOCK.now())):
            self.load.run(_CLOCK.now() + 0.2)  # something has to be there to be lost
        return "both"

    def _kill(self, kind: str) -> None:
        super()._kill(kind)
        with contextlib.closing(sqlite3.connect(self.server.database)) as db, db:
            db.execute("DELETE FROM leases WHERE ended = 0 AND length(address) = 16")

    def _recover(self, kind: str) -> None:
        super()._recover(kind)
        wrong = f"fe80::1/128,{STATIC_INSIDE},10.44.0.14/32,10.46.0.0/24"
        peer = next(iter(self.static))
        self.hub.host.run(["wg", "set", "wg0", "peer", peer, "allowed-ips", wrong])


def test_the_storm_notices_what_is_planted(lab: Lab, database: Path) -> None:
    storm = Sabotaged(lab, database)
    storm.start()
    storm.round()
    assert len(storm.found) == 2, storm.found
    kill, recovery = storm.found
    assert f"seed {SEED}, after 1 kills" in kill
    assert re.search("lost: fd00:44::.* the database does not have it", kill)
    assert "static: 10.45.1.0/24 was taken from" in recovery
    assert "not leased: 10.46.0.0/24, allowed to" in recovery

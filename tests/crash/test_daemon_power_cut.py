"""The whole server loses its power: each reply that it had sent is in its database."""

import random
import secrets
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.crash.recorder import build_recorder, record_all
from tests.crash.storm import Storm, StormError, read_rows
from tools.lease_history import History, Row, losses
from tools.netlab import Lab
from tools.power_cut import Disk, Record, read_log, write_out
from wg_dynamic.system.clock import SystemClock

pytestmark = pytest.mark.netns

CUTS = 150
FOR_EVER = 1e9
"""valid_time of all leases here: what counts is the order of records, not time."""


def take(history: History, one: Record, at: int) -> None:
    """A request that the server has read, or a reply that it is about to send."""
    lines = [line.partition("=")[::2] for line in one.data.decode().split("\n")]
    addresses = [value for name, value in lines if name == "ip"]
    if one.op == "?":
        if lines[0][0] == "release_ip":
            history.released(one.path, at)
        else:
            history.asked(one.path, at, addresses)
    elif addresses or lines[0][0] == "release_ip":
        history.told(one.path, at, dict.fromkeys(addresses, FOR_EVER))
    else:
        history.unanswered(one.path)


def test_no_power_cut_takes_what_the_server_has_acknowledged(lab: Lab, database: Path) -> None:
    seed = secrets.randbits(32)
    top = database.parent.parent
    storm = Storm(lab, database, seed=seed, peers=8)
    library, log = lab.directory / "recorder.so", lab.directory / "log"
    build_recorder(library, top, log)
    record_all(storm.hub.host, library)
    names = {f"fe80::{number:x}": key for number, key in enumerate(storm.static, start=1)}
    for end in (storm.server.kill_both, storm.server.stop):
        storm.start()
        storm.load.run(SystemClock().now() + 0.5)
        end()
        storm.load.drain()
    records = list(read_log(log.read_bytes()))
    found = complaints(records, str(top), lab.directory, seed, names)
    said = Counter(one.op for one in records)
    assert said["!"] > 30, "the load was no load"
    assert not [one for one in records if one.path.endswith("-shm")], "memory that is not recorded"
    assert found == []


def complaints(
    records: list[Record], top: str, place: Path, seed: int, names: dict[str, str]
) -> list[str]:
    chance = random.Random(seed)  # noqa: S311 - when to cut, and what is left
    whole = range(len(records))
    moments = {*chance.sample(whole, min(CUTS, len(whole)))}
    disk, history = Disk(top), History()
    found = []
    for at, one in enumerate(records):
        if one.op in "?!":
            take(history, one._replace(path=names[one.path]), at)
        else:
            disk.apply(one)
        if at not in moments:
            continue
        with tempfile.TemporaryDirectory(dir=place) as rebuilt:
            write_out(disk.left(chance), top, Path(rebuilt))
            wrong = complaint(Path(rebuilt) / "state" / "leases.sqlite", history, at)
        found += [f"seed {seed}, cut after record {at}: {text}" for text in wrong]
    return found


def complaint(database: Path, history: History, at: int) -> list[str]:
    try:
        rows = read_rows(database)
    except StormError as error:
        return [str(error)]
    kept = {address: Row(row.peer, 2 * FOR_EVER, row.ended) for address, row in rows.items()}
    return losses(history.holdings(at), kept, at)

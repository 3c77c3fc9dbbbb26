"""The process that reads a lease database for --check-store. Started by the command only."""

import tempfile
from pathlib import Path

from wg_dynamic.cli.network import run_network_process
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.requests import (
    CHECK_REPLIES,
    CHECK_REQUESTS,
    MAX_TEXT,
    Checked,
    CheckStore,
    Finding,
)
from wg_dynamic.privsep.sandbox import CHECK, RANDOM, Sandbox
from wg_dynamic.store.check import PLACES, check_database

MAX_FINDINGS = 100
"""Problems that are told one by one: a database of a million leases may have as many."""


def _work(channel: Channel, sandbox: Sandbox) -> None:
    asked, _ = channel.wait_for(CheckStore)
    database = Path(asked.database)
    places = [Path(tempfile.gettempdir()), *[Path(place) for place in PLACES if place]]
    sandbox.close(CHECK, scratch=places, readable=(database.parent, RANDOM))
    summary, problems = check_database(database)
    for problem in problems[:MAX_FINDINGS]:
        channel.send(Finding(problem[:MAX_TEXT]))
    channel.send(Checked(summary[:MAX_TEXT], len(problems)))


def main(words: list[str]) -> int:
    """The process; returns its exit status."""
    return run_network_process("wg-dynamic-server", words, CHECK_REPLIES, CHECK_REQUESTS, _work)

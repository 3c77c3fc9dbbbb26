"""The ledger against a set: cut at any byte, damaged anywhere, reopened at any time."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from wg_dynamic.address import Prefix
from wg_dynamic.privsep import ledger as module
from wg_dynamic.privsep.ledger import (
    ADDRESS,
    ALLOWED_IP,
    DNS,
    FIREWALL,
    FWMARK,
    ROUTE,
    RULE,
    SYSCTL,
    TABLE_ROUTE,
    Entry,
    Ledger,
    Setting,
    parse_entry,
)

PREFIXES = st.builds(Prefix, st.binary(min_size=4, max_size=4), st.integers(0, 32)) | st.builds(
    Prefix, st.binary(min_size=16, max_size=16), st.integers(0, 128)
)
ENTRIES = st.builds(Entry, st.sampled_from([ADDRESS, ROUTE]), PREFIXES, st.just(b"")) | st.builds(
    Entry, st.just(ALLOWED_IP), PREFIXES, st.binary(min_size=32, max_size=32)
)
KINDS = (DNS, FIREWALL, FWMARK, RULE, SYSCTL, TABLE_ROUTE)
WORDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)
SETTINGS = st.builds(
    Setting, st.sampled_from(KINDS), st.lists(WORDS, min_size=1, max_size=4).map(tuple)
)
FEW: list[Entry | Setting] = [Entry(ADDRESS, Prefix(bytes([10, 0, 0, n]), 32)) for n in range(5)]
FEW += [Entry(ALLOWED_IP, Prefix(bytes(16), 128), bytes([n]) * 32) for n in range(3)]
FEW += [Setting(DNS, ("resolvconf", "tun.wg0")), Setting(RULE, ("ipv4", "32765", "51820"))]
EVENTS = st.lists(st.tuples(st.sampled_from("+-"), st.sampled_from(FEW)), max_size=8)


@contextmanager
def a_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name) / "ledger"


def everything(ledger: Ledger) -> set[Entry | Setting]:
    entries = {entry for kind in (ADDRESS, ROUTE, ALLOWED_IP) for entry in ledger.entries(kind)}
    return entries | {setting for kind in KINDS for setting in ledger.settings(kind)}


def reopened(path: Path) -> tuple[set[Entry | Setting], list[str]]:
    ledger = Ledger(path)
    ledger.close()
    return everything(ledger), ledger.damaged


def replayed(lines: list[str]) -> set[Entry | Setting]:
    """What lines say, by the rules in words: plus sets, minus strikes out."""
    entries: set[Entry | Setting] = set()
    for line in lines:
        (entries.add if line[0] == "+" else entries.discard)(parse_entry(line[2:]))
    return entries


@given(ENTRIES | SETTINGS)
def test_an_entry_is_written_and_read_the_same(entry: Entry | Setting) -> None:
    assert parse_entry(entry.line()) == entry


@settings(max_examples=60)
@given(EVENTS, st.data())
def test_a_file_that_was_cut_says_what_its_whole_lines_say(
    events: list[tuple[str, Entry | Setting]], data: st.DataObject
) -> None:
    text = "".join(f"{sign} {entry.line()}\n" for sign, entry in events)
    with a_path() as path:
        for size in data.draw(st.sets(st.integers(0, len(text)), max_size=10)) | {len(text)}:
            path.write_text(text[:size])
            whole = text[:size].split("\n")[:-1]
            assert reopened(path) == (replayed(whole), [])


def test_a_file_may_be_cut_at_any_byte() -> None:
    events = [("+", FEW[0]), ("+", FEW[5]), ("-", FEW[0]), ("+", FEW[1])]
    text = "".join(f"{sign} {entry.line()}\n" for sign, entry in events)
    with a_path() as path:
        for size in range(len(text) + 1):
            path.write_text(text[:size])
            assert reopened(path) == (replayed(text[:size].split("\n")[:-1]), [])


@settings(max_examples=100)
@given(EVENTS, st.binary(max_size=30), st.data())
def test_a_damaged_file_is_read_as_far_as_it_can_be_and_no_line_is_lost(
    events: list[tuple[str, Entry | Setting]], garbage: bytes, data: st.DataObject
) -> None:
    lines = [f"{sign} {entry.line()}" for sign, entry in events]
    at = data.draw(st.integers(0, len(lines)))
    text = [line.encode() + b"\n" for line in lines]
    text.insert(at, b"! " + garbage.replace(b"\n", b" ") + b"\n")
    with a_path() as path:
        path.write_bytes(b"".join(text))
        found, damaged = reopened(path)
        assert found == replayed(lines)
        assert len(damaged) == 1
        assert reopened(path) == (found, damaged)
        ledger = Ledger(path)
        ledger.add(*FEW)
        ledger.remove(*FEW)
        ledger.close()
        assert reopened(path) == (found - set(FEW), damaged)


class LedgerAgainstASet(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "ledger"
        self.ledger = Ledger(self.path)
        self.model: set[Entry | Setting] = set()
        self.spare, module.SPARE_LINES = module.SPARE_LINES, 3

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.close()
            self.directory.cleanup()
            module.SPARE_LINES = self.spare

    @rule(entries=st.lists(st.sampled_from(FEW), max_size=4))
    def add(self, entries: list[Entry | Setting]) -> None:
        self.ledger.add(*entries)
        self.model.update(entries)

    @rule(entries=st.lists(st.sampled_from(FEW), max_size=4))
    def remove(self, entries: list[Entry | Setting]) -> None:
        self.ledger.remove(*entries)
        self.model.difference_update(entries)

    @rule()
    def die_and_be_followed(self) -> None:
        """The old one's file stays open, as after a kill: nothing is written any more."""
        old, self.ledger = self.ledger, Ledger(self.path)
        old.close()

    @invariant()
    def memory_and_file_say_the_same(self) -> None:
        assert everything(self.ledger) == self.model
        assert len(self.ledger) == len(self.model)
        assert replayed(self.path.read_text().splitlines()) == self.model
        assert self.path.read_text().count("\n") <= 2 * len(self.model) + 3 + 4


LedgerAgainstASet.TestCase.settings = settings(max_examples=40, stateful_step_count=20)
TestLedgerAgainstASet: Any = LedgerAgainstASet.TestCase

"""What is set, when, and what the ledger knows of it; the tools are real in tests/netns."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from wg_dynamic.address import parse_address
from wg_dynamic.helper.name_service import NameService, search_texts, server_texts
from wg_dynamic.helper.resolver import NoResolverError, Resolver
from wg_dynamic.netlink.control import Link
from wg_dynamic.privsep.ledger import DNS, Ledger, LedgerError, Setting
from wg_dynamic.system.tools import ToolError

LINK = Link(7, "wg0", "wireguard", True, 1420)
SERVERS = (parse_address("10.0.0.1"), parse_address("fd00::1"))
OURS = Setting(DNS, ("fake", "tun.wg0"))


class FakeResolver:
    """Records in memory; notes whether the ledger knew of each at the time."""

    def __init__(self, ledger: Ledger, name: str = "fake") -> None:
        self.name = name
        self.ledger = ledger
        self.records: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self.calls = 0
        self.error: ToolError | None = None
        self.error_of_remove: ToolError | None = None

    def record(self, link: Link) -> str:
        return f"tun.{link.name}"

    def has(self, record: str) -> bool:
        return record in self.records

    def set(self, record: str, servers: Sequence[str], search: Sequence[str]) -> None:
        assert Setting(DNS, (self.name, record)) in self.ledger
        self.calls += 1
        self.records[record] = (tuple(servers), tuple(search))
        if self.error is not None:  # half done
            raise self.error

    def remove(self, record: str) -> None:
        assert Setting(DNS, (self.name, record)) in self.ledger
        if self.error_of_remove is not None:
            raise self.error_of_remove
        self.records.pop(record, None)


class World:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = Ledger(path)
        self.resolver = FakeResolver(self.ledger)
        self.found: Resolver | NoResolverError = self.resolver
        self.resolvers: dict[str, Resolver] = {"fake": self.resolver}
        self.service = self.begin()

    def begin(self) -> NameService:
        return NameService(LINK, self.ledger, find=self.find, named=self.named)

    def restart(self) -> None:
        """As after a kill."""
        self.ledger.close()
        self.ledger = Ledger(self.path)
        self.resolver.ledger = self.ledger
        self.service = self.begin()

    def find(self) -> Resolver:
        if isinstance(self.found, NoResolverError):
            raise self.found
        return self.found

    def named(self, name: str) -> Resolver:
        if name not in self.resolvers:
            raise ValueError(name)
        return self.resolvers[name]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "ledger")
    yield made
    made.ledger.close()


def test_what_is_pushed_is_set_changed_and_undone(world: World) -> None:
    assert world.service.apply(SERVERS, ("Corp.Example",)) == ""
    assert world.resolver.records == {"tun.wg0": (("10.0.0.1", "fd00::1"), ("corp.example",))}
    assert world.ledger.settings(DNS) == [OURS]
    assert world.service.apply(SERVERS[:1], ()) == ""
    assert world.resolver.records == {"tun.wg0": (("10.0.0.1",), ())}
    world.service.undo()
    world.service.undo()
    assert world.resolver.records == {}
    assert len(world.ledger) == 0


def test_a_renewal_that_changes_nothing_runs_nothing(world: World) -> None:
    for _ in range(3):
        assert world.service.apply(SERVERS, ()) == ""
    assert world.resolver.calls == 1
    world.service.undo()
    assert world.service.apply(SERVERS, ()) == ""
    assert world.resolver.calls == 2


def test_none_pushed_undoes(world: World) -> None:
    world.service.apply(SERVERS, ())
    assert world.service.apply((), ()) == ""
    assert world.resolver.records == {}
    world.service.apply(SERVERS, ())
    assert "without a name server" in world.service.apply((), ("corp.example",))
    assert world.resolver.records == {}


def test_what_a_killed_one_left_is_taken_over_or_undone(world: World) -> None:
    world.service.apply(SERVERS, ())
    world.restart()
    assert world.service.apply(SERVERS[1:], ()) == ""
    assert world.resolver.records == {"tun.wg0": (("fd00::1",), ())}
    world.restart()
    world.service.undo()
    assert world.resolver.records == {}
    assert len(world.ledger) == 0


def test_what_somebody_else_set_stays(world: World, caplog: pytest.LogCaptureFixture) -> None:
    theirs = (("192.0.2.1",), ())
    world.resolver.records["tun.wg0"] = theirs
    for _ in range(3):
        assert "somebody else set" in world.service.apply(SERVERS, ())
    world.service.undo()
    assert world.resolver.records == {"tun.wg0": theirs}
    assert len(world.ledger) == 0
    assert caplog.text.count("somebody else set") == 1


def test_nobody_to_tell_is_said_once_and_again_after_it_was_well(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world.found = NoResolverError("nobody here")
    for _ in range(3):
        assert world.service.apply(SERVERS, ()) == "nobody here"
    assert caplog.text.count("nobody here") == 1
    assert len(world.ledger) == 0
    world.found = world.resolver
    assert world.service.apply(SERVERS, ()) == ""
    world.found = NoResolverError("nobody here")
    assert world.service.apply(SERVERS[:1], ()) == "nobody here"
    assert caplog.text.count("nobody here") == 2


def test_a_tool_that_fails_leaves_nothing_half_set(world: World) -> None:
    world.resolver.error = ToolError("it took too long")
    assert world.service.apply(SERVERS, ()) == "it took too long"
    assert world.resolver.records == {}
    assert len(world.ledger) == 0
    world.resolver.error = None
    assert world.service.apply(SERVERS, ()) == ""


def test_what_cannot_be_undone_stays_named(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.service.apply(SERVERS, ())
    world.resolver.error_of_remove = ToolError("no resolvconf any more")
    world.service.undo()
    assert world.ledger.settings(DNS) == [OURS]
    assert "cannot undo the name servers (dns fake tun.wg0): no resolvconf any more" in caplog.text
    world.resolver.error_of_remove = None
    world.service.undo()
    assert len(world.ledger) == 0


def test_a_line_of_the_ledger_without_sense_is_left(world: World) -> None:
    strange = [Setting(DNS, ("fake",)), Setting(DNS, ("other", "wg0"))]
    world.ledger.add(*strange)
    world.service.undo()
    assert world.ledger.settings(DNS) == strange


def test_another_resolver_takes_over_from_the_first(world: World) -> None:
    world.service.apply(SERVERS, ())
    other = FakeResolver(world.ledger, "other")
    world.resolvers["other"] = world.found = other
    assert world.service.apply(SERVERS[:1], ()) == ""
    assert world.resolver.records == {}
    assert list(other.records) == ["tun.wg0"]
    assert world.ledger.settings(DNS) == [Setting(DNS, ("other", "tun.wg0"))]


def test_without_room_in_the_ledger_nothing_is_set(world: World) -> None:
    world.ledger.close()
    assert "closed" in world.service.apply(SERVERS, ())
    assert world.resolver.records == {}
    with pytest.raises(LedgerError):
        world.ledger.add(OURS)


@pytest.mark.parametrize(
    ("servers", "search"),
    [
        (("127.0.0.1",), ()),
        (("fe80::1",), ()),
        (("0.0.0.0",), ()),  # noqa: S104 - an address in a message
        (("ff02::1",), ()),
        (("10.0.0.1",) * 17, ()),
        (("10.0.0.1",), ("x",) * 17),
        (("10.0.0.1",), ("-x",)),
        (("10.0.0.1",), ("a\nnameserver 192.0.2.66",)),
        (("10.0.0.1",), ("a b",)),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_things_as_they_are(
    world: World, servers: tuple[str, ...], search: tuple[str, ...]
) -> None:
    world.service.apply(SERVERS, ())
    before = dict(world.resolver.records)
    assert "expected" in world.service.apply(tuple(map(parse_address, servers)), search)
    assert world.resolver.records == before


@pytest.mark.parametrize(
    "domain",
    [
        *("", ".", "a.", ".a", "a..b", "-a", "a-", "a.-b", "a_b", "a b", "~.", "é", "a\n", "a/b"),
        *("x" * 64, ".".join(["x" * 63] * 4), "a;b", "$(id)", "a\0", "xn--\u00e9", "\u212a"),
    ],
)
def test_what_is_no_domain_name_is_refused(domain: str) -> None:
    with pytest.raises(ValueError, match="expected a domain name"):
        search_texts([domain])


def test_domain_names_are_taken_up_to_their_limits() -> None:
    longest = ".".join(["x" * 63] * 3 + ["y" * 61])
    assert len(longest) == 253
    names = ["a", "A-1.b", "x" * 63, "0.1", longest, "a"]
    assert search_texts(names) == ("a", "a-1.b", "x" * 63, "0.1", longest)
    assert len(search_texts([f"n{n}" for n in range(16)])) == 16


def test_an_address_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r".+"):
        server_texts([b"12345"])
    assert server_texts([SERVERS[0]] * 2) == ("10.0.0.1",)

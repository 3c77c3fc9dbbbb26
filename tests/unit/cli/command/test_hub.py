"""All three places in memory or in a temporary directory, and kills between any two steps."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_prefix
from wg_dynamic.cli.command import quick_conf
from wg_dynamic.cli.command.hub import NOTE, Hub, NewPeer
from wg_dynamic.cli.command.peer_list import names_of
from wg_dynamic.cli.command.quick_conf import QuickConf
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config import file as file_module
from wg_dynamic.helper.config import peers as peers_module
from wg_dynamic.helper.config.file import load_config
from wg_dynamic.helper.config.peers import PeersFile
from wg_dynamic.wireguard.control import WireGuardError
from wg_dynamic.wireguard.device import Peer
from wg_dynamic.wireguard.key import format_key
from wg_dynamic.wireguard.lladdr import link_local_of

ALICE, BOB = bytes([1]) * 32, bytes([2]) * 32
CONF = "[Interface]\nPrivateKey = secret\n"


class Killed(BaseException):
    """SIGKILL: from now on nothing is done any more."""


class World:
    """The files and the interface of one machine."""

    def __init__(self, top: Path) -> None:
        self.etc = top / "wg-dynamic"
        self.etc.mkdir()
        self.conf = QuickConf("wg0", top)
        self.conf.path.write_text(CONF)
        self.wireguard = FakeWireGuard(Peer(BOB, (parse_prefix("fe80::2/128"),)))
        self.shown: list[str] = []
        self.left: Iterator[None] | None = None
        """Steps until the kill; None: for ever."""

    def step(self) -> None:
        if self.left is not None and next(self.left, False) is False:
            raise Killed

    def open(self) -> "Open":
        return Open(self)

    def add(self, new: NewPeer, preshared_key: bytes | None = None) -> list[str]:
        with self.open() as hub:
            said = hub.take_back_unfinished()
            hub.add(new, preshared_key, self.show)
            return said

    def show(self) -> None:
        self.step()
        self.shown.append("shown")

    def state(self) -> tuple[str, str, dict[bytes, Peer]]:
        path = self.etc / "wg0.peers.toml"
        text = path.read_text() if path.exists() else ""
        entries = "".join(text.partition("[[")[1:])
        return self.conf.read(), entries, self.wireguard.peers


class Open:
    """The command's own view: a hub under the lock."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.file = PeersFile("wg0")

    def __enter__(self) -> Hub:
        self.file.__enter__()
        names = names_of(load_config(None, "wg0"))
        return Hub("wg0", self.world.wireguard, self.file, self.world.conf, names)

    def __exit__(self, *_: object) -> None:
        self.file.__exit__(None, None, None)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(file_module, "CONFIG_ROOT", made.etc)
    monkeypatch.setattr(file_module, "_refuse_foreign", lambda *_: None)

    def counted(function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: object) -> None:
            made.step()
            function(*arguments)

        return call

    for module in (peers_module, quick_conf):
        monkeypatch.setattr(module, "replace_file", counted(module.replace_file))
    for name in ("add_peer", "remove_peer"):
        monkeypatch.setattr(made.wireguard, name, counted(getattr(made.wireguard, name)))
    return made


def laptop(*, save: bool = True, name: str = "laptop", key: bytes = ALICE) -> NewPeer:
    return NewPeer(key, name, (parse_prefix("10.0.0.9/32"),), save)


def test_a_peer_is_added_in_all_three_places(world: World) -> None:
    assert world.add(laptop(), b"\7" * 32) == []
    conf, entries, live = world.state()
    assert entries == f'[[peer]]\nname = "laptop"\npublic_key = "{format_key(ALICE)}"\n'
    assert conf.startswith(CONF)
    assert "# laptop\n" in conf
    assert "PresharedKey = BwcH" in conf
    prefixes = laptop().allowed_ips
    assert f"AllowedIPs = {prefixes[0]}, 10.0.0.9/32\n" in conf
    assert prefixes[0].packed == link_local_of(ALICE)
    assert live[ALICE] == Peer(ALICE, prefixes)
    assert world.wireguard.preshared_keys == {ALICE: b"\7" * 32}
    assert world.shown == ["shown"]


def test_without_a_name_and_without_saving_it_is_known_by_its_key(world: World) -> None:
    world.add(laptop(save=False, name=""))
    conf, entries, live = world.state()
    assert conf == CONF
    assert entries == f'[[peer]]\npublic_key = "{format_key(ALICE)}"\n'
    assert ALICE in live


def test_what_was_added_is_removed_without_a_trace(world: World) -> None:
    before = world.state()
    world.add(laptop())
    with world.open() as hub:
        assert hub.find("Laptop") == hub.find(format_key(ALICE)) == ALICE
        assert not hub.configured(ALICE)
        removed = hub.remove(ALICE)
    assert (removed.saved, removed.line, removed.entries) == (True, None, 1)
    assert removed.peer == Peer(ALICE, laptop().allowed_ips)
    assert world.state() == before


def test_a_reservation_of_the_peer_goes_with_it(world: World) -> None:
    with PeersFile("wg0") as file:
        values = {"name": "nas", "public_key": format_key(BOB), "addresses": ["10.0.0.7"]}
        file.add("reservation", values)
    with world.open() as hub:
        assert hub.remove(hub.find("nas")).entries == 1
    assert world.state() == (CONF, "", {})


def test_a_peer_that_the_administrator_wrote_down_is_pointed_at(world: World) -> None:
    text = f"{CONF}[Peer]\nPublicKey = {format_key(BOB)}\n"
    world.conf.path.write_text(text)
    (world.etc / "wg0.toml").write_text(
        f'[[peer]]\nname = "desk"\npublic_key = "{format_key(BOB)}"\n'
    )
    with world.open() as hub:
        assert hub.configured(BOB)
        removed = hub.remove(hub.find("desk"))
    assert (removed.saved, removed.line, removed.entries) == (False, 4, 0)
    assert world.state() == (text, "", {})


def test_a_block_that_is_not_ours_any_more_is_refused_before_anything_is_done(
    world: World,
) -> None:
    world.add(laptop())
    world.conf.path.write_text(world.conf.read().replace("AllowedIPs", "[Peer]\nAllowedIPs"))
    before = world.state()
    with world.open() as hub, pytest.raises(UsageError, match="take it out by hand"):
        hub.remove(ALICE)
    assert world.state() == before


def test_whom_nobody_knows_is_not_removed(world: World) -> None:
    with world.open() as hub:
        for who in ("nobody", format_key(ALICE), ""):
            with pytest.raises(UsageError, match="no peer"):
                hub.find(who)


def test_of_two_peers_of_one_name_none_is_removed_by_it(world: World) -> None:
    (world.etc / "wg0.toml").write_text(
        f'[[peer]]\nname = "desk"\npublic_key = "{format_key(BOB)}"\n'
        f'[[peer]]\nname = "Desk"\npublic_key = "{format_key(ALICE)}"\n'
    )
    with world.open() as hub:
        with pytest.raises(UsageError, match="the name of 2 peers, expected one"):
            hub.find("desk")
        assert hub.find(format_key(BOB)) == BOB


def test_a_peer_that_is_in_a_file_alone_is_found_by_its_key(world: World) -> None:
    world.add(laptop(name=""))
    world.wireguard.remove_peer(ALICE)
    with world.open() as hub:
        removed = hub.remove(hub.find(format_key(ALICE)))
    assert (removed.peer, removed.saved, removed.entries) == (None, True, 1)


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (laptop(key=BOB), "is a peer of wg0 already: to make it anew, first"),
        (laptop(name="Desk"), "desk is the name of peer .* already"),
        (NewPeer(ALICE, "", (parse_prefix("fe80::2/128"),)), "is an allowed IP of peer desk"),
    ],
)
def test_what_is_taken_is_refused_and_nothing_changes(
    world: World, new: NewPeer, expected: str
) -> None:
    (world.etc / "wg0.toml").write_text(
        f'[[peer]]\nname = "desk"\npublic_key = "{format_key(BOB)}"\n'
    )
    if "name of" not in expected and "allowed" not in expected:
        (world.etc / "wg0.toml").unlink()
    before = world.state()
    with pytest.raises(UsageError, match=expected):
        world.add(new)
    assert world.state() == before
    assert world.shown == []


def test_a_link_local_that_another_peer_has_is_refused(world: World) -> None:
    world.wireguard.put_peer(Peer(BOB, laptop().allowed_ips[:1]))
    with pytest.raises(UsageError, match="give this one another key"):
        world.add(laptop())
    assert ALICE not in world.wireguard.peers


def test_a_key_keeps_the_name_that_it_has(world: World) -> None:
    world.add(laptop(save=False))
    world.wireguard.remove_peer(ALICE)  # wg0 was made anew, without it
    with pytest.raises(UsageError, match="is named laptop in the configuration"):
        world.add(laptop(name="phone"))
    assert world.add(laptop()) == []
    _, entries, live = world.state()
    assert entries.count("[[peer]]") == 1
    assert ALICE in live


def test_an_entry_without_a_name_is_not_given_one(world: World) -> None:
    world.add(laptop(name=""))
    world.wireguard.remove_peer(ALICE)
    with pytest.raises(UsageError, match="without a name: give it one there"):
        world.add(laptop())
    world.add(laptop(name=""))
    assert world.conf.read().count("[Peer]") == 1


def test_a_peer_that_stands_in_the_file_alone_is_not_written_twice(world: World) -> None:
    world.conf.path.write_text(f"{CONF}[Peer]\nPublicKey = {format_key(ALICE)}\n")
    with pytest.raises(UsageError, match="line 4, and not on wg0"):
        world.add(laptop())


@pytest.mark.parametrize("where", ["add_peer", "replace_file", "show"])
def test_when_a_step_fails_those_before_are_undone(
    world: World, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.state()

    def fail(*_: object) -> None:
        msg = "planted"
        raise WireGuardError(msg)

    target = {"add_peer": world.wireguard, "replace_file": quick_conf, "show": world}[where]
    with monkeypatch.context() as patch:
        patch.setattr(target, where, fail)
        with pytest.raises(WireGuardError, match="planted"):
            world.add(laptop())
    assert world.state() == before


def steps_of(world: World) -> int:
    """How many things an `add` changes or shows."""
    counter = itertools.count()
    world.left = (None for _ in counter)
    world.add(laptop())
    world.left = None
    return next(counter)


@pytest.mark.parametrize("left", range(5))
def test_after_a_kill_at_any_step_the_same_command_does_it_all(world: World, left: int) -> None:
    before = world.state()
    world.left = iter([None] * left)
    with pytest.raises(Killed):
        world.add(laptop())
    world.left = None
    assert (world.state() == before) is (left == 0)
    said = world.add(laptop())
    assert said == (
        ["peer laptop, which an earlier command did not finish, was taken back"] if left else []
    )
    done = world.state()
    assert NOTE not in done[1]
    assert world.wireguard.peers[ALICE] == Peer(ALICE, laptop().allowed_ips)
    with world.open() as hub:
        hub.remove(ALICE)
    assert world.state() == before


def test_there_are_no_more_steps_than_those_kills(world: World) -> None:
    assert steps_of(world) == 5


@pytest.mark.parametrize("left", range(3))
def test_after_a_kill_while_removing_the_same_command_does_it_all(world: World, left: int) -> None:
    before = world.state()
    world.add(laptop())
    world.left = iter([None] * left)
    with pytest.raises(Killed), world.open() as hub:
        hub.remove(hub.find("laptop"))
    world.left = None
    with world.open() as hub:
        hub.remove(hub.find("laptop"))
    assert world.state() == before


def test_an_unfinished_peer_that_was_heard_of_is_kept(world: World) -> None:
    world.left = iter([None] * 4)
    with pytest.raises(Killed):
        world.add(laptop())
    world.left = None
    world.wireguard.put_peer(Peer(ALICE, laptop().allowed_ips, latest_handshake=1.0))
    with world.open() as hub:
        (said,) = hub.take_back_unfinished()
        assert said.endswith("is in use")
        assert hub.take_back_unfinished() == []
    conf, entries, live = world.state()
    assert NOTE not in entries
    assert ALICE in live
    assert "laptop" in conf


def test_an_unfinished_peer_without_a_name_is_named_by_its_key(world: World) -> None:
    world.left = iter([None])
    with pytest.raises(Killed):
        world.add(laptop(name=""))
    world.left = None
    with world.open() as hub:
        (said,) = hub.take_back_unfinished()
    assert format_key(ALICE) in said

"""What it refuses and prints; that what it prints works is shown in tests/netns."""

import json
from pathlib import Path

import pytest

from tests.fakes.wireguard import FakeWireGuard
from wg_dynamic.address import parse_prefix
from wg_dynamic.cli.command import keys, peer_add
from wg_dynamic.cli.command.arguments import add_json
from wg_dynamic.cli.command.hub import Hub
from wg_dynamic.cli.command.keys import KeyPair
from wg_dynamic.cli.command.qr import NoCodeError
from wg_dynamic.cli.command.quick_conf import QuickConf
from wg_dynamic.cli.options import Parser
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config import file as file_module
from wg_dynamic.helper.config.peers import PeersFile
from wg_dynamic.wireguard.key import format_key

ALICE, HUB = bytes([1]) * 32, bytes([9]) * 32
PAIR = KeyPair("SECRET=", ALICE)


class World:
    def __init__(self, top: Path) -> None:
        self.conf = QuickConf("wg0", top)
        self.conf.path.write_text("[Interface]\n")
        self.wireguard = FakeWireGuard(public_key=HUB)

    def add(self, *words: str) -> list[str]:
        parser = Parser("peer add")
        peer_add.add_options(parser)
        parser.add_argument("--interface", default="wg0")
        add_json(parser)
        with PeersFile("wg0") as file:
            hub = Hub("wg0", self.wireguard, file, self.conf, {})
            return peer_add.add(parser.parse_args(words), hub, self.wireguard)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(file_module, "CONFIG_ROOT", tmp_path / "etc")
    monkeypatch.setattr(file_module, "_refuse_foreign", lambda *_: None)
    monkeypatch.setattr(keys, "make_pair", lambda: PAIR)
    monkeypatch.setattr(keys, "make_preshared_key", lambda: b"\7" * 32)
    return World(tmp_path)


def test_a_whole_configuration_is_printed_and_what_was_done_is_said(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    said = world.add("laptop", "--endpoint", "hub.example.org")
    (prefix,) = world.wireguard.peers[ALICE].allowed_ips
    assert capsys.readouterr().out == (
        f"# laptop\n[Interface]\nPrivateKey = SECRET=\nAddress = {prefix}, auto\n\n"
        f"[Peer]\nPublicKey = {format_key(HUB)}\nEndpoint = hub.example.org:51820\n"
        "AllowedIPs = fe80::/128\nPersistentKeepalive = 25\n"
    )
    address = str(prefix).removesuffix("/128")
    assert said == [
        f"added laptop to wg0 as {address}; written into {world.conf.path}",
        "the private key is in what was printed, and nowhere else",
    ]
    assert "SECRET" not in world.conf.read()


def test_a_program_gets_all_in_one_object(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.add("--json", "--address", "10.44.0.9", "--keepalive", "0", "--no-save")
    shown = json.loads(capsys.readouterr().out)
    address = str(world.wireguard.peers[ALICE].allowed_ips[0]).removesuffix("/128")
    text = shown.pop("configuration")
    assert shown == {
        "interface": "wg0",
        "name": None,
        "public_key": format_key(ALICE),
        "link_local": address,
        "addresses": ["10.44.0.9"],
        "saved": False,
        "qr": None,
    }
    assert f"Address = {address}/128, 10.44.0.9/32\n" in text
    assert "Keepalive" not in text


def test_hooks_and_more_networks_are_printed_if_wanted(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.add("--no-auto", "--allowed-ips", "10.20.0.0/16", "--allowed-ips", "::/0")
    out = capsys.readouterr().out
    assert "PostUp = wg-dynamic-client %i\n" in out
    assert "auto" not in out
    assert "AllowedIPs = fe80::/128, 10.20.0.0/16, ::/0\n" in out


def test_a_preshared_key_is_on_both_sides(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    said = world.add("--preshared-key")
    key = b"\7" * 32
    assert world.wireguard.preshared_keys == {ALICE: key}
    line = f"PresharedKey = {keys.encode_key(key)}\n"
    assert line in capsys.readouterr().out
    assert line in world.conf.read()
    assert not any("its preshared key" in one for one in said)


def test_a_preshared_key_that_is_kept_nowhere_is_told(world: World) -> None:
    said = world.add("--preshared-key", "--no-save")
    assert "its preshared key is on the interface alone, and in what was printed" in said


def test_a_key_of_the_device_s_own_needs_no_new_one(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(keys, "make_pair", None)
    said = world.add("--public-key", format_key(bytes([3]) * 32))
    assert bytes([3]) * 32 in world.wireguard.peers
    assert not any("private" in one for one in said)
    assert "# PrivateKey = " in capsys.readouterr().out


def test_without_an_endpoint_it_says_so(world: World) -> None:
    assert "without --endpoint the configuration has none: fill it in" in world.add("laptop")


@pytest.mark.parametrize(
    ("conf", "option", "saved", "expected"),
    [
        ("[Interface]\n", "--save", True, "written into"),
        ("[Interface]\n", "", True, "written into"),
        ("[Interface]\n", "--no-save", False, "gone when wg0 goes"),
        ("[Interface]\nSaveConfig = true\n", "--save", False, "says SaveConfig = true"),
        ("[Interface]\nSaveConfig = true\n", "", False, "wg-quick save wg0"),
        (None, "", False, "there is no"),
        (None, "--no-save", False, "gone when wg0 goes"),
    ],
)
def test_wg_quick_s_file_gets_it_unless_wg_quick_writes_that_itself(
    world: World, conf: str | None, option: str, saved: bool, expected: str
) -> None:
    world.conf.path.unlink()
    if conf is not None:
        world.conf.path.write_text(conf)
    said = world.add("laptop", *filter(None, [option]))
    assert expected in said[0]
    assert (format_key(ALICE) in world.conf.read()) is saved


def test_to_save_into_a_file_that_is_not_there_is_refused(world: World) -> None:
    world.conf.path.unlink()
    with pytest.raises(UsageError, match="--save: there is no"):
        world.add("laptop", "--save")
    assert world.wireguard.peers == {}


def test_a_code_is_printed_below_and_holds_no_comments(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[str] = []

    def draw(text: str) -> str:
        drawn.append(text)
        return "CODE\n"

    monkeypatch.setattr(peer_add, "draw", draw)
    world.add("laptop", "--qr")
    assert capsys.readouterr().out.endswith("PersistentKeepalive = 25\n\nCODE\n")
    (text,) = drawn
    assert text.startswith("[Interface]\nPrivateKey = SECRET=\n")
    assert "#" not in text


def test_without_a_code_the_rest_is_done_and_it_says_why(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw(_: str) -> str:
        msg = "no QR code: no segno"
        raise NoCodeError(msg)

    monkeypatch.setattr(peer_add, "draw", draw)
    assert "no QR code: no segno" in world.add("laptop", "--qr")
    assert capsys.readouterr().out.endswith("PersistentKeepalive = 25\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--public-key", format_key(HUB)], "key of wg0 itself"),
        (["--public-key", "x"], "expected a public key"),
        (["--endpoint", "a b"], "expected HOST:PORT"),
        (["--endpoint", ""], "expected HOST:PORT"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_done(
    world: World, words: list[str], expected: str
) -> None:
    with pytest.raises(UsageError, match=expected):
        world.add(*words)
    assert world.wireguard.peers == {}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a b"], "argument NAME: name 'a b', expected"),
        (["--address", "10.44.0.0/24"], "expected one address"),
        (["--address", "fe80::7"], "expected one address"),
        (["--address", "127.0.0.1"], "expected one address"),
        (["--allowed-ips", "10.44.0.1/24"], "has host bits set, expected 10.44.0.0/24"),
        (["--allowed-ips", "x"], "expected a network"),
        (["--keepalive", "65536"], "expected seconds from 0 to 65535"),
        (["--keepalive", "-1"], "expected"),
        (["--keepalive", "000000"], "expected seconds"),
        (["--no-auto", "--address", "10.44.0.9"], "not allowed with"),
    ],
)
def test_options_without_sense_are_refused(
    world: World, words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        world.add(*words)
    assert expected in capsys.readouterr().err
    assert world.wireguard.peers == {}


def test_bounds_are_taken(world: World) -> None:
    world.add("--keepalive", "65535", "--address", "10.44.0.9", "--address", "fd00:44::9")
    expected = tuple(map(parse_prefix, ("10.44.0.9/32", "fd00:44::9/128")))
    assert world.wireguard.peers[ALICE].allowed_ips[1:] == expected

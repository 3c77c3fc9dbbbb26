import errno
from pathlib import Path

import pytest

from tests.fakes.netlink import FakeInterfaces
from wg_dynamic.address import parse_prefix
from wg_dynamic.helper.leftovers import undo_what_is_left_of_gone
from wg_dynamic.netlink.control import Rule
from wg_dynamic.netlink.errors import NetlinkError
from wg_dynamic.privsep.ledger import ADDRESS, RULE, Entry, Ledger, Setting
from wg_dynamic.system.runtime import RuntimeDirectory, namespace_key

GONE = 4711
OURS = Rule(True, 32765, 51820, fwmark=51820, inverted=True)
ENTRIES = (
    Setting(RULE, ("ipv4", "32765", "51820", "51820")),
    Entry(ADDRESS, parse_prefix("10.44.0.7/32")),
)


@pytest.fixture
def interfaces() -> FakeInterfaces:
    fake = FakeInterfaces()
    fake.add_rule(OURS)
    return fake


def leave(root: Path, ifindex: int, role: str = "client") -> Path:
    runtime = RuntimeDirectory(ifindex, root, role)
    ledger = Ledger(runtime.ledger)
    ledger.add(*ENTRIES)
    ledger.close()
    return runtime.path


def test_what_is_left_of_a_gone_interface_is_undone_and_its_directory_removed(
    tmp_path: Path, interfaces: FakeInterfaces
) -> None:
    path = leave(tmp_path, GONE)
    undo_what_is_left_of_gone(interfaces, "client", tmp_path)
    assert OURS not in interfaces.rules()
    assert not path.exists()


def test_of_others_nothing_is_touched(tmp_path: Path, interfaces: FakeInterfaces) -> None:
    here = interfaces.add_link("wg0")
    leave(tmp_path, here.ifindex)
    leave(tmp_path, GONE, "server")
    other = tmp_path / f"n0-{GONE}"
    strange = tmp_path / f"{namespace_key()}-wg0"
    for directory in (other, strange):
        directory.mkdir()
        (directory / "client-ledger").write_text(f"+ {ENTRIES[0].line()}\n")
    running = RuntimeDirectory(GONE + 1, tmp_path, "client")
    leave(tmp_path, GONE + 1)
    assert running.lock("wg-dynamic-client")
    before = {p: p.read_text() for p in tmp_path.rglob("*ledger")}
    undo_what_is_left_of_gone(interfaces, "client", tmp_path)
    assert {p: p.read_text() for p in tmp_path.rglob("*ledger")} == before
    assert OURS in interfaces.rules()
    running.release()


def test_what_cannot_be_undone_is_said_and_stays(
    tmp_path: Path, interfaces: FakeInterfaces, caplog: pytest.LogCaptureFixture
) -> None:
    path = leave(tmp_path, GONE)
    interfaces.error = NetlinkError(errno.ENOBUFS, "look")
    undo_what_is_left_of_gone(interfaces, "client", tmp_path)
    assert "cannot look after" in caplog.text
    interfaces.error = None
    (path / "client-ledger.new").mkdir()
    undo_what_is_left_of_gone(interfaces, "client", tmp_path)
    assert f"cannot undo what is left of interface {GONE}" in caplog.text
    assert OURS in interfaces.rules()
    (path / "client-ledger.new").rmdir()
    undo_what_is_left_of_gone(interfaces, "client", tmp_path)
    assert OURS not in interfaces.rules()


def test_without_a_directory_there_is_nothing_to_do(
    tmp_path: Path, interfaces: FakeInterfaces
) -> None:
    undo_what_is_left_of_gone(interfaces, "client", tmp_path / "absent")
    assert OURS in interfaces.rules()

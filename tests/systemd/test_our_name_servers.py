"""Our name servers by the real systemd-resolved, on a machine where it runs as it should."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.machine import ip, run
from wg_dynamic.address import parse_address
from wg_dynamic.helper.name_service import NameService, undo_name_service
from wg_dynamic.netlink.control import Link
from wg_dynamic.netlink.rtnetlink import RtnetlinkControl
from wg_dynamic.privsep.ledger import Ledger

SERVERS = (parse_address("10.44.0.1"), parse_address("fd00:44::1"))


@pytest.fixture
def link(resolved: None) -> Iterator[Link]:
    ip("link add ours type dummy", "link set ours up", "address add 10.44.0.7/32 dev ours")
    control = RtnetlinkControl()
    yield control.link("ours")
    control.close()
    run("ip", "link", "delete", "ours", check=False)


def shown(link: Link) -> str:
    return run("resolvectl", "dns", link.name) + run("resolvectl", "domain", link.name)


def test_name_servers_are_set_with_resolved_changed_and_reverted(
    link: Link, tmp_path: Path
) -> None:
    before = run("resolvectl", "status", link.name)
    ledger = Ledger(tmp_path / "ledger")
    service = NameService(link, ledger)
    assert service.apply(SERVERS, ("corp.example",)) == ""
    assert f"Link {link.ifindex} (ours): 10.44.0.1 fd00:44::1" in shown(link)
    assert f"Link {link.ifindex} (ours): corp.example ~." in shown(link)
    assert "nameserver 10.44.0.1" in Path("/run/systemd/resolve/resolv.conf").read_text()
    assert service.apply(SERVERS[1:], ()) == ""
    assert "10.44.0.1" not in shown(link)
    assert "corp.example" not in shown(link)
    service.undo()
    assert run("resolvectl", "status", link.name) == before
    assert len(ledger) == 0
    ledger.close()


def test_what_somebody_else_told_resolved_stays(link: Link, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    service = NameService(link, ledger)
    for command in (("dns", "192.0.2.53"), ("domain", "~example.org")):
        run("resolvectl", command[0], link.name, command[1])
        before = shown(link)
        assert "somebody else set" in service.apply(SERVERS, ())
        service.undo()
        assert shown(link) == before
        run("resolvectl", "revert", link.name)
    ledger.close()


def test_after_a_kill_and_without_the_interface_nothing_is_left(link: Link, tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        NameService(link, Ledger(tmp_path / "ledger")).apply(SERVERS, ())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert "10.44.0.1" in shown(link)
    ledger = Ledger(tmp_path / "ledger")
    undo_name_service(ledger)
    assert "10.44.0.1" not in shown(link)
    assert len(ledger) == 0
    assert NameService(link, ledger).apply(SERVERS, ()) == ""
    run("ip", "link", "delete", link.name)
    undo_name_service(ledger)
    assert len(ledger) == 0
    assert "10.44.0.1" not in run("resolvectl", "dns")
    ledger.close()

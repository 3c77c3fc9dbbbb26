"""What tests of DNS settings start from: systemd-resolved and Debian's resolvconf, really there."""

from pathlib import Path

from tests.systemd.conftest import KNOWN
from tests.systemd.machine import ip, run


def test_resolved_answers_and_takes_servers_of_a_link(resolved: None) -> None:
    ip("link add dns0 type dummy")
    run("resolvectl", "dns", "dns0", "192.0.2.53")
    run("resolvectl", "domain", "dns0", "example.com")
    assert "192.0.2.53" in run("resolvectl", "dns", "dns0")
    address, name = KNOWN.split()
    assert address in run("resolvectl", "query", name)
    assert "127.0.0.53" in Path("/etc/resolv.conf").read_text()
    ip("link delete dns0")


def test_resolvconf_writes_resolv_conf(resolvconf: None) -> None:
    run("resolvconf", "-a", "dns1", text="nameserver 192.0.2.54\n")
    assert "192.0.2.54" in Path("/etc/resolv.conf").read_text()
    run("resolvconf", "-d", "dns1")
    assert "192.0.2.54" not in Path("/etc/resolv.conf").read_text()

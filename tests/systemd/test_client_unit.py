"""wg-dynamic-client@.service."""

import os
import signal
from pathlib import Path

from tests.systemd.conftest import Side
from tests.systemd.machine import End, Unit, ip, run, snapshot, tunnel
from tools.processes import wait_until


def leased(side: Side) -> list[str]:
    """Wait for both addresses and return them."""
    wait_until(lambda: len(side.near.addresses()) == 2, timeout=20, what="two leased addresses")
    return side.near.addresses()


def test_it_started_with_wg1_and_says_what_it_has(client: Side) -> None:
    addresses = leased(client)
    status = client.unit.show("StatusText")
    assert status.startswith(f"wg1: leased {', '.join(addresses)} for 3"), "or a second less"


def test_the_link_goes_down_and_up(client: Side) -> None:
    before = leased(client)
    ip("link set wg1 down", "link set wg1 up")
    assert leased(client) == before
    assert client.unit.show("NRestarts") == "0"


def test_a_killed_helper_is_started_again_and_keeps_its_addresses(client: Side) -> None:
    before = leased(client)
    os.kill(client.unit.processes()[0], signal.SIGKILL)
    client.unit.wait_for_restart()
    client.unit.wait_for_status("leased")
    assert leased(client) == before


def test_stopping_leaves_the_machine_as_it_was_and_keeps_the_lease(client: Side) -> None:
    before = leased(client)
    client.unit.systemctl("stop")
    stopped = snapshot()
    assert client.near.addresses() == []
    assert client.near.allowed_ips() == ["fe80::/128"]
    client.unit.systemctl("start")
    assert leased(client) == before
    client.unit.systemctl("stop")
    assert snapshot() == stopped
    client.unit.systemctl("start")


def test_it_ends_with_the_interface_and_comes_back_with_it(client: Side) -> None:
    before = leased(client)
    client.near.delete()
    client.unit.wait_for("inactive")
    assert client.unit.state() == ("inactive", "success")
    client.near.make()
    client.unit.wait_for()
    assert leased(client) == before


def test_it_comes_back_when_the_interface_is_made_anew_while_it_ends(client: Side) -> None:
    before, helper = leased(client), client.unit.processes()[0]
    os.kill(helper, signal.SIGSTOP)  # slow
    client.near.delete()
    client.near.make()
    run("udevadm", "settle")
    os.kill(helper, signal.SIGCONT)
    wait_until(lambda: client.unit.show("MainPID") not in ("0", str(helper)), timeout=20)
    client.unit.wait_for()
    assert leased(client) == before


def test_an_interface_may_get_its_configuration_a_little_later(machine: None) -> None:
    """As from networkd, or by hand. A dash is part of its name."""
    late = End("wg-late", "fe80::3/128", 5101)
    tunnel(End("none", "fe80::/64", 5102), late)
    unit = Unit("wg-dynamic-client@wg\\x2dlate.service")
    unit.systemctl("enable")
    late.add()
    unit.wait_for_restart()
    assert "wg-late is down" in "\n".join(unit.journal("--priority=3"))
    late.configure()
    unit.wait_for()
    late.delete()
    unit.wait_for("inactive")


def test_the_interface_may_be_wireguard_go_s(machine: None) -> None:
    """Its socket is root's, and root without CAP_DAC_OVERRIDE can open it."""
    end = End("go0", "fe80::4/128", 5103, program="wireguard-go")
    tunnel(End("none", "fe80::/64", 5104), end)
    unit = Unit("wg-dynamic-client@go0.service")
    end.make()
    unit.systemctl("start")
    assert unit.state() == ("active", "success")
    unit.systemctl("stop")
    end.delete()


def test_what_the_hub_pushes_is_set_within_the_sandbox(client: Side, resolved: None) -> None:
    """Name servers by resolvectl, a default route by sysctl and nft: programs of the unit's too."""
    leased(client)
    client.unit.systemctl("stop")
    before, ruleset = snapshot(), run("nft", "list", "ruleset")
    etc = Path("/etc/wg-dynamic")
    etc.mkdir(exist_ok=True)
    (etc / "far1.toml").write_text(
        'mtu = 1380\nroutes = ["0.0.0.0/0", "::/0"]\n[dns]\nservers = ["10.45.0.1"]\n'
    )
    (etc / "wg1.toml").write_text(
        '[client]\naccept-dns = ["10.45.0.0/24"]\naccept-default-route = true\n'
    )
    try:
        client.far_unit.systemctl("restart")
        client.far_unit.wait_for()
        client.unit.systemctl("start")
        leased(client)
        wait_until(lambda: "10.45.0.1" in run("resolvectl", "dns", "wg1"), timeout=20)
        assert "lookup 51820" in run("ip", "rule")
        assert "lookup 51820" in run("ip", "-6", "rule")
        assert "wg-dynamic-wg1" in run("nft", "list", "tables")
        assert Path("/proc/sys/net/ipv4/conf/all/src_valid_mark").read_text() == "1\n"
        os.kill(client.unit.processes()[0], signal.SIGKILL)
        client.unit.wait_for_restart()
        client.unit.wait_for_status("leased")
        wait_until(lambda: "10.45.0.1" in run("resolvectl", "dns", "wg1"), timeout=20)
        client.unit.systemctl("stop")
        assert snapshot() == before
        assert run("nft", "list", "ruleset") == ruleset
        assert "10.45.0.1" not in run("resolvectl", "dns")
        assert not [line for line in client.unit.journal("--priority=3") if "cannot undo" in line]
    finally:
        for path in etc.glob("*1.toml"):
            path.unlink()
        client.far_unit.systemctl("restart")
        client.far_unit.wait_for()
        client.unit.systemctl("start")

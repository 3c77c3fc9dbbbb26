"""wg-dynamic-server@.service."""

import os
import pwd
import signal
from pathlib import Path

from tests.systemd.conftest import HUB_POOLS, Side
from tests.systemd.machine import End, Unit, drop_in, run, snapshot

NET_ADMIN = 1 << 12  # linux/capability.h


def status_of(pid: int) -> dict[str, str]:
    """/proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_it_started_with_wg0_and_says_what_it_does(hub: Side) -> None:
    assert hub.unit.show("StatusText") == (
        f"wg0: serving on [fe80::%wg0]:970, leasing {', '.join(HUB_POOLS)}"
    )
    assert len(hub.far.addresses()) == 2
    assert len(hub.near.allowed_ips()) == 3


def test_the_helper_has_few_capabilities_and_the_network_process_none(hub: Side) -> None:
    helper, network = (status_of(pid) for pid in hub.unit.processes())
    assert int(helper["CapEff"], 16) & NET_ADMIN
    assert int(helper["CapEff"], 16).bit_count() == 4, "and KILL, CHOWN, NET_BIND_SERVICE"
    assert helper["NoNewPrivs"] == "1"
    account = pwd.getpwnam("wg-dynamic")
    assert account.pw_uid < 1000, "of the system's range"
    assert network["Uid"].split() == [str(account.pw_uid)] * 4
    assert network["Gid"].split() == [str(account.pw_gid)] * 4
    assert int(network["CapEff"], 16) == 0
    for status in (helper, network):
        assert status["Seccomp"] == "2", "the filter of the unit is on"


def test_the_journal_has_priorities_one_name_and_no_secret(hub: Side) -> None:
    (warning,) = hub.unit.journal("--priority=4", "--grep=ip_forward")
    assert warning == "net.ipv4.ip_forward is 0: peers reach this hub only, not each other"
    told = "\n".join(hub.unit.journal())
    assert "granted" in told
    everything = run("journalctl", "--no-pager", "--output=export")
    for end in (hub.near, hub.far):
        assert end.keys.private not in everything


def test_a_killed_helper_is_started_again_and_nothing_is_lost(hub: Side) -> None:
    before, helper = hub.near.allowed_ips(), hub.unit.processes()[0]
    os.kill(helper, signal.SIGKILL)
    hub.unit.wait_for_restart()
    hub.unit.wait_for()
    assert hub.unit.processes()[0] != helper
    assert hub.near.allowed_ips() == before


def test_it_waits_for_wg0_to_come_back(hub: Side) -> None:
    before, helper = hub.near.allowed_ips(), hub.unit.show("MainPID")
    hub.near.delete()
    hub.unit.wait_for_status("waiting for wg0 to come back")
    hub.near.make()
    hub.unit.wait_for_status("serving on")
    assert hub.unit.show("MainPID") == helper
    assert hub.near.allowed_ips() == before


def test_a_reload_puts_a_changed_file_into_force_and_says_so_when_it_cannot(hub: Side) -> None:
    before, processes = hub.near.allowed_ips(), hub.unit.processes()
    config = Path("/etc/wg-dynamic/wg0.toml")
    config.parent.mkdir(0o755, exist_ok=True)
    config.write_text("lease_time = '2h'\n")
    hub.unit.systemctl("reload")
    (told,) = hub.unit.journal("--grep=configuration read again: lease_time")
    assert told.endswith("lease_time: 3600 until now, 7200 from now on")
    config.write_text("lease_tme = '2h'\n")
    assert "failed" in run("systemctl", "reload", hub.unit.name, check=False)
    assert hub.unit.journal("--priority=3", "--grep=did you mean lease_time")
    config.unlink()
    hub.unit.systemctl("reload")
    assert (hub.near.allowed_ips(), hub.unit.processes()) == (before, processes)
    assert hub.unit.state() == ("active", "success")


def test_without_an_interface_it_is_not_started_and_that_is_no_failure(machine: None) -> None:
    unit = Unit("wg-dynamic-server@none.service")
    unit.systemctl("start")
    assert unit.state() == ("inactive", "success")
    assert unit.show("ConditionResult") == "no"


def test_stopping_takes_back_routes_and_keeps_leases(hub: Side) -> None:
    hub.unit.systemctl("stop")
    assert hub.unit.state() == ("inactive", "success")
    assert not run("ip", "route", "show", "proto", "97", "dev", "wg0")
    assert len(hub.near.allowed_ips()) == 3
    assert Path("/run/wg-dynamic").is_dir(), "it is the other daemons' too"
    stopped = snapshot()
    hub.unit.systemctl("start")
    assert "proto 97" in run("ip", "route", "show", "dev", "wg0")
    hub.unit.systemctl("stop")
    assert snapshot() == stopped


def test_an_option_that_is_wrong_fails_once(machine: None) -> None:
    end = End("wrong0", "fe80::/64", 5100)
    unit = Unit("wg-dynamic-server@wrong0.service")
    drop_in(unit.name, "options", 'Environment=OPTIONS="--pool 10.44.0.1/24"')
    unit.systemctl("enable")
    end.make()
    unit.wait_for("failed")
    assert (unit.show("NRestarts"), unit.show("ExecMainStatus")) == ("0", "2")
    (told,) = unit.journal("--priority=3", "--identifier=wg-dynamic-server")
    assert "host bits set" in told
    end.delete()

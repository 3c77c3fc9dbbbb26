"""wg-dynamic-watch@.service: hooks, names and metrics within its sandbox."""

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.conftest import Side
from tests.systemd.machine import Unit, run
from tools.processes import wait_until

CONFIG = Path("/etc/wg-dynamic/wg0.toml")
TOLD = Path("/srv/wg-dynamic-told")  # /tmp and /var/tmp are the unit's own
HOOK = Path("/usr/local/bin/tell")
HOSTS = Path("/run/wg-dynamic-watch/wg0/hosts")
METRICS = "http://127.0.0.1:9586/metrics"


@pytest.fixture(scope="module")
def watch(hub: Side) -> Iterator[Unit]:
    """The unit, with a hook, beside the server."""
    before = CONFIG.read_text() if CONFIG.exists() else None
    CONFIG.parent.mkdir(0o755, exist_ok=True)
    HOOK.write_text(f'#!/bin/sh\necho "$(id -u)" >>{TOLD}\ncat >>{TOLD}\n')
    HOOK.chmod(0o755)
    TOLD.touch()
    os.chown(TOLD, 65534, 65534)
    text = '[metrics]\nlisten = "127.0.0.1:9586"\n[names]\nsuffix = "wg"\n'
    text += f'[[peer]]\nname = "far"\npublic_key = "{hub.far.keys.public}"\n'
    CONFIG.write_text(f'{text}[[hook]]\ncommand = ["{HOOK}"]\nevents = ["renewed"]\n')
    hub.unit.systemctl("restart")  # whatever other tests have left
    hub.unit.wait_for()
    hub.far_unit.systemctl("restart")
    hub.far_unit.wait_for_status("leased")
    unit = Unit("wg-dynamic-watch@wg0.service")
    unit.systemctl("start")
    unit.wait_for()
    yield unit
    unit.systemctl("stop")
    if before is None:
        CONFIG.unlink()
    else:
        CONFIG.write_text(before)
    hub.unit.systemctl("restart")


def names() -> str:
    return HOSTS.read_text() if HOSTS.exists() else ""


def metrics() -> str:
    with urllib.request.urlopen(METRICS, timeout=20) as answer:
        return str(answer.read().decode())


def test_names_and_metrics_are_there(hub: Side, watch: Unit) -> None:
    assert "wg_dynamic_up 1" in metrics()
    wait_until(lambda: "far.wg" in names(), timeout=20.0, what="the name")
    for address in hub.far.addresses():
        assert f"{address.partition('/')[0]} far.wg" in names()
    helper, follower = watch.processes()
    assert "CapEff:\t0000000000000000" in Path(f"/proc/{follower}/status").read_text()
    assert helper != follower


def test_a_hook_hears_of_a_renewal_as_nobody(hub: Side, watch: Unit) -> None:
    assert watch.state()[0] == "active"
    run("systemctl", "restart", hub.far_unit.name)
    hub.far_unit.wait_for_status("leased")
    wait_until(lambda: "{" in TOLD.read_text(), timeout=20.0, what="the hook")
    user, line = TOLD.read_text().splitlines()[:2]
    assert user == "65534"
    assert json.loads(line)["name"] == "far"


def test_it_outlives_the_server_and_comes_back_when_it_is_killed(hub: Side, watch: Unit) -> None:
    hub.unit.systemctl("restart")
    hub.unit.wait_for()
    wait_until(lambda: "wg_dynamic_up 1" in metrics(), timeout=30.0, what="the server again")
    os.kill(watch.processes()[0], signal.SIGKILL)
    watch.wait_for_restart()
    watch.wait_for()
    wait_until(lambda: "wg_dynamic_up 1" in metrics(), timeout=30.0, what="the metrics again")

"""Beside wg-quick@.service, Debian's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.conftest import Side
from tests.systemd.machine import Unit
from tests.systemd.test_client_unit import leased

CONFIGURATION = Path("/etc/wireguard/wg1.conf")


@pytest.fixture(scope="module")
def wg_quick(client: Side) -> Iterator[Unit]:
    """wg-quick@wg1, started; wg1 is made by it meanwhile."""
    peer = client.near.peer
    assert peer is not None
    lines = [
        *("[Interface]", f"Address = {client.near.address}", f"ListenPort = {client.near.port}"),
        *(f"PrivateKey = {client.near.keys.private}", "SaveConfig = true", *peer.lines(), ""),
    ]
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.write_text("\n".join(lines))
    client.near.delete()
    client.unit.wait_for("inactive")
    unit = Unit("wg-quick@wg1.service")
    unit.systemctl("start")
    yield unit
    unit.systemctl("stop")
    client.near.make()


def test_a_restart_takes_the_client_along_and_saves_no_lease(client: Side, wg_quick: Unit) -> None:
    before, helper = leased(client), client.unit.show("MainPID")
    wg_quick.systemctl("restart")
    client.unit.wait_for()
    assert client.unit.show("MainPID") not in ("0", helper)
    assert leased(client) == before
    saved = CONFIGURATION.read_text()
    assert client.near.address in saved
    for address in before:
        assert address not in saved
    assert "10.45.0.0/24" not in saved


def test_it_stops_before_wg_quick_and_starts_when_wg_quick_is_done(
    client: Side, wg_quick: Unit
) -> None:
    leased(client)
    wg_quick.systemctl("stop")
    assert client.unit.state() == ("inactive", "success")
    assert "wg1 is gone" not in client.unit.journal("--lines=3")
    cursor = client.unit.cursor()
    wg_quick.systemctl("start")
    client.unit.wait_for()
    leased(client)
    assert client.unit.journal(cursor, "--priority=3") == [], "no try came too early"

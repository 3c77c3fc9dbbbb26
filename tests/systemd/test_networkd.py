"""Beside systemd-networkd, which takes what it has not made for left over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.systemd.conftest import Side
from tests.systemd.machine import PACKAGING, ip, run
from tests.systemd.test_client_unit import leased

NETWORK = Path("/etc/systemd/network/60-wg1.network")
RULE = "from 10.99.0.0/16 table 97 protocol 97 priority 5000"
LOST = "wg1 has lost leased addresses or routes: renewing"


@pytest.fixture(scope="module")
def networkd(client: Side) -> Iterator[None]:
    """networkd, to be started; it manages wg1, as far as its address goes."""
    leased(client)
    NETWORK.parent.mkdir(parents=True, exist_ok=True)
    NETWORK.write_text(f"[Match]\nName=wg1\n[Network]\nAddress={client.near.address}\n")
    yield
    NETWORK.unlink()
    run("systemctl", "stop", "systemd-networkd.socket", "systemd-networkd.service")


def start_networkd(client: Side) -> str:
    """Let it start, configure wg1, and return what the client has said since."""
    cursor = client.unit.cursor()
    run("systemctl", "restart", "systemd-networkd.service")
    run("/lib/systemd/systemd-networkd-wait-online", "--interface=wg1", "--timeout=60")
    ip("address add 10.99.0.1/32 dev wg1", "address delete 10.99.0.1/32 dev wg1")
    return "\n".join(client.unit.journal(cursor))


def test_what_it_takes_away_is_put_back(client: Side, networkd: None) -> None:
    before = leased(client)
    ip(f"rule add {RULE}")
    assert LOST in start_networkd(client)
    assert leased(client) == before
    assert "10.99.0.0/16" not in run("ip", "rule"), "why the drop-in is needed"


def test_with_our_drop_ins_it_takes_nothing_away(client: Side, networkd: None) -> None:
    for source, directory in (
        ("wg-dynamic.conf", Path("/etc/systemd/networkd.conf.d")),
        ("keep.conf", Path(f"{NETWORK}.d")),
    ):
        directory.mkdir(exist_ok=True)
        (directory / source).write_text((PACKAGING / "networkd" / source).read_text())
    before = leased(client)
    ip(f"rule add {RULE}")
    assert LOST not in start_networkd(client)
    assert leased(client) == before
    assert "10.99.0.0/16" in run("ip", "rule")
    ip(f"rule delete {RULE}")

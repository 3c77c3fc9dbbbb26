"""Fixtures for tests on a machine with systemd: one guest for all of them (tools/stages systemd).

All tests below are marked `systemd`. They change the machine that they run on, and refuse any that
is not a guest of tools/guest.py.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.systemd.machine import (
    FAR,
    End,
    Unit,
    drop_in,
    in_guest,
    install,
    ip,
    run,
    start_far,
    tunnel,
)

HUB_POOLS = ("10.44.0.0/24", "fd00:44::/64")
FAR_POOLS = ("10.45.0.0/24", "fd00:45::/64")
RESOLV_CONF = Path("/etc/resolv.conf")
RESOLVCONF = Path("/usr/sbin/resolvconf")
KNOWN = "192.0.2.7 seven.example.com"
"""What resolved can answer without a name server."""
DEBIAN_RESOLVCONF = Path("/usr/sbin/resolvconf.debian")


@dataclass(frozen=True)
class Side:
    """One of our units with its interface, and what is behind the tunnel."""

    unit: Unit
    near: End
    far: End
    far_unit: Unit


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.systemd)


@pytest.fixture(scope="session")
def machine() -> None:
    """The guest, with our units and the namespace of the far ends."""
    assert in_guest(), "these tests change the machine: run them by `tools/stages systemd`"
    run("systemctl", "start", "systemd-udevd.service")
    run("ip", "netns", "add", FAR)
    for namespace in (None, FAR):
        ip("link set lo up", namespace=namespace)
    install()


@pytest.fixture(scope="session")
def hub(machine: None) -> Iterator[Side]:
    """wg-dynamic-server@wg0, enabled before wg0 is made; a client behind the tunnel."""
    near, far = End("wg0", "fe80::/64", 5000), End("far0", "fe80::1/128", 5001, FAR)
    tunnel(near, far)
    pools = " ".join(f"--pool {pool}" for pool in HUB_POOLS)
    drop_in("wg-dynamic-server@wg0.service", "options", f'Environment=OPTIONS="{pools}"')
    unit = Unit("wg-dynamic-server@wg0.service")
    unit.systemctl("enable")
    near.make()
    far.make()
    far_unit = start_far("far-client", "wg-dynamic-client", "far0")
    unit.wait_for()
    far_unit.wait_for_status("leased")
    yield Side(unit, near, far, far_unit)
    run("systemctl", "stop", "far-client", unit.name)


@pytest.fixture(scope="session")
def client(machine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """wg-dynamic-client@wg1, enabled before wg1 is made; a server behind the tunnel."""
    near, far = End("wg1", "fe80::2/128", 5002), End("far1", "fe80::/64", 5003, FAR)
    tunnel(far, near)
    unit = Unit("wg-dynamic-client@wg1.service")
    unit.systemctl("enable")
    far.make()
    pools = [word for pool in FAR_POOLS for word in ("--pool", pool)]
    database = Path("/var/lib/far/far1.sqlite")
    far_unit = start_far(
        "far-server", "wg-dynamic-server", "far1", *pools, f"--database={database}"
    )
    near.make()
    far_unit.wait_for()
    unit.wait_for_status("leased")
    yield Side(unit, near, far, far_unit)
    run("systemctl", "stop", "far-server", unit.name)


@pytest.fixture
def resolved(machine: None) -> Iterator[None]:
    """systemd-resolved, asked by all through its stub; `resolvconf` is its resolvectl."""
    with _resolv_conf(Path("/run/systemd/resolve/stub-resolv.conf"), Path("/usr/bin/resolvectl")):
        with Path("/etc/hosts").open("a") as hosts:
            hosts.write(f"{KNOWN}\n")
        run("systemctl", "start", "systemd-resolved.service")
        yield
        run("systemctl", "stop", "systemd-resolved.service")


@pytest.fixture
def resolvconf(machine: None) -> Iterator[None]:
    """Debian's resolvconf, set up as its package does."""
    Path("/run/resolvconf/interface").mkdir(parents=True, exist_ok=True)
    link = Path("/etc/resolvconf/run")
    link.unlink(missing_ok=True)
    link.symlink_to("/run/resolvconf")
    with _resolv_conf(Path("/run/resolvconf/resolv.conf"), DEBIAN_RESOLVCONF):
        run("resolvconf", "--enable-updates")
        run("resolvconf", "-u")
        yield


@contextlib.contextmanager
def _resolv_conf(target: Path, program: Path) -> Iterator[None]:
    """The guest has the files of both packages, of which a machine may have one."""
    if not DEBIAN_RESOLVCONF.exists():
        RESOLVCONF.rename(DEBIAN_RESOLVCONF)
    RESOLVCONF.symlink_to(program)
    RESOLV_CONF.rename(f"{RESOLV_CONF}.before")
    RESOLV_CONF.symlink_to(target)
    try:
        yield
    finally:
        Path(f"{RESOLV_CONF}.before").replace(RESOLV_CONF)
        RESOLVCONF.unlink()

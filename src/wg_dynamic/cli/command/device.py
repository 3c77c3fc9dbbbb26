"""The WireGuard interface that a command of root's is about."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from wg_dynamic.helper.qualify import find_wireguard
from wg_dynamic.netlink.rtnetlink import RtnetlinkControl
from wg_dynamic.wireguard.control import WireGuardControl


@contextmanager
def control_of(interface: str) -> Iterator[tuple[WireGuardControl, int]]:
    """Its control, and its index. Raises ConfigError, WireGuardError."""
    interfaces = RtnetlinkControl()
    try:
        link, control = find_wireguard(interfaces, interface)
    finally:
        interfaces.close()
    with closing(control):
        yield control, link.ifindex

"""What a killed helper left of an interface that is gone since.

Addresses, routes and allowed IPs went with the interface. Name servers, rules, tables of nftables
and variables did not, and nobody starts on that interface again to look into its ledger. So every
start, on whatever interface, looks into all ledgers of its role in this network namespace.
"""

from pathlib import Path

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper.default_route import undo_default_route
from wg_dynamic.helper.name_service import undo_name_service
from wg_dynamic.netlink.control import InterfaceControl
from wg_dynamic.netlink.errors import InterfaceNotFoundError
from wg_dynamic.privsep.ledger import ADDRESS, ALLOWED_IP, MTU, ROUTE, Ledger
from wg_dynamic.system.log import logger
from wg_dynamic.system.runtime import RUNTIME_ROOT, RuntimeDirectory, namespace_key

_LOG = logger(__name__)


def undo_what_is_left_of_gone(
    interfaces: InterfaceControl, role: str, root: Path = RUNTIME_ROOT
) -> None:
    """Undo, and strike out, what ledgers of interfaces that are gone name; says what cannot be.

    A ledger that a daemon still works with is left to it.
    """
    for path in root.glob(f"{namespace_key()}-*/{role}-ledger"):
        index = path.parent.name.rpartition("-")[2]
        if not index.isdecimal():
            continue
        try:
            interfaces.link_by_index(int(index))
        except InterfaceNotFoundError:
            _undo(int(index), interfaces, role, root)
        except WgDynamicError as error:
            _LOG.warning("cannot look after %s: %s", path, error)


def _undo(ifindex: int, interfaces: InterfaceControl, role: str, root: Path) -> None:
    try:
        runtime = RuntimeDirectory(ifindex, root, role)
        if not runtime.lock("clean-up"):
            return
        try:
            ledger = Ledger(runtime.ledger)
            if len(ledger):
                _LOG.info("undoing what is left of interface %d, which is gone", ifindex)
            undo_name_service(ledger)
            undo_default_route(ifindex, interfaces, ledger)
            for kind in (ALLOWED_IP, ADDRESS, ROUTE):
                ledger.remove(*ledger.entries(kind))
            ledger.remove(*ledger.settings(MTU))
            ledger.close()
        finally:
            runtime.release()
    except WgDynamicError as error:
        _LOG.warning("cannot undo what is left of interface %d: %s", ifindex, error)

"""The client's daemon, put together; imported while its network process starts."""

from typing import Any

from wg_dynamic.cli.daemon import verdict_on_failure
from wg_dynamic.cli.status import GONE, OK
from wg_dynamic.cli.supervise import supervise
from wg_dynamic.helper.client import ROLE, ClientHelper, ClientSettings, open_interface
from wg_dynamic.helper.leftovers import undo_what_is_left_of_gone
from wg_dynamic.helper.policy import DEFAULT_ACCEPTANCE, Acceptance
from wg_dynamic.helper.supervisor import Started, stop_signals
from wg_dynamic.netlink.rtnetlink import RtnetlinkControl
from wg_dynamic.system.background import Verdict
from wg_dynamic.system.clock import SystemClock
from wg_dynamic.system.notify import notify
from wg_dynamic.system.privileges import Account


def keep(
    arguments: Any,
    accepts: Acceptance | None,
    verdict: Verdict,
    *,
    account: Account,
    network: list[str],
    started: Started,
) -> int:
    """Keep a lease until the interface is gone or somebody says stop; the exit status.

    Args:
        arguments: of the command line: `interface` and `user`.
        accepts: what the administrator wants to have taken; None for no more than the default.
        verdict: to be given when the first lease is there.
        account: of the network process.
        network: what it is told of the log.
        started: the first one.
    """
    program, name = "wg-dynamic-client", arguments.interface
    settings = ClientSettings(name, accepts or DEFAULT_ACCEPTANCE, arguments.user)
    interfaces = RtnetlinkControl()
    events = interfaces.events()  # before the first look: nothing is missed in between
    signals = stop_signals()
    undo_what_is_left_of_gone(interfaces, ROLE)
    opened = open_interface(settings, interfaces)
    helper, supervisor = supervise(
        opened,
        lambda: ClientHelper(settings, interfaces, verdict, opened, SystemClock()),
        account=account,
        events=events,
        arguments=network,
        signals=signals,
        status=lambda helper: helper.status(),
        started=started,
    )
    if supervisor.failed:
        return verdict_on_failure(program, verdict, helper.reason)
    if supervisor.gone and not supervisor.stopping:
        # systemd may have seen the next one of that name while we were still at it.
        return GONE if notify(f"STATUS={name} is gone") else OK
    return OK

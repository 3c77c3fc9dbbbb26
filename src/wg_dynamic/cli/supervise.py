"""A helper from the locked interface to its end: opened, run and closed alike for both daemons."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Protocol, TypeVar

from wg_dynamic.helper.control_socket import ControlSocket
from wg_dynamic.helper.supervisor import Reloads, Role, Started, Supervisor
from wg_dynamic.netlink.control import EventSource
from wg_dynamic.system.clock import SystemClock
from wg_dynamic.system.privileges import Account
from wg_dynamic.system.runtime import RuntimeDirectory
from wg_dynamic.wireguard.control import WireGuardControl


class Opened(Protocol):
    """An interface that qualifies, locked."""

    @property
    def runtime(self) -> RuntimeDirectory:
        """Its directory, whose lock we hold."""

    @property
    def wireguard(self) -> WireGuardControl:
        """Its WireGuard."""


class Helper(Role, Protocol):
    """A role that can be started and closed."""

    def start(self) -> None:
        """Set up what the network process needs."""

    def close(self, *, gone: bool) -> None:
        """Undo what does not outlive a daemon."""


_Helper = TypeVar("_Helper", bound=Helper)


def supervise(
    opened: Opened,
    make_helper: Callable[[], _Helper],
    *,
    account: Account,
    events: EventSource,
    arguments: list[str],
    signals: int,
    on_gone: Callable[[], None] = lambda: None,
    status: Callable[[_Helper], str] | None = None,
    has_served: bool = False,
    reloads: Callable[[_Helper], Reloads] | None = None,
    started: Started | None = None,
) -> tuple[_Helper, Supervisor]:
    """Run the helper of an opened interface to its end, and close everything.

    Args:
        opened: closed in any case, its lock given back.
        make_helper: called with the lock held and the control socket open.
        account: of the network process.
        events: of the kernel.
        arguments: of the network process.
        signals: see `Supervisor.run`.
        started: a network process that runs already, to be the first.
        has_served: whether it did, before the interface was made anew: no failure ends it then.
        on_gone: called when the interface is gone, before the control socket is.
        status: what the control socket answers with when it is asked.
        reloads: the helper as one that can read its configuration again.

    Raises:
        whatever `make_helper` and the helper's `start` raise.
    """
    control = ControlSocket(opened.runtime.control)
    with ExitStack() as stack:  # in reverse: who waits at the control socket is told at the end
        stack.callback(control.close)
        released = stack.enter_context(ExitStack())
        released.callback(opened.runtime.release)
        released.callback(opened.wireguard.close)
        helper = make_helper()
        control.status = None if status is None else lambda: status(helper)
        supervisor = Supervisor(
            helper,
            account=account,
            clock=SystemClock(),
            events=events,
            control=control,
            arguments=arguments,
            has_served=has_served,
            reloads=None if reloads is None else reloads(helper),
            started=started,
        )
        control.reloads = reloads is not None
        released.callback(lambda: helper.close(gone=supervisor.gone))
        helper.start()
        supervisor.run(signals)
        control.status = None  # it runs no longer
        control.reloads = False
        if supervisor.gone and not supervisor.stopping:
            on_gone()
        released.close()
        supervisor.stopping |= control.last_call()  # too late for the supervisor, not for us
    return helper, supervisor

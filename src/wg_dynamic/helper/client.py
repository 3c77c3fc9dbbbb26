"""The client's root side: what it sets up before the network process starts, and its requests."""

import os
import select
import socket
from collections.abc import Callable, Mapping

from wg_dynamic.address import (
    Prefix,
    is_link_local,
)
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.helper.applied import AppliedLease
from wg_dynamic.helper.control_socket import ask_status
from wg_dynamic.helper.dialler import Dialler
from wg_dynamic.helper.further import further_of
from wg_dynamic.helper.lease_keeper import LeaseKeeper
from wg_dynamic.helper.name_service import undo_name_service
from wg_dynamic.helper.policy import DEFAULT_ACCEPTANCE, Acceptance
from wg_dynamic.helper.qualify import (
    client_link_local,
    find_wireguard,
    is_anycast,
    server_peer,
)
from wg_dynamic.helper.status import Standing, status_text
from wg_dynamic.helper.supervisor import Recheck
from wg_dynamic.netlink.control import (
    Address,
    AddressEvent,
    Event,
    InterfaceControl,
    Link,
    LinkEvent,
    Overrun,
    RouteEvent,
)
from wg_dynamic.netlink.errors import InterfaceNotFoundError, NetlinkError
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.ledger import ROUTE, Ledger
from wg_dynamic.privsep.requests import (
    CLIENT_REPLIES,
    CLIENT_REQUESTS,
    ApplyLease,
    ClientStart,
    Connect,
    Connecting,
    Failed,
    LinkState,
    NetworkChanged,
    Progress,
    Report,
)
from wg_dynamic.record import dataclass
from wg_dynamic.system.background import Verdict
from wg_dynamic.system.clock import Clock, SystemClock
from wg_dynamic.system.log import RateLimit, logger, printable
from wg_dynamic.system.notify import notify
from wg_dynamic.system.runtime import RuntimeDirectory
from wg_dynamic.wireguard.control import WireGuardControl

_LOG = logger(__name__)

LOCK_TRIES = 40
LOCK_PAUSE = 0.05
"""Seconds between tries to lock what a client has that is ending: its interface was made anew."""
ROLE = "client"
"""In the runtime directory: a server's leftovers are not ours to undo."""


@dataclass(frozen=True)
class ClientSettings:
    """What the command line asked for."""

    interface: str
    accepts: Acceptance = DEFAULT_ACCEPTANCE
    """--accept-…, here and in the configuration file."""
    user: str | None = None


@dataclass(frozen=True)
class QualifiedInterface:
    """An interface that meets the two conditions, locked."""

    link: Link
    wireguard: WireGuardControl
    link_local: Prefix
    runtime: RuntimeDirectory


def open_interface(settings: ClientSettings, interfaces: InterfaceControl) -> QualifiedInterface:
    """Check everything and change nothing but the lock. Raises ConfigError, PrivilegeError."""
    link, wireguard = find_wireguard(interfaces, settings.interface)
    try:
        link_local = client_link_local(link, interfaces.addresses(link.ifindex))
        server_peer(link, wireguard.device())
        runtime = RuntimeDirectory(link.ifindex, role=ROLE)
        _take(runtime, f"wg-dynamic-client {link.name}")
    except BaseException:
        wireguard.close()
        raise
    return QualifiedInterface(link, wireguard, link_local, runtime)


def _take(runtime: RuntimeDirectory, who: str) -> None:
    """Lock it, waiting for a daemon that is ending. Raises ConfigError.

    One that serves its control socket is not ending: it looks for the end of its interface first.
    """
    for _ in range(LOCK_TRIES):
        if runtime.lock(who):
            return
        try:
            if ask_status(runtime.control) is not None:
                break
        except WgDynamicError:
            break  # it is stopped, and may go on
        select.select([], [], [], LOCK_PAUSE)
    runtime.take(who)


class ClientHelper:
    """One qualified interface, until it is gone or we are stopped. A Role of the supervisor."""

    module = "wg_dynamic.cli.client_network"
    sends = CLIENT_REPLIES
    receives = CLIENT_REQUESTS
    stop_time = 1.5

    def __init__(
        self,
        settings: ClientSettings,
        interfaces: InterfaceControl,
        verdict: Verdict,
        opened: QualifiedInterface,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._interfaces = interfaces
        self._link = opened.link
        self._link_local = opened.link_local
        self._wireguard = opened.wireguard
        self._dialler = Dialler(opened.link_local.packed)
        self._ledger = Ledger(opened.runtime.ledger)
        self._lease = AppliedLease(
            opened.link,
            interfaces,
            opened.wireguard,
            self._ledger,
            further_of(opened.link, interfaces, opened.wireguard, self._ledger),
        )
        self._up = opened.link.up
        self._repaired = False
        self._trouble = ""
        """Why the interface could not be put right, as the log knows."""
        self._keeper = LeaseKeeper(
            opened.link,
            interfaces,
            opened.wireguard,
            self._lease,
            accepts=settings.accepts,
            verdict=verdict,
            clock=self._clock,
        )
        self._without_peer = False
        """The log knows that no peer is the server's any more."""
        self._progress: Progress | None = None
        self._wants_hint = False
        """Something was told since the last hint: so hints come no faster than tries."""
        self._error = ""
        self._overruns = RateLimit(self._clock.now)
        self.more: list[Callable[[], Mapping[str, object]]] = [self._keeper.pushed_status]
        """Who else has something to say of what is set, for `--status`."""
        self.reason = ""
        """Why the network process could not go on."""

    def start(self) -> None:
        """Undo the name servers of a killed one; add the route to the server. NetlinkError.

        Those would look like the machine's own, and what holds them would be refused; and they
        have no lifetime, so they would stand without a lease while the server is away.
        """
        undo_name_service(self._ledger)
        if not self._link.up:
            _LOG.warning("%s is down: waiting for it to come up", self._link.name)
            return
        self._lease.add_server_route()
        if is_anycast(self._link, self._interfaces.routes(self._link.ifindex)):
            _LOG.warning(
                "this machine forwards IPv6 and %s has a fe80::…/64 besides %s: the kernel takes"
                " fe80:: for itself and the server cannot be reached; remove that address",
                self._link.name,
                self._link_local,
            )

    def start_message(self) -> tuple[object, socket.socket | None]:
        """See Role."""
        self._progress = None
        wishes = tuple(prefix.packed for prefix in self._lease.addresses())
        return ClientStart(self._link.name, self._link_local.packed, wishes), None

    def ready(self) -> None:
        """See Role."""
        notify("READY=1")

    def fatal(self, reason: str) -> None:
        """See Role."""
        self.reason = reason

    # --- requests -------------------------------------------------------------------------------

    def answer(self, message: object, channel: Channel) -> None:
        """See Role."""
        if isinstance(message, Connect):
            self._connect(channel, pushes=message.pushes)
        elif isinstance(message, ApplyLease):
            channel.send(self._keeper.apply(message))
            if self._keeper.trouble:
                self._error = f"cannot set the lease: {self._keeper.trouble}"
            elif self._keeper.addresses:
                self._error = ""
        elif isinstance(message, Report):
            self._error = printable(message.text)
            notify(f"STATUS={self._error}")
        elif isinstance(message, Progress):
            self._progress = message
            self._wants_hint = True

    def _connect(self, channel: Channel, *, pushes: bool) -> None:
        if self._trouble:
            self._restore()
        try:
            connection = self._dialler.connect(self._link, pushes=pushes)
        except OSError as error:
            channel.send(Failed(self._dialler.explain(self._link, error)))
            return
        with connection:
            channel.send(Connecting(), connection)

    # --- events ---------------------------------------------------------------------------------

    @property
    def deadline(self) -> float | None:
        """See Role."""
        return self._keeper.deadline

    def on_time(self, channel: Channel | None) -> None:
        """See Role."""
        applied = self._keeper.look_again()
        if applied is not None and channel is not None:
            channel.send(applied)

    def event(self, event: Event | Recheck, channel: Channel | None) -> bool:
        """See Role."""
        if not isinstance(event, Recheck):
            self._keeper.notice(event)
        match event:
            case LinkEvent() if event.link.ifindex == self._link.ifindex:
                return not event.gone and self._look(channel)
            case Overrun():
                if self._overruns.allow():
                    _LOG.info("events of the kernel were lost: looking at everything anew")
                return self._look(channel)
            case Recheck():
                stays = self._look(channel) if self._trouble else True
                return stays and self._look_at_peer(channel)
            case AddressEvent() if event.address.ifindex == self._link.ifindex:
                return not event.gone or self._look(channel)
            case RouteEvent() if event.route.ifindex == self._link.ifindex:
                return self._look(channel) if event.gone else self._look_at_others()
            case AddressEvent() | RouteEvent() if not event.gone:
                self._came_elsewhere(event, channel)
            case _:
                pass
        return True

    def _look_at_others(self) -> bool:
        """Somebody made a route over our interface; False when it is gone."""
        try:
            self._lease.look_at_others()
        except InterfaceNotFoundError:
            return False
        except NetlinkError as error:
            self._note_trouble(error)
        return True

    def _came_elsewhere(self, event: AddressEvent | RouteEvent, channel: Channel | None) -> None:
        """It may be a way to the server, or an address that is leased to us."""
        if isinstance(event, RouteEvent):
            useful = event.route.prefix.length == 0
        else:
            packed = event.address.prefix.packed
            useful = not is_link_local(packed)
            if any(packed == one.address.packed for one in self._keeper.addresses):
                self._renew(channel)  # it is judged anew, and declined
        if useful and self._wants_hint and channel is not None:
            self._wants_hint = False
            channel.send(NetworkChanged())

    def _look_at_peer(self, channel: Channel | None) -> bool:
        """WireGuard tells nobody of its peers: has the server's all that the lease gave it?

        An administrator may have removed it, entered it anew, or another one in its place.
        """
        if self._keeper.server_key is None or not self._keeper.addresses:
            return True
        try:
            peer = server_peer(self._link, self._wireguard.device())
        except WgDynamicError as error:
            if not self._without_peer:
                _LOG.warning("%s", error)
            self._without_peer = True
            return True
        self._without_peer = False
        lost = self._lease.widened() - set(peer.allowed_ips)
        if peer.public_key != self._keeper.server_key or lost:
            _LOG.info("the server's peer of %s has changed: renewing", self._link.name)
            self._renew(channel)
        elif self._up and not self._lease.stands():
            _LOG.info("%s has lost a part of its default route: renewing", self._link.name)
            self._renew(channel)
        return True

    def _look(self, channel: Channel | None) -> bool:
        """Compare the link with what we knew; False when it is gone."""
        try:
            link = self._interfaces.link_by_index(self._link.ifindex)
            lost = self._lease.strike_out_missing()
        except InterfaceNotFoundError:
            return False
        except NetlinkError as error:
            self._note_trouble(error)
            return True
        if link.name != self._link.name:
            _LOG.info("%s is called %s now", self._link.name, link.name)
        self._link = self._keeper.link = link
        if link.up and not self._restore():
            return False
        states = []
        if link.up != self._up:
            self._up = link.up
            _LOG.info("%s is %s", self._link.name, "up" if link.up else "down")
            states = [link.up]
        elif lost and link.up:  # down and up before we looked, or taken off by hand: ask again
            _LOG.info("%s has lost leased addresses or routes: renewing", self._link.name)
            states = [False, True]
        self._send_states(channel, states)
        return True

    def _renew(self, channel: Channel | None) -> None:
        """Have the lease set, and then asked for, anew, as after a link that was down."""
        if self._up:
            self._send_states(channel, [False, True])

    @staticmethod
    def _send_states(channel: Channel | None, states: list[bool]) -> None:
        if channel is not None:
            for up in states:
                channel.send(LinkState(up))

    def _restore(self) -> bool:
        """Put back what the kernel dropped with the link; False when the link is gone.

        What cannot be put back now is tried again with the next connection.
        """
        try:
            self._put_back()
        except InterfaceNotFoundError:
            return False
        except WgDynamicError as error:  # the kernel's, or the ledger's: /run may be full
            self._note_trouble(error)
        else:
            self._trouble = ""
        return True

    def _note_trouble(self, error: WgDynamicError) -> None:
        if str(error) != self._trouble:
            _LOG.error("cannot restore %s: %s", self._link.name, error)
        self._trouble = str(error)

    def _put_back(self) -> None:
        """Our name and the way to the server."""
        there = [a.prefix for a in self._interfaces.addresses(self._link.ifindex)]
        if self._link_local not in there:
            self._interfaces.set_address(
                Address(self._link.ifindex, self._link_local), prefix_route=True
            )
            if not self._repaired:
                _LOG.warning(
                    "put %s back on %s: the kernel drops it when the interface goes down"
                    " (said once)",
                    self._link_local,
                    self._link.name,
                )
            self._repaired = True
        self._lease.add_server_route()

    # --- status and end -------------------------------------------------------------------------

    def status(self) -> str:
        """How it stands, as a JSON object (helper/status.py)."""
        standing = Standing(
            interface=self._link.name,
            pid=os.getpid(),
            up=self._up,
            link_local=self._link_local,
            progress=self._progress,
            server_key=self._keeper.server_key,
            lease=self._keeper.addresses,
            leased_at=self._keeper.taken_at,
            refused=self._keeper.refused,
            addresses=tuple(self._lease.addresses()),
            routes=tuple(entry.prefix for entry in self._ledger.entries(ROUTE)),
            allowed_ips=tuple(self._lease.widened()),
            error=self._error,
        )
        more = {name: value for source in self.more for name, value in source().items()}
        return status_text(standing, self._clock.now(), more)

    def close(self, *, gone: bool) -> None:
        """Undo everything that was set."""
        if gone:
            _LOG.info("%s is gone", self._link.name)
            self._lease.forget()
        else:
            self._lease.undo_all()
        self._ledger.close()
        self._wireguard.close()


def undo_leftovers(name: str, interfaces: InterfaceControl, runtime: RuntimeDirectory) -> bool:
    """Undo what a killed client has left on the interface; False when there is nothing.

    Raises:
        ConfigError: there is no such WireGuard interface.
    """
    link, wireguard = find_wireguard(interfaces, name)
    ledger = Ledger(runtime.ledger)
    left = len(ledger) > 0
    further = further_of(link, interfaces, wireguard, ledger)
    AppliedLease(link, interfaces, wireguard, ledger, further).undo_all()
    ledger.close()
    wireguard.close()
    return left

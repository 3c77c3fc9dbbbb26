"""The server's root side: what it sets up before the network process starts, and its requests."""

import errno
import select
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from wg_dynamic.address import SERVER_ADDRESS, format_address
from wg_dynamic.errors import ConfigError, UsageError, WgDynamicError
from wg_dynamic.helper import pools as pool_rules
from wg_dynamic.helper.admin_socket import AdminSocket, admin_group
from wg_dynamic.helper.allowed_ips import AllowedIPs
from wg_dynamic.helper.config.changes import changes
from wg_dynamic.helper.pool_routes import PoolRoutes
from wg_dynamic.helper.qualify import (
    SERVER_NETWORK,
    SERVER_PREFIX,
    check_server_address,
    find_wireguard,
    is_anycast,
)
from wg_dynamic.helper.record import Record
from wg_dynamic.helper.supervisor import Recheck
from wg_dynamic.leases.pool import Pool
from wg_dynamic.leases.terms import LeaseTerms
from wg_dynamic.netlink.control import (
    RT_TABLE_LOCAL,
    RTN_ANYCAST,
    RTPROT_KERNEL,
    Address,
    AddressEvent,
    Event,
    InterfaceControl,
    Link,
    LinkEvent,
    Overrun,
    Route,
    RouteEvent,
)
from wg_dynamic.netlink.errors import InterfaceNotFoundError
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.ledger import ALLOWED_IP, ROUTE, Entry, Ledger
from wg_dynamic.privsep.requests import (
    MAX_PEERS_PREFIXES,
    PEER_COST,
    SERVER_REPLIES,
    SERVER_REQUESTS,
    AdminListener,
    ChangeAllowedIPs,
    Changed,
    Failed,
    NewTerms,
    NextPeers,
    NextTerms,
    PeerInfo,
    Peers,
    ReadAdmin,
    ReadPeers,
    ReadTerms,
    ServerStart,
    TermsPart,
    TermsTaken,
)
from wg_dynamic.privsep.terms import terms_parts, without_parts
from wg_dynamic.record import dataclass, replace
from wg_dynamic.system.background import Verdict
from wg_dynamic.system.clock import SystemClock
from wg_dynamic.system.log import logger
from wg_dynamic.system.notify import notify
from wg_dynamic.system.runtime import RuntimeDirectory, admin_path
from wg_dynamic.wireguard.control import WireGuardControl, WireGuardError
from wg_dynamic.wireguard.key import peer_label

_LOG = logger(__name__)

ROLE = "server"
"""Whose ledger and control socket it is, in the runtime directory."""
PORT = 970
"""docs/protocol.md section 2."""
BACKLOG = 65535
"""Connections that may wait to be accepted (the kernel caps it at net.core.somaxconn)."""
PORT_TRIES = 40
PORT_PAUSE = 0.05
"""Seconds between tries: a killed helper's network process may have the port for a moment."""
MAX_TOLD = 20
"""Allowed IPs that are ours again, as told one by one."""
_FORWARDING = (
    (4, Path("/proc/sys/net/ipv4/ip_forward"), "net.ipv4.ip_forward"),
    (16, Path("/proc/sys/net/ipv6/conf/all/forwarding"), "net.ipv6.conf.all.forwarding"),
)


@dataclass(frozen=True)
class ServerSettings:
    """What the command line and the configuration file asked for."""

    interface: str
    terms: LeaseTerms
    """Without pools: the on-link networks of the interface."""
    database: Path
    names: tuple[str, ...] = ()
    """Of the reservations, for people."""
    user: str | None = None
    admin_group: str | None = None
    """Whose members may use the administration socket; None: the default one, if there is one."""
    adopt: bool = False
    """Whether allowed IPs inside the pools become leases, at this start."""


class ServerHelper:
    """One qualified interface, from `open_server` until `close`. A Role of the supervisor."""

    module = "wg_dynamic.cli.server_network"
    sends = SERVER_REPLIES
    receives = SERVER_REQUESTS
    stop_time = 5.0
    deadline = None

    def __init__(
        self,
        settings: ServerSettings,
        interfaces: InterfaceControl,
        verdict: Verdict,
        opened: "OpenedInterface",
        read_settings: Callable[[], ServerSettings] | None = None,
    ) -> None:
        """`read_settings` reads the configuration again, for `reload`. Raises UsageError."""
        self.settings = settings
        """What we work by: others after a reload."""
        self._read_settings = read_settings
        self._interfaces = interfaces
        self._verdict = verdict
        self._link = opened.link
        self._terms = opened.terms
        self._told = opened.terms
        """The terms that the network process was started with."""
        self._number = 0
        """Counts the changes of the terms."""
        self._number_sent = 0
        self._number_taken = 0
        """Of those, the last one that the network process was told of, and works by."""
        self._terms_parts: Iterator[TermsPart] = iter(())
        """What is left of the answers to NextTerms."""
        self._wireguard = opened.wireguard
        self.runtime = opened.runtime
        self._ledger = Ledger(opened.runtime.ledger)
        self._record = opened.record
        self._allowed_ips = AllowedIPs(
            opened.wireguard,
            self._ledger,
            opened.record,
            opened.pools,
            SystemClock(),
            reserved=pool_rules.reserved(opened.terms),
        )
        self._routes = PoolRoutes(opened.link, interfaces, self._ledger, opened.pools)
        self._listener: socket.socket | None = None
        self._admin: AdminSocket | None = None
        self._repaired = False
        self._parts: Iterator[Peers] = iter(())
        """What is left of the answer to ReadPeers."""
        self._trouble = ""
        """Why the interface could not be put right: to be tried again at the next reading."""
        self.reason = ""
        """Why the network process could not serve."""

    def start(self) -> None:
        """Listen, see what is ours, add the routes that are missing.

        Raises ConfigError, NetlinkError, WireGuardError, LedgerError.
        """
        group = admin_group(self.settings.admin_group)
        self._admin = AdminSocket(admin_path(self._link.ifindex, self.runtime.root), group)
        self._listener = open_listener(self._link)
        self._routes.begin()
        _tell_ours(self._link, self._allowed_ips.begin(adopt=self.settings.adopt))
        _warn_without_forwarding(self._pools)

    def start_message(self) -> tuple[object, socket.socket | None]:
        """See Role."""
        own = self._look_up_own()
        self._told = self._terms
        self._number_sent = self._number_taken = self._number
        message = ServerStart(
            interface=self._link.name,
            ifindex=self._link.ifindex,
            terms=without_parts(self._terms),
            own=own,
            database=str(self.settings.database),
            adopt=self._allowed_ips.adopts,
        )
        return message, self._listener

    @property
    def _pools(self) -> tuple[Pool, ...]:
        return _pools_of(self._terms)

    def _look_up_own(self) -> tuple[bytes, ...]:
        own = pool_rules.own_addresses(self._pools, self._interfaces.addresses())
        self._allowed_ips.own = frozenset(own)
        return own

    def ready(self) -> None:
        """See Role."""
        listed = ", ".join(str(pool.network) for pool in self._pools)
        text = f"{self._link.name}: serving on [fe80::%{self._link.name}]:{PORT}, leasing {listed}"
        self._allowed_ips.end_adoption()
        _LOG.info(text)
        self._verdict.give(0, text)
        notify(f"READY=1\nSTATUS={text}")

    def fatal(self, reason: str) -> None:
        """See Role."""
        self.reason = reason

    def answer(self, message: object, channel: Channel) -> None:
        """See Role."""
        if isinstance(message, ReadPeers):
            if self._trouble:
                self._repair()
            self._routes.remove_former()
            channel.send(self._first_peers())
        elif isinstance(message, NextPeers):
            channel.send(next(self._parts, Peers((), last=True)))
        elif isinstance(message, ReadTerms):
            for terms_part in terms_parts(self._told):
                channel.send(terms_part)
        elif isinstance(message, NextTerms):
            channel.send(next(self._terms_parts, TermsPart((), (), last=True)))
        elif isinstance(message, TermsTaken):
            self._number_taken = max(self._number_taken, min(message.number, self._number_sent))
        elif isinstance(message, ReadAdmin):
            channel.send(AdminListener(), None if self._admin is None else self._admin.listener)
        elif isinstance(message, ChangeAllowedIPs):
            channel.send(Changed(tuple(self._allowed_ips.change(message.changes))))

    def _first_peers(self) -> Peers | Failed:
        try:
            self._parts = peer_parts(self._allowed_ips.read())
        except WireGuardError as error:  # it changes all the time: to be asked again
            return Failed(str(error))
        return next(self._parts)

    def on_time(self, channel: Channel | None) -> None:
        """See Role: there is no deadline."""

    def reload(self) -> str:
        """See Reloads. Raises ConfigError, NetlinkError, LedgerError: nothing was changed."""
        if self._read_settings is None:
            msg = "there is nothing to read the configuration from again, expected a file"
            raise ConfigError(msg)
        settings = self._read_settings()
        _refuse_what_stays(self.settings, settings)
        terms = checked_terms_of(settings, self._link, self._interfaces)
        lines = list(changes(self._terms, terms, {**_names(self.settings), **_names(settings)}))
        self._routes.change(_pools_of(terms))
        self.settings = replace(settings, adopt=self.settings.adopt)
        if terms == self._terms:
            return "nothing has changed"
        self._terms = terms
        self._number += 1
        self._allowed_ips.change_terms(self._pools, pool_rules.reserved(terms))
        return "\n".join(lines)

    def pass_on(self, channel: Channel) -> None:
        """See Reloads."""
        if self._number_sent == self._number:
            return
        own = self._look_up_own()
        self._terms_parts = terms_parts(self._terms)
        self._number_sent = self._number
        channel.send(NewTerms(self._number, without_parts(self._terms), own))

    @property
    def is_settled(self) -> bool:
        """See Reloads."""
        return self._number_taken == self._number

    def event(self, event: Event | Recheck, channel: Channel | None) -> bool:
        """See Role."""
        if isinstance(event, LinkEvent) and event.link.ifindex == self._link.ifindex:
            return not event.gone and self._repair()
        if isinstance(event, Overrun):
            return self._repair()
        if isinstance(event, AddressEvent) and event.gone:
            return event.address.ifindex != self._link.ifindex or self._repair()
        if isinstance(event, RouteEvent) and (event.gone or event.route.kind == RTN_ANYCAST):
            return event.route.ifindex != self._link.ifindex or self._repair()
        return True

    def _repair(self) -> bool:
        """Put back fe80::/64 and the routes that the kernel dropped; False if the link is gone."""
        try:
            link = self._interfaces.link_by_index(self._link.ifindex)
            if not link.up:
                return True
            there = [a.prefix for a in self._interfaces.addresses(link.ifindex)]
            taken = is_anycast(link, self._interfaces.routes(link.ifindex))
            if taken and SERVER_NETWORK in there:  # the kernel was between our look and our step
                self._interfaces.remove_address(link.ifindex, SERVER_NETWORK)
            if taken or SERVER_NETWORK not in there:
                self._put_back_address()
                if not self._repaired:
                    _LOG.warning(
                        "put fe80::/64 back on %s: the kernel drops it when the"
                        " interface goes down (said once)",
                        link.name,
                    )
                self._repaired = True
            self._routes.add()
        except InterfaceNotFoundError:
            return False
        except WgDynamicError as error:  # the kernel's, or the ledger's: /run may be full
            if str(error) != self._trouble:
                _LOG.error("cannot restore %s: %s", self._link.name, error)
            self._trouble = str(error)
        else:
            self._trouble = ""
        return True

    def _put_back_address(self) -> None:
        """Set fe80::/64, also where the kernel was faster with an address of its own.

        With forwarding on, a random fe80::x/64, which a TUN interface gets whenever it comes up,
        makes fe80:: an anycast address, and the kernel then drops what is sent to ours: its
        route goes first.
        """
        ifindex = self._link.ifindex
        if is_anycast(self._link, self._interfaces.routes(ifindex)):
            self._interfaces.remove_route(
                Route(
                    SERVER_PREFIX,
                    ifindex,
                    kind=RTN_ANYCAST,
                    table=RT_TABLE_LOCAL,
                    protocol=RTPROT_KERNEL,
                )
            )
        self._interfaces.set_address(Address(ifindex, SERVER_NETWORK), prefix_route=True)

    def close(self, *, gone: bool) -> None:
        """Take back the routes; leased allowed IPs stay, as do the leases."""
        for one in (self._listener, self._admin):
            if one is not None:
                one.close()
        if gone:
            _LOG.warning("%s is gone", self._link.name)
            self._ledger.remove(*self._ledger.entries(ROUTE), *self._ledger.entries(ALLOWED_IP))
        self._routes.remove_all()
        self._ledger.close()
        self._record.close()
        self._wireguard.close()


@dataclass(frozen=True)
class OpenedInterface:
    """An interface that was found to qualify, locked."""

    link: Link
    wireguard: WireGuardControl
    terms: LeaseTerms
    runtime: RuntimeDirectory
    record: Record

    @property
    def pools(self) -> tuple[Pool, ...]:
        """What is leased from."""
        return _pools_of(self.terms)


def _pools_of(terms: LeaseTerms) -> tuple[Pool, ...]:
    return tuple(each.pool for each in terms.pools)


def open_interface(settings: ServerSettings, interfaces: InterfaceControl) -> OpenedInterface:
    """Check everything and change nothing but the lock. Raises ConfigError, PrivilegeError."""
    link, wireguard = find_wireguard(interfaces, settings.interface)
    try:
        check_server_address(link, interfaces.addresses(link.ifindex), interfaces.routes())
        terms = checked_terms_of(settings, link, interfaces)
        runtime = RuntimeDirectory(link.ifindex, role=ROLE)
        runtime.take(f"wg-dynamic-server {link.name}")
        record = _open_record(settings, runtime)
    except BaseException:
        wireguard.close()
        raise
    return OpenedInterface(link, wireguard, terms, runtime, record)


def checked_terms_of(
    settings: ServerSettings, link: Link, interfaces: InterfaceControl
) -> LeaseTerms:
    """What to lease by on this machine, as it is now. Raises ConfigError, NetlinkError."""
    routes = interfaces.routes()
    terms = pool_rules.complete_terms(settings.terms, settings.names, link, routes)
    pool_rules.check_routes(terms, link, routes, interfaces)
    pool_rules.check_own_addresses(terms, settings.names, interfaces.addresses())
    return terms


def _names(settings: ServerSettings) -> dict[bytes, str]:
    """The names that the file has for peers, by public key."""
    keys = [one.public_key for one in settings.terms.reservations]
    return dict(zip(keys, settings.names, strict=False))


def _refuse_what_stays(old: ServerSettings, new: ServerSettings) -> None:
    """Raise UsageError for what only a restart can change."""
    wrong = [
        f"{what} is {wanted or 'the default'} now and {there or 'the default'} in the server that"
        " runs, which cannot change it: restart the server, or take that back"
        for what, there, wanted in (
            ("database", str(old.database), str(new.database)),
            ("user", old.user, new.user),
            ("admin_group", old.admin_group, new.admin_group),
        )
        if there != wanted
    ]
    if wrong:
        raise UsageError("\n".join(wrong))


def _open_record(settings: ServerSettings, runtime: RuntimeDirectory) -> Record:
    try:
        return Record(settings.database, f"{SystemClock().boot_id()} {runtime.path.name}")
    except BaseException:
        runtime.release()
        raise


def undo_leftovers(link: Link, interfaces: InterfaceControl, runtime: RuntimeDirectory) -> bool:
    """Take back the routes that a killed server has left; False when there are none.

    Leased allowed IPs stay, as they do when a server is stopped in order.
    """
    ledger = Ledger(runtime.ledger)
    routes = ledger.entries(ROUTE)
    for entry in routes:
        interfaces.remove_route(Route(entry.prefix, link.ifindex))
        ledger.remove(entry)
    ledger.close()
    return bool(routes)


def open_listener(link: Link) -> socket.socket:
    """The listening socket, on fe80:: of this interface only. Raises ConfigError."""
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _bind(listener, link)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        msg = f"cannot listen on [fe80::%{link.name}]:{PORT}: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            msg += f", expected the port to be free: see who has it (ss -6ltnp sport = :{PORT})"
        raise ConfigError(msg) from error
    listener.setblocking(False)
    return listener


def _bind(listener: socket.socket, link: Link) -> None:
    """Bind, for two seconds if need be."""
    for left in reversed(range(PORT_TRIES)):
        try:
            listener.bind((format_address(SERVER_ADDRESS), PORT, 0, link.ifindex))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not left:
                raise
            select.select([], [], [], PORT_PAUSE)
        else:
            return


def _tell_ours(link: Link, ours: Sequence[Entry]) -> None:
    for entry in ours[:MAX_TOLD]:
        peer = peer_label(entry.public_key)
        _LOG.info("%s was made with %s of %s, which was leased", link.name, entry.prefix, peer)
    if ours:
        _LOG.info("%d allowed IPs of that kind: they end with their leases", len(ours))


def _warn_without_forwarding(pools: Sequence[Pool]) -> None:
    for size, path, name in _FORWARDING:
        leases = any(len(pool.network.packed) == size for pool in pools)
        try:
            if leases and path.read_text("ascii").strip() == "0":
                _LOG.warning("%s is 0: peers reach this hub only, not each other", name)
        except OSError:
            continue


def peer_parts(infos: Iterable[PeerInfo]) -> Iterator[Peers]:
    """The answer to ReadPeers, in messages of MAX_PEERS_PREFIXES prefixes at the most."""
    part: list[PeerInfo] = []
    room = MAX_PEERS_PREFIXES
    for info in infos:
        for piece in _split(info):
            cost = PEER_COST + len(piece.fixed) + len(piece.leased)
            if cost > room:
                yield Peers(tuple(part), last=False)
                part, room = [], MAX_PEERS_PREFIXES
            part.append(piece)
            room -= cost
    yield Peers(tuple(part), last=True)


def _split(info: PeerInfo) -> Iterator[PeerInfo]:
    """A peer in pieces that fit into a message each."""
    size = MAX_PEERS_PREFIXES // 4
    for at in range(0, max(1, len(info.fixed), len(info.leased)), size):
        yield PeerInfo(info.public_key, info.fixed[at : at + size], info.leased[at : at + size])

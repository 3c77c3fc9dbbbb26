"""The messages as frozen dataclasses: what a program reads and writes instead of bytes.

Spans (`*_time`, `retry_after`, `interval`) are whole seconds; `lease_start` alone is a point in
time (Unix seconds), for version 1 has nothing else. Nothing is checked here: the codec checks
what it reads and what it prints against the one table in `schema`. docs/protocol.md sections 5
and 6.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import ClassVar

from wg_dynamic.protocol.errors import ErrorCode
from wg_dynamic.record import dataclass

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

ANY_IPV4 = IPv4Address(0)
"""A wish for any IPv4 address."""
ANY_IPV6 = IPv6Address(0)
"""A wish for any IPv6 address."""


def host_network(ip: Address) -> Network:
    """The /32 or /128 that holds only `ip`."""
    if isinstance(ip, IPv4Address):
        return IPv4Network((ip, 32))
    return IPv6Network((ip, 128))


@dataclass(frozen=True, slots=True)
class LeasedAddress:
    """One leased address: a `section=address` of a reply or a push (docs/protocol.md 6.4)."""

    ip: Address
    network: Network
    """The on-link network around `ip`; its /32 or /128 when there is none (always in version 1)."""
    preferred_time: int
    """Seconds; at most `valid_time`."""
    valid_time: int
    """Seconds from the moment the reply was received until the address has to be gone; FOREVER
    (schema.FOREVER) when it has not."""
    remove: bool = False
    """In pushes only: the address is the client's no longer. Build these with `removed`."""

    @classmethod
    def removed(cls, ip: Address) -> "LeasedAddress":
        """The entry of a push that takes `ip` away."""
        return cls(ip, host_network(ip), 0, 0, remove=True)


@dataclass(frozen=True, slots=True)
class Route:
    """A network reached through the tunnel: `section=route` (docs/protocol.md 6.4)."""

    network: Network
    metric: int | None = None
    """Lower wins; None leaves the choice to the client."""
    remove: bool = False
    """In pushes only: the route is withdrawn."""


@dataclass(frozen=True, slots=True)
class Dns:
    """Name servers and search domains: `section=dns` (docs/protocol.md 6.4)."""

    servers: tuple[Address, ...] = ()
    search: tuple[str, ...] = ()
    """Domain names, lower case, without a trailing dot."""
    remove: bool = False
    """In pushes only: no name servers from here any longer."""


@dataclass(frozen=True, slots=True)
class RequestIP:
    """Ask for addresses, or for more time on those one has (docs/protocol.md 5.1, 6.6)."""

    command: ClassVar[str] = "request_ip"

    version: int = 2
    """1 or 2."""
    id: int | None = None
    """Echoed in the reply; version 2 only."""
    wishes: tuple[Address, ...] = ()
    """One address each, all-zero for any of that family; () asks for one of each family.

    Version 1 carries at most one per family.
    """
    valid_time: int | None = None
    """Seconds that the client would like to have them for, FOREVER for without end; version 2 only.
    None leaves it to the server, which decides in any case."""
    features: tuple[str, ...] = ()
    critical: tuple[str, ...] = ()
    early_draft: bool = False
    """Version 1 only: the client writes `ipv4=`/`ipv6=`, or no address at all, and expects the
    reply in the same form (docs/protocol.md 5.6). ServerConnection sees to that by itself."""


@dataclass(frozen=True, slots=True)
class RequestIPReply:
    """What the server leases (docs/protocol.md 5.2, 6.6)."""

    command: ClassVar[str] = "request_ip"

    version: int = 2
    id: int | None = None
    errno: int = ErrorCode.SUCCESS
    errmsg: str = ""
    retry_after: int | None = None
    """Seconds the client should wait before it asks again."""
    addresses: tuple[LeasedAddress, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: tuple[Dns, ...] = ()
    lease_start: int | None = None
    """Version 1 only, and needed there with any address: the server's Unix time now, seconds."""
    more: bool = False
    """Another part of this reply follows. The connections split and join by themselves."""
    mtu: int | None = None
    """Bytes; a client lowers its MTU to this, never raises it."""
    features: tuple[str, ...] = ()
    critical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseIP:
    """Give addresses back (docs/protocol.md 6.7)."""

    command: ClassVar[str] = "release_ip"
    version: ClassVar[int] = 2

    id: int | None = None
    addresses: tuple[Address, ...] = ()
    """() gives back everything this client holds."""
    features: tuple[str, ...] = ()
    critical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseIPReply:
    """Whether the addresses were given back (docs/protocol.md 6.7)."""

    command: ClassVar[str] = "release_ip"
    version: ClassVar[int] = 2

    id: int | None = None
    errno: int = ErrorCode.SUCCESS
    errmsg: str = ""
    retry_after: int | None = None
    features: tuple[str, ...] = ()
    critical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeclineIP:
    """Refuse leased addresses that turn out unusable (docs/protocol.md 6.8)."""

    command: ClassVar[str] = "decline_ip"
    version: ClassVar[int] = 2

    id: int | None = None
    addresses: tuple[Address, ...] = ()
    """At least one."""
    features: tuple[str, ...] = ()
    critical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeclineIPReply:
    """Whether the addresses were put into quarantine (docs/protocol.md 6.8)."""

    command: ClassVar[str] = "decline_ip"
    version: ClassVar[int] = 2

    id: int | None = None
    errno: int = ErrorCode.SUCCESS
    errmsg: str = ""
    retry_after: int | None = None
    features: tuple[str, ...] = ()
    critical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Ask to be told of changes on this connection (docs/protocol.md 6.9)."""

    command: ClassVar[str] = "subscribe"
    version: ClassVar[int] = 2

    id: int | None = None
    since: int | None = None
    """Serial of the last push this client has carried out; None asks for the whole state."""
    interval: int | None = None
    """Seconds between pings that the client would like."""
    features: tuple[str, ...] = ()
    critical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SubscribeReply:
    """Whether pushes will come, and how often to ping (docs/protocol.md 6.9)."""

    command: ClassVar[str] = "subscribe"
    version: ClassVar[int] = 2

    id: int | None = None
    errno: int = ErrorCode.SUCCESS
    errmsg: str = ""
    retry_after: int | None = None
    serial: int | None = None
    """Serial of the state as it is now."""
    interval: int | None = None
    """Seconds between pings that the server has settled on."""
    features: tuple[str, ...] = ()
    critical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """A push: what changed for this client (docs/protocol.md 6.9)."""

    command: ClassVar[str] = "update"
    version: ClassVar[int] = 2

    serial: int = 0
    """Number of the state after this push."""
    reset: bool = False
    """The push holds the whole state: forget what came before."""
    more: bool = False
    addresses: tuple[LeasedAddress, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: tuple[Dns, ...] = ()
    mtu: int | None = None
    critical: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ack:
    """The client has carried out every push up to `serial`; no reply (docs/protocol.md 6.9)."""

    command: ClassVar[str] = "ack"
    version: ClassVar[int] = 2

    serial: int = 0


@dataclass(frozen=True, slots=True)
class Ping:
    """Is anybody there (docs/protocol.md 6.10)."""

    command: ClassVar[str] = "ping"
    version: ClassVar[int] = 2

    id: int | None = None


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a Ping (docs/protocol.md 6.10)."""

    command: ClassVar[str] = "pong"
    version: ClassVar[int] = 2

    id: int | None = None


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """The refusal of any command, known or not, in the form all replies share (6.11).

    A server may send it in place of any other reply. A client gets it only for commands that
    have no reply of their own with an `errno=`: ping and ack.
    """

    version: ClassVar[int] = 2

    command: str
    id: int | None = None
    errno: int = ErrorCode.UNKNOWN_COMMAND
    errmsg: str = ""
    retry_after: int | None = None


Request = RequestIP | ReleaseIP | DeclineIP | Subscribe | Ack | Ping
"""What a client sends."""
Reply = RequestIPReply | ReleaseIPReply | DeclineIPReply | SubscribeReply | Pong | ErrorReply
"""What a server answers."""
Message = Request | Reply | Update

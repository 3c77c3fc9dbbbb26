"""The closed set of messages between the helper (root) and the network process. Pure.

Nothing here carries a private or preshared key, a path to write to, or a command. The helper
checks each request again against its own configuration and ledger (helper/server.py,
helper/client.py); what is not in these tuples cannot be asked.
"""

import re

from wg_dynamic.address import IPV4_SIZE, IPV6_SIZE, Prefix
from wg_dynamic.leases.push import (
    MAX_DNS_SEARCH,
    MAX_DNS_SERVERS,
    MAX_DOMAIN_LENGTH,
    MAX_METRIC,
    MAX_MTU,
    MAX_ROUTES,
    MIN_MTU,
    Push,
)
from wg_dynamic.leases.terms import (
    INFINITE,
    MAX_LEASE_TIME,
    MAX_NAME,
    AddressRange,
    LeaseTerms,
    PeerName,
    PeerTerms,
    PoolTerms,
    Reservation,
)
from wg_dynamic.record import dataclass

KEY_SIZE = 32
MAX_CHANGES = 512
"""Changes in one ChangeAllowedIPs: about 30 kB."""
MAX_PEERS_PREFIXES = 3000
"""Prefixes in one Peers message, at 18 bytes: about 54 kB. A peer that has more comes again."""
PEER_COST = 3
"""What a peer takes besides its prefixes, in prefixes."""
MAX_ADDRESSES = 16
"""Addresses in one ApplyLease."""
MAX_REASON = 110
"""Characters of the reason of a refusal: MAX_CHANGES of them fit into a message."""
MAX_WHY = 150
"""Characters of why something is not taken: all that fits into one ApplyLease may be refused."""
MAX_TEXT = 1000
"""Characters of a report."""
MAX_STATE = 16
"""Characters of the name of a state."""
MAX_STATUS = 60000
"""Characters of a status: printable ASCII, so as many bytes."""
MAX_POOLS = 256
MAX_EXCLUSIONS = 65536
MAX_RESERVATIONS = 65536
"""Of one server, all pools together."""
MAX_PUSHED_PEERS = 65536
"""Peers that are told something of their own."""
MAX_PUSHED_ROUTES = 65536
"""Routes of one server, all levels together."""
MAX_ADDRESSES_PER_PEER = 8
"""Of each family: what fits into one ApplyLease."""
MAX_PART_EXCLUSIONS = 1000
"""Exclusions in one TermsPart, at 48 bytes."""
MAX_PART_RESERVATIONS = 150
"""Reservations in one TermsPart, at 369 bytes at the most."""
MAX_NAMES = MAX_RESERVATIONS + MAX_PUSHED_PEERS
MAX_PART_NAMES = 200
"""Names in one TermsPart, at 296 bytes at the most."""
MAX_PART_PUSHES = 800
"""Levels in one TermsPart, those of peers included, at 67 bytes besides their lists."""


def _check(value: bool, text: str) -> None:
    if not value:
        raise ValueError(text)


# --- server: network process -> helper ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReadPeers:
    """Dump the interface. Answer: Peers, or Failed: ask again later."""


@dataclass(frozen=True, slots=True)
class NextPeers:
    """What follows a Peers that was not the last one. Answer: Peers.

    One part at a time: a reader that is busy for a while does not keep the helper waiting.
    """


@dataclass(frozen=True, slots=True)
class Change:
    """Give a leased address to a peer's allowed IPs, or take it off."""

    public_key: bytes
    prefix: Prefix
    add: bool

    def __post_init__(self) -> None:
        """Refuse what no helper would do (ValueError)."""
        _check(len(self.public_key) == KEY_SIZE, "public key is not 32 bytes")
        if not self.prefix.is_host:  # the text costs more than all the rest of the message
            _check(False, f"{self.prefix} is more than one address")


@dataclass(frozen=True, slots=True)
class ChangeAllowedIPs:
    """Carry out the changes in their order. Answer: Changed."""

    changes: tuple[Change, ...]

    def __post_init__(self) -> None:
        """Refuse too many (ValueError)."""
        _check(len(self.changes) <= MAX_CHANGES, f"more than {MAX_CHANGES} changes")


@dataclass(frozen=True, slots=True)
class ReadTerms:
    """What ServerStart has no room for. Answer: TermsPart, once or more, the final one `last`."""


@dataclass(frozen=True, slots=True)
class NextTerms:
    """A part of what the last NewTerms had no room for. Answer: TermsPart, one.

    Whatever is asked for after a NewTerms was sent, the answer is of that one.
    """


@dataclass(frozen=True, slots=True)
class TermsTaken:
    """Requests are decided by the NewTerms of this number from now on. No answer."""

    number: int


@dataclass(frozen=True, slots=True)
class ReadAdmin:
    """Where do administrators ask? Answer: AdminListener."""


# --- server: helper -> network process ---------------------------------------------------------


def _check_address(address: bytes) -> None:
    _check(len(address) in (IPV4_SIZE, IPV6_SIZE), f"address of {len(address)} bytes")


def _check_time(span: float | None, *, infinite: bool = False) -> None:
    good = span is None or 0 <= span <= MAX_LEASE_TIME or (infinite and span == INFINITE)
    _check(good, f"{span} seconds, expected 0 to {MAX_LEASE_TIME}")


def _check_pool(pool: PoolTerms) -> None:
    network = pool.pool.network
    _check(network.network() == network, f"{network} has host bits set")
    length = pool.network_length
    _check(length is None or 0 < length <= len(network.packed) * 8, f"network length {length}")
    _check_time(pool.lease_time)
    _check_push(pool.push)


def _check_reservation(one: Reservation) -> None:
    _check(len(one.public_key) == KEY_SIZE, "public key is not 32 bytes")
    _check(0 < len(one.addresses) <= 2 * MAX_ADDRESSES_PER_PEER, "number of reserved addresses")
    for address in one.addresses:
        _check_address(address)
    _check_time(one.lease_time, infinite=True)


@dataclass(frozen=True, slots=True)
class ServerStart:
    """What the network process works by: the first message it gets, with the listener attached."""

    interface: str
    ifindex: int
    terms: LeaseTerms
    """As sent, without exclusions, reservations and what clients are told besides: those are asked
    for (privsep/terms.py)."""
    own: tuple[bytes, ...]
    """The hub's own addresses inside the pools."""
    database: str
    adopt: bool = False
    """Whether allowed IPs inside the pools are to become leases before anybody is served."""

    def __post_init__(self) -> None:
        """Refuse terms that make no sense (ValueError)."""
        _check_terms(self.terms, self.own)


@dataclass(frozen=True, slots=True)
class NewTerms:
    """The administrator's terms are others now: they come in the place of ServerStart's.

    What they have no room for is asked for by NextTerms. TermsTaken says when they are in force.
    """

    number: int
    """Counts up; a later one replaces an earlier one, be that taken or not."""
    terms: LeaseTerms
    """As ServerStart's."""
    own: tuple[bytes, ...]
    """As ServerStart's."""

    def __post_init__(self) -> None:
        """Refuse terms that make no sense (ValueError)."""
        _check_terms(self.terms, self.own)


def _check_terms(terms: LeaseTerms, own: tuple[bytes, ...]) -> None:
    _check(len(terms.pools) <= MAX_POOLS, f"{len(terms.pools)} pools")
    for pool in terms.pools:
        _check_pool(pool)
    for span in (terms.max_lease_time, terms.grace_time, terms.quarantine_time):
        _check_time(span)
    between = 0 < terms.min_lease_time <= terms.lease_time <= terms.max_lease_time
    _check(between, "lease time out of its own bounds")
    per_peer = terms.addresses_per_peer
    _check(0 < per_peer <= MAX_ADDRESSES_PER_PEER, f"{per_peer} addresses for each peer")
    _check(terms.max_new_addresses > 0, f"{terms.max_new_addresses} new addresses")
    _check_push(terms.push)
    for address in own:
        _check_address(address)


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Addresses of a pool that nobody gets."""

    pool: int
    """Its place in ServerStart's terms."""
    addresses: AddressRange


def _check_push(push: Push) -> None:
    routes, servers, search = push.routes or (), push.servers or (), push.search or ()
    _check(len(routes) <= MAX_ROUTES, f"{len(routes)} routes")
    for route in routes:
        _check(route.network.network() == route.network, f"{route.network} has host bits set")
        metric = route.metric
        _check(metric is None or 0 <= metric <= MAX_METRIC, f"metric {metric}")
    _check(len(servers) <= MAX_DNS_SERVERS, f"{len(servers)} name servers")
    for server in servers:
        _check_address(server)
    _check(len(search) <= MAX_DNS_SEARCH, f"{len(search)} search domains")
    _check(all(0 < len(one) <= MAX_DOMAIN_LENGTH for one in search), "search domain's length")
    _check(push.mtu is None or MIN_MTU <= push.mtu <= MAX_MTU, f"MTU {push.mtu}")


@dataclass(frozen=True, slots=True)
class LevelPush:
    """What the level for all, or of a pool, says that clients are told."""

    pool: int | None
    """Its place in ServerStart's terms; None: for all."""
    push: Push


@dataclass(frozen=True, slots=True)
class TermsPart:
    """A part of the answer to ReadTerms, or the answer to NextTerms."""

    exclusions: tuple[Exclusion, ...]
    reservations: tuple[Reservation, ...]
    last: bool
    levels: tuple[LevelPush, ...] = ()
    peers: tuple[PeerTerms, ...] = ()
    names: tuple[PeerName, ...] = ()

    def __post_init__(self) -> None:
        """Refuse too much, and what makes no sense (ValueError)."""
        _check(len(self.names) <= MAX_PART_NAMES, f"{len(self.names)} names")
        for named in self.names:
            _check(len(named.public_key) == KEY_SIZE, "public key is not 32 bytes")
            _check(0 < len(named.name) <= MAX_NAME, f"a name of {len(named.name)} characters")
        _check(len(self.exclusions) <= MAX_PART_EXCLUSIONS, f"{len(self.exclusions)} exclusions")
        count = len(self.reservations)
        _check(count <= MAX_PART_RESERVATIONS, f"{count} reservations")
        for exclusion in self.exclusions:
            _check(0 <= exclusion.pool < MAX_POOLS, f"pool number {exclusion.pool}")
            _check_address(exclusion.addresses.first)
        for one in self.reservations:
            _check_reservation(one)
        count = len(self.levels) + len(self.peers)
        _check(count <= MAX_PART_PUSHES, f"{count} levels")
        for level in self.levels:
            _check(level.pool is None or 0 <= level.pool < MAX_POOLS, f"pool number {level.pool}")
            _check_push(level.push)
        for peer in self.peers:
            _check(len(peer.public_key) == KEY_SIZE, "public key is not 32 bytes")
            _check_push(peer.push)


@dataclass(frozen=True, slots=True)
class AdminListener:
    """The answer to ReadAdmin: attached is the listening administration socket, if there is one."""


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """One peer: what an administrator gave it, and what stands in the ledger as ours."""

    public_key: bytes
    fixed: tuple[Prefix, ...]
    leased: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class Peers:
    """A part of the answer to ReadPeers."""

    peers: tuple[PeerInfo, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which change was not made, and why."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The answer to ChangeAllowedIPs: everything but the refusals was done."""

    refusals: tuple[Refusal, ...]


# --- client: network process -> helper ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """Make a connection to [fe80::%interface]:970. Answer: Connecting with a socket, or Failed."""

    pushes: bool = False
    """It is to stay: from another port than 970, which is for those that come and go."""


@dataclass(frozen=True, slots=True)
class AddressSetting:
    """One leased address as the server gave it."""

    address: Prefix
    """A /32 or /128."""
    network: Prefix
    """The on-link network; equal to `address` when there is none."""
    preferred_time: int
    valid_time: int

    def __post_init__(self) -> None:
        """Refuse what does not hang together (ValueError)."""
        _check(self.address.is_host, f"{self.address} is more than one address")
        _check(self.network.network() == self.network, f"{self.network} has host bits set")
        _check(self.network.covers(self.address), f"{self.address} is outside {self.network}")
        _check(0 < self.preferred_time <= self.valid_time < 1 << 32, "lifetimes out of bounds")


@dataclass(frozen=True, slots=True)
class RouteSetting:
    """One route into the tunnel as the server pushed it."""

    network: Prefix
    metric: int | None = None
    """None: ours to choose."""

    def __post_init__(self) -> None:
        """Refuse what does not hang together (ValueError)."""
        _check(self.network.network() == self.network, f"{self.network} has host bits set")
        metric = self.metric
        _check(metric is None or 0 <= metric <= MAX_METRIC, f"metric {metric}")


def is_domain(name: str) -> bool:
    """Whether it is a name that cannot mean anything else to a tool or in a file."""
    labels = name.split(".")
    return len(name) <= MAX_DOMAIN_LENGTH and all(map(_LABEL.fullmatch, labels))


_LABEL = re.compile("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class ApplyLease:
    """Let exactly this be ours: set or refresh it, undo all else. Answer: Applied.

    Without an address nothing else is set either.
    """

    addresses: tuple[AddressSetting, ...]
    routes: tuple[RouteSetting, ...] = ()
    more_routes: int = 0
    """How many the server pushed beyond those."""
    name_servers: tuple[bytes, ...] = ()
    search: tuple[str, ...] = ()
    """Domains, lower case, without a trailing dot."""
    mtu: int = 0
    """0: none was pushed."""

    def __post_init__(self) -> None:
        """Refuse too much, and what is none of it (ValueError)."""
        _check(len(self.addresses) <= MAX_ADDRESSES, f"more than {MAX_ADDRESSES} addresses")
        _check(len(self.routes) <= MAX_ROUTES, f"more than {MAX_ROUTES} routes")
        _check(0 <= self.more_routes <= MAX_METRIC, f"{self.more_routes} more routes")
        count = len(self.name_servers)
        _check(count <= MAX_DNS_SERVERS, f"more than {MAX_DNS_SERVERS} name servers")
        for address in self.name_servers:
            _check_address(address)
        _check(len(self.search) <= MAX_DNS_SEARCH, f"more than {MAX_DNS_SEARCH} search domains")
        for name in self.search:
            _check(is_domain(name), f"{name[:40]!r} is no domain name")
        _check(0 <= self.mtu <= MAX_MTU, f"MTU {self.mtu}")


@dataclass(frozen=True, slots=True)
class Report:
    """Why there is no lease now, for the person who waits and for the status. No answer."""

    text: str

    def __post_init__(self) -> None:
        """Refuse a novel (ValueError)."""
        _check(len(self.text) <= MAX_TEXT, f"more than {MAX_TEXT} characters")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the client stands, told whenever it changes: for `--status`. No answer."""

    state: str
    next_at: float | None
    """CLOCK_BOOTTIME seconds when it does something by itself; None: when something happens."""
    version: int
    """Of the protocol, as it speaks it to this server."""

    def __post_init__(self) -> None:
        """Refuse what is no state (ValueError)."""
        short = 0 < len(self.state) <= MAX_STATE
        _check(short and self.state.isascii() and self.state.isalpha(), "no name of a state")
        _check(self.next_at is None or 0 <= self.next_at < 1 << 53, "no moment")
        _check(0 < self.version < 1 << 8, f"version {self.version}")


# --- client: helper -> network process ---------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientStart:
    """The first message that the client's network process gets."""

    interface: str
    link_local: bytes
    wishes: tuple[bytes, ...]
    """Addresses that are still set from an earlier run: asked for again."""


@dataclass(frozen=True, slots=True)
class Connecting:
    """The socket, attached, is connecting; whether it will is seen on the socket."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The request could not be carried out."""

    reason: str


@dataclass(frozen=True, slots=True)
class RefusedAddress:
    """An address that the helper's policy, or the kernel, does not take."""

    address: Prefix
    reason: str
    in_use: bool = False
    """Something has this very address already: it is to be declined (docs/protocol.md 6.8)."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Anything else that is not taken."""

    what: str
    """`route 10.0.0.0/8`, `name server 10.0.0.53`, `search domain example`, `MTU 576`."""
    reason: str

    def __post_init__(self) -> None:
        """Refuse a novel (ValueError)."""
        _check(len(self.reason) <= MAX_WHY, f"more than {MAX_WHY} characters")


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer to ApplyLease: everything but the refused is set.

    It comes without being asked for, too, when something is refused that was set until now, or the
    other way round: the machine has joined or left a network.
    """

    refused: tuple[RefusedAddress, ...]
    others: tuple[Refused, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkState:
    """The interface went down, or is up again and qualifies."""

    up: bool


@dataclass(frozen=True, slots=True)
class NetworkChanged:
    """Another interface got an address or a default route: the server may be in reach again."""


# --- server: the check of a database ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckStore:
    """Look this database over: the one message that the process for it gets."""

    database: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with it."""

    text: str

    def __post_init__(self) -> None:
        """Refuse a novel (ValueError)."""
        _check(len(self.text) <= MAX_TEXT, f"more than {MAX_TEXT} characters")


@dataclass(frozen=True, slots=True)
class Checked:
    """The end of the check; more may be wrong than was told."""

    summary: str
    problems: int

    def __post_init__(self) -> None:
        """Refuse a novel (ValueError)."""
        _check(len(self.summary) <= MAX_TEXT, f"more than {MAX_TEXT} characters")


# --- both ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ready:
    """The network process has started and serves."""


@dataclass(frozen=True, slots=True)
class Fatal:
    """The network process cannot go on, and starting it again would not help."""

    reason: str

    def __post_init__(self) -> None:
        """Refuse a novel (ValueError)."""
        _check(len(self.reason) <= MAX_TEXT, f"more than {MAX_TEXT} characters")


@dataclass(frozen=True, slots=True)
class Stop:
    """End now; a client with `release` gives its lease back first."""

    release: bool


# --- command <-> helper, over the control socket -------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskStatus:
    """How do you stand? Answer: Status."""


@dataclass(frozen=True, slots=True)
class Status:
    """How it stands, as a JSON object (helper/status.py)."""

    text: str

    def __post_init__(self) -> None:
        """Refuse a novel (ValueError)."""
        _check(len(self.text) <= MAX_STATUS, f"more than {MAX_STATUS} characters")


@dataclass(frozen=True, slots=True)
class AskReload:
    """Read the configuration file again and work by it. Answer: Reloaded."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """How that went."""

    done: bool
    """Not done: nothing was changed."""
    text: str
    """What is different now, or what is wrong, in lines."""

    def __post_init__(self) -> None:
        """Refuse a novel (ValueError)."""
        _check(len(self.text) <= MAX_STATUS, f"more than {MAX_STATUS} characters")


SERVER_REQUESTS = (
    ReadPeers,
    NextPeers,
    ChangeAllowedIPs,
    ReadTerms,
    Ready,
    Fatal,
    NextTerms,
    TermsTaken,
    ReadAdmin,
)
"""Server's network process -> helper."""
SERVER_REPLIES = (ServerStart, TermsPart, Peers, Changed, Failed, Stop, NewTerms, AdminListener)
"""Helper -> server's network process."""
CHECK_REQUESTS = (CheckStore,)
"""Command -> process that checks a database."""
CHECK_REPLIES = (Finding, Checked, Fatal)
"""Process that checks a database -> command."""
CLIENT_REQUESTS = (Connect, ApplyLease, Report, Ready, Fatal, Progress)
"""Client's network process -> helper."""
CLIENT_REPLIES = (ClientStart, Connecting, Failed, Applied, LinkState, Stop, NetworkChanged)
"""Helper -> client's network process."""
CONTROL_MESSAGES = (Stop, Ready, AskStatus, Status, AskReload, Reloaded)
"""Command <-> helper."""

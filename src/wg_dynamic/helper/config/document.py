"""A configuration document: TOML text to values, each right by itself. Pure.

Whether the values go together is the subject of `checks`; that is asked when the options of the
command line, which win over the document, have been put over it.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from wg_dynamic.address import Prefix
from wg_dynamic.errors import UsageError
from wg_dynamic.helper.config.beside import NOTHING, Beside, read_beside
from wg_dynamic.helper.config.lines import line_of
from wg_dynamic.helper.config.values import (
    read_address,
    read_domain,
    read_key,
    read_name_server,
    read_number,
    read_path,
    read_pool,
    read_range,
    read_route,
    read_text,
    read_time,
    read_time_or_infinite,
    shortened,
    shown,
)
from wg_dynamic.leases.pool import Pool
from wg_dynamic.leases.push import MAX_METRIC, MAX_MTU, MIN_MTU, SILENT, Push, PushedRoute
from wg_dynamic.leases.terms import (
    DEFAULT_LEASE_TIME,
    DEFAULT_MAX_NEW_ADDRESSES,
    DEFAULT_QUARANTINE_TIME,
    INFINITE,
    MAX_LEASE_TIME,
    MAX_NAME,
    MIN_LEASE_TIME,
    LeaseTerms,
    PeerName,
    PeerTerms,
    PoolTerms,
    Reservation,
)
from wg_dynamic.privsep.requests import MAX_ADDRESSES_PER_PEER
from wg_dynamic.record import dataclass, replace

MAX_NEW_ADDRESSES: Final = 1_000_000
"""More new addresses in an hour than this is no limit."""
IPV6_BITS: Final = 128
_DEEP: Final = re.compile(
    r"""(?<![\w"'-]) (?: (?: [\w-]++ | "[^"\n]*+" | '[^'\n]*+' ) [ \t]*+ \. [ \t]*+ ){150}""", re.X
)
"""A key of so many names: tomllib takes memory and time by the square of their number.
Domain names have 127 labels at the most."""
CLIENT: Final = "client"
"""The one table of a client's document (helper/config/client.py)."""
_MAX_PROBLEMS: Final = 30
"""Problems that one error tells; who has more, has another problem."""

_Value = TypeVar("_Value")
_Default = TypeVar("_Default")
_Read = Callable[[object], _Value]

_lease_time: Final = partial(read_time, low=MIN_LEASE_TIME, high=MAX_LEASE_TIME)
_span: Final = partial(read_time, low=0, high=MAX_LEASE_TIME)


@dataclass(frozen=True)
class ServerConfig:
    """What a document says, the defaults where it says nothing."""

    source: str = ""
    """The document's name, for messages; empty when there is none."""
    pools: tuple[PoolTerms, ...] = ()
    """Empty: the on-link networks of the interface."""
    reservations: tuple[Reservation, ...] = ()
    names: tuple[str, ...] = ()
    """Of the reservations, for people; empty where there is none."""
    lease_time: int | None = None
    """None: DEFAULT_LEASE_TIME, or what the bounds allow that is nearest."""
    min_lease_time: int = MIN_LEASE_TIME
    max_lease_time: int | None = None
    """None: the longest time that the document gives to anybody; nobody gets more by asking."""
    addresses_per_peer: int = 1
    max_new_addresses: int = DEFAULT_MAX_NEW_ADDRESSES
    grace_time: int = 0
    quarantine_time: int = DEFAULT_QUARANTINE_TIME
    database: Path | None = None
    user: str | None = None
    admin_group: str | None = None
    """Whose members may use the administration socket, besides root."""
    push: Push = SILENT
    """What all clients are told besides their addresses."""
    peers: tuple[PeerTerms, ...] = ()
    peer_names: tuple[str, ...] = ()
    """As `names`, of the peers."""
    beside: Beside = NOTHING
    """For wg-dynamic-watch; the server has no use for it."""

    def terms(self) -> LeaseTerms:
        """What to lease by; not checked yet."""
        high = MAX_LEASE_TIME if self.max_lease_time is None else self.max_lease_time
        lease_time = self.lease_time
        if lease_time is None:
            lease_time = max(self.min_lease_time, min(DEFAULT_LEASE_TIME, high))
        return LeaseTerms(
            pools=self.pools,
            reservations=self.reservations,
            lease_time=lease_time,
            min_lease_time=self.min_lease_time,
            max_lease_time=self._longest(lease_time) if self.max_lease_time is None else high,
            addresses_per_peer=self.addresses_per_peer,
            max_new_addresses=self.max_new_addresses,
            grace_time=self.grace_time,
            quarantine_time=self.quarantine_time,
            push=self.push,
            peers=self.peers,
            names=self._names(),
        )

    def _names(self) -> tuple[PeerName, ...]:
        """Of a peer with several tables the name in [[peer]] counts."""
        reserved = zip((one.public_key for one in self.reservations), self.names, strict=False)
        named = zip((one.public_key for one in self.peers), self.peer_names, strict=False)
        known = {key: name for key, name in (*reserved, *named) if name}
        return tuple(PeerName(key, name[:MAX_NAME]) for key, name in known.items())

    def _longest(self, lease_time: float) -> float:
        own = [one.lease_time for one in self.pools] + [one.lease_time for one in self.reservations]
        finite = [time for time in own if time is not None and time != INFINITE]
        return max([lease_time, self.min_lease_time, *finite])

    def with_pools(self, pools: Sequence[Pool]) -> tuple[PoolTerms, ...]:
        """These pools in their order; what the document says of one of them stands."""
        known = {each.pool: each for each in self.pools}
        return tuple(known.get(pool, PoolTerms(pool)) for pool in dict.fromkeys(pools))


class Problems:
    """What is wrong, in the order in which it was found."""

    def __init__(self, source: str, text: str = "") -> None:
        """`text` is the document, whose lines are told."""
        self._source = f"{source}: " if source else ""
        self._text = text
        self._found: list[str] = []

    def add(self, text: str) -> None:
        """One more."""
        self._found.append(text)

    def raise_any(self, error: type[UsageError] = UsageError) -> None:
        """Raise when there is one, with a line for each."""
        lines = [f"{self._source}{self._placed(text)}" for text in self._found[:_MAX_PROBLEMS]]
        if len(self._found) > len(lines):
            lines.append(f"{self._source}{len(self._found) - len(lines)} more of the kind")
        if lines:
            raise error("\n".join(lines))

    def _placed(self, text: str) -> str:
        line = line_of(self._text, text)
        return text if line is None else f"{text} (line {line})"


class _Table:
    """One table of a document, until all of its keys are taken."""

    def __init__(self, values: Mapping[str, object], problems: Problems, place: str = "") -> None:
        self._values = values
        self._problems = problems
        self._place = place
        self._known: list[str] = []

    def complain(self, text: str) -> None:
        """Something is wrong with this table."""
        self._problems.add(f"{self._place}{text}")

    def take(
        self, key: str, read: _Read[_Value], default: _Default, *, required: bool = False
    ) -> _Value | _Default:
        """The value of a key; the default when it is not there, or wrong."""
        self._known.append(key)
        if key not in self._values:
            if required:
                self.complain(f"{key} is missing, expected it")
            return default
        return self.read(key, read, self._values[key], default)

    def take_all(
        self, key: str, read: _Read[_Value], *, required: bool = False
    ) -> tuple[_Value, ...]:
        """The values of a list that are right."""
        return self.take_list(key, read, required=required) or ()

    def take_list(
        self, key: str, read: _Read[_Value], *, required: bool = False
    ) -> tuple[_Value, ...] | None:
        """As `take_all`; None when there is no list."""
        items = self.take(key, _read_list, None, required=required)
        if items is None:
            return None
        found = [self.read(f"{key}, item {n}", read, item, None) for n, item in enumerate(items, 1)]
        return tuple(value for value in found if value is not None)

    def read(
        self, what: str, read: _Read[_Value], value: object, default: _Default
    ) -> _Value | _Default:
        """A value that stands there; the default when it is wrong."""
        try:
            return read(value)
        except ValueError as error:
            self.complain(f"{what}: {error}")
            return default

    def tables(self, key: str) -> list["_Table"]:
        """The tables `[[key]]`."""
        self._known.append(key)
        values = self._values.get(key, [])
        if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
            what = shown(values) if not isinstance(values, list) else "a list of other things"
            self.complain(f"{key}: {what}, expected tables that each begin with [[{key}]]")
            return []
        return [
            _Table(each, self._problems, f"[[{key}]] {number}: ")
            for number, each in enumerate(values, start=1)
        ]

    def table(self, key: str, holds: str) -> "_Table | None":
        """The table `[key]`; `holds` says what it is a table of."""
        self._known.append(key)
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.complain(f"{key}: {shown(value)}, expected a table of {holds}")
            return None
        return self.inner(f"{key}: ", value)

    def inner(self, place: str, values: Mapping[str, object]) -> "_Table":
        """A table inside this one."""
        return _Table(values, self._problems, f"{self._place}{place}")

    def refuse(self, text: str, *keys: str) -> None:
        """Complain about these keys if they are there; without keys, about all not yet taken."""
        for key in self._values:
            if key in keys or (not keys and key not in self._known):
                self.complain(f"{shown(key)} {text}")
                self._known.append(key)

    def finish(self) -> None:
        """Complain about what was not taken."""
        for key in self._values:
            if key not in self._known:
                near = difflib.get_close_matches(key, self._known, 1)
                hint = f"did you mean {near[0]}?" if near else "not used here."
                listed = ", ".join(sorted(self._known))
                self.complain(f"unknown key {shown(key)}, {hint} Expected any of {listed}")


def _read_list(value: object) -> list[object]:
    if not isinstance(value, list):
        msg = f"{shown(value)}, expected a list in brackets"
        raise ValueError(msg)
    return value


def parse_config(text: str, source: str) -> ServerConfig:
    """The values of a document.

    Args:
        text: TOML 1.0.
        source: what messages call it.

    Raises:
        UsageError: it is no TOML, or has unknown keys or wrong values: all of them are told.
    """
    problems = Problems(source, text)
    table = open_document(text, source, problems)
    table.refuse("is for wg-dynamic-client, expected the keys of a server alone", CLIENT)
    config = _read_config(table, source)
    problems.raise_any()
    return config


def parse_peers(text: str, source: str) -> ServerConfig:
    """The values of a document that has `[[peer]]` and `[[reservation]]` alone.

    Raises UsageError as `parse_config`.
    """
    problems = Problems(source, text)
    table = open_document(text, source, problems)
    reservations, peers = _read_known(table)
    table.finish()
    problems.raise_any()
    return ServerConfig(
        source=source,
        reservations=tuple(reservation for reservation, _ in reservations),
        names=tuple(name for _, name in reservations),
        peers=tuple(peer for peer, _ in peers),
        peer_names=tuple(name for _, name in peers),
    )


def with_peers(config: ServerConfig, more: ServerConfig) -> ServerConfig:
    """One document with the peers and reservations of another.

    A peer that both name is one: `more` gives it a name where `config` does not.
    """
    if not more.peers and not more.reservations:
        return config
    places = {peer.public_key: place for place, peer in enumerate(config.peers)}
    peers, names = list(config.peers), list(config.peer_names)
    for peer, name in zip(more.peers, more.peer_names, strict=True):
        place = places.get(peer.public_key)
        if place is None or peer.push != SILENT:  # said twice: for `checks` to complain about
            peers.append(peer)
            names.append(name)
        else:
            names[place] = names[place] or name
    return replace(
        config,
        source=f"{config.source} with {more.source}" if config.source else more.source,
        reservations=config.reservations + more.reservations,
        names=config.names + more.names,
        peers=tuple(peers),
        peer_names=tuple(names),
    )


def open_document(text: str, source: str, problems: Problems) -> _Table:
    """A document whose keys are to be taken. Raises UsageError when it is no TOML."""
    deep = _DEEP.search(text)
    if deep:
        line = text.count("\n", 0, deep.start()) + 1
        msg = f"{source}: line {line} has a key of 150 names or more, expected one or two"
        raise UsageError(msg)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # besides its own: numbers and lists too long
        msg = f"{source}: not understood as TOML: {shortened(error)}"
        raise UsageError(msg) from error
    return _Table(document, problems)


def _read_config(table: _Table, source: str) -> ServerConfig:
    per_peer = partial(read_number, low=1, high=MAX_ADDRESSES_PER_PEER)
    per_hour = partial(read_number, low=1, high=MAX_NEW_ADDRESSES)
    reservations, peers = _read_known(table)
    pools = [_read_pool(each) for each in table.tables("pool")]
    config = ServerConfig(
        source=source,
        pools=tuple(pool for pool in pools if pool is not None),
        reservations=tuple(reservation for reservation, _ in reservations),
        names=tuple(name for _, name in reservations),
        lease_time=table.take("lease_time", _lease_time, None),
        min_lease_time=table.take("min_lease_time", _lease_time, MIN_LEASE_TIME),
        max_lease_time=table.take("max_lease_time", _lease_time, None),
        addresses_per_peer=table.take("addresses_per_peer", per_peer, 1),
        max_new_addresses=table.take("max_new_addresses", per_hour, DEFAULT_MAX_NEW_ADDRESSES),
        grace_time=table.take("grace_time", _span, 0),
        quarantine_time=table.take("quarantine_time", _span, DEFAULT_QUARANTINE_TIME),
        database=table.take("database", read_path, None),
        user=table.take("user", read_text, None),
        admin_group=table.take("admin_group", read_text, None),
        push=_read_push(table),
        peers=tuple(peer for peer, _ in peers),
        peer_names=tuple(name for _, name in peers),
        beside=read_beside(table),
    )
    table.finish()
    return config


def _read_known(
    table: _Table,
) -> tuple[list[tuple[Reservation, str]], list[tuple[PeerTerms, str]]]:
    """Reservations and peers, each with its name."""
    reservations = [_read_reservation(each) for each in table.tables("reservation")]
    return reservations, [_read_peer(each) for each in table.tables("peer")]


def _read_pool(table: _Table) -> PoolTerms | None:
    length = partial(read_number, low=1, high=IPV6_BITS)
    pool = table.take("network", read_pool, None, required=True)
    lease_time = table.take("lease_time", _lease_time, None)
    network_length = table.take("network_length", length, None)
    excluded = table.take_all("exclude", read_range)
    push = _read_push(table)
    table.finish()
    return None if pool is None else PoolTerms(pool, lease_time, network_length, excluded, push)


def _read_reservation(table: _Table) -> tuple[Reservation, str]:
    infinite = partial(read_time_or_infinite, low=MIN_LEASE_TIME, high=MAX_LEASE_TIME)
    name = table.take("name", read_text, "")
    key = table.take("public_key", read_key, b"", required=True)
    addresses = table.take_all("addresses", read_address, required=True)
    lease_time = table.take("lease_time", infinite, None)
    table.finish()
    return Reservation(key, addresses, lease_time), name


def _read_peer(table: _Table) -> tuple[PeerTerms, str]:
    name = table.take("name", read_text, "")
    key = table.take("public_key", read_key, b"", required=True)
    push = _read_push(table)
    table.finish()
    return PeerTerms(key, push), name


def _read_push(table: _Table) -> Push:
    """What a level says that clients are told."""
    mtu = table.take("mtu", partial(read_number, low=MIN_MTU, high=MAX_MTU), None)
    routes = _read_routes(table)
    dns = table.table("dns", "servers and search")
    if dns is None:
        return Push(routes, mtu=mtu)
    servers = dns.take_list("servers", read_name_server)
    search = dns.take_list("search", read_domain)
    dns.finish()
    return Push(routes, servers, search, mtu)


def _read_routes(table: _Table) -> tuple[PushedRoute, ...] | None:
    """Networks, or tables of a network and its metric."""
    items = table.take("routes", _read_list, None)
    if items is None:
        return None
    found: list[PushedRoute] = []
    for number, item in enumerate(items, start=1):
        place = f"routes, item {number}"
        metric = None
        if isinstance(item, dict):
            inner = table.inner(f"{place}: ", item)
            network = inner.take("network", read_route, None, required=True)
            metric = inner.take("metric", partial(read_number, low=0, high=MAX_METRIC), None)
            inner.finish()
        else:
            network = table.read(place, _read_bare_route, item, None)
        if network is not None:
            found.append(PushedRoute(network, metric))
    return tuple(found)


def _read_bare_route(value: object) -> Prefix:
    if not isinstance(value, str):
        msg = f"{shown(value)}, expected a network in quotes, or a table of network and metric"
        raise ValueError(msg)
    return read_route(value)

"""The one table of the protocol: which message holds what, within which bounds.

It drives parsing and printing (`version1`, `version2`), the attribute table of docs/protocol.md
section 11 (tools/protocol_table.py) and the messages that tests and fuzzers make up. To add an
attribute, add it here, add the field to the dataclass in `messages`, and regenerate the table.

House rules: one name means one thing, so a name is an attribute or a section or a command, never
two of these; what is not listed for a message is skipped by its receiver (docs/protocol.md 9).
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from wg_dynamic.record import dataclass
from wg_dynamic.record import field as dataclass_field

VERSION_1: Final = 1
VERSION_2: Final = 2
MAX_LINE_SIZE: Final = 4096
"""Bytes of one line, the newline included. As upstream's C implementation."""
MAX_MESSAGE_SIZE: Final = 65536
"""Bytes of one message, the blank line included."""
MAX_NUMBER: Final = 0xFFFFFFFF
"""No number on the wire is larger (32 bits, as in version 1)."""
FOREVER: Final = MAX_NUMBER
"""The `valid_time` and `preferred_time` of a lease without end (docs/protocol.md 6.4)."""
MAX_NAME_LENGTH: Final = 32
"""Characters of the name of a command, attribute, section or feature."""
MAX_NAMES: Final = 32
"""Names in one `features=` or `critical=`."""
MAX_ERRMSG_LENGTH: Final = 256
"""Characters of `errmsg=`; printed texts are cut, longer ones are invalid in version 2."""
MAX_WISHES: Final = 64
"""Addresses in one request, release or decline."""
MAX_ADDRESSES: Final = 128
"""Address sections in one message of the server."""
MAX_ROUTES: Final = 256
"""Route sections in one message of the server."""
MAX_DNS_SERVERS: Final = 8
MAX_DNS_SEARCH: Final = 16
MAX_DOMAIN_LENGTH: Final = 253
"""Characters of a domain name (RFC 1035 section 2.3.4, without the trailing dot)."""
MAX_REPLY_PARTS: Final = 16
"""Messages that one reply or push may be cut into with `more=1`."""
MAX_PENDING_REQUESTS: Final = 64
"""Requests that may wait for their reply on one connection."""
MAX_MTU: Final = 65535
MAX_INTERVAL: Final = 86400
"""Seconds between pings."""
PORT: Final = 970
"""TCP port of both ends (docs/protocol.md 2.1)."""


class Kind(Enum):
    """What the text of a value stands for (docs/protocol.md 4.2)."""

    NUMBER = "number"
    ADDRESS = "address"
    HOST = "address[/length]"
    NETWORK = "network"
    FLAG = "flag"
    TEXT = "text"
    NAMES = "names"
    DOMAIN = "domain"


class Sender(Enum):
    """Who sends a message."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Attribute:
    """One `name=value` line."""

    name: str
    kind: Kind
    meaning: str
    minimum: int = 0
    """Smallest number."""
    maximum: int = 0
    """Largest number; most characters of a text; most names of a list."""
    required: bool = False
    most: int = 1
    """How often it may occur; more than once makes the dataclass field a tuple."""
    field: str = ""
    """Field of the dataclass; called like the attribute when not given."""
    literal: str = ""
    """The only value of a flag."""

    def __post_init__(self) -> None:
        """Fill in the field's name."""
        object.__setattr__(self, "field", self.field or self.name)


@dataclass(frozen=True, slots=True)
class Section:
    """One kind of `section=name` in one message."""

    name: str
    field: str
    """Tuple field of the message's dataclass."""
    attributes: tuple[Attribute, ...]
    most: int
    required: bool = False
    """At least one must be there."""
    bare: str = ""
    """The tuple holds the values of this attribute instead of a dataclass."""
    by_name: Mapping[str, Attribute] = dataclass_field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Make the lookup tables."""
        object.__setattr__(self, "by_name", _by_name(self.attributes))


@dataclass(frozen=True, slots=True)
class MessageSpec:
    """One message of one version, by one sender."""

    command: str
    version: int
    sender: Sender
    attributes: tuple[Attribute, ...]
    sections: tuple[Section, ...] = ()
    reply: bool = False
    """Whether it answers a request (else it is a request or a push)."""
    by_name: Mapping[str, Attribute] = dataclass_field(init=False, compare=False, repr=False)
    by_section: Mapping[str, Section] = dataclass_field(init=False, compare=False, repr=False)
    understood: frozenset[str] = dataclass_field(init=False, compare=False, repr=False)
    """Names that `critical=` may list without being refused."""

    def __post_init__(self) -> None:
        """Make the lookup tables."""
        by_section = {section.name: section for section in self.sections}
        object.__setattr__(self, "by_name", _by_name(self.attributes))
        object.__setattr__(self, "by_section", MappingProxyType(by_section))
        inner = (name for section in self.sections for name in section.by_name)
        object.__setattr__(self, "understood", frozenset((*self.by_name, *by_section, *inner)))


def _by_name(attributes: tuple[Attribute, ...]) -> Mapping[str, Attribute]:
    return MappingProxyType({attribute.name: attribute for attribute in attributes})


def _number(
    name: str, meaning: str, *, maximum: int = MAX_NUMBER, minimum: int = 0, required: bool = False
) -> Attribute:
    return Attribute(name, Kind.NUMBER, meaning, minimum, maximum, required)


ID: Final = _number("id", "chosen by the client, echoed in the reply")
FEATURES: Final = Attribute(
    "features", Kind.NAMES, "optional abilities of the sender", maximum=MAX_NAMES
)
CRITICAL: Final = Attribute(
    "critical",
    Kind.NAMES,
    "attributes and sections the receiver must understand or refuse the message",
    maximum=MAX_NAMES,
)
ERRNO: Final = _number("errno", "0 or what went wrong (section 7)", required=True)
ERRMSG: Final = Attribute(
    "errmsg", Kind.TEXT, "the same for people; never parsed", maximum=MAX_ERRMSG_LENGTH
)
RETRY_AFTER: Final = _number("retry_after", "seconds to wait before asking again")
MORE: Final = Attribute("more", Kind.FLAG, "another part of this message follows", literal="1")
MTU: Final = _number("mtu", "bytes; lowers the client's MTU, never raises it", maximum=MAX_MTU)
SERIAL: Final = _number("serial", "number of the state after this push", required=True)
REMOVE: Final = Attribute("remove", Kind.FLAG, "what the section names is gone", literal="true")
IP: Final = Attribute("ip", Kind.ADDRESS, "the leased address", required=True)
NETWORK: Final = Attribute("network", Kind.NETWORK, "on-link network around ip", required=True)
PREFERRED_TIME: Final = _number(
    "preferred_time", "seconds the address may be chosen for new connections", required=True
)
VALID_TIME: Final = _number("valid_time", "seconds until the address has to be gone", required=True)
METRIC: Final = _number("metric", "lower wins; absent: the client's choice")
ROUTE_NETWORK: Final = Attribute("network", Kind.NETWORK, "destination", required=True)
DNS_SERVER: Final = Attribute(
    "server", Kind.ADDRESS, "name server", most=MAX_DNS_SERVERS, field="servers"
)
DNS_SEARCH: Final = Attribute(
    "search", Kind.DOMAIN, "search domain", maximum=MAX_DOMAIN_LENGTH, most=MAX_DNS_SEARCH
)
WISH_IP: Final = Attribute("ip", Kind.ADDRESS, "address wished; all-zero: any", required=True)
WISH_TIME: Final = _number(
    "valid_time", "seconds wished for all addresses; the server decides", minimum=1
)
HELD_IP: Final = Attribute("ip", Kind.ADDRESS, "address held", required=True)
INTERVAL: Final = _number("interval", "seconds between pings", minimum=1, maximum=MAX_INTERVAL)

_ASK: Final = (ID, FEATURES, CRITICAL)
_ANSWER: Final = (ID, FEATURES, CRITICAL, ERRNO, ERRMSG, RETRY_AFTER)
_REFUSAL: Final = (ID, ERRNO, ERRMSG, RETRY_AFTER)

_GRANTED: Final = (
    Section("address", "addresses", (IP, NETWORK, PREFERRED_TIME, VALID_TIME), MAX_ADDRESSES),
    Section("route", "routes", (ROUTE_NETWORK, METRIC), MAX_ROUTES),
    Section("dns", "dns", (DNS_SERVER, DNS_SEARCH), 1),
)
_CHANGED: Final = (
    Section(
        "address", "addresses", (IP, NETWORK, PREFERRED_TIME, VALID_TIME, REMOVE), MAX_ADDRESSES
    ),
    Section("route", "routes", (ROUTE_NETWORK, METRIC, REMOVE), MAX_ROUTES),
    Section("dns", "dns", (DNS_SERVER, DNS_SEARCH, REMOVE), 1),
)


def _addresses(field_name: str, attribute: Attribute, *, required: bool = False) -> Section:
    return Section("address", field_name, (attribute,), MAX_WISHES, required, bare="ip")


V1_IP: Final = Attribute("ip", Kind.HOST, "address wished or leased; all-zero: any", most=2)
V1_LEASESTART: Final = _number("leasestart", "Unix time of the server in a reply, else 0")
V1_LEASETIME: Final = _number("leasetime", "seconds, for both addresses; ignored in requests")
V1_IPV4: Final = Attribute("ipv4", Kind.HOST, "early draft: IPv4 address")
V1_IPV6: Final = Attribute("ipv6", Kind.HOST, "early draft: IPv6 address")
V1_ERRNO: Final = _number("errno", "0 or what went wrong (section 7); absent: 0")

V1_REQUEST: Final = MessageSpec(
    "request_ip", 1, Sender.CLIENT, (V1_IP, V1_LEASESTART, V1_LEASETIME, V1_IPV4, V1_IPV6)
)
V1_REPLY: Final = MessageSpec(
    "request_ip",
    1,
    Sender.SERVER,
    (V1_IP, V1_LEASESTART, V1_LEASETIME, V1_ERRNO, ERRMSG, V1_IPV4, V1_IPV6),
    reply=True,
)

_CLIENT, _SERVER = Sender.CLIENT, Sender.SERVER
SCHEMA: Final[tuple[MessageSpec, ...]] = (
    V1_REQUEST,
    V1_REPLY,
    MessageSpec("request_ip", 2, _CLIENT, (*_ASK, WISH_TIME), (_addresses("wishes", WISH_IP),)),
    MessageSpec("request_ip", 2, _SERVER, (*_ANSWER, MORE, MTU), _GRANTED, reply=True),
    MessageSpec("release_ip", 2, _CLIENT, _ASK, (_addresses("addresses", HELD_IP),)),
    MessageSpec("release_ip", 2, _SERVER, _ANSWER, reply=True),
    MessageSpec("decline_ip", 2, _CLIENT, _ASK, (_addresses("addresses", HELD_IP, required=True),)),
    MessageSpec("decline_ip", 2, _SERVER, _ANSWER, reply=True),
    MessageSpec(
        "subscribe",
        2,
        _CLIENT,
        (*_ASK, _number("since", "serial of the last push carried out"), INTERVAL),
    ),
    MessageSpec(
        "subscribe",
        2,
        _SERVER,
        (*_ANSWER, _number("serial", "number of the state as it is now"), INTERVAL),
        reply=True,
    ),
    MessageSpec(
        "update",
        2,
        _SERVER,
        (
            CRITICAL,
            SERIAL,
            Attribute("reset", Kind.FLAG, "this is the whole state", literal="true"),
            MORE,
            MTU,
        ),
        _CHANGED,
    ),
    MessageSpec(
        "ack",
        2,
        _CLIENT,
        (_number("serial", "every push up to this one is carried out", required=True),),
    ),
    MessageSpec("ack", 2, _SERVER, _REFUSAL, reply=True),
    MessageSpec("ping", 2, _CLIENT, (ID,)),
    MessageSpec("ping", 2, _SERVER, _REFUSAL, reply=True),
    MessageSpec("pong", 2, _SERVER, (ID,), reply=True),
)
"""Every message, in the order of docs/protocol.md."""

REFUSAL: Final = MessageSpec("", 2, _SERVER, _REFUSAL, reply=True)
"""The form of an error reply to any command (docs/protocol.md 6.11)."""

UNKNOWN: Final = MessageSpec("", 2, _CLIENT, (ID,))
"""What is read of a command that is not in this table (docs/protocol.md 6.11)."""

FROM_CLIENT: Final[Mapping[str, MessageSpec]] = MappingProxyType(
    {spec.command: spec for spec in SCHEMA if spec.version == VERSION_2 and spec.sender is _CLIENT}
)
"""Version 2: command -> what a client may say with it."""
FROM_SERVER: Final[Mapping[str, MessageSpec]] = MappingProxyType(
    {spec.command: spec for spec in SCHEMA if spec.version == VERSION_2 and spec.sender is _SERVER}
)
"""Version 2: command -> what a server may say with it."""
COMMANDS: Final = frozenset(spec.command for spec in SCHEMA)
"""Names that open a message and therefore occur nowhere else."""

RESERVED_ATTRIBUTES: Final = (
    "server_id",
    "domain_id",
    "server_address",
    "observed_endpoint",
    "next_public_key",
)
"""Never to be used for anything but what docs/protocol.md 9.4 says."""
RESERVED_SECTIONS: Final = ("peer", "gateway", "prefix")
SECTION: Final = "section"
"""The line that opens a section."""

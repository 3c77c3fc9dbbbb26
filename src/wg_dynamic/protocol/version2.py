"""Version 2: every message read and printed by the one table in `schema` (section 6).

Functions here raise ValueError for faults of form; `codec` says whose fault that is.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from wg_dynamic.protocol.errors import error_code
from wg_dynamic.protocol.messages import (
    Ack,
    DeclineIP,
    DeclineIPReply,
    Dns,
    ErrorReply,
    LeasedAddress,
    Message,
    Network,
    Ping,
    Pong,
    ReleaseIP,
    ReleaseIPReply,
    RequestIP,
    RequestIPReply,
    Route,
    Subscribe,
    SubscribeReply,
    Update,
)
from wg_dynamic.protocol.schema import (
    COMMANDS,
    ERRNO,
    FROM_CLIENT,
    FROM_SERVER,
    ID,
    IP,
    MAX_NUMBER,
    MAX_REPLY_PARTS,
    NETWORK,
    REFUSAL,
    SECTION,
    Attribute,
    MessageSpec,
    Section,
    Sender,
)
from wg_dynamic.protocol.values import is_name, parse_value, print_value
from wg_dynamic.record import replace

MessageType = type[Message]

CLASSES: Final[Mapping[tuple[Sender, str], MessageType]] = MappingProxyType(
    {
        (Sender.CLIENT, "request_ip"): RequestIP,
        (Sender.SERVER, "request_ip"): RequestIPReply,
        (Sender.CLIENT, "release_ip"): ReleaseIP,
        (Sender.SERVER, "release_ip"): ReleaseIPReply,
        (Sender.CLIENT, "decline_ip"): DeclineIP,
        (Sender.SERVER, "decline_ip"): DeclineIPReply,
        (Sender.CLIENT, "subscribe"): Subscribe,
        (Sender.SERVER, "subscribe"): SubscribeReply,
        (Sender.SERVER, "update"): Update,
        (Sender.CLIENT, "ack"): Ack,
        (Sender.SERVER, "ack"): ErrorReply,
        (Sender.CLIENT, "ping"): Ping,
        (Sender.SERVER, "ping"): ErrorReply,
        (Sender.SERVER, "pong"): Pong,
        (Sender.CLIENT, ""): Ping,
    }
)
"""The dataclass of each message of version 2; what is read of an unknown command is a Ping."""

SECTION_CLASSES: Final[Mapping[str, type[LeasedAddress | Route | Dns]]] = MappingProxyType(
    {"address": LeasedAddress, "route": Route, "dns": Dns}
)
"""The dataclass of each section, where a message does not hold its bare values."""

_SPECS: Final[Mapping[MessageType, MessageSpec]] = MappingProxyType(
    {
        message_class: (FROM_CLIENT if sender is Sender.CLIENT else FROM_SERVER)[command]
        for (sender, command), message_class in CLASSES.items()
        if command and message_class is not ErrorReply
    }
)
MAX_ROUTE_TEXTS: Final = 8192
"""Routes whose text is kept: two replies as large as they can be."""
_ROUTE_TEXTS: Final[dict[int, tuple[Section, Route, str]]] = {}
"""Identity of a route -> for which section, the route itself, its text."""
MAX_USUAL: Final = 8
"""Addresses of a reply that is printed the short way."""
MAX_NETWORK_TEXTS: Final = 1024
"""Networks whose text is kept: a server has a few pools, each with one network."""
_NETWORK_TEXTS: Final[dict[int, tuple[Network, int, int, str]]] = {}
"""Identity of a network -> the network itself, its mask, its lowest address, its text."""
_NOTHING: Final[Mapping[str, Attribute]] = MappingProxyType({})

Values = dict[str, Any]


def decode(spec: MessageSpec, lines: Iterable[str]) -> Any:
    """The message that the lines after the command line make, checked in full.

    Raises ValueError. `critical=` is parsed and left to the caller.
    """
    values, sections = _read(spec, lines)
    for section in spec.sections:
        items = tuple(_build(section, found) for found in sections[section.name])
        if not items and section.required:
            msg = f"no {SECTION}={section.name}, expected at least one"
            raise ValueError(msg)
        values[section.field] = items
    _require(spec.by_name, values)
    if ERRNO.field in values:
        values[ERRNO.field] = error_code(values[ERRNO.field])
    message_class = CLASSES[spec.sender, spec.command]
    if message_class is ErrorReply:
        values["command"] = spec.command
    return message_class(**values)


def _read(spec: MessageSpec, lines: Iterable[str]) -> tuple[Values, dict[str, list[Values]]]:
    """Sort the lines into the message's own values and those of its sections."""
    values: Values = {}
    sections: dict[str, list[Values]] = {section.name: [] for section in spec.sections}
    scope, target = spec.by_name, values
    for line in lines:
        name, _, text = line.partition("=")
        if not text:
            msg = f"line {line[:60]!r}, expected name=value"
            raise ValueError(msg)
        attribute = scope.get(name)
        if attribute is not None:
            _store(target, attribute, parse_value(attribute, text))
        elif name == SECTION:
            scope, target = _open(spec, sections, text)
        else:
            _skip(name)
    return values, sections


def _store(target: Values, attribute: Attribute, value: object) -> None:
    field = attribute.field
    if attribute.most == 1:
        if field in target:
            msg = f"{attribute.name} occurs twice, expected once"
            raise ValueError(msg)
        target[field] = value
        return
    target[field] = (*target.get(field, ()), value)
    if len(target[field]) > attribute.most:
        msg = f"{attribute.name} occurs {attribute.most + 1} times, expected {attribute.most}"
        raise ValueError(msg)


def _open(
    spec: MessageSpec, sections: dict[str, list[Values]], name: str
) -> tuple[Mapping[str, Attribute], Values]:
    """Begin a section; one that the message does not define swallows its lines (6.4)."""
    section = spec.by_section.get(name)
    if section is None:
        if not is_name(name):
            msg = f"{SECTION}={name[:40]!r}, expected a name"
            raise ValueError(msg)
        return _NOTHING, {}
    found: Values = {}
    sections[name].append(found)
    if len(sections[name]) > section.most:
        msg = f"more than {section.most} of {SECTION}={name}"
        raise ValueError(msg)
    return section.by_name, found


def _skip(name: str) -> None:
    """An attribute that is not defined here is skipped if it could be one (section 9)."""
    if not is_name(name):
        msg = f"{name[:40]!r}, expected a name"
        raise ValueError(msg)
    if name in COMMANDS:
        msg = f"command {name} inside a message, expected it on the first line only"
        raise ValueError(msg)


def _require(attributes: Mapping[str, Attribute], values: Values) -> None:
    for attribute in attributes.values():
        if attribute.required and attribute.field not in values:
            msg = f"{attribute.name} is missing"
            raise ValueError(msg)


def _build(section: Section, found: Values) -> Any:
    """The dataclass, or the bare value, of one section."""
    if found.get("remove"):
        return _build_removed(section, found)
    _require(section.by_name, found)
    if section.bare:
        return found[section.bare]
    item = SECTION_CLASSES[section.name](**found)
    _check(item)
    return item


def _build_removed(section: Section, found: Values) -> LeasedAddress | Route | Dns:
    """With remove=true only what names the thing counts (6.9)."""
    if section.name == "dns":
        return Dns(remove=True)
    key = section.attributes[0]
    _require({key.name: key}, found)
    if section.name == "route":
        return Route(found[key.field], remove=True)
    return LeasedAddress.removed(found[key.field])


def _check(item: LeasedAddress | Route | Dns) -> None:
    """Rules between the attributes of one section (6.4)."""
    if not isinstance(item, LeasedAddress):
        return
    if item.ip.version != item.network.version or item.ip not in item.network:
        msg = f"network {item.network} does not hold ip {item.ip}"
        raise ValueError(msg)
    if item.preferred_time > item.valid_time:
        msg = f"preferred_time {item.preferred_time}, expected at most {item.valid_time}"
        raise ValueError(msg)


def encode(message: Message) -> str:
    """The text of a message: of several, joined, if it needs `more=1` (6.5). Raises ValueError."""
    if isinstance(message, ErrorReply):
        return _print(REFUSAL, message.command, message)
    spec = _SPECS[type(message)]
    if isinstance(message, RequestIPReply | Update):
        return "".join(_print(spec, spec.command, part) for part in _split(spec, message))
    return _print(spec, spec.command, message)


def encode_usual(reply: RequestIPReply) -> str:
    """What `encode` gives for a reply that grants a few addresses and says nothing else.

    "" for any other: most replies are such, and this costs a third. Raises ValueError.
    """
    addresses = reply.addresses
    if (
        reply.errno
        or reply.errmsg
        or reply.routes
        or reply.dns
        or reply.more
        or reply.features
        or reply.critical
        or reply.mtu is not None
        or reply.retry_after is not None
        or reply.lease_start is not None
        or not 0 < len(addresses) <= MAX_USUAL
    ):
        return ""
    head = "" if reply.id is None else f"id={print_value(ID, reply.id)}\n"
    return f"request_ip=2\n{head}errno=0\n{''.join(map(_address_text, addresses))}\n"


def _address_text(item: LeasedAddress) -> str:
    """A section of a granted address."""
    if item.remove or not 0 <= item.preferred_time <= item.valid_time <= MAX_NUMBER:
        msg = f"{item!r} in a reply"
        raise ValueError(msg)
    network = item.network
    known = _NETWORK_TEXTS.get(id(network))
    if known is None or known[0] is not network:
        if len(_NETWORK_TEXTS) >= MAX_NETWORK_TEXTS:
            _NETWORK_TEXTS.clear()
        mask = int(network.netmask)
        known = network, mask, int(network.network_address), print_value(NETWORK, network)
        _NETWORK_TEXTS[id(network)] = known
    _, mask, base, text = known
    if item.ip.version != network.version or int(item.ip) & mask != base:
        msg = f"network {network} does not hold ip {item.ip}"
        raise ValueError(msg)
    return (
        f"section=address\nip={print_value(IP, item.ip)}\nnetwork={text}\n"
        f"preferred_time={item.preferred_time}\nvalid_time={item.valid_time}\n"
    )


def _split(spec: MessageSpec, message: RequestIPReply | Update) -> list[RequestIPReply | Update]:
    """Cut at the counts of the schema: a message within them is within MAX_MESSAGE_SIZE."""
    fields = {section.field: section.most for section in spec.sections if section.most > 1}
    sizes = {name: len(getattr(message, name)) for name in fields}
    if all(sizes[name] <= most for name, most in fields.items()):
        return [message]
    count = max(-(-sizes[name] // most) for name, most in fields.items())
    if count > MAX_REPLY_PARTS:
        msg = f"{count} parts, expected at most {MAX_REPLY_PARTS}"
        raise ValueError(msg)
    parts = []
    for number in range(count):
        cuts: Values = {
            name: getattr(message, name)[number * most : (number + 1) * most]
            for name, most in fields.items()
        }
        if number:  # what is not cut stands in the first part
            cuts |= {section.field: () for section in spec.sections if section.most == 1}
        parts.append(replace(message, more=message.more or number + 1 < count, **cuts))
    return parts


def _print(spec: MessageSpec, command: str, message: Message) -> str:
    if not is_name(command):
        msg = f"{command[:40]!r}, expected a name"
        raise ValueError(msg)
    lines = [f"{command}=2\n"]
    _print_attributes(spec.attributes, message, lines)
    for section in spec.sections:
        items = getattr(message, section.field)
        if len(items) > section.most or len(items) < section.required:
            msg = f"{len(items)} of {SECTION}={section.name}, expected {section.most} or fewer"
            raise ValueError(msg)
        for item in items:
            if isinstance(item, Route):
                lines.append(_route_text(section, item))
            else:
                _print_section(section, item, lines)
    lines.append("\n")
    return "".join(lines)


def _route_text(section: Section, route: Route) -> str:
    """A section of a route, printed once: a server sends the same ones in each of its replies.

    Known again by identity, which costs a tenth of printing; the table keeps what it names alive.
    """
    known = _ROUTE_TEXTS.get(id(route))
    if known is not None and known[0] is section:
        return known[2]
    lines: list[str] = []
    _print_section(section, route, lines)
    if len(_ROUTE_TEXTS) >= MAX_ROUTE_TEXTS:
        _ROUTE_TEXTS.clear()
    text = "".join(lines)
    _ROUTE_TEXTS[id(route)] = (section, route, text)
    return text


def _print_section(section: Section, item: Any, lines: list[str]) -> None:
    lines.append(f"{SECTION}={section.name}\n")
    if section.bare:
        lines.append(f"{section.bare}={print_value(section.by_name[section.bare], item)}\n")
        return
    if not isinstance(item, SECTION_CLASSES[section.name]):
        msg = f"{item!r} as {SECTION}={section.name}"
        raise ValueError(msg)
    if not item.remove:
        _check(item)
        _print_attributes(section.attributes, item, lines)
        return
    if "remove" not in section.by_name:
        msg = f"{SECTION}={section.name} with remove=true outside a push"
        raise ValueError(msg)
    if section.name != "dns":
        _print_attributes(section.attributes[:1], item, lines)
    _print_attributes((section.by_name["remove"],), item, lines)


def _print_attributes(attributes: Iterable[Attribute], source: Any, lines: list[str]) -> None:
    """Append a line for every value there is; 0 is one, None, False, '' and () are not."""
    for attribute in attributes:
        value = getattr(source, attribute.field)
        if not value and (value is False or not isinstance(value, int)):
            if attribute.required:
                msg = f"{attribute.name} is missing"
                raise ValueError(msg)
            continue
        if attribute.most == 1:
            lines.append(f"{attribute.name}={print_value(attribute, value)}\n")
            continue
        if len(value) > attribute.most:
            msg = f"{attribute.name} occurs {len(value)} times, expected {attribute.most}"
            raise ValueError(msg)
        lines.extend(f"{attribute.name}={print_value(attribute, each)}\n" for each in value)

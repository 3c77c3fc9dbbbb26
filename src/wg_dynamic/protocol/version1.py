"""Version 1: upstream's C implementation, byte for byte (docs/protocol.md section 5).

Two things make it unlike version 2: a reply has no command line, and what is not known or comes
twice is not an error. Its early draft, which wgdynamic-go still speaks, differs in the names of
the addresses and in that a reply does begin with the command line (5.6).

Functions here raise ValueError; `codec` says whose fault that is.
"""

from collections.abc import Iterable
from typing import Final

from wg_dynamic.protocol.errors import ErrorCode, error_code, error_text
from wg_dynamic.protocol.messages import (
    ANY_IPV4,
    ANY_IPV6,
    Address,
    LeasedAddress,
    RequestIP,
    RequestIPReply,
    host_network,
)
from wg_dynamic.protocol.schema import (
    ERRMSG,
    V1_ERRNO,
    V1_IP,
    V1_LEASESTART,
    V1_LEASETIME,
)
from wg_dynamic.protocol.values import parse_host, parse_loose_number, print_value

COMMAND_LINE: Final = f"{RequestIP.command}=1\n"
_NUMBERS: Final = frozenset(("leasestart", "leasetime", "errno"))


class _Lines:
    """What the lines of a version 1 message say; of two lines of a kind the last one counts."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.ip: dict[int, Address] = {}
        self.early: dict[int, Address] = {}
        self.numbers: dict[str, int] = {}
        self.errmsg = ""
        for line in lines:
            name, _, text = line.partition("=")
            if not text or "\r" in line:
                msg = f"line {line[:60]!r}, expected name=value"
                raise ValueError(msg)
            self._read(name, text)

    def _read(self, name: str, text: str) -> None:
        if name == "ip":
            address = parse_host(text)
            self.ip[address.version] = address
        elif name in _NUMBERS:
            self.numbers[name] = parse_loose_number(text)
        elif name in ("ipv4", "ipv6"):
            self.early[_family(name)] = _of_family(parse_host(text), _family(name))
        elif name == "errmsg":
            self.errmsg = text


def _family(name: str) -> int:
    return int(name.removeprefix("ipv"))


def _of_family(address: Address, version: int) -> Address:
    if address.version != version:
        msg = f"{address}, expected an IPv{version} address"
        raise ValueError(msg)
    return address


def _in_order(by_family: dict[int, Address]) -> tuple[Address, ...]:
    return tuple(by_family[version] for version in sorted(by_family))


def decode_request(lines: Iterable[str]) -> RequestIP:
    """A RequestIP from the lines after the command line. Raises ValueError."""
    said = _Lines(lines)
    if said.ip:
        return RequestIP(version=1, wishes=_in_order(said.ip))
    if not all(wish.is_unspecified for wish in said.early.values()):
        anything: dict[int, Address] = {4: ANY_IPV4, 6: ANY_IPV6}
        wishes = _in_order(anything | said.early)
        return RequestIP(version=1, wishes=wishes, early_draft=True)
    return RequestIP(version=1, early_draft=True)


def decode_reply(lines: Iterable[str]) -> RequestIPReply:
    """A RequestIPReply from all its lines, less a command line. Raises ValueError.

    Both families share `leasetime`; an all-zero address is none.
    """
    said = _Lines(lines)
    lease_time = said.numbers.get("leasetime", 0)
    return RequestIPReply(
        version=1,
        errno=error_code(said.numbers.get("errno", 0)),
        errmsg=said.errmsg,
        addresses=tuple(
            LeasedAddress(ip, host_network(ip), lease_time, lease_time)
            for ip in _in_order(said.early | said.ip)
            if not ip.is_unspecified
        ),
        lease_start=said.numbers.get("leasestart"),
    )


def encode_request(request: RequestIP) -> str:
    """The bytes, as text, of upstream's client (5.1), or of the early draft. Raises ValueError."""
    later = (request.id, request.valid_time, *request.features, *request.critical)
    if any(value is not None for value in later):
        msg = "id, valid_time, features or critical in a request of version 1"
        raise ValueError(msg)
    wishes = _once_per_family(request.wishes or (ANY_IPV4, ANY_IPV6))
    if request.early_draft:
        named = [wish for wish in wishes if not wish.is_unspecified]
        return COMMAND_LINE + _print_addresses(named, early_draft=True) + "\n"
    start, time = (_line(V1_LEASESTART.name, "0"), _line(V1_LEASETIME.name, "0"))
    return COMMAND_LINE + _print_addresses(wishes, early_draft=False) + start + time + "\n"


def encode_reply(reply: RequestIPReply, *, early_draft: bool = False) -> str:
    """The bytes, as text, of upstream's server (5.2). Raises ValueError.

    What version 1 cannot say (routes, name servers, MTU, features, retry_after) is left out; an
    error it does not know becomes the nearest it does (section 7).
    """
    if reply.more or reply.id is not None:
        msg = "id or more in a reply of version 1"
        raise ValueError(msg)
    ips = _once_per_family([leased.ip for leased in reply.addresses])
    head = COMMAND_LINE if early_draft else ""
    return head + _print_addresses(ips, early_draft=early_draft) + _times(reply) + _errno(reply)


def _times(reply: RequestIPReply) -> str:
    if not reply.addresses:
        return ""
    lease_time = min(leased.valid_time for leased in reply.addresses)
    start = _line(V1_LEASESTART.name, print_value(V1_LEASESTART, reply.lease_start))
    return start + _line(V1_LEASETIME.name, print_value(V1_LEASETIME, lease_time))


def _errno(reply: RequestIPReply) -> str:
    known = error_code(reply.errno)
    code = known.in_version_1 if isinstance(known, ErrorCode) else known
    text = _line(V1_ERRNO.name, print_value(V1_ERRNO, code))
    if code:
        # wgdynamic-go cannot read a second '=' in a line (5.6)
        errmsg = print_value(ERRMSG, reply.errmsg or error_text(code)).replace("=", ":")
        text += _line(ERRMSG.name, errmsg)
    return text + "\n"


def _line(name: str, text: str) -> str:
    return f"{name}={text}\n"


def _print_addresses(ips: Iterable[Address], *, early_draft: bool) -> str:
    return "".join(
        _line(f"ipv{ip.version}" if early_draft else V1_IP.name, print_value(V1_IP, ip))
        for ip in ips
    )


def _once_per_family(ips: Iterable[Address]) -> list[Address]:
    ordered = sorted(ips, key=lambda ip: ip.version)
    if [ip.version for ip in ordered] not in ([], [4], [6], [4, 6]):
        msg = "more than one address of a family in version 1"
        raise ValueError(msg)
    return ordered

"""Messages of rtnetlink for the rules of policy routing (linux/fib_rules.h).

As in `rtnetlink_codec.py`: `build_*` return payloads, `parse_rule` raises MalformedMessageError
and nothing else.
"""

from struct import Struct
from typing import Final

from wg_dynamic.netlink.control import Rule
from wg_dynamic.netlink.wire import pack_attribute, pack_u32, parse_attributes, parse_u32

RTM_NEWRULE: Final = 32
RTM_DELRULE: Final = 33
RTM_GETRULE: Final = 34

_AF_INET: Final = 2
_AF_INET6: Final = 10
_RULE: Final = Struct("=BBBBBxxBI")
"""struct fib_rule_hdr: family, destination and source lengths, tos, table, action, flags."""
_FR_ACT_TO_TBL: Final = 1
_FIB_RULE_INVERT: Final = 2
_NO_LIMIT: Final = 0xFFFFFFFF
"""Of suppressors: none. As a mask: every bit of the mark."""

_FRA_PRIORITY: Final = 6
_FRA_FWMARK: Final = 10
_FRA_SUPPRESS_IFGROUP: Final = 13
_FRA_SUPPRESS_PREFIXLEN: Final = 14
_FRA_TABLE: Final = 15
_FRA_FWMASK: Final = 16
_FRA_PAD: Final = 18
_FRA_PROTOCOL: Final = 21
_KNOWN: Final = frozenset(
    {
        _FRA_PRIORITY,
        _FRA_FWMARK,
        _FRA_SUPPRESS_IFGROUP,
        _FRA_SUPPRESS_PREFIXLEN,
        _FRA_TABLE,
        _FRA_FWMASK,
        _FRA_PAD,
        _FRA_PROTOCOL,
    }
)


def build_rule_query(*, ipv4: bool) -> bytes:
    """RTM_GETRULE dump of one family."""
    return _RULE.pack(_AF_INET if ipv4 else _AF_INET6, 0, 0, 0, 0, 0, 0)


def build_rule(rule: Rule) -> bytes:
    """RTM_NEWRULE and RTM_DELRULE. Raises ValueError for a rule that is not wholly told."""
    if rule.other or not rule.protocol or not rule.table:
        msg = f"rule {rule}, expected table and protocol and nothing that is not told"
        raise ValueError(msg)
    family = _AF_INET if rule.ipv4 else _AF_INET6
    flags = _FIB_RULE_INVERT if rule.inverted else 0
    payload = _RULE.pack(family, 0, 0, 0, 0, _FR_ACT_TO_TBL, flags)
    payload += pack_u32(_FRA_PRIORITY, rule.priority) + pack_u32(_FRA_TABLE, rule.table)
    payload += pack_attribute(_FRA_PROTOCOL, bytes([rule.protocol]))
    if rule.fwmark:
        payload += pack_u32(_FRA_FWMARK, rule.fwmark) + pack_u32(_FRA_FWMASK, _NO_LIMIT)
    if rule.suppress_prefix_length is not None:
        payload += pack_u32(_FRA_SUPPRESS_PREFIXLEN, rule.suppress_prefix_length)
    return payload


def parse_rule(payload: bytes) -> Rule | None:
    """A rule from RTM_NEWRULE; None for another family than IP."""
    attributes = parse_attributes(payload, _RULE.size)
    family, destination, source, tos, table, action, flags = _RULE.unpack_from(payload)
    if family not in (_AF_INET, _AF_INET6):
        return None
    suppressed = _number(attributes, _FRA_SUPPRESS_PREFIXLEN, _NO_LIMIT)
    fwmark = _number(attributes, _FRA_FWMARK, 0)
    whole_mark = _number(attributes, _FRA_FWMASK, _NO_LIMIT if fwmark else 0)
    other = (
        (destination, source, tos, action) != (0, 0, 0, _FR_ACT_TO_TBL)
        or flags & ~_FIB_RULE_INVERT != 0
        or not attributes.keys() <= _KNOWN
        or _number(attributes, _FRA_SUPPRESS_IFGROUP, _NO_LIMIT) != _NO_LIMIT
        or whole_mark != (_NO_LIMIT if fwmark else 0)
    )
    return Rule(
        ipv4=family == _AF_INET,
        priority=_number(attributes, _FRA_PRIORITY, 0),
        table=_number(attributes, _FRA_TABLE, table),
        fwmark=fwmark,
        inverted=bool(flags & _FIB_RULE_INVERT),
        suppress_prefix_length=None if suppressed == _NO_LIMIT else suppressed,
        protocol=int.from_bytes(attributes.get(_FRA_PROTOCOL, b"")[:1]),
        other=other,
    )


def _number(attributes: dict[int, bytes], kind: int, default: int) -> int:
    value = attributes.get(kind)
    return default if value is None else parse_u32(value)

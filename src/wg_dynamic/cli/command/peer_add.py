"""`wg-dynamic peer add`: what it takes, and what it prints."""

import argparse
import sys
from collections.abc import Callable
from typing import Final, TypeVar

from wg_dynamic.address import Prefix, format_address, host_prefix, parse_address, parse_prefix
from wg_dynamic.cli.command import keys, quick_file
from wg_dynamic.cli.command.client_file import ClientFile, Start, read_endpoint, read_name
from wg_dynamic.cli.command.hub import Hub, NewPeer
from wg_dynamic.cli.command.lladdr import argument_key
from wg_dynamic.cli.command.output import print_json
from wg_dynamic.cli.command.qr import NoCodeError, draw
from wg_dynamic.cli.options import Parser
from wg_dynamic.errors import UsageError
from wg_dynamic.leases.pool import is_leasable
from wg_dynamic.record import dataclass
from wg_dynamic.wireguard.control import MAX_KEEPALIVE, WireGuardControl
from wg_dynamic.wireguard.key import format_key

KEEPALIVE: Final = 25
"""Seconds, as wg(8) proposes behind NAT: so the hub can reach the device at any time."""
_MAX_DIGITS: Final = 5
_Read = TypeVar("_Read")


def add_options(parser: Parser) -> None:
    """All but --interface and --json."""
    parser.add_argument(
        "name", nargs="?", type=_typed(read_name), metavar="NAME", help="as in laptop"
    )
    parser.add_argument(
        "--public-key",
        metavar="KEY",
        help="the device's own, or - to read it from standard input (default: a new pair is made,"
        " whose private key is in what is printed and nowhere else)",
    )
    parser.add_argument(
        "--endpoint",
        metavar="HOST[:PORT]",
        help="where the device reaches this hub (default port: the one it listens on)",
    )
    parser.add_argument(
        "--allowed-ips",
        type=_typed(_read_network),
        action="append",
        default=[],
        metavar="NETWORK",
        help="what else the device sends into the tunnel, besides the networks of its lease; may"
        " be repeated",
    )
    parser.add_argument(
        "--keepalive",
        type=_typed(_read_keepalive),
        default=KEEPALIVE,
        metavar="SECONDS",
        help=f"of the device (default: {KEEPALIVE}; 0: none)",
    )
    parser.add_argument(
        "--preshared-key", action="store_true", help="make a preshared key for the two, too"
    )
    starts = parser.add_mutually_exclusive_group()
    starts.add_argument(
        "--no-auto",
        action="store_true",
        help="print hooks that a plain wg-quick knows instead of the word auto",
    )
    starts.add_argument(
        "--address",
        type=_typed(_read_address),
        action="append",
        default=[],
        metavar="ADDRESS",
        help="for a device without wg-dynamic: an address of its own for good, which is leased to"
        " nobody; may be repeated",
    )
    parser.add_argument(
        "--save",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="write the peer into /etc/wireguard/INTERFACE.conf, too (default: if there is one)",
    )
    parser.add_argument("--qr", action="store_true", help="print a QR code, too (needs segno)")


@dataclass(frozen=True)
class _Saving:
    """Whether wg-quick's file gets the peer, and what to say of that."""

    save: bool
    about: str


def add(arguments: argparse.Namespace, hub: Hub, control: WireGuardControl) -> list[str]:
    """Add it, print its configuration; returns what else there is to say, in lines.

    Raises UsageError, OSError, ToolError, and as WireGuardControl: nothing is changed then.
    """
    device = control.device()
    endpoint = ""
    if arguments.endpoint is not None:
        try:
            endpoint = read_endpoint(arguments.endpoint, device.listen_port)
        except ValueError as error:
            raise UsageError(str(error)) from None
    own = keys.hub_key(hub.interface, control)
    pair = None if arguments.public_key else keys.make_pair()
    public_key = pair.public if pair else argument_key(arguments.public_key)
    if public_key == own:
        msg = f"{format_key(own)} is the key of {hub.interface} itself, expected the device's"
        raise UsageError(msg)
    saving = _saving(hub, arguments.save)
    name = arguments.name or ""
    new = NewPeer(public_key, name, tuple(arguments.address), saving.save)
    hub.check(new)
    preshared_key = keys.make_preshared_key() if arguments.preshared_key else None
    file = ClientFile(
        name=name,
        addresses=[str(prefix) for prefix in new.allowed_ips],
        start=_start(arguments),
        hub_key=format_key(own),
        endpoint=endpoint,
        port=device.listen_port,
        allowed_ips=[str(prefix) for prefix in arguments.allowed_ips],
        keepalive=arguments.keepalive,
    )
    text = file.text(
        pair.private if pair else "", keys.encode_key(preshared_key) if preshared_key else ""
    )
    code, about_code = _code(text) if arguments.qr else ("", "")
    hub.add(new, preshared_key, lambda: _show(arguments, new, text, code))
    said = [
        f"added {name or format_key(public_key)} to {hub.interface} as"
        f" {format_address(new.allowed_ips[0].packed)}; {saving.about}",
        about_code,
        "" if pair is None else "the private key is in what was printed, and nowhere else",
        "" if endpoint else "without --endpoint the configuration has none: fill it in",
        _about_preshared(arguments, saving),
    ]
    return [line for line in said if line]


def _show(arguments: argparse.Namespace, new: NewPeer, text: str, code: str) -> None:
    """Print it, and be sure that it is printed. Raises OSError."""
    if arguments.json:
        print_json(
            {
                "interface": arguments.interface,
                "name": new.name or None,
                "public_key": format_key(new.public_key),
                "link_local": format_address(new.allowed_ips[0].packed),
                "addresses": [format_address(one.packed) for one in new.addresses],
                "saved": new.save,
                "configuration": text,
                "qr": code or None,
            }
        )
    else:
        sys.stdout.write(f"{text}\n{code}" if code else text)
    sys.stdout.flush()


def _start(arguments: argparse.Namespace) -> Start:
    if arguments.address:
        return Start.NONE
    return Start.HOOKS if arguments.no_auto else Start.AUTO


def _saving(hub: Hub, wanted: bool | None) -> _Saving:
    """What is done about wg-quick's file. Raises UsageError when it cannot be as it was wanted."""
    path = hub.conf.path
    if wanted is False:
        return _Saving(save=False, about=f"not in {path}: gone when {hub.interface} goes")
    if not hub.conf.exists:
        if wanted:
            msg = f"--save: there is no {path}, expected wg-quick's configuration of"
            msg += f" {hub.interface}"
            raise UsageError(msg)
        return _Saving(save=False, about=f"there is no {path}: gone when {hub.interface} goes")
    if quick_file.saves_itself(hub.conf.read()):
        about = f"{path} says SaveConfig = true: wg-quick writes it there when {hub.interface} goes"
        return _Saving(save=False, about=f"{about} down, or now: wg-quick save {hub.interface}")
    return _Saving(save=True, about=f"written into {path}")


def _about_preshared(arguments: argparse.Namespace, saving: _Saving) -> str:
    if not arguments.preshared_key or saving.save:
        return ""
    return "its preshared key is on the interface alone, and in what was printed"


def _code(text: str) -> tuple[str, str]:
    """A QR code, or why there is none."""
    bare = [line for line in text.split("\n") if line and not line.startswith("#")]
    try:
        return draw("\n".join(bare)), ""
    except NoCodeError as error:
        return "", str(error)


def _typed(read: Callable[[str], _Read]) -> Callable[[str], _Read]:
    """A reader for argparse, which keeps the words of an ArgumentTypeError only."""

    def reader(text: str) -> _Read:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return reader


def _read_keepalive(text: str) -> int:
    good = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    if good and int(text) <= MAX_KEEPALIVE:
        return int(text)
    msg = f"{text[:80]!r}, expected seconds from 0 to {MAX_KEEPALIVE}"
    raise ValueError(msg)


def _read_network(text: str) -> Prefix:
    try:
        prefix = parse_prefix(text)
    except ValueError:
        msg = f"{text[:80]!r}, expected a network as in 10.20.0.0/16, fd00:20::/48 or 0.0.0.0/0"
        raise ValueError(msg) from None
    if prefix.network() != prefix:
        msg = f"{text!r} has host bits set, expected {prefix.network()}"
        raise ValueError(msg)
    return prefix


def _read_address(text: str) -> Prefix:
    try:
        packed = parse_address(text)
    except ValueError:
        packed = b""
    if not packed or not is_leasable(packed):
        msg = f"{text[:80]!r}, expected one address that a device can have, as in 10.44.0.7 or"
        msg += " fd00:44::7, without a length"
        raise ValueError(msg)
    return host_prefix(packed)

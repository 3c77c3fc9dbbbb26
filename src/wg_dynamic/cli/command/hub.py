"""The three places where a hub's peer is: the interface, wg-quick's file, the file of peers.

Theory of operation. `add` writes the entry in the file of peers first, with a note that says that
it is being added, and takes the note away last, when all is done and the configuration was shown.
So whatever ends the command, the note tells the next one, which takes back what was done before it
does anything else: the same command run again starts from nothing. A peer that has been heard of
meanwhile is somebody's, and kept: what was shown was put to use. `remove` takes the entry away
last, so that the same command run again still finds the peer by its name.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from wg_dynamic.address import Prefix, host_prefix
from wg_dynamic.cli.command import quick_file
from wg_dynamic.cli.command.keys import encode_key
from wg_dynamic.cli.command.peer_list import keys_named
from wg_dynamic.cli.command.quick_conf import QuickConf
from wg_dynamic.errors import UsageError, WgDynamicError
from wg_dynamic.helper.config.entries import PEER, RESERVATION, Entry, Value
from wg_dynamic.helper.config.peers import PeersFile
from wg_dynamic.record import dataclass
from wg_dynamic.wireguard.control import WireGuardControl
from wg_dynamic.wireguard.device import Peer
from wg_dynamic.wireguard.key import format_key, parse_key
from wg_dynamic.wireguard.lladdr import link_local_of

NOTE: Final = "being added"


@dataclass(frozen=True)
class NewPeer:
    """What is to be added."""

    public_key: bytes
    name: str
    """'' is none."""
    addresses: tuple[Prefix, ...] = ()
    """Its own for good, besides the link-local one."""
    save: bool = False
    """Whether wg-quick's file gets it, too."""

    @property
    def allowed_ips(self) -> tuple[Prefix, ...]:
        """What the hub lets it be, the link-local address first."""
        return (host_prefix(link_local_of(self.public_key)), *self.addresses)


@dataclass(frozen=True)
class Removed:
    """What was taken away, and what stays."""

    public_key: bytes
    peer: Peer | None
    """As it was on the interface; None: it was not there."""
    saved: bool
    """It was in wg-quick's file, in a block of ours."""
    line: int | None
    """Where wg-quick's file has it still, which is the administrator's to change."""
    entries: int
    """How many were in the file of peers."""


class Hub:
    """One interface; `file` is held locked by whoever makes one of these."""

    def __init__(
        self,
        interface: str,
        control: WireGuardControl,
        file: PeersFile,
        conf: QuickConf,
        names: Mapping[bytes, str],
    ) -> None:
        """`names` are those that the configuration gives, in both files, by public key."""
        self.interface = interface
        self.conf = conf
        self._control = control
        self._file = file
        self._names = dict(names)
        added = {entry.values["public_key"] for entry in file.entries()}
        self._own = {key for key in names if format_key(key) not in added}

    def take_back_unfinished(self) -> list[str]:
        """Undo what a killed command has left; says so in a line for each peer.

        Raises UsageError, OSError, and as WireGuardControl.
        """
        said = []
        for entry in self._file.entries():
            if entry.kind != PEER or entry.note != NOTE:
                continue
            key = str(entry.values["public_key"])
            label = str(entry.values.get("name", key))
            peer = self._live().get(parse_key(key))
            if peer is not None and peer.latest_handshake:
                self._file.note(_of_key(key), "")
                said.append(f"peer {label}, which an earlier command did not finish, is in use")
                continue
            self._take_back(parse_key(key))
            self._names.pop(parse_key(key), None)
            said.append(f"peer {label}, which an earlier command did not finish, was taken back")
        return said

    def check(self, new: NewPeer) -> None:
        """Raise UsageError when it cannot be added, and say why. Nothing is changed."""
        key = format_key(new.public_key)
        live = self._live()
        own = self._names.get(new.public_key, "")
        if new.public_key in live:
            called = f", named {own}" if own else ""
            msg = f"{key} is a peer of {self.interface} already{called}: to make it anew, first"
            msg += f" wg-dynamic peer remove {own or key}"
            raise UsageError(msg)
        if own and new.name and own != new.name:
            msg = f"{key} is named {own} in the configuration, expected that name or none"
            raise UsageError(msg)
        if new.name and not own and any(map(_of_key(key), self._file.entries())):
            msg = f"{key} is in {self._file.path} without a name: give it one there"
            raise UsageError(msg)
        for other, name in self._names.items():
            if new.name and name.lower() == new.name.lower() and other != new.public_key:
                msg = f"{name} is the name of peer {format_key(other)} already: take another one,"
                msg += f" or first wg-dynamic peer remove {name}"
                raise UsageError(msg)
        for peer in live.values():
            for prefix in set(peer.allowed_ips) & set(new.allowed_ips):
                label = self._names.get(peer.public_key) or format_key(peer.public_key)
                msg = f"{prefix} is an allowed IP of peer {label} already: take it off there, or"
                msg += (
                    " give this one another key"
                    if prefix in new.allowed_ips[:1]
                    else (" choose another address")
                )
                raise UsageError(msg)
        text = self.conf.read()
        line = quick_file.line_of_peer(text, key)
        if line is not None and not quick_file.has_block(text, key):
            msg = f"{key} is in {self.conf.path}, line {line}, and not on {self.interface}: take it"
            msg += (
                f" out there, or bring it up from there (wg-dynamic-quick reload {self.interface})"
            )
            raise UsageError(msg)

    def add(
        self,
        new: NewPeer,
        preshared_key: bytes | None,
        show: Callable[[], None],
    ) -> None:
        """Add it everywhere; `show` is called when it is, and before that is for good.

        Raises as `check`, OSError, and as WireGuardControl and `show`; then nothing is changed.
        """
        self.check(new)
        known = any(_of_key(format_key(new.public_key))(one) for one in self._file.entries())
        try:
            if not known:
                self._file.add(PEER, _values(new), NOTE)
            if new.save:
                self._save(new, preshared_key)
            self._control.add_peer(Peer(new.public_key, new.allowed_ips), preshared_key)
            show()
            if not known:
                self._file.note(_of_key(format_key(new.public_key)), "")
        except BaseException:
            with suppress(WgDynamicError, OSError):  # else the next command does it
                self._take_back(new.public_key, entry=not known)
            raise

    def find(self, who: str) -> bytes:
        """The public key that a name or a key means. Raises UsageError."""
        with suppress(ValueError):
            key = parse_key(who)
            if key in self._live() or key in self._names or self._is_written(format_key(key)):
                return key
        found = keys_named(who, self._names)
        if len(found) > 1:
            msg = f"{who!r} is the name of {len(found)} peers, expected one: say which by its key,"
            msg += f" {' or '.join(map(format_key, found))}"
            raise UsageError(msg)
        if found:
            return found[0]
        msg = f"no peer {who!r} on {self.interface}, nor in its files: wg-dynamic peer list"
        msg += f" --interface {self.interface} shows those that there are"
        raise UsageError(msg)

    def configured(self, public_key: bytes) -> bool:
        """Whether the administrator's own file, too, speaks of this peer."""
        return public_key in self._own

    def remove(self, public_key: bytes) -> Removed:
        """Take it away everywhere. Raises UsageError, OSError, and as WireGuardControl."""
        key = format_key(public_key)
        peer = self._live().get(public_key)
        quick_file.without_peer(self.conf.read(), key)  # refuses before anything is done
        self._control.remove_peer(public_key)
        saved = self._unsave(key)
        line = quick_file.line_of_peer(self.conf.read(), key)
        count = self._file.remove(_of_key(key, PEER, RESERVATION))
        return Removed(public_key, peer, saved, line, count)

    def _live(self) -> dict[bytes, Peer]:
        return {peer.public_key: peer for peer in self._control.device().peers}

    def _is_written(self, key: str) -> bool:
        text = self.conf.read()
        return quick_file.line_of_peer(text, key) is not None or any(
            map(_of_key(key, PEER, RESERVATION), self._file.entries())
        )

    def _save(self, new: NewPeer, preshared_key: bytes | None) -> None:
        old = self.conf.read()
        key = format_key(new.public_key)
        clean = quick_file.without_peer(old, key)  # of a life before
        allowed_ips = ", ".join(map(str, new.allowed_ips))
        secret = encode_key(preshared_key) if preshared_key else ""
        self.conf.replace(old, quick_file.with_peer(clean, key, allowed_ips, new.name, secret))

    def _unsave(self, key: str) -> bool:
        old = self.conf.read()
        new = quick_file.without_peer(old, key)
        if new != old:
            self.conf.replace(old, new)
        return new != old

    def _take_back(self, public_key: bytes, *, entry: bool = True) -> None:
        key = format_key(public_key)
        self._control.remove_peer(public_key)
        self._unsave(key)
        if entry:
            self._file.remove(lambda one: one.note == NOTE and _of_key(key)(one))


def _values(new: NewPeer) -> dict[str, Value]:
    named: dict[str, Value] = {"name": new.name} if new.name else {}
    return {**named, "public_key": format_key(new.public_key)}


def _of_key(key: str, *kinds: str) -> Callable[[Entry], bool]:
    wanted: Sequence[str] = kinds or (PEER,)
    return lambda entry: entry.kind in wanted and entry.values.get("public_key") == key

"""WireGuard in the kernel, by generic netlink (Linux 5.6 or later)."""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from wg_dynamic.netlink.errors import InterfaceNotFoundError, MalformedMessageError, NetlinkError
from wg_dynamic.netlink.socket import NETLINK_GENERIC, NetlinkSocket
from wg_dynamic.wireguard.batch import Action, Step, plan, plan_take_over
from wg_dynamic.wireguard.control import (
    NotWireGuardError,
    WireGuardError,
    WireGuardGoneError,
    check_fwmark,
    check_peer,
)
from wg_dynamic.wireguard.device import AllowedIPChange, Device, Peer
from wg_dynamic.wireguard.genetlink_codec import (
    GENL_ID_CTRL,
    build_device_query,
    build_family_query,
    build_fwmark,
    build_peer,
    build_peer_removal,
    build_steps,
    parse_allowed_ips,
    parse_device,
    parse_family,
)
from wg_dynamic.wireguard.key import KEY_SIZE


class GenetlinkControl:
    """The kernel's implementation of WireGuardControl, for one interface by its index.

    Taking an allowed IP off: with WGALLOWEDIP_F_REMOVE_ME where the kernel has it (6.16 or later;
    found out by the first such change), which never touches another peer. Older kernels: a
    throwaway peer takes the prefix over and is removed, both in one message, during which the
    kernel lets nobody else configure the interface. A dump just before shows that the peer still
    holds the prefix. The race: somebody who gives that prefix to another peer between the end of
    the dump and the message loses it again. The bound: the time to parse the dump and to send one
    message, tens of milliseconds for 60,000 peers, less than one for a few.
    """

    def __init__(self, ifindex: int) -> None:
        """Raises WireGuardError when the kernel has no WireGuard, PrivilegeError, NetlinkError."""
        self._ifindex = ifindex
        self._has_remove_flag = True  # until the kernel says EINVAL
        self._socket = NetlinkSocket(NETLINK_GENERIC)
        try:
            with self._errors():
                self._family = self._find_family()
        except BaseException:
            self._socket.close()
            raise

    def device(self) -> Device:
        """Dump the interface. Raises WireGuardGoneError, PrivilegeError, WireGuardError."""
        with self._errors():
            return parse_device(self._dump())

    def change_allowed_ips(self, changes: Sequence[AllowedIPChange]) -> None:
        """Carry out the changes in their order.

        Raises as `device`; ValueError for a change that is none, before anything is done.
        """
        steps = plan(changes)
        removes = any(step.action is Action.REMOVE for step in steps)
        with self._errors():
            if self._has_remove_flag or not removes:
                try:
                    self._set(build_steps(self._ifindex, steps))
                except NetlinkError as error:
                    if error.errno != errno.EINVAL or not removes:
                        raise
                    self._has_remove_flag = False
                else:
                    return
            # What has been done of the changes by now is done once more, to the same effect.
            self._change_by_take_over(steps)

    def add_peer(self, peer: Peer, preshared_key: bytes | None = None) -> None:
        """Make a peer, or add to it. Raises as `device`, ValueError."""
        check_peer(peer, preshared_key)
        what = f"add a peer to WireGuard interface {self._ifindex}"
        with self._errors():
            message = build_peer(self._ifindex, peer, preshared_key)
            self._socket.request(self._family, message, 0, what)

    def remove_peer(self, public_key: bytes) -> None:
        """Remove a peer, if it is there. Raises as `device`, ValueError."""
        check_peer(Peer(public_key), None)
        what = f"remove a peer of WireGuard interface {self._ifindex}"
        with self._errors():
            message = build_peer_removal(self._ifindex, public_key)
            self._socket.request(self._family, message, 0, what)

    def set_fwmark(self, fwmark: int) -> None:
        """Set the mark of outer packets; 0 is none. Raises as `device`, ValueError."""
        check_fwmark(fwmark)
        what = f"set the fwmark of WireGuard interface {self._ifindex}"
        with self._errors():
            self._socket.request(self._family, build_fwmark(self._ifindex, fwmark), 0, what)

    def close(self) -> None:
        """Release the socket. Calling it twice is fine."""
        self._socket.close()

    def _change_by_take_over(self, steps: Sequence[Step]) -> None:
        public_keys = {step.public_key for step in steps}
        throwaway_key = os.urandom(KEY_SIZE)
        held = parse_allowed_ips(self._dump(), public_keys)
        try:
            self._set(build_steps(self._ifindex, plan_take_over(steps, held, throwaway_key)))
        except NetlinkError:
            with suppress(NetlinkError):  # a message that failed half way may have left it behind
                self._set([build_peer_removal(self._ifindex, throwaway_key)])
            raise

    def _find_family(self) -> int:
        what = "look up generic netlink family 'wireguard'"
        try:
            replies = self._socket.request(GENL_ID_CTRL, build_family_query(), 0, what)
        except NetlinkError as error:
            if error.errno != errno.ENOENT:
                raise
            msg = "the kernel knows no WireGuard, expected its module to be loaded"
            raise WireGuardError(msg) from error
        if not replies:
            msg = f"{what}: an acknowledgement alone, expected a family"
            raise MalformedMessageError(msg)
        return parse_family(replies[0].payload)

    def _dump(self) -> Iterator[bytes]:
        """The payloads of a dump, all received before the first is parsed: dumps race changes."""
        what = f"read WireGuard interface {self._ifindex}"
        parts = self._socket.dump(self._family, build_device_query(self._ifindex), what)
        return (part.payload for part in parts if part.kind == self._family)

    def _set(self, payloads: Iterable[bytes]) -> None:
        what = f"change allowed IPs of WireGuard interface {self._ifindex}"
        for payload in payloads:
            self._socket.request(self._family, payload, 0, what)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of netlink into those of WireGuardControl."""
        try:
            yield
        except InterfaceNotFoundError as error:
            raise WireGuardGoneError(str(error)) from error
        except NetlinkError as error:
            if error.errno == errno.EOPNOTSUPP:
                msg = f"interface {self._ifindex} is not a WireGuard one"
                raise NotWireGuardError(msg) from error
            raise WireGuardError(str(error)) from error

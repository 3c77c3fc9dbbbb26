"""WireGuard in user space (wireguard-go, boringtun), by its Unix socket."""

import errno
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from wg_dynamic.errors import PrivilegeError
from wg_dynamic.wireguard.batch import Action, Step, plan, plan_take_over
from wg_dynamic.wireguard.control import (
    WireGuardError,
    WireGuardGoneError,
    check_fwmark,
    check_peer,
)
from wg_dynamic.wireguard.device import AllowedIPChange, Device, Peer
from wg_dynamic.wireguard.key import KEY_SIZE
from wg_dynamic.wireguard.uapi_codec import (
    END,
    GET,
    SET_NOTHING,
    MalformedReplyError,
    build_fwmark,
    build_peer,
    build_peer_removal,
    build_steps,
    parse_allowed_ips,
    parse_device,
    parse_status,
)

SOCKET_DIRECTORY: Final = "/var/run/wireguard"
"""Where wireguard-go, boringtun and wg(8) look, in whatever network namespace they are."""
TIMEOUT: Final = 5.0
"""Seconds that any one read or write may take."""
MAX_REPLY: Final = 1 << 28
"""Bytes; 60,000 peers of three allowed IPs each are 20 MB."""
_CHUNK: Final = 1 << 20


class UapiControl:
    """The user-space implementation of WireGuardControl, for one interface by its name.

    One connection is kept; when the other side has closed it, a request is sent once more over a
    new one, which is safe because every change may be done twice.

    Taking an allowed IP off: by `allowed_ip=-…` where WireGuard has it (wireguard-go of 2025;
    found out by the first such change), which never touches another peer. Without it a throwaway
    peer takes the prefix over and is removed, both in one set operation, during which WireGuard
    takes no other. A get just before shows that the peer still holds the prefix. The race:
    somebody who gives that prefix to another peer between that reply and the operation loses it
    again. The bound: the time to parse the reply and to send one operation, a third of a second
    for 60,000 peers, a fraction of a millisecond for a few.
    """

    def __init__(
        self, interface: str, directory: str | os.PathLike[str] = SOCKET_DIRECTORY
    ) -> None:
        """Connect, and see that WireGuard answers.

        Raises as `device`.
        """
        self._interface = interface
        self._path = os.path.join(directory, f"{interface}.sock")  # pathlib takes 5 ms to import
        self._socket: socket.socket | None = None
        self._has_remove_sign = True  # until WireGuard says EINVAL
        self._request(SET_NOTHING)

    def device(self) -> Device:
        """Read the interface; `public_key` is None, for UAPI tells the private key alone.

        Raises:
            WireGuardGoneError: the socket is gone or nobody listens on it.
            PrivilegeError: the socket is not ours to use.
            WireGuardError: no answer within TIMEOUT, or a senseless one.
        """
        return parse_device(self._request(GET))

    def change_allowed_ips(self, changes: Sequence[AllowedIPChange]) -> None:
        """Carry out the changes in their order, in one set operation.

        Raises as `device`; ValueError for a change that is none, before anything is done.
        """
        steps = plan(changes)
        removes = any(step.action is Action.REMOVE for step in steps)
        if not steps:
            return
        if self._has_remove_sign or not removes:
            try:
                self._request(build_steps(steps))
            except _RefusedError as error:
                if error.errno != errno.EINVAL or not removes:
                    raise
                self._has_remove_sign = False
            else:
                return
        # What has been done of the changes by now is done once more, to the same effect.
        self._change_by_take_over(steps)

    def add_peer(self, peer: Peer, preshared_key: bytes | None = None) -> None:
        """Make a peer, or add to it. Raises as `device`, ValueError."""
        check_peer(peer, preshared_key)
        self._request(build_peer(peer, preshared_key))

    def remove_peer(self, public_key: bytes) -> None:
        """Remove a peer, if it is there. Raises as `device`, ValueError."""
        check_peer(Peer(public_key), None)
        self._request(build_peer_removal(public_key))

    def set_fwmark(self, fwmark: int) -> None:
        """Set the mark of outer packets; 0 is none. Raises as `device`, ValueError."""
        check_fwmark(fwmark)
        self._request(build_fwmark(fwmark))

    def close(self) -> None:
        """Close the connection. Calling it twice is fine."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _change_by_take_over(self, steps: Sequence[Step]) -> None:
        public_keys = {step.public_key for step in steps}
        throwaway_key = os.urandom(KEY_SIZE)
        held = parse_allowed_ips(self._request(GET), public_keys)
        todo = plan_take_over(steps, held, throwaway_key)
        if not todo:
            return
        try:
            self._request(build_steps(todo))
        except WireGuardError:
            with suppress(WireGuardError):  # what failed half way may have left it behind
                self._request(build_peer_removal(throwaway_key))
            raise

    def _request(self, request: bytes) -> bytes:
        """The reply to a request, its errno being 0."""
        reply = self._exchange(request)
        try:
            status = parse_status(reply)
        except MalformedReplyError:
            self.close()
            raise
        if status:
            # wireguard-go stops reading at the line that it refuses; the rest of the request
            # would be taken for the next one.
            self.close()
            raise _RefusedError(status, self._interface)
        return reply

    def _exchange(self, request: bytes) -> bytes:
        if self._socket is not None:
            with suppress(WireGuardGoneError):  # it was closed meanwhile; once more, anew
                return self._exchange_once(self._socket, request)
        self._socket = self._connect()
        return self._exchange_once(self._socket, request)

    def _exchange_once(self, connection: socket.socket, request: bytes) -> bytes:
        try:
            connection.sendall(request)
            return self._receive(connection)
        except TimeoutError as error:
            self.close()
            msg = f"WireGuard at {self._path} did not answer within {TIMEOUT:g} s"
            raise WireGuardError(msg) from error
        except OSError as error:
            self.close()
            msg = f"WireGuard at {self._path} is gone: {error.strerror}"
            raise WireGuardGoneError(msg) from error
        except WireGuardError:
            self.close()
            raise

    def _receive(self, connection: socket.socket) -> bytes:
        reply = bytearray()
        while not reply.endswith(END):
            chunk = connection.recv(_CHUNK)
            if not chunk:
                msg = f"WireGuard at {self._path} closed the connection without an answer"
                raise WireGuardGoneError(msg)
            reply += chunk
            if len(reply) > MAX_REPLY:
                msg = f"reply of {len(reply)} bytes or more, expected at most {MAX_REPLY}"
                raise MalformedReplyError(msg)
        return bytes(reply)

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(TIMEOUT)
        try:
            connection.connect(self._path)
        except TimeoutError as error:
            connection.close()
            msg = f"nobody took the connection to {self._path} within {TIMEOUT:g} s"
            raise WireGuardError(msg) from error
        except PermissionError as error:
            connection.close()
            msg = f"connect to {self._path}: {error.strerror}, expected to be its owner"
            raise PrivilegeError(msg) from error
        except OSError as error:
            connection.close()
            msg = f"no WireGuard at {self._path}: {error.strerror}"
            raise WireGuardGoneError(msg) from error
        return connection


class _RefusedError(WireGuardError):
    """WireGuard answered with an errno."""

    def __init__(self, code: int, interface: str) -> None:
        super().__init__(f"WireGuard refused to change {interface}: {os.strerror(code)}")
        self.errno = code

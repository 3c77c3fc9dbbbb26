"""How `--stop`, `--status` and `--reload` reach the daemon: a Unix socket, root's.

It is in the runtime directory.
"""

import contextlib
import os
import select
import socket
from collections.abc import Callable
from pathlib import Path

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.privsep.codec import MAX_MESSAGE_SIZE, ChannelError, MessageCodec
from wg_dynamic.privsep.requests import (
    CONTROL_MESSAGES,
    MAX_STATUS,
    AskReload,
    AskStatus,
    Ready,
    Reloaded,
    Status,
    Stop,
)

_CODEC = MessageCodec(CONTROL_MESSAGES)
_MESSAGE_SIZE = 64
STOP_TIMEOUT = 10.0
"""Seconds that `--stop` waits for the daemon: releasing takes one, undoing far less."""
STATUS_TIMEOUT = 5.0
"""Seconds that `--status` waits: the daemon may be at a change of the kernel's."""
RELOAD_TIMEOUT = 60.0
"""Seconds that `--reload` waits: the file may be large, the server at work, its disk slow."""


class ReloadCall:
    """Somebody who has asked for a reload, and waits for how it goes."""

    def __init__(self, caller: socket.socket) -> None:
        self._caller = caller

    def answer(self, *, done: bool, text: str) -> None:
        """Say how it went, and hang up. Who has left misses nothing."""
        short = text.encode("utf-8", "replace")[:MAX_STATUS].decode("utf-8", "ignore")
        with contextlib.suppress(OSError):
            self._caller.send(_CODEC.encode(Reloaded(done, short)))
        self.close()

    def close(self) -> None:
        """Hang up. Calling it twice is fine."""
        self._caller.close()


class ControlSocket:
    """The daemon's end."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.setblocking(False)
        old = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(old)
        self._listener.listen(4)
        self._waiting: list[socket.socket] = []
        self.status: Callable[[], str] | None = None
        """What AskStatus is answered with; None: with nothing."""
        self.reloads = False
        """Whether somebody carries AskReload out."""

    def fileno(self) -> int:
        """For select; readable when somebody asks."""
        return self._listener.fileno()

    def receive(self) -> Stop | ReloadCall | None:
        """The request of the next caller; None when it had none for us, or is answered already."""
        with contextlib.suppress(OSError):
            caller, _ = self._listener.accept()
            caller.settimeout(1.0)
            with contextlib.suppress(OSError, ChannelError):
                message = _CODEC.decode(caller.recv(_MESSAGE_SIZE))
                if isinstance(message, Stop):
                    self._waiting.append(caller)
                    return message
                if isinstance(message, AskStatus) and self.status is not None:
                    caller.send(_CODEC.encode(Status(self.status())))
                if isinstance(message, AskReload):
                    call = ReloadCall(caller)
                    if self.reloads:
                        return call
                    call.answer(done=False, text="it reads its file at its start: restart it")
            caller.close()
        return None

    def last_call(self) -> bool:
        """Whether anybody has asked for a stop, those included who were not received yet.

        To be called when the path is gone, so that nobody comes after it.
        """
        self.reloads = False
        while select.select([self._listener], [], [], 0)[0]:
            self.receive()
        return bool(self._waiting)

    def close(self) -> None:
        """Tell everybody who waits that it is done, and close."""
        for caller in self._waiting:
            with contextlib.suppress(OSError):
                caller.send(_CODEC.encode(Ready()))
            caller.close()
        self._waiting.clear()
        self._listener.close()


def stop_running(path: Path, *, release: bool) -> bool:
    """Ask the daemon behind `path` to stop, and wait until it has; False when none listens.

    Raises:
        WgDynamicError: it did not stop in STOP_TIMEOUT seconds.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asker:
        asker.settimeout(STOP_TIMEOUT)
        try:
            asker.connect(str(path))
            asker.send(_CODEC.encode(Stop(release)))
            asker.recv(_MESSAGE_SIZE)  # its answer, or the end of its life
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except TimeoutError as error:
            msg = f"the daemon did not stop within {STOP_TIMEOUT:g} s: see its log"
            raise WgDynamicError(msg) from error
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was ending already
    return True


def ask_status(path: Path) -> str | None:
    """Ask the daemon behind `path` how it stands: a JSON object; None when none answers.

    Raises:
        WgDynamicError: it is there and says nothing for STATUS_TIMEOUT seconds.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asker:
        asker.settimeout(STATUS_TIMEOUT)
        try:
            asker.connect(str(path))
            asker.send(_CODEC.encode(AskStatus()))
            data = asker.recv(MAX_MESSAGE_SIZE)
        except TimeoutError as error:
            msg = f"the daemon did not answer within {STATUS_TIMEOUT:g} s: see its log"
            raise WgDynamicError(msg) from error
        except (FileNotFoundError, ConnectionError):
            return None  # nobody, or one that just ends
    try:
        message = _CODEC.decode(data)
    except ChannelError:
        return None
    return message.text if isinstance(message, Status) else None


def ask_reload(path: Path) -> Reloaded | None:
    """Ask the daemon behind `path` to read its file again; None when none answers.

    Raises:
        WgDynamicError: it is there and says nothing for RELOAD_TIMEOUT seconds.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asker:
        asker.settimeout(RELOAD_TIMEOUT)
        try:
            asker.connect(str(path))
            asker.send(_CODEC.encode(AskReload()))
            data = asker.recv(MAX_MESSAGE_SIZE)
        except TimeoutError as error:
            msg = f"the daemon did not answer within {RELOAD_TIMEOUT:g} s: see its log for"
            msg += " whether it works by the file"
            raise WgDynamicError(msg) from error
        except (FileNotFoundError, ConnectionError):
            return None  # nobody, or one that just ends
    try:
        message = _CODEC.decode(data)
    except ChannelError:
        return None
    return message if isinstance(message, Reloaded) else None

"""Start the network process: a fresh interpreter by exec, with one end of the channel."""

import contextlib
import os
import socket
import subprocess
import sys

from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelError
from wg_dynamic.system.privileges import Account

_KEPT_VARIABLES = ("LANG", "LC_ALL", "LC_CTYPE", "PATH", "TZ")
"""The rest of the environment is root's own business."""
AGAIN = "again"
"""Last argument of a network process that is not the first: the log knows what it has to say."""
_SO_PASSRIGHTS = 83
"""asm-generic/socket.h: whether the other end may send descriptors."""


def spawn_network_process(
    module: str,
    account: Account,
    arguments: list[str],
    sends: tuple[type, ...],
    receives: tuple[type, ...],
) -> tuple[subprocess.Popen[bytes], Channel]:
    """Run `python -m module` and return it with our end of the channel.

    The process is told its account and drops to it by itself, after its imports: an interpreter
    or a checkout that only root can read (a virtual environment below /root) works too.

    Raises:
        ChannelError: it cannot be started.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.suppress(OSError):  # before Linux 6.16: Channel.receive closes what comes
        ours.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    identity = f"{theirs.fileno()},{account.uid},{account.gid}"
    with theirs:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-I", "-m", module, identity, *arguments],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=environment,
                cwd="/",
                # Ctrl-C is for the helper, which then stops this one in order; and what is not of
                # the terminal's session cannot type into it (TIOCSTI).
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            msg = f"cannot start the network process: {error}"
            raise ChannelError(msg) from error
    return process, Channel(ours, sends, receives)


def inherited_channel(
    argument: str, sends: tuple[type, ...], receives: tuple[type, ...]
) -> tuple[Channel, Account]:
    """The network process's end, from the first argument that spawn_network_process gave it."""
    descriptor, uid, gid = (int(word) for word in argument.split(","))
    end = socket.socket(fileno=descriptor)
    end.set_inheritable(False)
    return Channel(end, sends, receives), Account(uid, gid)

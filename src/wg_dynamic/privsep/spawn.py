"""Both ends of the start of a network process: a channel to a fresh interpreter."""

import socket

from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelError
from wg_dynamic.privsep.process import NetworkProcess, start_process
from wg_dynamic.system.privileges import Account

AGAIN = "again"
"""Last argument of a network process that is not the first: the log knows what it has to say."""


def spawn_network_process(
    module: str,
    account: Account,
    arguments: list[str],
    sends: tuple[type, ...],
    receives: tuple[type, ...],
) -> tuple[NetworkProcess, Channel]:
    """Start the network process whose `main` is in a module; it, and our end of the channel.

    Raises ChannelError: it cannot be started.
    """
    try:
        process, ours = start_process(module, account, arguments)
    except OSError as error:
        msg = f"cannot start the network process: {error}"
        raise ChannelError(msg) from error
    return process, Channel(ours, sends, receives)


def inherited_channel(
    argument: str, sends: tuple[type, ...], receives: tuple[type, ...]
) -> tuple[Channel, Account]:
    """The network process's end, from the first argument that start_process gave it."""
    descriptor, uid, gid = (int(word) for word in argument.split(","))
    end = socket.socket(fileno=descriptor)
    end.set_inheritable(False)
    return Channel(end, sends, receives), Account(uid, gid)

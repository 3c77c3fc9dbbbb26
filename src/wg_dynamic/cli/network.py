"""What both network processes do first: drop root, then listen to the helper and nobody else."""

import contextlib
import os
import signal
from collections.abc import Callable

from wg_dynamic.errors import WgDynamicError
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelClosedError, ChannelError
from wg_dynamic.privsep.requests import MAX_TEXT, Fatal
from wg_dynamic.privsep.sandbox import Sandbox
from wg_dynamic.privsep.spawn import inherited_channel
from wg_dynamic.system.log import logger, set_up_log
from wg_dynamic.system.privileges import drop_privileges

_LOG = logger(__name__)


def run_network_process(
    program: str,
    argv: list[str],
    sends: tuple[type, ...],
    receives: tuple[type, ...],
    work: Callable[[Channel, Sandbox], None],
) -> int:
    """Run `work` without privileges; returns the exit status.

    Everything is imported by now: from here on nothing is read that only root may read, and once
    `work` has closed the sandbox, which is the first thing it does, nothing at all.
    """
    os.chdir("/")
    _, identity, log_destination, verbosity, *again = argv
    channel, account = inherited_channel(identity, sends, receives)
    set_up_log(program, log_destination, verbose=verbosity == "verbose")
    sandbox = Sandbox(drop_privileges(account), tell=not again)
    # The helper stops us by a message or by closing the channel, in order; a signal to the
    # whole group is for the helper.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        work(channel, sandbox)
    except (EOFError, ChannelClosedError):
        return 0  # the helper is gone: so are we
    except WgDynamicError as error:
        with contextlib.suppress(ChannelError):
            channel.send(Fatal(str(error)[:MAX_TEXT]))
        return 1
    except Exception:  # noqa: BLE001 - our own fault: to the log, stderr may be nowhere
        _LOG.exception("the network process ends by a bug")
        return 1
    return 0

"""`wg-dynamic-server --check-store`: the root side, which reads nothing of the database.

The file belongs to an account without privileges, and is parsed by a process of that account; what
it says is made fit for a terminal here.
"""

import select
import sys
from pathlib import Path

from wg_dynamic.cli.status import FAILED, OK, UNQUALIFIED
from wg_dynamic.privsep.channel import Channel
from wg_dynamic.privsep.codec import ChannelError
from wg_dynamic.privsep.requests import (
    CHECK_REPLIES,
    CHECK_REQUESTS,
    MAX_TEXT,
    Checked,
    CheckStore,
    Fatal,
    Finding,
)
from wg_dynamic.privsep.spawn import AGAIN, spawn_network_process
from wg_dynamic.system.log import STDERR, printable
from wg_dynamic.system.privileges import Account

MODULE = "wg_dynamic.cli.server_check"


def check_store(program: str, database: Path, account: Account) -> int:
    """Check the database as `account`, print what was found, and return the exit status."""
    process, channel = spawn_network_process(
        MODULE, account, [STDERR, "quiet", AGAIN], CHECK_REQUESTS, CHECK_REPLIES
    )
    try:
        channel.send(CheckStore(str(database)))
        return _tell(program, channel)
    except (EOFError, ChannelError):
        sys.stderr.write(f"{program}: the process that checks {database} ended early\n")
        return FAILED
    finally:
        channel.close()
        process.wait()


def _tell(program: str, channel: Channel) -> int:
    """Print what is found until the end. Raises EOFError, ChannelError."""
    told = 0
    while True:
        select.select([channel], [], [])
        received = channel.receive()
        message, attached = received or (None, None)
        if attached is not None:
            attached.close()  # nobody sends us descriptors
        if isinstance(message, Finding):
            told += 1
            sys.stdout.write(f"problem: {printable(message.text, MAX_TEXT)}\n")
        elif isinstance(message, Fatal):
            sys.stderr.write(f"{program}: {printable(message.reason, MAX_TEXT)}\n")
            return UNQUALIFIED
        elif isinstance(message, Checked):
            if message.problems > told:
                sys.stdout.write(f"and {message.problems - told} problems more\n")
            verdict = f"{message.problems} problems" if message.problems else "no problems"
            sys.stdout.write(f"{printable(message.summary, MAX_TEXT)}; {verdict}\n")
            return FAILED if message.problems else OK

"""wg-dynamic-client(8) from its first line to a network process that starts beside us.

Theory of operation. People wait for a client, and nearly all of a start is imports, in two
processes. So the network process is started first of all, and imports while we do; and of the
command line the usual ones are understood here. What is none of them, and whatever else the
command does, is for cli/client.py. That, and all that the helper needs, is imported when the
network process is on its way: nothing on top of this module may import much.
"""

import gc
import os
import sys
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from wg_dynamic.cli.daemon import confine_helper, network_arguments, run_daemon, umask
from wg_dynamic.cli.status import run
from wg_dynamic.privsep.process import start_process
from wg_dynamic.system.background import Verdict
from wg_dynamic.system.privileges import require_root, service_account

if TYPE_CHECKING:
    from wg_dynamic.helper.policy import Acceptance

PROGRAM = "wg-dynamic-client"
MODULE = "wg_dynamic.cli.client_network"
"""What the network process runs."""
DEFAULT_WAIT = 5.0
CONFIG = "/etc/wg-dynamic/{}.toml"
"""Where an interface's configuration is (helper/config/file.py)."""
_FLAGS = {"--foreground": "foreground", "--verbose": "verbose"}


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    gc.disable()  # of what is imported nothing is garbage, and looking for it takes a tenth
    words = sys.argv[1:] if argv is None else argv
    arguments = usual(words)
    if arguments is None:
        from wg_dynamic.cli.client import main as whole  # noqa: PLC0415 - see above

        gc.enable()
        return whole(words)
    return run(PROGRAM, lambda: start(arguments, None))


def usual(words: list[str]) -> SimpleNamespace | None:
    """What cli/client.py makes of a start with no more than an interface and flags; else None.

    None too when the interface has a configuration file, which is read before anything is done.
    """
    flags = [word for word in words if word in _FLAGS]
    others = [word for word in words if word not in _FLAGS]
    if len(others) != 1 or others[0][:1] in ("-", ""):
        return None
    if "/" not in others[0] and os.path.lexists(CONFIG.format(others[0])):
        return None
    given = {name: word in flags for word, name in _FLAGS.items()}
    return SimpleNamespace(
        interface=others[0],
        stop=False,
        status=False,
        applied=False,
        json=False,
        wait=DEFAULT_WAIT,
        accept_routes=[],
        accept_dns=[],
        accept_default_route=False,
        log_file=None,
        user=None,
        **given,
    )


def start(arguments: Any, accepts: "Acceptance | None") -> int:
    """Keep a lease, in the background unless told otherwise; the exit status of the command.

    `accepts`: what the administrator wants to have taken; None for no more than the default.
    """
    require_root(PROGRAM)
    umask()
    name = arguments.interface
    return run_daemon(
        PROGRAM,
        arguments,
        lambda verdict, destination: _keep(arguments, accepts, verdict, destination),
        arguments.wait,
        f"{name}: no lease yet after {arguments.wait:g} s, going on in the background",
    )


def _keep(arguments: Any, accepts: "Acceptance | None", verdict: Verdict, destination: str) -> int:
    account = service_account(arguments.user)
    confine_helper()
    network = network_arguments(destination, verbose=arguments.verbose)
    process, channel = start_process(MODULE, account, network)
    with closing(channel):
        from wg_dynamic.cli.client_keep import keep  # noqa: PLC0415 - see above

        gc.enable()
        return keep(
            arguments,
            accepts,
            verdict,
            account=account,
            network=network,
            started=(process, channel),
        )


if __name__ == "__main__":
    sys.exit(main())

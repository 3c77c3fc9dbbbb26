"""A process of the service account behind some of the walls, trying everything: a program.

    python -m tests.attack.walls landlock,seccomp TARGETS

Prints the outcome of each attempt as JSON, then that of exec. TARGETS are those of attempts.py, as
JSON. The walls are those of the product, put up by its own functions; of "namespace", "limits",
"landlock" and "seccomp" those that are not named are left out.
"""

import contextlib
import json
import os
import resource
import sys
from typing import Any

from tests.attack.attempts import Targets, execution, try_all
from wg_dynamic.privsep import landlock, seccomp
from wg_dynamic.privsep.sandbox import CLIENT
from wg_dynamic.system import libc
from wg_dynamic.system.privileges import Account, drop_privileges

ACCOUNT = Account(60970, 60970)


def main() -> None:
    """Behind the walls of the first argument."""
    walls = set(sys.argv[1].split(","))
    targets = Targets(**json.loads(sys.argv[2]))
    product: Any = libc
    if "namespace" not in walls:
        product.unshare = lambda _: None
    drop_privileges(ACCOUNT)
    if "limits" in walls:
        resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    if "landlock" in walls:
        with contextlib.suppress(OSError):  # a kernel without it: then nothing is denied
            landlock.restrict()
    if "seccomp" in walls:
        machine = seccomp.this_machine()
        seccomp.install(seccomp.assemble(CLIENT.rules(os.getpid()), machine))
    sys.stdout.write(json.dumps(try_all(targets)) + "\n")
    sys.stdout.flush()
    sys.stdout.write(execution())


if __name__ == "__main__":
    main()

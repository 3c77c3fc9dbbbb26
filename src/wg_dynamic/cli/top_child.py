"""The process that draws `wg-dynamic top`: readings come as lines of JSON from a pipe.

It begins as root, if root asked for it, since the interpreter or the checkout may be root's alone
to read, and imports the standard library and our own code. It is nobody, for good, and in an empty
network namespace, before it imports textual (docs/decisions/0024).
"""

import os
import sys
from typing import Final

from wg_dynamic.cli.command.top_view import MISSING
from wg_dynamic.errors import WgDynamicError
from wg_dynamic.system.privileges import Account, drop_privileges

NOBODY: Final = Account(65534, 65534)
_FAILED: Final = 1


def main(arguments: list[str]) -> int:
    """Draw until the reader leaves, or the pipe ends; returns the exit status."""
    pipe = int(arguments[0])
    try:
        if os.geteuid() == 0:
            drop_privileges(NOBODY)
    except WgDynamicError as error:
        sys.stderr.write(f"{error}\n")
        return _FAILED
    try:
        from wg_dynamic.cli.top_app import Top  # noqa: PLC0415 - not before now
    except ImportError as error:
        if (error.name or "").partition(".")[0] == "wg_dynamic":
            raise
        return MISSING
    Top(pipe).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

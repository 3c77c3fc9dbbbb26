"""Exit statuses, the same for every command (docs/operations.md)."""

import sys
from collections.abc import Callable

from wg_dynamic.errors import ConfigError, PrivilegeError, WgDynamicError

OK = 0
FAILED = 1
"""Something went wrong while running."""
USAGE = 2
"""The command line is not understood (argparse uses the same)."""
UNQUALIFIED = 3
"""The interface, the pools or the database are not what is expected."""
NOT_PERMITTED = 4
"""Not root, or the kernel refuses."""


def status_of(error: WgDynamicError) -> int:
    """The exit status for an error."""
    if isinstance(error, ConfigError):
        return UNQUALIFIED
    return NOT_PERMITTED if isinstance(error, PrivilegeError) else FAILED


def run(program: str, main: Callable[[], int]) -> int:
    """Run a command; an error becomes one line on standard error and its status."""
    try:
        return main()
    except WgDynamicError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return status_of(error)
    except OSError as error:  # a full disk below /run, no more processes: nothing we could explain
        sys.stderr.write(f"{program}: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        return 130

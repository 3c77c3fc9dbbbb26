"""Exit statuses, the same for every command (docs/operations.md)."""

from collections.abc import Callable

from wg_dynamic.errors import ConfigError, PrivilegeError, UsageError, WgDynamicError
from wg_dynamic.system.log import complain

OK = 0
FAILED = 1
"""Something went wrong while running."""
USAGE = 2
"""The command line or the configuration file is wrong (argparse uses the same)."""
UNQUALIFIED = 3
"""The interface, its surroundings or the database are not what is expected."""
NOT_PERMITTED = 4
"""Not root, or the kernel refuses."""
NO_LEASE = 5
"""--status: a client runs, and has no lease now."""
NOT_RUNNING = 6
"""--status, --reload: no such daemon runs on the interface."""
GONE = 7
"""A client under systemd: its interface is gone, and it is to be started again if that is back."""


def status_of(error: WgDynamicError) -> int:
    """The exit status for an error."""
    if isinstance(error, UsageError):
        return USAGE
    if isinstance(error, ConfigError):
        return UNQUALIFIED
    return NOT_PERMITTED if isinstance(error, PrivilegeError) else FAILED


def run(program: str, main: Callable[[], int]) -> int:
    """Run a command; an error becomes lines on standard error and its status."""
    try:
        return main()
    except WgDynamicError as error:
        complain(program, str(error))  # of a configuration file, a line for each fault
        return status_of(error)
    except OSError as error:  # a full disk below /run, no more processes: nothing we could explain
        complain(program, str(error))
        return FAILED
    except KeyboardInterrupt:
        return 130

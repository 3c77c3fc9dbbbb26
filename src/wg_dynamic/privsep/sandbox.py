"""What a network process lays on itself before it reads a byte that is not the helper's.

Theory of operation. Two steps, each of which only takes away. `system.privileges.drop_privileges`
comes before the first message, and needs root: network namespace, capabilities, account. `close`
comes after the message that says which files are worked with: limits, Landlock, filter of system
calls, in this order, as the filter allows none of the calls that make the others. Both are for a
process of one thread, with everything imported: what a thread lays on itself does not hold for
those that are there already, and afterwards no module can be read.

What the kernel lacks is no error: there is more than one wall before everything that counts
(docs/threat-model.md). It is said in the log, once.
"""

import os
import resource
from collections.abc import Callable, Sequence

from wg_dynamic.privsep import landlock, seccomp
from wg_dynamic.record import dataclass
from wg_dynamic.system.log import logger

_LOG = logger(__name__)

RANDOM = "/dev/urandom"
"""SQLite's seed."""


@dataclass(frozen=True)
class Confinement:
    """What one kind of network process needs, and how it is kept from more."""

    rules: Callable[[int], dict[str, seccomp.Rule]]
    """The system calls."""
    threads: bool = False
    """Whether it starts threads: else it can start nothing."""
    open_files: int | None = None
    """How many files it may have open, None for as many as it has been allowed."""


CLIENT = Confinement(seccomp.client_rules, open_files=64)
SERVER = Confinement(seccomp.server_rules, threads=True)
CHECK = Confinement(seccomp.check_rules, threads=True)


class Sandbox:
    """The walls around this process."""

    def __init__(self, lacks: Sequence[str], *, tell: bool) -> None:
        """`lacks`: what could not be done before; `tell`: whether the log does not know yet."""
        self._lacks = list(lacks)
        self._tell = tell

    def close(
        self,
        confinement: Confinement,
        *,
        work: Sequence[landlock.Name] = (),
        scratch: Sequence[landlock.Name] = (),
        readable: Sequence[landlock.Name] = (),
    ) -> None:
        """Close it for ever; the directories and files as for landlock.restrict.

        Raises OSError: the limits cannot be set.
        """
        if not confinement.threads:
            resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
        if confinement.open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (confinement.open_files,) * 2)
        partly = ""
        try:
            known = landlock.restrict(work=work, scratch=scratch, readable=readable)
            partly = _missing(known)
        except OSError as error:
            self._lacks.append(f"Landlock ({error.strerror})")
        self._filter(confinement)
        if self._tell and self._lacks:
            _LOG.warning(
                "less confined than could be: this system gives us not: %s", ", ".join(self._lacks)
            )
        if self._tell and partly:
            _LOG.info("%s", partly)

    def _filter(self, confinement: Confinement) -> None:
        machine = seccomp.this_machine()
        try:
            program = seccomp.assemble(confinement.rules(os.getpid()), machine)
            seccomp.install(program)
        except KeyError:
            self._lacks.append(f"filter of system calls (not known for {machine})")
        except OSError as error:
            self._lacks.append(f"filter of system calls ({error.strerror})")


def _missing(version: int) -> str:
    """What an older Landlock lacks, in words."""
    lacks = []
    if version < landlock.TCP_FROM:
        lacks.append("connections")
    if version < landlock.SCOPE_FROM:
        lacks.append("signals")
    return (
        f"Landlock {version} of this kernel has no rules for {' and '.join(lacks)}" if lacks else ""
    )

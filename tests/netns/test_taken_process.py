"""What a network process that was taken over can do: which wall denies what, and what is left.

The attempts are programs in tests/attack.
"""

import contextlib
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.attack.attempts import Targets
from tools.netlab import Host, Lab
from tools.processes import environment
from wg_dynamic.privsep import landlock

pytestmark = pytest.mark.kernel

NAMESPACE, LIMITS, LANDLOCK, SECCOMP = WALLS = ("namespace", "limits", "landlock", "seccomp")
HOLDS = {
    "connect out": {NAMESPACE, LANDLOCK, SECCOMP},
    "listen": {LANDLOCK, SECCOMP},
    "send a datagram": {NAMESPACE, SECCOMP},
    "connect by an accepted socket": {LANDLOCK, SECCOMP},
    "connect by the listener": {SECCOMP},
    "connect to a Unix socket": {SECCOMP},
    "send to an abstract socket": {NAMESPACE, LANDLOCK, SECCOMP},
    "read a file": {LANDLOCK, SECCOMP},
    "make a file": {LANDLOCK, SECCOMP},
    "read another's memory": {LANDLOCK, SECCOMP},
    "trace another": {LANDLOCK, SECCOMP},
    "signal another": {LANDLOCK, SECCOMP},
    "fork": {LIMITS, SECCOMP},
    "make code": {SECCOMP},
    "become root of a namespace": {SECCOMP},
    "execute": {LANDLOCK, SECCOMP},
}
"""Which walls deny an attempt, each by itself."""
NEEDS_TCP_RULES = {"connect out", "listen", "connect by an accepted socket"}
NEEDS_SCOPES = {"send to an abstract socket", "signal another"}
"""What Landlock denies in newer versions only."""


def holds(attempt: str) -> set[str]:
    """HOLDS, on this kernel."""
    version = landlock.version()
    lacks = (attempt in NEEDS_TCP_RULES and version < landlock.TCP_FROM) or (
        attempt in NEEDS_SCOPES and version < landlock.SCOPE_FROM
    )
    return HOLDS[attempt] - ({LANDLOCK} if lacks else set())


@contextlib.contextmanager
def targets(host: Host) -> Iterator[Targets]:
    """Everything that is there to be attacked, in a host."""
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        directory.chmod(0o777)
        path = str(directory / "socket")
        with host.netns():
            outside, listener = (
                stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
                for _ in range(2)
            )
            stack.enter_context(socket.create_connection(listener.getsockname()[:2]))
            abstract = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            abstract.bind("\0wg-dynamic-test")
        accepted = stack.enter_context(listener.accept()[0])
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(path)
        Path(path).chmod(0o777)
        unix.listen()
        victim = subprocess.Popen(
            [
                "setpriv",
                "--reuid=60970",
                "--regid=60970",
                "--clear-groups",
                "sh",
                "-c",
                "echo; exec sleep 100",
            ],
            stdout=subprocess.PIPE,
        )
        stack.enter_context(victim)
        stack.callback(victim.kill)
        assert victim.stdout is not None
        victim.stdout.readline()
        yield Targets(
            port=outside.getsockname()[1],
            unix=path,
            abstract="wg-dynamic-test",
            readable="/etc/passwd",
            writable=str(directory),
            victim=victim.pid,
            listener=listener.fileno(),
            accepted=accepted.fileno(),
        )


def try_behind(walls: tuple[str, ...], host: Host) -> dict[str, str]:
    """What each attempt came to, for a process of the service account behind these walls."""
    with targets(host) as there, host.netns():
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "tests.attack.walls",
                ",".join(walls),
                json.dumps(asdict(there)),
            ],
            pass_fds=(there.listener, there.accepted),
            cwd=Path(__file__).parents[2],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.stderr == ""
    table, execution = done.stdout.splitlines()
    outcome: dict[str, str] = json.loads(table)
    return {**outcome, "execute": "done" if execution == "executed" else execution}


def test_each_wall_denies_what_it_is_there_for(lab: Lab) -> None:
    host = lab.host("host")
    without = try_behind((), host)
    assert without == dict.fromkeys(HOLDS, "done"), "each is possible where no wall stands"
    denied: dict[str, set[str]] = {attempt: set() for attempt in HOLDS}
    for wall in WALLS:
        for attempt, result in try_behind((wall,), host).items():
            if result != "done":
                denied[attempt].add(wall)
    assert denied == {attempt: holds(attempt) for attempt in HOLDS}

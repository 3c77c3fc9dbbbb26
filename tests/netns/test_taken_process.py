"""What a network process that was taken over can do: which wall denies what, and what is left.

The attempts are programs in tests/attack.
"""

import base64
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
from tests.attack.taken import INTERPRETER
from tests.netns.daemons import Client, Daemon, Server, snapshot
from tools.netlab import Host, Lab, PeerConfig, generate_keys, wait_until
from tools.processes import unmeasured
from tools.repository import ROOT
from tools.star import make_star
from wg_dynamic.helper.lease_keeper import LINES
from wg_dynamic.privsep import landlock
from wg_dynamic.wireguard.key import peer_label

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


def landlock_version() -> int:
    """The kernel's; 0 without Landlock."""
    try:
        return landlock.version()
    except OSError:
        return 0


def holds(attempt: str) -> set[str]:
    """HOLDS, on this kernel."""
    version = landlock_version()
    lacks = (
        not version
        or (attempt in NEEDS_TCP_RULES and version < landlock.TCP_FROM)
        or (attempt in NEEDS_SCOPES and version < landlock.SCOPE_FROM)
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
            env=unmeasured(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.stderr == ""
    table, execution = done.stdout.splitlines()
    outcome: dict[str, str] = json.loads(table)
    return {**outcome, "execute": "done" if execution == "executed" else execution}


@pytest.mark.kernel
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


# --- the daemons, with a taken process in the place of theirs -----------------------------------

DENIED = "Operation not permitted"
"""By the filter, which comes first where a system call tells."""


def in_the_place_of(daemon: Daemon, targets: Targets, directory: Path) -> None:
    """Let the daemon start tests/attack/taken.py as its network process."""
    given = {key: value for key, value in asdict(targets).items() if key not in OF_THE_PROCESS}
    interpreter = directory / f"python-{daemon.name}"
    interpreter.write_text(
        INTERPRETER.format(python=sys.executable, root=str(ROOT), targets=given), "ascii"
    )
    interpreter.chmod(0o755)
    module = daemon.name.removeprefix("wg-dynamic-")
    code = f"import sys, wg_dynamic.cli.{module} as cli; "
    code += f"sys.executable = {str(interpreter)!r}; sys.exit(cli.main(sys.argv[1:]))"
    daemon.prefix = [sys.executable, "-c", code]


OF_THE_PROCESS = ("victim", "listener", "accepted")


def label(key: str) -> str:
    """How a peer is called in a message."""
    return peer_label(base64.b64decode(key))


def told(daemon: Daemon) -> dict[str, object]:
    """What the taken process says came of its attempts."""
    daemon.program.wait_for_output("}\n", timeout=20.0)
    (line,) = [line for line in daemon.program.output().splitlines() if "TAKEN {" in line]
    outcome: dict[str, object] = json.loads(line.partition("TAKEN ")[2])
    return outcome


def test_a_taken_server_process_gets_no_further_than_its_pools(
    lab: Lab, database: Path, tmp_path: Path
) -> None:
    star = make_star(lab, ["accomplice", "victim"])
    hub, key = star.hub, star.clients[1].interface.keys.public
    hub.interface.add_peers(
        PeerConfig(key, ["fe80::2/128", "10.44.0.77/32", "10.44.0.192/26", "203.0.113.0/24"])
    )
    hub.host.ip("address add 10.44.0.1/32 dev wg0")
    config = tmp_path / "wg0.toml"
    config.write_text(
        '[[pool]]\nnetwork = "10.44.0.0/24"\n[[pool]]\nnetwork = "fd00:44::/64"\n'
        f'[[reservation]]\npublic_key = "{key}"\naddresses = ["10.44.0.9"]\n'
    )
    before = hub.interface.allowed_ips()
    server = Server(hub, database)
    server.arguments = ["--config", str(config), "--database", str(database)]
    with targets(hub.host) as there:
        in_the_place_of(server, there, tmp_path)
        server.start()
        outcome = told(server)
        open_files = len(list(Path(f"/proc/{server.program.pid}/fd").iterdir()))
    by_landlock = "Permission denied" if landlock_version() else "done"
    files = dict.fromkeys(("read a file", "make a file"), by_landlock)
    files["read another's memory"] = "Permission denied"  # its helper's, which is root
    assert {name: outcome.pop(name) for name in HOLDS} == dict.fromkeys(HOLDS, DENIED) | files
    assert outcome == {
        "what is in no pool": ["192.0.2.9/32 is in no pool"],
        "another peer's link-local": ["fe80::2/128 is in no pool"],
        "another peer's static address": [f"it is in the allowed IPs of {label(key)}"],
        "what is in another's static range": [f"it is inside 10.44.0.192/26 of {label(key)}"],
        "what is reserved for another": ["10.44.0.9/32 is reserved for another peer"],
        "the hub's own address": ["10.44.0.1/32 is an address of the hub"],
        "an address for nobody": ["no such peer"],
        "the whole pool": 300 - 64,
        "the same static allowed IPs": True,
        "its own database": "done",
    }
    # It has said that it cannot go on; the next one sends what is no message; the third one stays.
    server.program.wait_for_output("network process: ")
    wait_until(lambda: len(server.program.output().split("a new one in")) == 3, what="two ends")
    wait_until(lambda: server.program.output().count("serving on") == 3, what="a third one")
    assert server.program.process.poll() is None
    assert "cannot go on (because I say so??[31m)" in server.program.output()
    assert abs(len(list(Path(f"/proc/{server.program.pid}/fd").iterdir())) - open_files) <= 2
    after = hub.interface.allowed_ips()
    after[star.clients[0].interface.keys.public].discard("fd00:44::2:1/128")  # it may lease
    assert after == before
    server.stop()


def test_a_taken_client_process_gets_what_the_policy_takes(lab: Lab, tmp_path: Path) -> None:
    star = make_star(lab)
    member = star.clients[0]
    member.interface.add_peers(PeerConfig(generate_keys().public, ["10.99.0.0/24"]))
    member.host.ip(
        "link add lan type veth peer name lan1",
        "link set lan1 up",
        "address add 10.9.9.9/24 dev lan",
        "link set lan up",
        "route add default via 10.9.9.1",
    )
    before = snapshot(member.host)
    client = Client(member)
    with targets(member.host) as there:
        in_the_place_of(client, there, tmp_path)
        client.start("TAKEN {")
        outcome = told(client)
    assert {name: outcome.pop(name) for name in HOLDS} == dict.fromkeys(HOLDS, DENIED)
    assert outcome.pop("connects from") == ["fe80::1", 970]
    reasons = {name: " ".join(reason) for name, reason in outcome.items()}  # type: ignore[arg-type]
    assert all(reasons.values()), reasons
    client.program.wait_for_output("a new one in")
    lines = client.program.output().splitlines()
    assert sum("leased" in line for line in lines) <= LINES, "it cannot fill the log"
    client.stop()
    assert snapshot(member.host) == before

"""Who runs as what, and what each process holds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns.daemons import SERVICE_ID, Client, Server
from tools.netlab import Lab
from tools.star import make_star

pytestmark = pytest.mark.guest

NOTHING = "0000000000000000"
KEPT = "0000000000001425"
"""CHOWN, DAC_READ_SEARCH, KILL, NET_BIND_SERVICE, NET_ADMIN."""
FOREIGN_BYTES = ("wg_dynamic.protocol", "wg_dynamic.server", "wg_dynamic.client", "asyncio")
"""What a helper must not have loaded."""


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """What measures coverage loads sqlite3 itself: not into what is looked at here."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_")]:
        monkeypatch.delenv(name)


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: " ".join(value.split()) for name, _, value in (x.partition(":") for x in lines)}


def mapped(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.usefixtures("unmeasured")
def test_the_processes_that_parse_bytes_have_no_privileges(lab: Lab, database: Path) -> None:
    star = make_star(lab)
    server = Server(star.hub, database, "--verbose")
    server.start()
    client = Client(star.clients[0], "--verbose")
    client.start()
    for daemon in (server, client):
        pids = daemon.program.pid, daemon.network_process()
        helper, network = map(status, pids)
        assert helper["Uid"].split() == ["0"] * 4
        assert network["Uid"].split() == [str(SERVICE_ID)] * 4
        assert network["Gid"].split() == [str(SERVICE_ID)] * 4
        assert network["Groups"] == ""
        for kind in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd"):
            assert network[kind] == NOTHING
        assert (network["NoNewPrivs"], network["Seccomp"]) == ("1", "2")
        assert helper["CapEff"] == helper["CapPrm"] == KEPT
        spaces = [Path(f"/proc/{pid}/ns/net").readlink() for pid in pids]
        assert spaces[0] != spaces[1], "a network namespace of its own"
        assert "_sqlite3" not in mapped(daemon.program.pid)
        assert "_asyncio" not in mapped(daemon.program.pid)
        assert (daemon.runtime.stat().st_mode & 0o777, daemon.runtime.stat().st_uid) == (0o700, 0)
        for path in daemon.runtime.iterdir():
            assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o600, 0), path
    assert "_sqlite3" in mapped(server.network_process())
    assert "_sqlite3" not in mapped(client.network_process())
    assert (database.stat().st_mode & 0o777, database.stat().st_uid) == (0o600, SERVICE_ID)
    assert (database.parent.stat().st_mode & 0o777) == 0o700
    environment = Path(f"/proc/{server.network_process()}/environ").read_text()
    assert "HOME=" not in environment
    client.run("--stop")
    server.stop()
    output = server.program.output() + client.program.output()
    assert "less confined" not in output
    for member in (star.hub, *star.clients):
        assert member.interface.keys.private not in output
        assert member.interface.keys.private not in (database.read_bytes()).decode("latin-1")


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("module", ["server", "client"])
def test_the_helper_imports_no_parser_of_foreign_bytes(module: str) -> None:
    code = (
        f"import sys, wg_dynamic.cli.{module}\n"
        f"print([name for name in sys.modules if name.startswith({FOREIGN_BYTES})"
        " or name in ('sqlite3', '_sqlite3')])"
    )
    command = [sys.executable, "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_an_account_of_the_machine_can_be_named(lab: Lab, database: Path) -> None:
    star = make_star(lab)
    server = Server(star.hub, database, "--user", "nobody")
    server.start()
    assert status(server.network_process())["Uid"].split() == ["65534"] * 4
    server.stop()
    assert database.stat().st_uid == 65534

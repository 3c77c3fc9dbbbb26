"""No room left in /run/wg-dynamic or for the record: leases go on, nothing new is set."""

import contextlib
import os
from pathlib import Path

from tests.netns.daemons import Client, Daemon, Server, connect, exchange
from tools.netlab import Lab, wait_until
from tools.star import Member, make_star
from wg_dynamic.helper.record import RECORD_ROOT
from wg_dynamic.system.runtime import RUNTIME_ROOT

PAGE = 4096
UNAVAILABLE = "3"


def prepare(daemon: Daemon, role: str, room: int) -> Path:
    """Give it a small /run/wg-dynamic, and a ledger with `room` bytes left in its first page.

    What fills it is a line that cannot be read, which is kept. Returns the ledger.
    """
    host = daemon.member.host
    host.run(["mount", "-o", "remount,size=64k", str(RUNTIME_ROOT)])
    directory = host.path(str(daemon.runtime))
    directory.mkdir(mode=0o700)
    ledger = directory / f"{role}-ledger"
    ledger.write_text("? " + "x" * (PAGE - room - 3) + "\n")
    return ledger


def fill(directory: Path) -> Path:
    """Leave no room in the small file system of a directory."""
    assert os.statvfs(directory).f_blocks * os.statvfs(directory).f_frsize < 1 << 20
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(PAGE))
    return filler


def ask(member: Member, *wishes: str) -> dict[str, str]:
    lines = "".join(f"ip={wish}\n" for wish in wishes)
    with connect(member) as connection:
        return exchange(connection, f"request_ip=2\n{lines}\n")


def test_a_server_refuses_what_is_new_and_goes_on_with_the_rest(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["one", "two"], private=[str(RUNTIME_ROOT)])
    one, two = star.clients
    server = Server(star.hub, database)
    ledger = prepare(server, "server", 400)  # two routes, and two allowed IPs of 90 bytes each
    server.start()
    leased = ask(one)
    assert leased["errno"] == "0"
    filler = fill(ledger.parent.parent)
    assert ask(two)["errno"] == UNAVAILABLE
    assert server.leased(two) == set()
    assert ask(one)["ip4"] == leased["ip4"], "a renewal writes nothing there"
    with connect(one) as connection:
        released = exchange(connection, "release_ip=2\n\n")
    assert released["errno"] == "0"
    assert server.leased(one) == set(), "what ends is taken off"
    star.hub.host.ip("link set wg0 down", "link set wg0 up")
    assert ask(one)["errno"] == "0", "the ledger names it still"
    assert len(server.leased(one)) == 2
    filler.unlink()
    assert ask(two)["errno"] == "0"
    assert len(server.leased(two)) == 2
    output = server.program.output()
    assert "cannot write the ledger" in output
    assert "network process" not in output, "it had not to be started again"
    filler = fill(ledger.parent.parent)
    star.hub.host.ip("link delete wg0")
    server.program.wait_for_output("waiting for wg0 to come back")
    filler.unlink()
    server.stop()


def test_a_server_sets_nothing_that_its_record_has_no_room_for(lab: Lab, database: Path) -> None:
    star = make_star(lab, ["one", "two"])
    one, two = star.clients
    star.hub.host.run(["mount", "-o", "remount,size=16k", str(RECORD_ROOT)])
    directory = star.hub.host.path(str(RECORD_ROOT))
    record = directory / f"{str(database).lstrip('/').replace('/', '%2F')}.allowed-ips"
    record.write_text("? " + "x" * (PAGE - 250 - 3) + "\n")  # room for two pairs
    server = Server(star.hub, database)
    server.start()
    leased = ask(one)
    assert len(server.leased(one)) == 2
    filler = fill(directory)
    assert ask(two)["errno"] == UNAVAILABLE
    assert server.leased(two) == set()
    assert ask(one)["ip4"] == leased["ip4"]
    with connect(one) as connection:
        assert exchange(connection, "release_ip=2\n\n")["errno"] == "0"
    assert server.leased(one) == set(), "what ends is taken off"
    assert ask(two)["errno"] == UNAVAILABLE
    filler.unlink()
    assert ask(two)["errno"] == "0"
    assert len(server.leased(two)) == 2
    output = server.program.output()
    assert "cannot write the record of what is leased: No space left" in output
    assert "network process" not in output, "it had not to be started again"
    server.stop()


def test_a_client_goes_on_through_down_and_up(lab: Lab, database: Path) -> None:
    star = make_star(lab, private=[str(RUNTIME_ROOT)], addrgenmode="none")
    server = Server(star.hub, database)
    server.start()
    client = Client(star.clients[0])
    ledger = prepare(client, "client", 350)
    client.start()
    client.wait_for_lease()
    leased = client.leased()
    assert 0 < PAGE - ledger.stat().st_size < 80, "room for no line more, or one"
    filler = fill(ledger.parent.parent)
    for state in ("down", "up", "down", "up"):
        line = f"wg0 is {state}"
        before = client.program.output().count(line)
        client.member.host.ip(f"link set wg0 {state}")
        wait_until(
            lambda: client.program.output().count(line) > before,  # noqa: B023 - called at once
            timeout=20,
            what=f"the client saying that {line}",
        )
        if state == "up":
            client.wait_for_lease(20.0)
    assert client.leased() == leased
    assert "will be struck out later" in client.program.output()
    filler.unlink()
    client.stop()
    assert client.leased() == set()
    server.stop()

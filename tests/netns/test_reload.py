"""The file read again by the real server: in force without a restart, or not at all."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.netns.daemons import Server, connect, exchange
from tests.netns.test_server_config import ETC, write
from tools.netlab import Lab, PeerConfig, wait_until
from tools.star import Member, Star, make_star
from wg_dynamic.wireguard.key import format_key

FIRST = """
lease_time = "10m"
[[pool]]
network = "10.44.0.0/24"
"""
SECOND = """
lease_time = "20m"
routes = ["10.20.0.0/16"]
[[pool]]
network = "10.45.0.0/24"
"""
ANY = "0.0.0.0"  # noqa: S104 - the wish for any address


class Hub:
    """A server with a file of its own, and two peers that speak by hand."""

    def __init__(self, lab: Lab, database: Path) -> None:
        self.star: Star = make_star(lab, ["laptop", "printer"], private=(ETC,))
        self.member = self.star.hub
        self.laptop, self.printer = self.star.clients
        self.server = Server(self.member, database)
        self.server.arguments.clear()

    def write(self, text: str, database: Path | None = None) -> None:
        write(self.member.host, f'database = "{database or self.server.database}"\n{text}')

    def start(self, text: str) -> None:
        self.write(text)
        self.server.start()

    def reload(self, text: str) -> str:
        """Write another file and have it read; what the command says."""
        self.write(text)
        done = self.server.run("--reload")
        assert done.returncode == 0, done.stderr
        return done.stdout

    def routes(self) -> set[str]:
        shown = self.member.host.run(["ip", "route", "show", "dev", "wg0"]).stdout
        return {line.split()[0] for line in shown.splitlines()}


@pytest.fixture
def hub(lab: Lab, database: Path) -> Hub:
    return Hub(lab, database)


def request(*wishes: str) -> str:
    return "request_ip=2\nid=1\n" + "".join(f"section=address\nip={one}\n" for one in wishes) + "\n"


def ask(connection: socket.socket, *wishes: str) -> dict[str, str]:
    """Ask on a connection; the reply's lines."""
    return exchange(connection, request(*wishes))


def ask_anew(member: Member, *wishes: str) -> dict[str, str]:
    with connect(member) as connection:
        return ask(connection, *wishes)


def test_another_file_is_in_force_at_once_and_no_lease_or_connection_is_dropped(hub: Hub) -> None:
    hub.start(FIRST)
    network = hub.server.network_process()
    with connect(hub.laptop) as connection:
        first = ask(connection, ANY)["ip4"]
        assert first.startswith("10.44.0.")
        told = hub.reload(f'{FIRST}[[pool]]\nnetwork = "10.45.0.0/24"\n')
        assert "pool 10.45.0.0/24 added" in told
        assert {"10.44.0.0/24", "10.45.0.0/24"} <= hub.routes()
        renewed = ask(connection, first)
        assert renewed["ip4"] == first
        assert renewed["valid_time"] == "600"
    assert hub.server.leased(hub.laptop) == {f"{first}/32"}
    assert hub.server.network_process() == network, "nothing was started again"
    assert "configuration read again: pool 10.45.0.0/24 added" in hub.server.program.output()
    hub.server.stop()
    assert hub.routes() == set()


def test_sighup_does_the_same(hub: Hub) -> None:
    hub.start(FIRST)
    assert ask_anew(hub.laptop, ANY)["valid_time"] == "600"
    hub.write(FIRST.replace("10m", "20m"))
    hub.server.program.send_signal(signal.SIGHUP)
    hub.server.program.wait_for_output("working by the new configuration")
    assert ask_anew(hub.laptop, ANY)["valid_time"] == "1200"
    hub.server.stop()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"lease_tme = 60{SECOND}", "unknown key 'lease_tme', did you mean lease_time?"),
        (f'{SECOND}[[pool]]\nnetwork = "LAN/32"', "collides with the route to"),
        (SECOND, "database is /elsewhere now and "),
        (f'user = "nobody"{SECOND}', "user is nobody now and the default in the server"),
    ],
)
def test_a_file_that_cannot_be_taken_changes_nothing(hub: Hub, text: str, complaint: str) -> None:
    hub.start(FIRST)
    lan = hub.member.host.address
    hub.write(text.replace("LAN", lan), Path("/elsewhere") if "database" in complaint else None)
    done = hub.server.run("--reload")
    assert done.returncode == 2
    assert "wg0: not taken, all stays as it was" in done.stderr
    assert complaint in done.stderr
    assert complaint in hub.server.program.output()
    assert hub.routes() == {"10.44.0.0/24"}
    reply = ask_anew(hub.laptop, ANY)
    assert reply["ip4"].startswith("10.44.0.")
    assert reply["valid_time"] == "600"
    hub.server.stop()


def test_a_lease_of_a_pool_that_is_gone_stands_until_it_ends_and_is_not_renewed(hub: Hub) -> None:
    hub.start(FIRST)
    first = ask_anew(hub.laptop, ANY)["ip4"]
    told = hub.reload(SECOND)
    assert "pool 10.44.0.0/24 removed: its leases stand until they end" in told
    assert "routes for all clients: added 10.20.0.0/16" in told
    assert hub.server.leased(hub.laptop) == {f"{first}/32"}
    assert hub.routes() == {"10.44.0.0/24", "10.45.0.0/24"}, "the way to what is leased stays"
    other = ask_anew(hub.printer, first)
    assert other["ip4"].startswith("10.45.0."), "what is no pool is given to nobody"
    second = ask_anew(hub.laptop, first)["ip4"]
    assert second.startswith("10.45.0.")
    only = {f"{second}/32"}
    wait_until(lambda: hub.server.leased(hub.laptop) == only, what="the end of the first lease")
    wait_until(lambda: hub.routes() == {"10.45.0.0/24"}, timeout=20.0, what="the end of a route")
    hub.server.stop()


def test_a_network_process_that_dies_meanwhile_starts_with_the_new_file(hub: Hub) -> None:
    hub.start(FIRST)
    first = ask_anew(hub.laptop, ANY)["ip4"]
    network = hub.server.network_process()
    os.kill(network, signal.SIGSTOP)  # it will not hear of it
    hub.write(SECOND)
    asking = hub.member.host.popen(hub.server.command("--reload"))
    hub.server.program.wait_for_output("configuration read again: pool 10.45.0.0/24 added")
    os.kill(network, signal.SIGKILL)
    assert asking.wait() == 0, "it is in force for whatever comes"
    wait_until(lambda: hub.server.program.output().count("serving on") == 2, what="the next one")
    assert hub.server.leased(hub.laptop) == {f"{first}/32"}
    assert ask_anew(hub.laptop, first)["ip4"].startswith("10.45.0.")
    hub.server.stop()


def test_a_server_killed_after_a_reload_starts_with_the_new_file(hub: Hub) -> None:
    hub.start(FIRST)
    first = ask_anew(hub.laptop, ANY)["ip4"]
    hub.reload(SECOND)
    hub.server.kill_both()
    hub.server.start()
    assert hub.server.leased(hub.laptop) == {f"{first}/32"}
    second = ask_anew(hub.laptop, first)["ip4"]
    assert second.startswith("10.45.0.")
    assert hub.routes() == {"10.45.0.0/24"}
    hub.server.stop()


def test_thousands_of_reservations_come_and_go(hub: Hub) -> None:
    reserved = "".join(
        f"""
        [[reservation]]
        public_key = "{format_key(number.to_bytes(32))}"
        addresses = ["10.46.{number >> 8}.{number & 255}"]
        """
        for number in range(1, 2000)
    )
    hub.start(FIRST)
    pool = '[[pool]]\nnetwork = "10.46.0.0/16"\n'
    told = hub.reload(f"{FIRST}{pool}{reserved}")
    assert "more changes" in told
    wish = "10.46.0.9"
    assert ask_anew(hub.laptop, wish)["ip4"] != wish, "it is reserved"
    assert "nothing has changed" in hub.reload(f"{FIRST}{pool}{reserved}")
    hub.reload(FIRST + pool)
    assert ask_anew(hub.laptop, wish)["ip4"] == wish
    hub.server.stop()


def test_an_interface_that_comes_back_is_served_by_what_was_read_last(hub: Hub) -> None:
    hub.start(FIRST)
    hub.reload(SECOND)
    interface, laptop = hub.member.interface, hub.laptop.interface
    interface.delete()
    hub.server.program.wait_for_output("waiting for wg0 to come back")
    hub.write(SECOND.replace("20m", "30m"))
    hub.server.program.send_signal(signal.SIGHUP)
    made = hub.member.host.wireguard(keys=interface.keys)
    interface.program = made.program
    interface.setconf([PeerConfig(laptop.keys.public, [f"{hub.laptop.link_local}/128"])])
    hub.member.host.ip("address add fe80::/64 dev wg0 nodad")
    interface.up()
    wait_until(lambda: hub.server.program.output().count("serving on") == 2, what="service")
    endpoint = f"{hub.member.host.address}:51820"
    laptop.setconf([PeerConfig(interface.keys.public, ["fe80::/128"], endpoint)])
    reply = ask_anew(hub.laptop, ANY)
    assert reply["ip4"].startswith("10.45.0.")
    assert reply["valid_time"] == "1800"
    hub.server.stop()


def test_without_a_server_there_is_nothing_to_reload(hub: Hub) -> None:
    hub.write(FIRST)
    done = hub.server.run("--reload")
    assert (done.returncode, done.stdout) == (6, "")
    assert "no wg-dynamic-server runs on wg0, expected one to reload" in done.stderr

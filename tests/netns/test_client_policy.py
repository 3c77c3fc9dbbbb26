"""What the client does not take, and what it leaves to the administrator."""

from pathlib import Path

import pytest

from tests.netns.daemons import Client, Server, snapshot
from tools.netlab import Lab, wait_until
from tools.star import make_star

pytestmark = pytest.mark.guest


def test_a_lease_that_collides_with_the_lan_is_refused(lab: Lab, database: Path) -> None:
    star = make_star(lab, addrgenmode="none")
    Server(star.hub, database).start()
    client = Client(star.clients[0])
    host = client.member.host
    host.ip("address add 10.44.0.33/16 dev eth0", "address add fd00:44::33/64 dev eth0 nodad")
    before = snapshot(host)
    done = client.run("--wait", "15")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("wg0: the lease was refused here: ")
    assert "is inside 10.44.0.0/16, which another interface has on its link" in done.stdout
    assert snapshot(host) == before
    assert client.run("--stop").returncode == 0
    assert snapshot(host) == before


def test_a_public_network_is_taken_when_the_administrator_says_so(lab: Lab, database: Path) -> None:
    star = make_star(lab, addrgenmode="none", private=["/etc/wg-dynamic"])
    Server(star.hub, database, "--pool", "203.0.113.0/24", "--pool", "2001:db8::/64").start()
    client = Client(star.clients[0])
    before = snapshot(client.member.host)
    client.start("is neither private nor in the server peer's allowed IPs")
    wait_until(lambda: client.program.output().count("is not taken") == 2, what="two refusals")
    assert "(--accept-routes 203.0.113.0/24 takes it)" in client.program.output()
    assert snapshot(client.member.host) == before
    client.stop()
    client.arguments = ["--accept-routes", "203.0.113.0/24"]
    client.start()
    addresses = client.member.interface.addresses()
    assert any(each.startswith("203.0.113.") for each in addresses)
    assert not any(each.startswith("2001:db8:") for each in addresses)
    client.stop()
    # And in the file, where wg-quick's `auto` has no command line; options add to it.
    file = client.member.host.path("/etc/wg-dynamic/wg0.toml")
    file.write_text('lease_time = 60\n[client]\naccept-routes = ["2001:db8::/33"]\n')
    done = client.run("--wait", "15")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'lease_time' is for wg-dynamic-server, expected the table [client]" in done.stderr
    assert snapshot(client.member.host) == before
    file.write_text('[client]\naccept-routes = ["2001:db8::/33"]\n')
    client.start()
    addresses = client.member.interface.addresses()
    assert any(each.startswith("203.0.113.") for each in addresses)
    assert any(each.startswith("2001:db8:") for each in addresses)
    client.stop()
    assert snapshot(client.member.host) == before


@pytest.mark.parametrize("hub_allowed_ips", [("fe80::/128", "203.0.113.0/24")])
def test_what_the_server_peer_is_allowed_needs_no_more_words(
    lab: Lab, database: Path, hub_allowed_ips: tuple[str, ...]
) -> None:
    star = make_star(lab, server_allowed_ips=hub_allowed_ips)
    Server(star.hub, database, "--pool", "203.0.113.0/24").start()
    client = Client(star.clients[0])
    client.start()
    assert any(each.startswith("203.0.113.") for each in client.member.interface.addresses())
    assert client.member.interface.allowed_ips()[star.hub.interface.keys.public] == set(
        hub_allowed_ips
    )


@pytest.mark.parametrize("same", [True, False])
def test_a_static_address_in_the_leased_network_stays(
    lab: Lab, database: Path, *, same: bool
) -> None:
    star = make_star(lab, addrgenmode="none")
    server = Server(star.hub, database)
    server.start()
    client = Client(star.clients[0])
    host = client.member.host
    client.start()
    client.wait_for_lease()
    leased = {("4" if "." in each else "6"): each for each in client.leased()}
    client.stop()
    static4 = leased["4"] if same else "10.44.0.254"
    static6 = leased["6"] if same else "fd00:44::fe"
    if static4 == leased["4"] and not same:
        static4 = "10.44.0.253"
    host.ip(
        f"address add {static4}/24 dev wg0",
        f"address add {static6}/64 dev wg0 nodad",
    )
    before = snapshot(host)
    client.start()  # the same lease again
    client.program.wait_for_output("leased")
    if not same:
        client.wait_for_lease()
    shown = client.member.interface.addresses()
    assert {f"{static4}/24", f"{static6}/64"} <= shown
    assert (f"{leased['4']}/32" in shown) is not same
    forever = host.run(["ip", "-o", "address", "show", "dev", "wg0", "permanent"]).stdout
    assert f"{static4}/24" in forever
    assert f"{static6}/64" in forever
    assert client.run("--stop").returncode == 0
    assert snapshot(host) == before

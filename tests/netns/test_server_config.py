"""The configuration file and the real server: what it says is in force after each start."""

from ipaddress import ip_address, ip_network
from pathlib import Path

from tests.netns.daemons import Client, Server, connect, exchange
from tools.netlab import Host, Lab
from tools.star import make_star
from wg_dynamic.wireguard.key import format_key

ETC = "/etc/wg-dynamic"
ANY = "request_ip=1\n\n"


def write(host: Host, text: str, mode: str = "600") -> None:
    """Write the hub's own file, which nobody outside the hub sees."""
    command = f"cat >{ETC}/wg0.toml && chmod {mode} {ETC}/wg0.toml"
    host.run(["sh", "-c", command], input=text)


def test_a_changed_file_is_in_force_after_the_next_start(lab: Lab, database: Path) -> None:
    star = make_star(lab, private=(ETC,))  # a directory of its own, gone with the lab
    hub, client = star.hub, star.clients[0]
    excluded = ", ".join(f'"fd00:44::{number:x}"' for number in range(1, 3000))
    reserved = "".join(
        f"""
        [[reservation]]
        public_key = "{format_key(number.to_bytes(32))}"
        addresses = ["fd00:44::1:{number:x}"]
        """
        for number in range(1, 2000)
    )
    write(
        hub.host,
        f"""
        lease_time = "10m"
        database = "{database}"
        [[pool]]
        network = "10.44.0.0/24"
        [[pool]]
        network = "fd00:44::/64"
        exclude = [{excluded}]
        {reserved}
        """,
    )
    server = Server(hub, database)
    server.arguments.clear()
    server.start()
    assert "leasing 10.44.0.0/24, fd00:44::/64" in server.program.output()
    with connect(client) as connection:
        assert exchange(connection, ANY)["leasetime"] == "600"
    assert len(server.leased(client)) == 2
    server.stop()
    write(hub.host, "lease_tme = 60\n[[pool]]\nnetwork = '10.44.0.1/24'")
    done = server.run()
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 2, "all that is wrong"
    assert all(line.startswith(f"wg-dynamic-server: {ETC}/wg0.toml: ") for line in lines)
    write(hub.host, "", mode="620")
    done = server.run()
    assert done.returncode == 2
    assert f"chmod go-w {ETC}/wg0.toml" in done.stderr
    write(hub.host, "[[pool]]\nnetwork = '10.45.0.0/24'\nlease_time = '5m'")
    server.arguments[:] = ["--lease-time", "1h", "--database", str(database)]
    server.start()
    with connect(client) as connection:
        reply = exchange(connection, "request_ip=1\nip=0.0.0.0/32\n\n")
    assert ip_address(reply["ip4"].partition("/")[0]) in ip_network("10.45.0.0/24")
    server.stop()


def test_a_client_gets_what_is_reserved_for_it(lab: Lab, database: Path) -> None:
    star = make_star(lab, private=(ETC,))
    server, client = Server(star.hub, database), Client(star.clients[0])
    server.arguments[:] = ["--database", str(database)]
    text = """
    [[pool]]
    network = "10.44.0.0/24"
    exclude = ["10.44.0.0-10.44.0.253"]
    [[pool]]
    network = "fd00:44::/64"
    [[reservation]]
    public_key = "{key}"
    addresses = ["10.44.0.{host}", "fd00:44::{host}"]
    """
    key = star.clients[0].interface.keys.public
    write(star.hub.host, text.format(key=key, host=77))
    server.start()
    client.start()
    assert client.leased() == {"10.44.0.77", "fd00:44::77"}
    client.stop()
    server.stop()
    write(star.hub.host, text.format(key=key, host=78))
    server.start()
    client.start()
    client.wait_for_lease()
    assert client.leased() == {"10.44.0.78", "fd00:44::78"}
    assert server.leased(star.clients[0]) == {"10.44.0.78/32", "fd00:44::78/128"}

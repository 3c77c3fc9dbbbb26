"""Pushed name servers through the whole client, with the real openresolv."""

from typing import Final

from tests.netns.daemons import Client, snapshot
from tests.netns.scripted import address, reply, scripted_server
from tests.netns.test_client_pushes import make_hub
from tools.netlab import Host, Lab, wait_until
from tools.packages import unpacked
from tools.star import make_star

STATIC: Final = "nameserver 192.0.2.53\n"
LEASE: Final = address("10.44.0.77", "10.44.0.0/24") + address("fd00:44::77", "fd00:44::/64")


def names(*servers: str, search: str = "") -> str:
    """A section of name servers, as docs/protocol.md has it."""
    lines = [f"server={server}\n" for server in servers]
    return "section=dns\n" + "".join(lines) + (f"search={search}\n" if search else "")


def install_openresolv(host: Host) -> None:
    """Lay it over this host's /usr and /etc, with a static file of an administrator's."""
    above = unpacked("openresolv")
    script = f"""
        mkdir -p /mnt/over && mount -t tmpfs tmpfs /mnt/over && mkdir /mnt/over/up /mnt/over/work
        mount -t overlay -o lowerdir={above}/usr:/usr overlay /usr
        above=lowerdir={above}/etc:/etc,upperdir=/mnt/over/up,workdir=/mnt/over/work
        mount -t overlay -o $above overlay /etc
        rm -f /etc/resolv.conf
        printf '{STATIC}' > /etc/resolv.conf
    """
    host.run(["sh", "-ec", script])


def state(host: Host) -> str:
    """The file, whose it is, all records, and the interface."""
    command = "cat /etc/resolv.conf; stat -L -c %a /etc/resolv.conf; resolvconf -l || true"
    return host.run(["sh", "-ec", command]).stdout + snapshot(host)


def test_name_servers_are_set_changed_and_undone_also_after_a_kill(lab: Lab) -> None:
    star = make_star(lab, addrgenmode="none", route=False, private=("/run/resolvconf",))
    make_hub(star)
    member = star.clients[0]
    host = member.host
    install_openresolv(host)
    client = Client(member, "--accept-dns", "10.44.0.0/24", "--accept-dns", "fd00:44::/64")
    before = state(host)

    def resolv_conf() -> str:
        return host.run(["cat", "/etc/resolv.conf"]).stdout

    with scripted_server(star.hub) as server:
        server.reply = reply(LEASE, names("10.44.0.1", search="corp.example"))
        client.start("name servers 10.44.0.1")
        assert "nameserver 10.44.0.1" in resolv_conf()
        assert "search corp.example" in resolv_conf()
        server.say(client, LEASE, names("fd00:44::1"))
        wait_until(lambda: "fd00:44::1" in resolv_conf(), what="the other name server")
        assert "10.44.0.1" not in resolv_conf()
        assert client.run("--stop").returncode == 0
        assert state(host) == before
        server.reply = reply(LEASE, names("10.44.0.1", search="corp.example"))
        client.start("name servers 10.44.0.1")
        client.kill()
        assert "nameserver 10.44.0.1" in resolv_conf()
        assert client.run("--stop").stdout.endswith("undid what a killed one had left\n")
        assert state(host) == before
        # The next one does not take what the last one has set for somebody else's.
        client.start("name servers 10.44.0.1")
        client.kill_both()
        client.start("name servers 10.44.0.1")
        assert "is not taken" not in client.program.output()
        client.stop()
        assert state(host) == before

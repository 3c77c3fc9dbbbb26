"""The lab keeps what it promises: tests that stand on it may trust it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns.conftest import HubAndClient
from tools.netlab import CommandError, Lab, LabError, environment, wait_until
from tools.star import make_star

pytestmark = pytest.mark.guest

REPOSITORY = Path(__file__).parents[2]

# A lab with a program in the foreground, one in the background and wireguard-go; prints their
# process IDs and waits.
LAB_THAT_WAITS = """
import signal, time
from pathlib import Path
from tools.netlab import Lab, wait_until

def wait_for_a_signal():
    while True:  # one that comes between the last look and a pause() would be slept through
        time.sleep(0.05)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
with Lab(kind="wireguard-go") as lab:
    host = lab.host("host")
    go = host.wireguard().program
    front = host.popen(["sleep", "600"])
    wait_until(lambda: Path(f"/proc/{{front.pid}}/comm").read_text() == "sleep\\n")
    back = host.run(["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!"])
    print(host.pid, go.pid, front.pid, back.stdout.strip(), lab.directory, flush=True)
    {then}
"""


def links() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def start_waiting_lab(then: str) -> tuple["subprocess.Popen[str]", list[int], Path]:
    lab = subprocess.Popen(
        [sys.executable, "-c", LAB_THAT_WAITS.format(then=then)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert lab.stdout is not None
    *pids, directory = lab.stdout.readline().split()
    return lab, [int(pid) for pid in pids], Path(directory)


@pytest.mark.kernel
def test_client_and_hub_reach_each_other_by_link_local(hub_and_client: HubAndClient) -> None:
    hub, client = hub_and_client.hub, hub_and_client.client
    assert client.host.ping("fe80::%wg0", source="fe80::1%wg0")
    assert hub.host.ping("fe80::1%wg0", source="fe80::%wg0")


@pytest.mark.parametrize("hub_and_client", [("0.0.0.0/0", "::/0")], indirect=True)
def test_the_test_says_what_the_client_allows_its_server(hub_and_client: HubAndClient) -> None:
    hub, client = hub_and_client.hub, hub_and_client.client
    assert client.interface.allowed_ips() == {
        hub.interface.keys.public: {"0.0.0.0/0", "::/0"},
    }
    assert hub.interface.allowed_ips() == {client.interface.keys.public: {"fe80::1/128"}}


def test_one_hub_serves_several_clients_that_all_have_a_wg0(lab: Lab) -> None:
    star = make_star(lab, ["alice", "bob", "carol"])
    for client in star.clients:
        assert client.host.ping("fe80::%wg0", source=f"{client.link_local}%wg0")


def test_hosts_reach_each_other_on_the_underlay_by_both_families(lab: Lab) -> None:
    alice, bob = lab.hosts("alice", "bob")
    assert alice.ping(bob.address)
    assert alice.ping(bob.address6)


def test_the_automatic_link_local_of_wireguard_go_is_left_or_switched_off(lab: Lab) -> None:
    left, off = lab.hosts("left", "off")
    for host, interface in [
        (left, left.wireguard(kind="wireguard-go")),
        (off, off.wireguard(kind="wireguard-go", addrgenmode="none")),
    ]:
        interface.up()
        found = interface.addresses()
        assert len(found) == (1 if host is left else 0), found


def test_nothing_is_made_in_the_namespace_of_the_machine() -> None:
    before, named = links(), os.listdir("/run/netns") if Path("/run/netns").exists() else []
    with Lab() as lab:
        make_star(lab)
        assert links() == before
    assert links() == before
    assert named == (os.listdir("/run/netns") if Path("/run/netns").exists() else [])


def test_run_wireguard_is_private_and_run_is_shared(lab: Lab, tmp_path: Path) -> None:
    host = lab.host("host", private=(f"{tmp_path}/private",))
    host.run(["touch", "/run/wireguard/lab-test", f"{tmp_path}/private/mine", f"{tmp_path}/ours"])
    assert not Path("/run/wireguard/lab-test").exists()
    assert not (tmp_path / "private/mine").exists()
    assert host.path(f"{tmp_path}/private/mine").exists()
    assert (tmp_path / "ours").exists()


def test_a_socket_opened_inside_netns_belongs_to_the_host(hub_and_client: HubAndClient) -> None:
    hub, client = hub_and_client.hub, hub_and_client.client
    with hub.host.netns(), socket.socket(socket.AF_INET6) as listener:
        listener.bind(("fe80::", 970, 0, socket.if_nametoindex("wg0")))
        listener.listen()
        with client.host.netns(), socket.socket(socket.AF_INET6) as connection:
            connection.settimeout(5)
            connection.bind(("fe80::1", 970, 0, socket.if_nametoindex("wg0")))
            connection.connect(("fe80::", 970, 0, socket.if_nametoindex("wg0")))
            accepted, address = listener.accept()
            accepted.close()
    assert address[0].partition("%")[0] == "fe80::1"
    assert not Path("/proc/thread-self/ns/net").samefile(f"/proc/{hub.host.pid}/ns/net")


def test_deleting_the_interface_ends_wireguard_go(lab: Lab) -> None:
    interface = lab.host("host").wireguard(kind="wireguard-go")
    assert interface.program is not None
    interface.delete()
    assert not interface.program.is_running()
    assert interface.host.run(["ip", "link", "show", "wg0"], check=False).returncode == 1


@pytest.mark.kernel
def test_down_drops_the_ipv6_addresses_and_up_brings_none_back(lab: Lab) -> None:
    star = make_star(lab, addrgenmode="none")
    client = star.clients[0]
    assert client.interface.addresses() == {"fe80::1/128"}
    client.interface.down()
    client.interface.up()
    assert client.interface.addresses() == set()


def test_peers_can_be_added_and_removed(lab: Lab) -> None:
    star = make_star(lab, ["alice", "bob"])
    bob = star.clients[1].interface.keys.public
    star.hub.interface.remove_peer(bob)
    assert bob not in star.hub.interface.allowed_ips()


def test_a_failing_command_says_where_what_and_why(lab: Lab) -> None:
    host = lab.host("laptop")
    with pytest.raises(CommandError, match=r"(?s)laptop: 'ip link show absent'.*does not exist"):
        host.run(["ip", "link", "show", "absent"])
    with pytest.raises(LabError, match=r"more than 0\.1 s"):
        host.run(["sleep", "10"], timeout=0.1)


def test_a_program_gets_only_the_environment_that_is_named(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WG_DYNAMIC_LAB_SECRET", "x")
    host = lab.host("host")
    assert "SECRET" not in host.run(["env"]).stdout
    assert "NAMED=1" in host.run(["env"], env={"NAMED": "1"}).stdout.split()
    assert host.run(["pwd"], cwd=REPOSITORY).stdout.strip() == str(REPOSITORY)
    version = host.run(host.python("-c", "import sys; print(sys.prefix)")).stdout.strip()
    assert version == sys.prefix


def test_a_program_starts_with_no_signal_ignored(lab: Lab) -> None:
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        program = lab.host("host").popen(["sleep", "600"])
    finally:
        signal.signal(signal.SIGINT, old)
    wait_until(lambda: Path(f"/proc/{program.pid}/comm").read_text() == "sleep\n")
    program.send_signal(signal.SIGINT)
    assert program.wait() == -signal.SIGINT


def test_the_output_of_a_program_can_be_waited_for(lab: Lab) -> None:
    host = lab.host("host")
    program = host.popen(["sh", "-c", "echo first; sleep 0.05; echo second; exec sleep 600"])
    program.wait_for_output("second")
    assert program.output() == "first\nsecond\n"
    assert "second" in lab.logs()
    assert program.stop() == -signal.SIGTERM
    dead = host.popen(["sh", "-c", "echo last words; exit 3"])
    with pytest.raises(LabError, match=r"(?s)ended before printing 'never'.*last words"):
        dead.wait_for_output("never")
    assert dead.wait() == 3


@pytest.mark.parametrize(
    ("then", "number", "status"),
    [
        ("pass", None, 0),
        ("raise KeyError", None, 1),
        ("wait_for_a_signal()", signal.SIGTERM, 128 + signal.SIGTERM),
        ("wait_for_a_signal()", signal.SIGINT, -signal.SIGINT),
    ],
)
def test_the_end_of_a_lab_ends_all_that_it_started(
    then: str, number: signal.Signals | None, status: int
) -> None:
    lab, pids, directory = start_waiting_lab(then)
    if number is not None:
        assert all(is_running(pid) for pid in pids)
        lab.send_signal(number)
    lab.communicate(timeout=60)
    assert lab.returncode == status
    assert not [pid for pid in pids if is_running(pid)]
    assert not directory.exists()


def test_a_killed_lab_takes_its_foreground_programs_with_it() -> None:
    lab, (holder, wireguard_go, front, back), directory = start_waiting_lab("wait_for_a_signal()")
    lab.kill()
    lab.communicate(timeout=60)
    gone = [holder, wireguard_go, front]
    wait_until(lambda: not any(map(is_running, gone)), what="the end of a killed lab's programs")
    os.kill(back, signal.SIGKILL)  # what went into the background is beyond anyone's reach
    shutil.rmtree(directory)

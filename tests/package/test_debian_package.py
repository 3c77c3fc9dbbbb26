"""The Debian package in a clean Debian 12: installed, used by the words of the guide, purged."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.debian_package import build
from tools.debian_root import Root, fresh_root
from tools.netlab import Host, Lab, generate_keys, wait_until
from tools.repository import ROOT

GUIDE = ROOT / "docs/operations.md"
SECTION = "## From the package to a laptop online"
LAB = ("wireguard-go", "iputils-ping")
"""Not the package's: a kernel without WireGuard needs the first, the tests the second."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HUB4 = "10.44.0.1"

# $1: the installed root, $2: an empty directory. A root of this host's own over it.
ROOT_OF_ITS_OWN = """
set -e
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
mount -t proc proc "$2/root/proc"
mount --rbind /sys "$2/root/sys"
mount --rbind /dev "$2/root/dev"
mount -t tmpfs tmpfs "$2/root/run"
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as CI builds it."""
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def root(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """A Debian with the package in it, installed as the guide says."""
    with fresh_root(tmp_path_factory.mktemp("debian") / "root") as made:
        made.run("apt-get", "-qq", "update")
        (made.path / "root" / package.name).write_bytes(package.read_bytes())
        said = in_shell(made, f"cd /root; {guide()[0][1]} -y")
        assert "wg-dynamic" in said
        made.run("apt-get", "-qq", "install", "-y", "--no-install-recommends", *LAB)
        yield made


def in_shell(root: Root, text: str) -> str:
    return root.run("sh", "-c", text).stdout


def guide() -> list[tuple[str, str]]:
    """The commands of the guide: on which machine, and what is typed."""
    section = GUIDE.read_text("utf-8").split(f"{SECTION}\n")[1].split("\n## ")[0]
    typed = re.findall(r"^(hub|laptop)# (.*)$", section, re.M)
    assert len(typed) == 5
    return typed


def guide_file(name: str) -> str:
    """A file that the guide shows."""
    section = GUIDE.read_text("utf-8").split(f"{SECTION}\n")[1].split("\n## ")[0]
    found = re.search(rf"```ini\n# {name}\n(.*?)```", section, re.S)
    assert found
    return found[1]


class Machine:
    """A host whose root is one that the package was installed into."""

    def __init__(self, host: Host, root: Root, place: Path) -> None:
        self.host = host
        self.root = place / "root"
        place.mkdir()
        host.run(["sh", "-c", ROOT_OF_ITS_OWN, "overlay", str(root.path), str(place)])

    def try_shell(self, text: str) -> "subprocess.CompletedProcess[str]":
        command = ["chroot", str(self.root), "sh", "-c", text]
        return self.host.run(command, check=False, env={"PATH": PATH, "HOME": "/root"})

    def shell(self, text: str) -> str:
        done = self.try_shell(text)
        assert done.returncode == 0, f"{text}: {done.stdout}{done.stderr}"
        return done.stdout

    def write(self, name: str, text: str) -> None:
        quoted = text.replace("'", "'\\''")
        self.shell(f"umask 077; mkdir -p $(dirname {name}); printf %s '{quoted}' >{name}")


def test_lintian_finds_no_error(package: Path) -> None:
    command = ["lintian", "--fail-on", "error", "--allow-root", str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_same_tree_gives_the_same_package(package: Path, tmp_path: Path) -> None:
    assert build(tmp_path).read_bytes() == package.read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "wg-dynamic",
        "wg-dynamic-server",
        "wg-dynamic-client",
        "wg-dynamic-quick",
        "wg-dynamic-watch",
    ],
)
def test_the_commands_run(root: Root, name: str) -> None:
    assert in_shell(root, f"{name} --version").startswith(f"{name} ")


def test_programs_see_nothing_of_who_runs_them(root: Root) -> None:
    """-I: neither PYTHONPATH nor the directory that somebody stands in is searched for modules."""
    planted = (
        "mkdir -p /tmp/p/wg_dynamic; echo 'raise SystemExit(9)' >/tmp/p/wg_dynamic/__init__.py"
    )
    assert in_shell(root, f"{planted}; cd /tmp/p; PYTHONPATH=/tmp/p wg-dynamic --version")
    for name in ("wg-dynamic", "wg-dynamic-server", "wg-dynamic-client", "wg-dynamic-watch"):
        assert in_shell(root, f"head -n1 $(command -v {name})") == "#!/usr/bin/python3 -I\n"


def test_accounts_directories_and_units_are_there(root: Root) -> None:
    assert in_shell(root, "getent passwd wg-dynamic; getent group wg-dynamic-admin")
    owned = in_shell(root, "stat -c '%U:%G %a %n' /var/lib/wg-dynamic* /etc/wg-dynamic")
    assert owned.splitlines() == [
        "wg-dynamic:wg-dynamic 700 /var/lib/wg-dynamic",
        "root:root 700 /var/lib/wg-dynamic-ledger",
        "root:root 755 /etc/wg-dynamic",
    ]
    units = [f"wg-dynamic-{name}@.service" for name in ("client", "quick", "server", "watch")]
    assert in_shell(root, "cd /usr/lib/systemd/system; ls wg-dynamic*").split() == units
    named = re.findall(
        r"^Exec\w+=(/usr/\S+)", in_shell(root, "cat /usr/lib/systemd/system/wg-dyn*"), re.M
    )
    assert named
    for program in named:
        in_shell(root, f"test -x {program}")


def test_bash_completes_the_command(root: Root) -> None:
    script = "/usr/share/bash-completion/completions/wg-dynamic"
    asked = "COMP_WORDS=(wg-dynamic lease rev); COMP_CWORD=2; _wg_dynamic; echo $COMPREPLY"
    assert in_shell(root, f"bash -c '. {script}; {asked}'") == "revoke\n"


def test_modules_are_compiled(root: Root) -> None:
    modules = "/usr/lib/python3/dist-packages/wg_dynamic"
    written = in_shell(root, f"find {modules} -name '*.py' | wc -l")
    assert in_shell(root, f"find {modules} -name '*.pyc' | wc -l") == written
    assert int(written) > 100


def test_every_file_is_as_it_was_packed(root: Root) -> None:
    assert in_shell(root, "dpkg --verify wg-dynamic") == ""


def test_the_five_commands_of_the_guide_bring_a_laptop_online(root: Root, tmp_path: Path) -> None:
    typed = guide()
    assert typed[0][1].startswith("apt install ./wg-dynamic_")
    with Lab() as lab:
        hub = Machine(lab.host("hub"), root, tmp_path / "hub")
        laptop = Machine(lab.host("laptop"), root, tmp_path / "laptop")
        private = generate_keys().private
        hub.write("/etc/wireguard/wg0.conf", guide_file("hub").replace("HUB_PRIVATE_KEY", private))
        addresses = f"{hub.host.address} hub.example.org\n"
        hub.write("/etc/hosts", addresses)
        laptop.write("/etc/hosts", addresses)
        for machine, command in typed[1:]:
            here = {"hub": hub, "laptop": laptop}[machine]
            if here is laptop:  # carried over, as the guide says
                laptop.write("/etc/wireguard/wg0.conf", hub.shell("cat laptop.conf"))
            here.shell(command)

        def leased() -> str:
            found = re.search(
                r"inet (10\.44\.0\.\d+)/32", laptop.shell("ip -4 address show dev wg0")
            )
            return found[1] if found else ""

        wait_until(lambda: bool(leased()), timeout=20, what="a leased address")
        assert laptop.shell(f"ping -c1 -W9 -I {leased()} {HUB4}")
        assert leased() in hub.shell("wg-dynamic peer list")
        laptop.shell("wg-dynamic-quick down wg0")
        hub.shell("wg-dynamic-server --stop wg0; wg-quick down wg0")


def test_installing_again_is_an_upgrade(root: Root, package: Path) -> None:
    said = in_shell(root, f"dpkg -i /root/{package.name}")
    assert "Setting up wg-dynamic" in said
    test_modules_are_compiled(root)


def test_removing_leaves_leases_and_purging_leaves_nothing(root: Root) -> None:
    """The last of this file: the package is gone then."""
    in_shell(root, "touch /var/lib/wg-dynamic/wg0.sqlite /etc/wg-dynamic/wg0.peers.toml")
    in_shell(root, "touch /etc/wg-dynamic/somebody-elses")
    root.run("apt-get", "-qq", "remove", "-y", "wg-dynamic")
    assert in_shell(root, "ls /var/lib/wg-dynamic") == "wg0.sqlite\n"
    assert in_shell(root, "getent passwd wg-dynamic")
    assert not (root.path / "usr/lib/python3/dist-packages/wg_dynamic").exists()
    root.run("apt-get", "-qq", "purge", "-y", "wg-dynamic")
    assert in_shell(root, "ls /etc/wg-dynamic") == "somebody-elses\n"
    in_shell(root, "rm -r /etc/wg-dynamic")
    searched = "find / -xdev -path /proc -prune -o -path /root -prune -o -path /tmp -prune -o"
    left = in_shell(root, f"{searched} \\( -name '*wg-dynamic*' -o -name '*wg_dynamic*' \\) -print")
    assert [name for name in left.split() if "/var/log/" not in name] == []
    for database in ("passwd", "group", "shadow", "gshadow"):
        assert "wg-dynamic" not in (root.path / "etc" / database).read_text()

"""What wg-dynamic-quick makes of a file, as a wg-quick sees it that only records what it is given.

The real one is in test_quick.py; here are the many forms of a file.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import wg_dynamic
from tools.netlab import Host, Lab
from tools.repository import ROOT

ETC = "/etc/wireguard"
QUICK = "/run/wg-dynamic/quick"
RECORDER = """#!/bin/bash
printf '%s\\n' "$@" >/run/arguments
umask >/run/umask
[ -e "$2" ] && cp "$2" /run/seen
case $1 in
up) ip link add "$(basename "$2" .conf)" type bridge ;;
down) ip link delete "$(basename "$2" .conf)" ;;
esac
exit "${RECORDER_STATUS:-0}"
"""
START = "PostUp = wg-dynamic-client %i"
STOP = "PreDown = wg-dynamic-client --stop %i || true"
SAVE = "PreDown = wg-dynamic-quick save-before-down %i"
LONGEST = "a" * 15


class Desk:
    """A host with the recorder in the place of wg-quick."""

    def __init__(self, host: Host) -> None:
        self.host = host
        host.run(["mkdir", "-p", "/run/bin"])
        self.write("/run/bin/wg-quick", RECORDER, 0o755)

    def write(self, path: str, text: str, mode: int = 0o600) -> Path:
        there = self.host.path(path)
        there.write_bytes(text.encode())
        there.chmod(mode)
        return there

    def quick(self, *words: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
        self.host.run(["rm", "-f", "/run/arguments", "/run/seen"])
        path = f"/run/bin:{Path(self.host.python()[0]).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
        env = {"PATH": path, "RECORDER_STATUS": str(status)}
        return self.host.run(["wg-dynamic-quick", *words], check=False, env=env)

    def given(self) -> list[str]:
        """The arguments that wg-quick got."""
        path = self.host.path("/run/arguments")
        return path.read_text().splitlines() if path.exists() else []

    def seen(self) -> str:
        """The configuration that wg-quick got, without its first line if that is ours."""
        text = self.host.path("/run/seen").read_bytes().decode()
        return text.partition("\n")[2] if text.startswith("# Made by") else text

    def rewritten(self, text: str) -> str:
        self.write(f"{ETC}/wg0.conf", text)
        done = self.quick("up", "wg0")
        assert done.returncode == 0, done.stderr
        seen = self.seen()
        assert self.quick("down", "wg0").returncode == 0
        assert self.host.path(f"{ETC}/wg0.conf").read_bytes().decode() == text
        return seen


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with Lab() as lab:
        yield Desk(lab.host("desk", private=(ETC, "/run")))


HOOKS = f"{START}\n{STOP}\n"


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("Address = fe80::1/128, auto\n", "Address = fe80::1/128\n"),
        ("Address = auto, fe80::1/128\n", "Address = fe80::1/128\n"),
        ("Address = auto fe80::1 10.0.0.1/8\n", "Address = fe80::1, 10.0.0.1/8\n"),
        ("Address = fe80::1/128,auto,10.0.0.1/8\n", "Address = fe80::1/128, 10.0.0.1/8\n"),
        ("  aDDress=FE80::1/128 ,\tAuto ,\n", "  aDDress=FE80::1/128\n"),
        ("Address = fe80::1/128, auto  # why\n", "Address = fe80::1/128  # why\n"),
        ("Address = fe80::1/128, auto\r\n", "Address = fe80::1/128\r\n"),
        ("Address = auto\nAddress = fe80::1/128\n", "Address = fe80::1/128\n"),
        ("Address = febf::1/128\nAddress = auto # x\n", "Address = febf::1/128\n"),
        (
            "Address = fe80::1\n# Address = auto\nAddress=auto,auto\n",
            "Address = fe80::1\n# Address = auto\n",
        ),
    ],
)
def test_the_word_goes_and_nothing_else(desk: Desk, line: str, left: str) -> None:
    rest = "ListenPort = 1 # Address = 7\n\n# [Peer]\n[Peer]\nAllowedIPs = ::/0, fe80::/128\n"
    assert desk.rewritten(f"# mine\n[Interface]\n{line}{rest}") == (
        f"# mine\n[Interface]\n{HOOKS}{left}{rest}"
    )


def test_hooks_stand_before_the_user_s_and_after_them(desk: Desk) -> None:
    given = """[Peer]
AllowedIPs = fe80::/128
[interface]
PostUp = one
predown = two
PostDown = three
Address = fe80::1/128, auto
[Peer]
PreDown = not one of them
[Interface] # more of it
PreDown = four
PostUp = five
PreUp = six"""
    made = given.replace(", auto", "").replace("[interface]\n", f"[interface]\n{START}\n")
    assert desk.rewritten(given) == made.replace("four\n", f"four\n{STOP}\n") + "\n"


def test_the_user_s_own_start_of_the_client_counts(desk: Desk) -> None:
    given = "[Interface]\nAddress = fe80::1/128, auto\nPostUp = wg-dynamic-client --wait 1 %i\n"
    made = given.replace(", auto", "").replace("]\n", f"]\n{STOP}\n")
    assert desk.rewritten(given) == made
    given += "PreDown = wg-dynamic-client --stop %i\n"
    assert desk.rewritten(given) == given.replace(", auto", "")


@pytest.mark.parametrize(
    ("lines", "saves"),
    [
        ("SaveConfig = true\n", True),
        ("saveconfig = TRUE # yes\n", True),
        ("SaveConfig = true\nSaveConfig = false\n", False),
        ("SaveConfig = false\n", False),
    ],
)
def test_saving_is_ours_to_do(desk: Desk, lines: str, *, saves: bool) -> None:
    given = f"[Interface]\n{lines}Address = fe80::1/128, auto\n"
    save = f"{SAVE}\n" if saves else ""
    assert desk.rewritten(given) == f"[Interface]\n{HOOKS}{save}Address = fe80::1/128\n"


def test_what_is_no_truth_is_left_to_wg_quick(desk: Desk) -> None:
    given = "[Interface]\nSaveConfig = maybe\nAddress = fe80::1/128, auto\n"
    assert "SaveConfig = maybe\n" in desk.rewritten(given)


@pytest.mark.parametrize(
    "text",
    [
        "[Interface]\nAddress = 10.0.0.1/8\nTable = auto\n",
        "[Interface]\n# Address = auto\nAddress = fe80::1/128 # auto\n",
        "[Interface]\nPostUp = echo auto\nDNS = auto\n",
        "[Interface]\n[Peer]\nDescription = x\n",
        "",
    ],
)
def test_without_the_word_wg_quick_runs_untouched(desk: Desk, text: str) -> None:
    desk.write(f"{ETC}/wg9.conf", text)
    for verb in ("up", "save", "strip", "down"):
        done = desk.quick(verb, "wg9", status=5)
        assert (done.returncode, done.stdout, done.stderr) == (5, "", "")
        assert desk.given() == [verb, "wg9"]
        assert desk.host.path("/run/umask").read_text() == "0022\n"


def test_strip_is_wg_quick_s_also_with_the_word(desk: Desk) -> None:
    path = f"{ETC}/wg0.conf"
    desk.write(path, "[Interface]\nAddress = fe80::1/128, auto\n")
    assert desk.quick("strip", path).returncode == 0
    assert desk.given() == ["strip", path]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            "Address = auto",
            "line 2: 'auto' needs a link-local address of length 128, found 'no add",
        ),
        ("Address = 10.0.0.1/8, auto", "found '10.0.0.1/8', expected the one that the server has"),
        ("Address = fe80::1/64, auto", "found 'fe80::1/64'"),
        ("Address = fec0::1/128, auto", "found 'fec0::1/128'"),
        ("Address = fe80::1/128, atuo", "line 2: 'atuo' is no address, expected addresses and the"),
        ("Address = fe80::1/128, auto;", "'auto;' is no address"),
        ('Address = fe80::1/128, "auto"', "'\"auto\"' is no address"),
        ("Address = fe80::1/128, auto/128", "'auto/128' is no address"),
        ("Address = fe80::1/128, dhcp", "'dhcp' is no address"),
        ("Addresses = fe80::1/128, auto", "line 2: 'auto' in 'Addresses = fe80::1/128, auto', exp"),
        ("Address fe80::1/128, auto", "'auto' in 'Address fe80::1/128, auto'"),
        ("Address = fe80::1/128,\n  auto", "line 3: 'auto' in '  auto', expected among the addr"),
        ("[Peer]\nAddress = fe80::1/128, auto", "line 3: 'auto' among the addresses of another s"),
        ("[Peer]\nAllowedIPs = auto", "line 3: 'auto' in 'AllowedIPs = auto'"),
    ],
)
def test_a_slip_is_told_with_its_line_and_what_to_write(desk: Desk, lines: str, said: str) -> None:
    desk.write(f"{ETC}/wg0.conf", f"[Interface]\n{lines}\n")
    done = desk.quick("up", "wg0")
    assert done.returncode == 1
    assert done.stderr.startswith(f"wg-dynamic-quick: {ETC}/wg0.conf, line ")
    assert said in done.stderr
    assert "Address = fe80::1/128, auto" in done.stderr or "[Interface]" in done.stderr
    assert desk.given() == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a" * 16, f"'{'a' * 16}' names no configuration: expected an interface name of 1 to 15"),
        ("/run/wg0.txt", "'/run/wg0.txt' names no configuration"),
        (f"/run/{'a' * 16}.conf", "names no configuration"),
        ("a b", "'a b' names no configuration"),
        ("nothing", f"no configuration for nothing: expected a file that can be read, '{ETC}/n"),
        ("/etc/nothing.conf", "no configuration for nothing"),
        (ETC, "names no configuration"),
    ],
)
def test_a_name_that_is_none_is_told(desk: Desk, name: str, said: str) -> None:
    done = desk.quick("up", name)
    assert done.returncode == 1
    assert said in done.stderr
    assert desk.given() == []


def test_the_longest_name_and_odd_paths_do(desk: Desk) -> None:
    for path in (f"/run/{LONGEST}.conf", "/run/it's $(odd) %i &/wg=1.conf", "/run/link/wg-5.conf"):
        there = desk.host.path(path)
        there.parent.mkdir(exist_ok=True)
        if "link" in path:
            there.symlink_to("/etc/wireguard/wg0.conf")
            path_made = "/etc/wireguard/wg0.conf"
        else:
            path_made = path
        desk.write(path_made, "[Interface]\nAddress = fe80::1/128, auto\nSaveConfig = true\n")
        done = desk.quick("up", path)
        assert done.returncode == 0, done.stderr
        (made,) = desk.host.path(QUICK).glob(f"*/{there.name}")
        assert made.read_text().splitlines()[-1] == "Address = fe80::1/128"
        assert made.with_suffix(".source").read_text() == f"{path_made}\n"
        assert desk.quick("down", path).returncode == 0
        assert not made.exists()


def test_links_in_the_way_are_replaced_or_refused_never_followed(desk: Desk) -> None:
    desk.write(f"{ETC}/wg0.conf", "[Interface]\nAddress = fe80::1/128, auto\n")
    victim = desk.write("/run/victim", "untouched")
    assert desk.quick("up", "wg0").returncode == 0
    assert desk.quick("down", "wg0").returncode == 0
    (directory,) = desk.host.path(QUICK).iterdir()
    for name in ("wg0.conf", "wg0.conf.new", "wg0.source", "wg0.source.new", "wg0.ifindex"):
        (directory / name).symlink_to("/run/victim")
    assert desk.quick("up", "wg0").returncode == 0
    assert not (directory / "wg0.conf").is_symlink()
    assert desk.quick("down", "wg0").returncode == 0
    assert victim.read_text() == "untouched"
    desk.host.run(["sh", "-c", f"mv {QUICK} /run/aside && ln -s /run/aside {QUICK}"])
    done = desk.quick("up", "wg0")
    assert done.returncode == 1
    assert f"'{QUICK}' cannot be made, or is no directory of root" in done.stderr
    desk.host.run(["sh", "-c", f"rm {QUICK} && mv /run/aside {QUICK}"])


def test_a_file_that_others_can_read_is_told(desk: Desk) -> None:
    desk.write(f"{ETC}/wg0.conf", "[Interface]\nAddress = fe80::1/128, auto\n", 0o644)
    done = desk.quick("up", "wg0")
    assert done.returncode == 0
    assert f"warning: '{ETC}/wg0.conf' is world accessible" in done.stderr
    assert desk.quick("down", "wg0").returncode == 0


def test_status_of_wg_quick_is_ours(desk: Desk) -> None:
    desk.write(f"{ETC}/wg0.conf", "[Interface]\nAddress = fe80::1/128, auto\n")
    assert desk.quick("up", "wg0", status=42).returncode == 42
    assert desk.quick("down", "wg0", status=43).returncode == 43


def test_help_version_and_what_is_neither(desk: Desk) -> None:
    shown = desk.quick("--help")
    assert shown.returncode == 0
    assert "Address = fe80::1/128, auto" in shown.stdout
    version = desk.quick("--version")
    assert version.stdout == f"wg-dynamic-quick {wg_dynamic.__version__}\n"
    for words in ((), ("up",), ("up", "wg0", "wg1"), ("restart", "wg0")):
        wrong = desk.quick(*words)
        assert (wrong.returncode, wrong.stdout) == (1, "")
        assert wrong.stderr.startswith("Usage: wg-dynamic-quick up|down|save|strip|reload")
    assert desk.given() == []


def test_a_link_to_us_by_the_name_of_wg_quick_does_not_run_in_circles(desk: Desk) -> None:
    desk.write(f"{ETC}/wg9.conf", "[Interface]\n")
    link = 'mkdir -p /run/first && ln -sf "$(command -v wg-dynamic-quick)" /run/first/wg-quick'
    desk.host.run(["sh", "-c", link])
    done = desk.host.run(
        ["/run/first/wg-quick", "up", "wg9"],
        env={"PATH": "/run/first:/run/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert desk.given() == ["up", "wg9"]
    desk.host.ip("link delete wg9")


def test_the_units_are_debian_s_with_our_command() -> None:
    """But for the programs, which systemd looks up itself, wherever they are installed."""
    stock = Path("/lib/systemd/system/wg-quick@.service").read_text()
    unit = (ROOT / "packaging/systemd/wg-dynamic-quick@.service").read_text()
    drop_in = (ROOT / "packaging/systemd/wg-quick-auto.conf").read_text()

    def service(text: str) -> list[str]:
        lines = text.partition("[Service]\n")[2].partition("\n[")[0].splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    expected = [
        "ExecReload=wg-dynamic-quick reload %i"  # the stock one would take off what is leased
        if line.startswith("ExecReload=")
        else line.replace("/usr/bin/wg-quick", "wg-dynamic-quick")
        for line in service(stock)
    ]
    assert service(unit) == expected
    commands = [line for line in expected if line.startswith("Exec")]
    assert service(drop_in) == [
        each for line in commands for each in (line.partition("=")[0] + "=", line)
    ]

"""Becoming the service account for good, in a process of its own."""

import subprocess
import sys
from pathlib import Path

from tools.processes import environment

DROP = """
import os, resource, sys
from pathlib import Path
from wg_dynamic.errors import PrivilegeError
from wg_dynamic.system import libc
from wg_dynamic.system.privileges import Account, drop_privileges, limit_helper
os.setgroups([4, 24])
def drop(uid, gid):
    try:
        return drop_privileges(Account(uid, gid))
    except PrivilegeError as error:
        print("PrivilegeError", error)
        sys.exit()
"""


def run(script: str, *prefix: str) -> str:
    done = subprocess.run(
        [*prefix, sys.executable, "-c", DROP + script],
        env=environment(),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_is_dropped_is_gone() -> None:
    script = """
lacks = drop(60970, 60971)
fields = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(fields["Uid"].split(), fields["Gid"].split(), fields["Groups"].split())
print(*[int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapBnd", "CapAmb")])
print(fields["NoNewPrivs"], oct(os.umask(0)), lacks)
print(bin(libc.prctl(27)), libc.prctl(3), resource.getrlimit(resource.RLIMIT_CORE))
print(sorted(os.listdir("/sys/class/net")) and Path("/proc/self/net/dev").read_text().count(":"))
for attempt in (
    lambda: os.setresuid(0, 0, 0),
    lambda: os.setresuid(-1, 0, -1),
    lambda: os.setresgid(0, 0, 0),
    lambda: os.setgroups([0]),
    lambda: os.kill(1, 0),
    lambda: os.open("/etc/shadow", os.O_RDONLY),
):
    try:
        attempt()
    except PermissionError:
        continue
    print("could")
"""
    assert run(script).splitlines() == [
        f"{['60970'] * 4} {['60971'] * 4} []",
        "0 0 0 0 0",
        "1 0o77 []",
        "0b11101011 0 (0, 0)",  # securebits, not dumpable, no core
        "1",  # the loopback of a network namespace where there is nothing else
    ]


def test_root_is_no_account_to_drop_to() -> None:
    assert run("drop(0, 0)") == "PrivilegeError root can be regained after dropping it"


def test_who_is_not_root_cannot_become_another() -> None:
    said = run("os.setresuid(60970, 60970, 60970); drop(60971, 60971)")
    assert said.startswith("PrivilegeError cannot become user 60971, group 60971")


def test_capabilities_that_would_outlive_root_do_not() -> None:
    """Started with the securebit that keeps them over a change of user (capabilities(7))."""
    script = "print(drop(60970, 60970), Path('/proc/self/status').read_text())"
    said = run(script, "setpriv", "--securebits", "+no_setuid_fixup")
    assert "CapPrm:\t0000000000000000" in said
    assert said.startswith("[] ")
    said = run(script, *KEEPING_CAPABILITIES)
    assert "CapPrm:\t0000000000000000" in said
    assert said.startswith("['locked securebits (Operation not permitted)'] ")


def test_root_that_can_be_regained_is_noticed() -> None:
    said = run("libc.capset = lambda *_: None; drop(60970, 60970)", *KEEPING_CAPABILITIES)
    assert said == "PrivilegeError root can be regained after dropping it"


KEEPING_CAPABILITIES = ("setpriv", "--securebits", "+no_setuid_fixup,+no_setuid_fixup_locked")


def test_without_no_new_privs_nothing_goes_on() -> None:
    script = """
real = libc.prctl
def prctl(option, *words):
    if option == 38:
        raise OSError(22, "Invalid argument")
    return real(option, *words)
libc.prctl = prctl
drop(60970, 60970)
"""
    assert run(script) == "PrivilegeError cannot set no_new_privs: Invalid argument"


def test_what_cannot_be_dropped_is_told() -> None:
    """Root as in many a container: without CAP_SYS_ADMIN and CAP_SETPCAP."""
    without = ("setpriv", "--bounding-set", "-sys_admin,-setpcap")
    told = run("print(drop(60970, 60970))", *without)
    assert "an empty network namespace (Operation not permitted)" in told
    assert "an empty capability bounding set (Operation not permitted)" in told
    assert "locked securebits (Operation not permitted)" in told
    told = run("print(limit_helper(), Path('/proc/self/status').read_text())", *without)
    assert told.startswith("['a small capability bounding set (Operation not permitted)']")
    assert "CapEff:\t0000000000001425" in told, "what it holds is small all the same"


def test_the_helper_keeps_little_and_gives_its_network_process_what_it_drops_with() -> None:
    script = """
print(limit_helper(), resource.getrlimit(resource.RLIMIT_CORE), flush=True)
for path in ("/proc/self/status",):
    print(*[line for line in Path(path).read_text().splitlines() if line.startswith("Cap")])
sys.stdout.flush()
os.execv("/bin/grep", ["grep", "CapEff", "/proc/self/status"])
"""
    limited, own, executed = run(script).splitlines()
    assert limited == "[] (0, 0)"
    assert own.split() == [
        *("CapInh:", "0000000000000000"),
        *(
            "CapPrm:",
            "0000000000001425",
        ),  # CHOWN, DAC_READ_SEARCH, KILL, NET_BIND_SERVICE, NET_ADMIN
        *("CapEff:", "0000000000001425"),
        *("CapBnd:", "00000000002015e5"),  # and SETGID, SETUID, SETPCAP, SYS_ADMIN
        *("CapAmb:", "0000000000000000"),
    ]
    assert executed.split() == ["CapEff:", "00000000002015e5"]


def test_under_no_new_privs_the_network_process_can_still_drop_all() -> None:
    """systemd's units have NoNewPrivileges=: there root gains nothing by executing."""
    script = """
print(limit_helper(), flush=True)
print(*[line for line in Path("/proc/self/status").read_text().splitlines() if "CapEff" in line])
sys.stdout.flush()
os.execv("/bin/grep", ["grep", "CapEff", "/proc/self/status"])
"""
    limited, own, executed = run(script, "setpriv", "--no-new-privs").splitlines()
    assert limited == "[]"
    assert own.split() == ["CapEff:", "0000000000001425"]
    assert executed.split() == ["CapEff:", "00000000002015e5"]


def test_the_helper_can_still_prepare_the_database_s_directory(tmp_path: Path) -> None:
    """At each start: when it is missing, the account's already, or open to others."""
    root = tmp_path / "wg-dynamic"
    script = f"""
from wg_dynamic.helper.state import prepare_state_directory
limit_helper()
root = Path({str(root)!r})
for mode in (None, None, 0o777):
    if mode is not None:
        import subprocess
        subprocess.run(["setpriv", "--reuid=60970", "--clear-groups", "chmod", "777", "."],
                       cwd=root, check=True)
    prepare_state_directory(root / "wg0.sqlite", root, Account(60970, 60971))
    there = root.stat()
    print(oct(there.st_mode & 0o777), there.st_uid, there.st_gid)
"""
    assert run(script).splitlines() == ["0o700 60970 60971"] * 3

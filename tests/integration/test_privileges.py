"""Becoming the service account for good, in a process of its own."""

import subprocess
import sys

from tools.processes import environment

DROP = """
import os, sys
from pathlib import Path
from wg_dynamic.errors import PrivilegeError
from wg_dynamic.system.privileges import Account, drop_privileges
os.setgroups([4, 24])
def drop(uid, gid):
    try:
        drop_privileges(Account(uid, gid))
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
drop(60970, 60971)
fields = dict(line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(fields["Uid"].split(), fields["Gid"].split(), fields["Groups"].split())
print(*[int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")])
print(fields["NoNewPrivs"], oct(os.umask(0)))
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
        "0 0 0 0",
        "1 0o77",
    ]


def test_root_is_no_account_to_drop_to() -> None:
    assert run("drop(0, 0)") == "PrivilegeError root can be regained after dropping it"


def test_who_is_not_root_cannot_become_another() -> None:
    said = run("os.setresuid(60970, 60970, 60970); drop(60971, 60971)")
    assert said.startswith("PrivilegeError cannot become user 60971, group 60971")


def test_capabilities_that_outlive_root_are_noticed() -> None:
    """Started with the securebit that keeps them over a change of user (capabilities(7))."""
    said = run("drop(60970, 60970)", "setpriv", "--securebits", "+no_setuid_fixup")
    assert said == "PrivilegeError root can be regained after dropping it"


def test_without_no_new_privs_nothing_goes_on() -> None:
    script = """
import ctypes
class Refusing:
    def prctl(self, *_): return -1
ctypes.CDLL = lambda _: Refusing()
drop(60970, 60970)
"""
    assert run(script) == "PrivilegeError cannot set no_new_privs"

"""A guest keeps what it promises: tests inside may trust it, and so may who reads its status.

A start takes seconds, so a test looks at several things of one guest.
"""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools.guest import DIED, TIMED_OUT
from tools.processes import wait_until

REPOSITORY = Path(__file__).parents[2]
NOBODY = 65534

# What the netns tests need of a kernel.
USES_THE_KERNEL = """
set -e
ip link add wg0 type wireguard
ip link add veth0 type veth peer name veth1
tc qdisc add dev veth0 root netem delay 1ms
nft add table inet filter
nft add chain inet filter forward '{ type filter hook forward priority 0; }'
unshare --net --mount ip link add wg0 type wireguard
test -c /dev/net/tun
uname -r
"""


def command_line(*arguments: str, kernel: str = "6.1") -> list[str]:
    return [sys.executable, "-m", "tools.guest", "--kernel", kernel, *arguments]


def guest(
    script: str, *options: str, kernel: str = "6.1", timeout: float = 120
) -> "subprocess.CompletedProcess[str]":
    """Run a shell script in a guest."""
    return subprocess.run(
        command_line(*options, f"--timeout={timeout}", "--", "sh", "-c", script, kernel=kernel),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("kernel", "series"), [("6.1", "6.1."), ("newest", "6.")])
def test_each_kernel_has_what_the_tests_need(kernel: str, series: str) -> None:
    done = guest(USES_THE_KERNEL, kernel=kernel)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(series)
    assert done.stderr == ""


def test_the_command_is_run_here_and_its_status_and_streams_are_passed_on() -> None:
    script = """
    pwd
    test "$GIVEN" = 'two words' && test "$WG_DYNAMIC_GUEST" = 6.1 && test -z "$NOT_GIVEN"
    echo "right: $?" >/dev/stderr
    head -c 5000000 /dev/zero | tr '\\0' x
    echo end >&2
    exit 7
    """
    os.environ["NOT_GIVEN"] = "1"
    try:
        done = guest(script, "--env=GIVEN=two words")
    finally:
        del os.environ["NOT_GIVEN"]
    assert done.returncode == 7
    assert done.stdout == f"{REPOSITORY}\n" + "x" * 5_000_000
    assert done.stderr == "right: 0\nend\n"


def test_only_what_is_written_below_a_share_comes_back(tmp_path: Path) -> None:
    share, other = tmp_path / "a share", tmp_path / "other"
    share.mkdir(mode=0o1777)
    share.chmod(0o1777)
    other.mkdir()
    (share / "given").write_text("ours")
    script = f"""
    set -e
    cd {shlex.quote(str(share))}
    cat given
    mkdir made
    echo theirs >made/file
    setpriv --reuid={NOBODY} --clear-groups sh -c 'echo nobody >by-nobody'
    echo lost >{shlex.quote(str(other))}/file
    echo lost >{shlex.quote(str(REPOSITORY))}/lost
    """
    done = guest(script, f"--rw={share}")
    assert (done.returncode, done.stdout) == (0, "ours"), done.stderr
    assert (share / "made/file").read_text() == "theirs\n"
    assert (share / "by-nobody").stat().st_uid == NOBODY
    assert list(other.iterdir()) == []
    assert not (REPOSITORY / "lost").exists()


def test_a_guest_that_panics_fails_and_shows_its_console() -> None:
    # A second for the line to leave the guest: with it goes what is in its pipes.
    done = guest("echo before; sleep 1; echo c >/proc/sysrq-trigger; sleep 5; exit 0")
    assert done.returncode == DIED
    assert done.stdout == "before\n"
    assert "Kernel panic" in done.stderr
    assert "the guest died while the command ran" in done.stderr


def test_a_guest_that_just_ends_fails_too() -> None:
    done = guest("echo b >/proc/sysrq-trigger; sleep 5; exit 0")
    assert done.returncode == DIED
    assert "the guest died while the command ran" in done.stderr


def test_a_guest_that_hangs_is_ended_when_the_time_is_up() -> None:
    done = guest("echo '<1>this is the kernel' >/dev/kmsg; sleep 600", timeout=3)
    assert done.returncode == TIMED_OUT
    assert "this is the kernel" in done.stderr
    assert "the time was up while the command ran" in done.stderr


@pytest.mark.parametrize("kernel", ["6.1", "newest"])
def test_systemd_can_be_pid_1_and_runs_units(kernel: str) -> None:
    script = """
    cat /proc/1/comm
    systemd-run --quiet --wait --pipe --property=DynamicUser=yes sh -c 'test "$(id -u)" -ne 0'
    echo "unit: $?"
    systemd-run --quiet --wait sh -c 'exit 5'
    echo "unit: $?"
    exit 9
    """
    done = guest(script, "--systemd", kernel=kernel)
    assert (done.returncode, done.stdout) == (9, "systemd\nunit: 0\nunit: 5\n"), done.stderr


def test_a_guest_whose_unit_is_killed_fails() -> None:
    done = guest("systemctl kill --signal=SIGKILL guest.service; sleep 600", "--systemd")
    assert done.returncode == DIED
    assert "the guest died while the command ran" in done.stderr


def test_ending_the_harness_ends_the_machine() -> None:
    harness = subprocess.Popen(
        command_line("--", "sh", "-c", "echo here; sleep 600"),
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert harness.stdout is not None
    with harness.stdout:
        assert harness.stdout.readline() == "here\n"
        children = Path(f"/proc/{harness.pid}/task/{harness.pid}/children").read_text().split()
        assert len(children) == 1
        harness.send_signal(signal.SIGTERM)
        assert harness.wait(20) == 128 + signal.SIGTERM
    wait_until(lambda: not Path(f"/proc/{children[0]}").exists(), what="the end of QEMU")

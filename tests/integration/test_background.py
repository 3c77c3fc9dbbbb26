"""Going into the background, seen from the shell that waits."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tools.processes import environment, unmeasured, wait_until

PREAMBLE = """
import atexit, logging, os, select, signal, sys
from pathlib import Path
from wg_dynamic.system.background import go_to_background, redirect_stderr
atexit.register(lambda: print("atexit", os.getpid() == parent))
parent = os.getpid()
scratch = Path(sys.argv[1])
def background(daemon, wait=None):
    sys.exit(go_to_background(daemon, wait, "going on in the background"))
"""


def run(
    tmp_path: Path, script: str, env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + script, str(tmp_path)],
        env=env or environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_the_foreground_says_what_the_daemon_told_it(tmp_path: Path) -> None:
    script = """
def daemon(verdict):
    redirect_stderr(None)
    (scratch / "about").write_text(
        f"{os.getpid() == parent} {os.getsid(0) != os.getsid(parent)} {os.getpid() != os.getsid(0)}"
        f" {os.getcwd()} {os.readlink('/proc/self/fd/0')} {os.readlink('/proc/self/fd/1')}"
    )
    verdict.give(0, "wg0: leased 10.0.0.1")
    return 0
background(daemon)
"""
    done = run(tmp_path, script)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "wg0: leased 10.0.0.1\natexit True\n"  # the daemon's exit runs no handler
    assert (tmp_path / "about").read_text() == "False True True / /dev/null /dev/null"


def test_a_bad_verdict_goes_to_standard_error_with_its_status(tmp_path: Path) -> None:
    script = """
def daemon(verdict):
    redirect_stderr(None)
    verdict.give(3, "caf\\u00e9 " * 400)
    return 3
background(daemon)
"""
    done = run(tmp_path, script)
    assert done.returncode == 3
    assert done.stderr.startswith("café café")
    assert len(done.stderr) > 1900


def test_a_daemon_that_fails_is_reported_and_says_why_in_its_log(tmp_path: Path) -> None:
    script = """
def daemon(verdict):
    redirect_stderr(scratch / "log")
    logging.basicConfig(format="log: %(message)s")
    raise RuntimeError("unforeseen")
background(daemon)
"""
    done = run(tmp_path, script)
    assert done.returncode == 1
    assert done.stderr == "the daemon ended while starting: see its log\n"
    log = (tmp_path / "log").read_text()
    assert log.startswith("log: the daemon failed\nTraceback")
    assert log.endswith("RuntimeError: unforeseen\n")


def test_a_daemon_that_is_killed_is_reported(tmp_path: Path) -> None:
    script = "background(lambda verdict: os.kill(os.getpid(), signal.SIGKILL))"
    # Unmeasured: it would leave half a file of coverage data.
    env = unmeasured()
    done = run(tmp_path, script, env)
    assert done.returncode == 1
    assert "ended while starting" in done.stderr


def test_a_process_that_cannot_fork_again_does_not_go_on_as_the_foreground(tmp_path: Path) -> None:
    script = """
forks = []
fork = os.fork
def failing():
    if forks:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    forks.append(1)
    return fork()
os.fork = failing
background(lambda verdict: 0)
"""
    done = run(tmp_path, script)
    assert done.returncode == 1
    assert done.stdout == "atexit True\n"
    assert "Resource temporarily unavailable" in done.stderr


def test_the_foreground_does_not_wait_longer_than_it_was_told(tmp_path: Path) -> None:
    """The daemon goes on, and its late verdict is nobody's."""
    os.mkfifo(tmp_path / "go")
    script = """
def daemon(verdict):
    redirect_stderr(None)
    (scratch / "pid").write_text(str(os.getpid()))
    (scratch / "go").read_text()
    verdict.give(0, "too late")
    (scratch / "over").touch()
    return 0
background(daemon, 0.0)
"""
    done = run(tmp_path, script)
    assert (done.returncode, done.stdout) == (0, "going on in the background\natexit True\n")
    (tmp_path / "go").write_text("go")
    wait_until((tmp_path / "over").exists, what="the daemon's end")


def test_the_daemon_hears_signals_while_it_selects(tmp_path: Path) -> None:
    script = """
from wg_dynamic.system.background import signal_descriptor
def daemon(verdict):
    redirect_stderr(None)
    reader = signal_descriptor((signal.SIGTERM,))
    verdict.give(0, str(os.getpid()))
    select.select([reader], [], [])
    (scratch / "heard").write_bytes(os.read(reader, 64))
    return 0
background(daemon)
"""
    done = run(tmp_path, script)
    os.kill(int(done.stdout.split()[0]), signal.SIGTERM)
    heard = tmp_path / "heard"
    wait_until(lambda: heard.exists() and heard.read_bytes(), what="the signal")
    assert heard.read_bytes() == bytes([signal.SIGTERM])

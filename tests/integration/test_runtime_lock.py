"""One daemon for an interface, whoever races whom."""

import signal
import subprocess
import sys
from pathlib import Path

from tools.processes import unmeasured
from wg_dynamic.system.runtime import RuntimeDirectory

PREAMBLE = """
import os, sys
from pathlib import Path
from wg_dynamic.system.runtime import RuntimeDirectory
root = Path(sys.argv[1])
"""

# Inside the lock a file is made that must not be there: two at once would meet it.
RACE = (
    PREAMBLE
    + """
taken = 0
sys.stdin.readline()
while taken < 200:
    directory = RuntimeDirectory(7, root)
    if not directory.lock("racer"):
        continue
    os.close(os.open(root / "inside", os.O_CREAT | os.O_EXCL))
    taken += 1
    if taken % 3 == 0:
        directory.ledger.touch()
        directory.control.touch()
    os.unlink(root / "inside")
    directory.release()
"""
)

HOLD = (
    PREAMBLE
    + """
directory = RuntimeDirectory(7, root)
directory.take("holder")
print("taken", flush=True)
sys.stdin.readline()
"""
)


def start(script: str, root: Path) -> "subprocess.Popen[str]":
    # Unmeasured: one is killed, and would leave half a file of coverage data.
    return subprocess.Popen(
        [sys.executable, "-c", script, str(root)],
        env=unmeasured(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_racing_takers_and_releasers_are_never_inside_at_once(tmp_path: Path) -> None:
    racers = [start(RACE, tmp_path) for _ in range(4)]
    try:
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        for racer in racers:
            _, said = racer.communicate(timeout=60)
            assert (racer.returncode, said) == (0, "")
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_holds_no_more(tmp_path: Path) -> None:
    with start(HOLD, tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "taken\n"
        directory = RuntimeDirectory(7, tmp_path)
        assert not directory.lock("newcomer")
        assert directory.holder() == f"holder (PID {holder.pid})"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert directory.lock("newcomer")
        directory.release()
    assert list(tmp_path.iterdir()) == []

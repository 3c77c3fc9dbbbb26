"""What a result has to say about where it comes from."""

import json
import os
import platform
import shlex
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from tools.repository import ROOT

RESULTS = ROOT / "bench" / "results"


def origin() -> dict[str, object]:
    """Machine, versions, commit, command."""
    processors = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    module = sys.modules["__main__"].__spec__
    program = f"-m {module.name}" if module else sys.argv[0]
    return {
        "command": f"python {program} {shlex.join(sys.argv[1:])}".rstrip(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _output("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "processor": processors[0] if processors else platform.machine(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "wireguard-go": _output("wireguard-go", "--version").partition("\n")[0],
    }


def record(result: dict[str, object], path: Path) -> str:
    """Write a result where it is to stay, and return what was written."""
    text = json.dumps(result, indent=2)
    path.write_text(text + "\n")
    return text


def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()

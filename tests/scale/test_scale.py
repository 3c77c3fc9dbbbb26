"""A million leases fit. How fast they are, bench/scale.py measures; no test asserts it."""

import subprocess
import sys

from tools.processes import unmeasured
from tools.repository import ROOT

LEASES = 1_000_000
MOST_BYTES = 340
"""The aim is 300; what the allocator of memory makes of it differs a little between machines."""


def test_a_lease_among_a_million_takes_few_bytes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.scale.table", str(LEASES)],
        env=unmeasured(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < MOST_BYTES

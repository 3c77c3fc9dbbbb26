"""The ledger of a helper that was killed: what it said it would set is named."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools.processes import unmeasured
from wg_dynamic.privsep.ledger import ADDRESS, Ledger

# Says what it is about to set only after the ledger has it, as the helper sets it only then; and
# says that it took something off before it strikes it out.
COME_AND_GO = """
import sys
from pathlib import Path
from wg_dynamic.address import Prefix
from wg_dynamic.privsep import ledger as module
from wg_dynamic.privsep.ledger import ADDRESS, Entry, Ledger
module.SPARE_LINES = 5
ledger = Ledger(Path(sys.argv[1]))
print("open", flush=True)
n = 0
while True:
    n += 1
    entry = Entry(ADDRESS, Prefix(n.to_bytes(16, "big"), 128))
    ledger.add(entry)
    print(f"+{n}", flush=True)
    if n > 3:
        print(f"-{n - 3}", flush=True)
        ledger.remove(Entry(ADDRESS, Prefix((n - 3).to_bytes(16, "big"), 128)))
"""


@pytest.mark.parametrize("seed", range(8))
def test_after_a_kill_everything_that_was_set_is_named(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "ledger"
    with subprocess.Popen(
        [sys.executable, "-c", COME_AND_GO, str(path)],
        # Unmeasured: it would leave half a file of coverage data.
        env=unmeasured(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        count = random.Random(seed).randrange(1, 300)  # noqa: S311 - when to kill
        lines = [process.stdout.readline() for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().split("\n")[:-1]
    there: set[int] = set()
    for line in lines:
        (there.add if line[0] == "+" else there.discard)(int(line[1:]))
    ledger = Ledger(path)
    named = {int.from_bytes(entry.prefix.packed, "big") for entry in ledger.entries(ADDRESS)}
    ledger.close()
    assert there <= named
    assert len(named - there) <= 2  # one that was about to be set, one not struck out yet
    assert ledger.damaged == []
    assert [file.name for file in tmp_path.iterdir()] == ["ledger"]

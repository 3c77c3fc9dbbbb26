"""Fuzz all targets, or those that are named, for some seconds each.

    python -m fuzz.campaign --seconds 120 [--jobs 2] [--keep] [--record FILE] [TARGET…]

Any fault ends with exit status 1; the input that shows it is kept below .fuzz/, and what to do with
it is said (fuzz/README.md). Runs at the lowest priority but ten.
"""

import argparse
import hashlib
import os
import re
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bench.machine import origin, record
from fuzz.coverage_of import parser_coverage
from fuzz.examples import write_examples
from fuzz.target import CORPUS, FOUND, NAMES, examples, load
from tools.repository import ROOT

CRASHES: Final = ROOT / ".fuzz"
TIMEOUT: Final = 10
"""Seconds that one input may take; on an idle machine none takes a hundredth."""
MEMORY: Final = 512
"""Megabytes that a process may take, of which Python and the instrumented package take 60."""
_STOP: Final = 60
"""Seconds that a process gets beyond its time to begin and end."""
_LAST: Final = re.compile(r"^#\d+\s.*\bcov: (\d+) ft: (\d+)", re.M)
_STATISTIC: Final = re.compile(r"^stat::(\w+):\s+(\d+)$", re.M)
_SHOWN: Final = 4000
"""Characters of what a failed process said."""


class Run:
    """One target's run: its files, and what came of it."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.fault = ""
        """What was found wrong; empty when nothing was."""
        self.figures: dict[str, object] = {}
        self._target = load(name)
        self._units = directory / name
        self._units.mkdir()
        _fill(self._units, examples(name))
        self._dictionary = directory / f"{name}.dict"
        lines = [f'"{_escaped(word)}"\n' for word in dict.fromkeys(self._target.words()) if word]
        self._dictionary.write_text("".join(lines), "ascii")

    def fuzz(self, seconds: int, seed: int) -> None:
        """Run libFuzzer for so long."""
        CRASHES.mkdir(exist_ok=True)
        prefix = f"-artifact_prefix={CRASHES}/{self.name}-"
        limits = [f"-timeout={TIMEOUT}", f"-rss_limit_mb={MEMORY}", f"-seed={seed}", prefix]
        limits += [f"-max_len={self._target.MAX_SIZE}", f"-dict={self._dictionary}"]
        limits += [f"-max_total_time={seconds}", "-print_final_stats=1"]
        try:
            done = self._drive([*limits, str(self._units)], seconds + _STOP)
        except subprocess.TimeoutExpired:
            self.fault = f"had not ended {_STOP} s after its time"
            return
        if done.returncode:
            self.fault = f"exit status {done.returncode}\n{done.stdout[-_SHOWN:]}"
        self.figures = _figures(done.stdout)
        if not self.fault and not self.figures.get("executions"):
            self.fault = f"nothing was executed\n{done.stdout[-_SHOWN:]}"

    def measure(self) -> None:
        """How much of the parsers all that was found reaches."""
        self.figures["parsers"] = parser_coverage(self.name, self._units)

    def keep(self) -> None:
        """Leave the smallest set of inputs that reaches as much, less those that are there anyway.

        Raises RuntimeError when libFuzzer cannot.
        """
        merged = self._units.with_name(f"{self.name}.merged")
        merged.mkdir()
        done = self._drive(["-set_cover_merge=1", str(merged), str(self._units)], None)
        found = {path.read_bytes() for path in merged.iterdir()}
        if done.returncode or not found:
            raise RuntimeError(done.stdout[-_SHOWN:])
        comment = f"found by fuzzing {self.name}, made by: python -m fuzz.campaign --keep"
        write_examples(CORPUS / f"{self.name}.txt", found - set(self._target.seeds()), comment)

    def _drive(self, flags: list[str], limit: int | None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["nice", "-n", "10", sys.executable, "-m", "fuzz.driver", self.name, *flags],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )


def _fill(directory: Path, units: Iterable[bytes]) -> None:
    for unit in units:
        name = hashlib.sha256(unit).hexdigest()[:16]
        (directory / name).write_bytes(unit)


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{each:02x}" for each in word)


def _figures(output: str) -> dict[str, object]:
    """What libFuzzer says at its end."""
    said = {name: int(value) for name, value in _STATISTIC.findall(output)}
    reached = _LAST.findall(output)
    edges, features = map(int, reached[-1]) if reached else (0, 0)
    return {
        "executions": said.get("number_of_executed_units", 0),
        "executions_per_second": said.get("average_exec_per_sec", 0),
        "edges": edges,
        "features": features,
        "new_inputs": said.get("new_units_added", 0),
        "slowest_input_seconds": said.get("slowest_unit_time_sec", 0),
        "peak_memory_mb": said.get("peak_rss_mb", 0),
    }


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="fuzz.campaign", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at once")
    parser.add_argument("--seed", type=int, help="default: another one each time")
    parser.add_argument("--keep", action="store_true", help="let fuzz/corpus have what was found")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write figures and coverage")
    return parser


def campaign(runs: Sequence[Run], seconds: int, jobs: int, seed: int) -> list[Run]:
    """Run them, so many at once, say of each what came of it, and return those with a fault."""

    def one(run: Run) -> None:
        run.fuzz(seconds, seed)
        figures = " ".join(f"{name}={value}" for name, value in run.figures.items())
        print(f"{run.name}: {run.fault or 'nothing wrong'} {figures}", flush=True)

    with ThreadPoolExecutor(jobs) as executor:
        list(executor.map(one, runs))
    return [run for run in runs if run.fault]


def main() -> int:
    """Fuzz, keep, record."""
    arguments = make_parser().parse_args()
    unknown = set(arguments.targets) - set(NAMES)
    if unknown:
        sys.exit(f"no target {', '.join(sorted(unknown))}, expected {', '.join(NAMES)}")
    seed = secrets.randbits(31) if arguments.seed is None else arguments.seed
    result = origin() | {"seconds_per_target": arguments.seconds, "jobs": arguments.jobs}
    with tempfile.TemporaryDirectory(prefix="wg-dynamic-fuzz-") as directory:
        runs = [Run(name, Path(directory)) for name in arguments.targets or NAMES]
        faulty = campaign(runs, arguments.seconds, arguments.jobs, seed)
        for run in runs:
            if arguments.keep:
                run.keep()
            if arguments.record:
                run.measure()
    if arguments.record:
        faults = {run.name: run.fault.partition("\n")[0] for run in faulty}
        targets = {run.name: run.figures for run in runs}
        record(result | {"seed": seed, "targets": targets, "faults": faults}, arguments.record)
    if faulty:
        print(f"seed {seed}; what shows a fault is in {CRASHES}:")
        print("  python -m fuzz.replay TARGET FILE… shows it again; when it is mended, add the")
        print(f"  line that it prints to {FOUND.relative_to(ROOT)}/TARGET.txt")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())

"""How much of its parsers a target's inputs reach: lines and branches, by coverage.py."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.target import load
from tools.repository import ROOT


def parser_coverage(name: str, units: Path) -> dict[str, float]:
    """Percent of each module's lines and branches that the files in `units` reach.

    Encoders that stand in the same module count too, so 100 is not to be expected everywhere.
    """
    with tempfile.TemporaryDirectory(prefix="wg-dynamic-fuzz-") as directory:
        report = Path(directory) / "report.json"
        measure = [sys.executable, "-m", "coverage"]
        # Nothing of pyproject.toml: its patches are for daemons that start processes.
        options = ["--rcfile=/dev/null", f"--data-file={directory}/data"]
        replay = ["-m", "fuzz.replay", name, "--quiet", str(units)]
        source = ["--branch", "--source=wg_dynamic"]
        subprocess.run([*measure, "run", *options, *source, *replay], cwd=ROOT, check=True)
        command = [*measure, "json", *options, "--quiet", "-o", str(report)]
        subprocess.run(command, cwd=ROOT, check=True)
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    return {
        module: round(measured["summary"]["percent_covered"], 1)
        for module in load(name).PARSERS
        for file, measured in files.items()
        if file.endswith(f"wg_dynamic/{module.replace('.', '/')}.py")
    }

"""Fail when the pure modules are not covered to the last branch, or all together not enough.

Reads what `coverage json` wrote. Which modules are pure, the import contract "pure" in
pyproject.toml says; how much all together must reach, [tool.coverage.report] fail_under.
"""

import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tools.repository import ROOT

_SHOWN: Final = 10
_WHOLE: Final = 100


def pure_modules(settings: Mapping[str, Any]) -> list[str]:
    """The dotted names in the contract "pure"; each stands for all that is below it too."""
    for contract in settings["tool"]["importlinter"]["contracts"]:
        if contract.get("id") == "pure":
            return list(contract["source_modules"])
    msg = "pyproject.toml has no import contract with the id 'pure'"
    raise SystemExit(msg)


def dotted(file: str) -> str:
    """The name of the module in a file below src/."""
    inside = Path(file).parts
    inside = inside[inside.index("src") + 1 :]
    return ".".join(inside).removesuffix(".py").removesuffix(".__init__")


def complaints(report: Mapping[str, Any], pure: Sequence[str], least: float) -> Iterator[str]:
    """One line for each shortfall in a report of `coverage json`."""
    for file, measured in sorted(report["files"].items()):
        module = dotted(file)
        percent = measured["summary"]["percent_covered"]
        if percent < _WHOLE and any(f"{module}.".startswith(f"{name}.") for name in pure):
            gaps = [str(line) for line in measured["missing_lines"]]
            gaps = gaps or [f"{a}->{b}" for a, b in measured.get("missing_branches", [])]
            shown = ", ".join(gaps[:_SHOWN] + ["…"] * (len(gaps) > _SHOWN))
            yield f"{file}: pure, but covered to {percent:.1f} % only: {shown}"
    percent = report["totals"]["percent_covered"]
    if percent < least:
        yield f"all together are covered to {percent:.1f} %, expected {least} %"


def main() -> int:
    """Check the report named on the command line."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    least = settings["tool"]["coverage"]["report"]["fail_under"]
    found = list(complaints(report, pure_modules(settings), least))
    print(*found, sep="\n", end="\n" if found else "")
    print(f"covered: {report['totals']['percent_covered']:.1f} %")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

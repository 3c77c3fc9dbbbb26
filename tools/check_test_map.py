"""Fail unless the modules and their unit tests are one to one.

`src/wg_dynamic/x/y.py` is tested by `tests/unit/x/test_y.py`, and that file tests nothing else;
`tests/unit/tools/test_z.py` tests `tools/z.py`. An `__init__.py` without code of its own needs no
test; other modules without one are listed, with the reason, in pyproject.toml under
[tool.check-test-map.exempt].
"""

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tools.repository import ROOT

SOURCE: Final = Path("src/wg_dynamic")
TESTS: Final = Path("tests/unit")


def unit_test_of(module: Path) -> Path:
    """The test file that belongs to a module of the package."""
    inside = module.relative_to(SOURCE)
    name = "init" if module.stem == "__init__" else module.stem.strip("_")
    return TESTS / inside.parent / f"test_{name}.py"


def needs_test(module: Path) -> bool:
    """False for an `__init__.py` that only imports, exports names and documents itself."""
    if module.name != "__init__.py":
        return True
    for statement in ast.parse(module.read_text(encoding="utf-8")).body:
        match statement:
            case ast.Import() | ast.ImportFrom() | ast.Expr(ast.Constant()):
                pass
            case ast.Assign(targets=[ast.Name(id="__all__" | "__version__")]):
                pass
            case _:
                return True
    return False


def complaints(root: Path, exempt: Mapping[str, str]) -> Iterator[str]:
    """One line for everything that does not fit together below `root`."""
    modules = sorted(path.relative_to(root) for path in (root / SOURCE).rglob("*.py"))
    for module in modules:
        exists = (root / unit_test_of(module)).exists()
        if str(module) in exempt:
            if exists:
                yield f"{module}: is exempt in pyproject.toml, yet {unit_test_of(module)} exists"
        elif not exists and needs_test(root / module):
            yield f"{module}: has no test file, expected {unit_test_of(module)}"
    for name, reason in exempt.items():
        if not (root / name).exists():
            yield f"{name}: is exempt in pyproject.toml, yet does not exist"
        if not reason.strip():
            yield f"{name}: is exempt in pyproject.toml without a reason"
    tested = {unit_test_of(module) for module in modules}
    tested |= {TESTS / "tools" / f"test_{tool.name}" for tool in (root / "tools").glob("*.py")}
    for path in sorted((root / TESTS).rglob("test_*.py")):
        if path.relative_to(root) not in tested:
            yield f"{path.relative_to(root)}: there is no module that it could test"


def main() -> int:
    """Check the whole repository."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    exempt = settings["tool"].get("check-test-map", {}).get("exempt", {})
    found = list(complaints(ROOT, exempt))
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

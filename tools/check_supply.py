"""Fail when something foreign could come in unseen.

- Every tool in requirements/dev.txt is locked to one version, with the hashes of its files, and
  comes from where the machine says, not from an address in the file (docs/decisions/0001).
- Every tool that pyproject.toml names is locked.
- The package imports the standard library only, and its built wheel asks for nothing else. Two
  modules, which are processes without privileges, may import more where that is there.
"""

import ast
import email
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tools.repository import ROOT

LOCK: Final = ROOT / "requirements" / "dev.txt"
SOURCE: Final = ROOT / "src"
OPTIONAL: Final = {
    "src/wg_dynamic/cli/command/qr_child.py": ("segno",),
    "src/wg_dynamic/cli/top_app.py": ("rich", "textual"),
}
"""Modules that do with more, and without it (docs/decisions/0017 and 0024)."""
_REQUIREMENT: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==[A-Za-z0-9.!+]+"  # one version
    r"(?: ; [^;\\]+?)?"  # for some machines
    r"(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)"
)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def requirements(text: str) -> list[str]:
    """The requirements of a lock, each on one line, without comments."""
    joined = re.sub(r"\\\n\s*", "", text)
    lines = (re.sub(r"\s+", " ", line).strip() for line in joined.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def about_lock(text: str, named: Iterable[str]) -> Iterator[str]:
    """What is wrong with a lock that should hold at least the tools that are `named`."""
    found = set()
    for line in requirements(text):
        match = _REQUIREMENT.fullmatch(line)
        if match is None:
            yield f"{line[:80]!r}, expected NAME==VERSION with a sha256 hash or more"
        else:
            found.add(_normal(match["name"]))
    for name in named:
        if _normal(name) not in found:
            yield f"{name} is not locked, expected it to be: make lock"


def named_tools(settings: dict[str, object]) -> Iterator[str]:
    """The tools in the dependency groups of pyproject.toml, and what builds the package."""
    groups: dict[str, list[object]] = settings["dependency-groups"]  # type: ignore[assignment]
    build: dict[str, list[object]] = settings["build-system"]  # type: ignore[assignment]
    for entry in [*(one for group in groups.values() for one in group), *build["requires"]]:
        if isinstance(entry, str) and (match := _NAME.match(entry)):
            yield match[0]


def about_imports(name: str, content: str) -> Iterator[str]:
    """What a module imports that is neither of the standard library nor ours."""
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            imported = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            imported = [node.module or ""] if not node.level else []
        else:
            continue
        for each in imported:
            root = each.partition(".")[0]
            if root not in ("wg_dynamic", *OPTIONAL.get(name, ()), *sys.stdlib_module_names):
                yield f"{name}:{node.lineno}: imports {each}, expected the standard library only"


def about_metadata(metadata: str) -> Iterator[str]:
    """What a wheel's METADATA asks for."""
    for requirement in email.message_from_string(metadata).get_all("Requires-Dist", []):
        yield f"the wheel requires {requirement}, expected nothing"


def wheel_metadata() -> str:
    """METADATA of the wheel as it is built now, without a network."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        (wheel,) = Path(directory).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
            return archive.read(name).decode("utf-8")


def _normal(name: str) -> str:
    """As names are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> int:
    """Check this repository."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lock = LOCK.read_text(encoding="utf-8")
    found = [
        f"{LOCK.relative_to(ROOT)}: {each}" for each in about_lock(lock, named_tools(settings))
    ]
    for path in sorted(SOURCE.rglob("*.py")):
        found += about_imports(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
    found += about_metadata(wheel_metadata())
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

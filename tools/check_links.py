"""Fail when a Markdown file links to a file or a heading of this repository that is not there."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tools import repository

_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s+(\S+)", re.M)
_CODE: Final = re.compile(r"^```.*?^```|`[^`\n]*`", re.M | re.S)
_HEADING: Final = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.M)


def targets(content: str) -> list[str]:
    """Where the links of a Markdown text lead, without those that lead out of the repository."""
    found = [first or second for first, second in _LINK.findall(_CODE.sub("", content))]
    return [target for target in found if not re.match(r"[a-z][a-z0-9+.-]*:", target)]


def anchors(content: str) -> set[str]:
    """The anchors that a hosting platform makes of the headings of a Markdown text."""
    made: set[str] = set()
    for heading in _HEADING.findall(re.sub(r"^```.*?^```", "", content, flags=re.M | re.S)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        made.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return made


def complaints(root: Path, name: Path) -> Iterator[str]:
    """One line for every link in the file `name` below `root` that leads nowhere."""
    for target in targets((root / name).read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        there = (root / name).parent / path if path else root / name
        if not there.exists():
            yield f"{name}: link to {target!r}: no such file"
        elif (
            anchor
            and there.suffix == ".md"
            and anchor not in anchors(there.read_text(encoding="utf-8"))
        ):
            yield f"{name}: link to {target!r}: no such heading"


def main() -> int:
    """Check all Markdown files."""
    found = [
        complaint
        for name in repository.files()
        if name.suffix == ".md"
        for complaint in complaints(repository.ROOT, name)
    ]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

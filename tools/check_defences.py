"""Take each defence of the threat model out, in a copy of the tree, and see its test fail.

tests/defences.toml says for each claim which text makes the defence, what stands there when it is
out, and which test notices. `--write` puts what was seen into docs/threat-model-tests.md, and
leaves there what was seen of the others before; `--new` tries those that are not in there as they
are now.

    python -m tools.check_defences [--write] [--new] [--only WORD] [--without-root]
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tools.repository import ROOT, files

LIST: Final = Path("tests/defences.toml")
TABLE: Final = Path("docs/threat-model-tests.md")
WORKERS: Final = 2
TIME_LIMIT: Final = 120.0
"""Seconds for the test of one defence; one that hangs has not said what is wrong."""
_TESTS_FAILED: Final = 1
"""pytest's exit status; 2 to 5 mean that it could not even ask."""
_FAILED: Final = re.compile(r"^FAILED (\S+)", re.M)
_HEAD: Final = f"""\
# Which test fails without which defence

Made by `python -m tools.check_defences --write`, which takes each defence of the
[threat model](threat-model.md) out in a copy of the tree and runs its test; `make soak` does so
again. What is taken out, and how, stands in [{LIST}](../{LIST}).
The third column is what failed first; the last one tells apart the texts of that list
of which it was seen.

Three kinds of claim show themselves without that. What WireGuard drops is not ours to take out
(`netns/test_spoofing.py` sees the kernel count it). The attacks of a taken process are tried
behind no wall, too, where they have to succeed (`netns/test_taken_process.py`). And each fuzz
target is shown to notice a wrong error (`property/test_fuzz_examples.py`).
"""


@dataclass(frozen=True)
class Defence:
    """One entry of the list."""

    section: str
    """Of the threat model."""
    claim: str
    file: str
    """Where the defence is, from the root of the tree."""
    out: Sequence[tuple[str, str]]
    """A text of the file, which is in there once, and what stands there without the defence."""
    test: str
    """What notices, as pytest is told it."""
    root: bool
    """Whether the test needs root."""

    @property
    def mark(self) -> str:
        """Of what is taken out, where, and what should notice: another text has another mark."""
        text = repr((self.file, [tuple(pair) for pair in self.out], self.test))
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def taken_out(self, text: str) -> str:
        """The file's text without the defence. Raises ValueError when it is not in there once."""
        if not self.out:
            msg = f"{self.file}: nothing is taken out, expected something"
            raise ValueError(msg)
        for old, new in self.out:
            count = text.count(old)
            if count != 1 or old == new:
                msg = f"{self.file}: {count} times {old!r}, expected once, and another text for it"
                raise ValueError(msg)
            text = text.replace(old, new)
        return text


def read_list(text: str) -> list[Defence]:
    """The entries of tests/defences.toml."""
    return [
        _defence(section["name"], **entry)
        for section in tomllib.loads(text)["section"]
        for entry in section["defence"]
    ]


def _defence(
    section: str,
    *,
    claim: str,
    file: str,
    out: Sequence[tuple[str, str]],
    test: str = "",
    root: bool = False,
) -> Defence:
    place = Path(file)
    own = Path("tests/unit") / place.parent / f"test_{place.name}"
    if place.parts[0] != "packaging":
        place = Path("src/wg_dynamic") / place
    return Defence(section, claim, str(place), out, test or str(own), root)


def unfit(defences: Iterable[Defence], root: Path) -> Iterator[str]:
    """What of the list does not fit the tree."""
    claims = set()
    for one in defences:
        if one.claim in claims or " | " in one.claim:
            yield f"{one.claim}: this claim is there twice, or has a bar, expected neither"
        claims.add(one.claim)
        try:
            one.taken_out((root / one.file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            yield f"{one.claim}: {error}"
        path, _, name = one.test.partition("::")
        function = name.partition("[")[0].rpartition("::")[2]
        there = (root / path).exists()
        if not there or (name and f"def {function}(" not in (root / path).read_text("utf-8")):
            yield f"{one.claim}: there is no test {one.test}"


@dataclass(frozen=True)
class Seen:
    """What was seen of one defence."""

    test: str
    """That failed without it, in words."""
    mark: str
    """Of the entry as it was then."""


def in_words(test: str) -> str:
    """What the table says of a test, which is named as pytest names it."""
    path, _, name = test.removeprefix("tests/").partition("::")
    words = name.partition("[")[0].rpartition("::")[2].replace("_", " ")
    return f"`{path}`{words and f': {words}'}"


def seen_before(text: str) -> dict[str, Seen]:
    """What the document says, by claim."""
    rows = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if row[0] != "Claim"]
    return {claim: Seen(test, mark.strip("`")) for claim, _, test, mark in rows}


def is_new(defence: Defence, seen: Mapping[str, Seen]) -> bool:
    """Whether it was not seen as it is now."""
    return defence.claim not in seen or seen[defence.claim].mark != defence.mark


def table(defences: Iterable[Defence], seen: Mapping[str, Seen]) -> str:
    """The document: a table for each section, of those that were seen, in the list's order."""
    lines = [_HEAD]
    section = ""
    for one in defences:
        if one.claim not in seen:
            continue
        if one.section != section:
            section = one.section
            lines += ["", f"## {section}", "", "| Claim | Defence | Fails without it | Text |"]
            lines += ["|---|---|---|---|"]
        where = one.file.removeprefix("src/wg_dynamic/")
        row = seen[one.claim]
        lines.append(f"| {one.claim} | `{where}` | {row.test} | `{row.mark}` |")
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


class Copy:
    """A tree like this one, with an interpreter that imports from it alone (also with -I)."""

    def __init__(self, place: Path) -> None:
        for path in files(ROOT):
            there = place / path
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, there)
        shutil.copy2(ROOT / "pyproject.toml", place)
        self._place = place
        venv.create(place / ".venv", symlinks=True)
        ours = Path(sys.prefix)
        for script in (ours / "bin").glob("wg-dynamic*"):
            there = place / ".venv/bin" / script.name
            if (place / "packaging" / script.name).exists():
                there.symlink_to(place / "packaging" / script.name)
                continue
            text = script.read_text(encoding="utf-8").replace(str(ours), str(place / ".venv"))
            there.write_text(text, encoding="utf-8")
            shutil.copymode(script, there)
        (packages,) = (place / ".venv/lib").glob("python*/site-packages")
        (installed,) = (ours / "lib").glob("python*/site-packages")
        (packages / "here.pth").write_text(f"{place}/src\n{installed}\n", encoding="utf-8")

    def test(self, *tests: str) -> "subprocess.CompletedProcess[str]":
        """Run the tests here until one fails."""
        python = str(self._place / ".venv/bin/python")
        command = [python, "-m", "pytest", "-q", "-x", "-m", "", "-p", "no:cacheprovider", *tests]
        return subprocess.run(
            command,
            cwd=self._place,
            env={**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=TIME_LIMIT,
        )

    def without(self, defence: Defence) -> tuple[str, str]:
        """The first test that fails without the defence, '' when none does, and pytest's words."""
        file = self._place / defence.file
        text = file.read_text(encoding="utf-8")
        file.write_text(defence.taken_out(text), encoding="utf-8")
        try:
            done = self.test(defence.test)
        except subprocess.TimeoutExpired:
            return "", "it does not end"
        finally:
            file.write_text(text, encoding="utf-8")
        found = _FAILED.search(done.stdout) if done.returncode == _TESTS_FAILED else None
        return (found[1] if found else ""), done.stdout[-2000:] + done.stderr[-500:]


def take_out_each(defences: Sequence[Defence], place: Path) -> list[str]:
    """The test that failed for each; '' where none did, which is told."""
    copies: SimpleQueue[Copy] = SimpleQueue()
    for number in range(WORKERS):
        copies.put(Copy(place / str(number)))

    def work(defence: Defence) -> str:
        copy = copies.get()
        try:
            failed, said = copy.without(defence)
        finally:
            copies.put(copy)
        print(f"{'ok      ' if failed else 'SURVIVES'} {defence.claim}: {failed}", flush=True)
        if not failed:
            print(f"{defence.file}: {defence.out}\n{said}", flush=True)
        return failed

    whole = copies.get()
    done = whole.test(*dict.fromkeys(one.test for one in defences))
    copies.put(whole)
    if done.returncode:
        print(done.stdout[-4000:], "with all defences in place", sep="\n")
        return [""]
    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(work, defences))


def chosen(
    defences: Iterable[Defence], options: argparse.Namespace, seen: Mapping[str, Seen]
) -> list[Defence]:
    """Those that the options ask for."""
    return [
        one
        for one in defences
        if options.only in one.claim + one.file
        and not (one.root and options.without_root)
        and (is_new(one, seen) or not options.new)
    ]


def merged(
    seen: Mapping[str, Seen], tried: Sequence[Defence], failed: Sequence[str]
) -> dict[str, Seen]:
    """What was seen before and now; what nothing notices now is in there no more."""
    both = dict(seen)
    for one, test in zip(tried, failed, strict=True):
        both.pop(one.claim, None)
        if test:
            both[one.claim] = Seen(in_words(test), one.mark)
    return both


def main() -> int:
    """Try those asked for; status 1 when a test did not notice."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", default="", help="those whose claim or file has this word")
    parser.add_argument("--new", action="store_true", help=f"those that are not in {TABLE} so")
    parser.add_argument("--without-root", action="store_true", help="leave out what needs root")
    parser.add_argument("--write", action="store_true", help=f"write into {TABLE} what is seen")
    options = parser.parse_args()
    every = read_list((ROOT / LIST).read_text(encoding="utf-8"))
    found = list(unfit(every, ROOT))
    if found:
        print(*found, sep="\n")
        return 1
    seen = seen_before((ROOT / TABLE).read_text(encoding="utf-8"))
    tried = chosen(every, options, seen)
    failed = []
    if tried:
        with tempfile.TemporaryDirectory(prefix="defences-") as place:
            failed = take_out_each(tried, Path(place))
    if options.write and any(failed):
        text = table(every, merged(seen, tried, failed))
        (ROOT / TABLE).write_text(text, encoding="utf-8")
    if not all(failed):
        return 1
    print(f"{len(failed)} defences, each with a test that fails without it")
    return 0


if __name__ == "__main__":
    sys.exit(main())

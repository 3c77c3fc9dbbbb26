"""The man pages say what the commands take, no more and no less."""

import argparse
import importlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.repository import ROOT
from wg_dynamic.cli import client, server, status, watch
from wg_dynamic.cli.command.main import make_parser

PAGES = {name: ROOT / f"docs/man/wg-dynamic-{name}.8" for name in ("client", "server", "watch")}
PARSERS = {
    "client": client.make_parser,
    "server": server.make_parser,
    "watch": watch.make_parser,
}

ALL_PAGES = [
    *PAGES.values(),
    ROOT / "docs/man/wg-dynamic.1",
    ROOT / "docs/man/wg-dynamic-quick.8",
    ROOT / "docs/man/wg-dynamic.toml.5",  # its keys: test_operations.py
]
both = pytest.mark.parametrize("name", sorted(PAGES))


def options(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Long options and what they take."""
    return {
        text: (action.metavar or "").lower() if action.nargs != 0 else ""
        for action in parser._actions
        for text in action.option_strings
        if text.startswith("--") and isinstance(action.metavar, str | None)
    }


def section(page: str, title: str) -> str:
    return page.split(f"\n.Sh {title}\n", 1)[1].split("\n.Sh ", 1)[0]


def described(page: str) -> dict[str, str]:
    found = {}
    for line in section(page, "OPTIONS").splitlines():
        item = re.fullmatch(r"\.It (?:Fl \w , -|Fl -)([\w-]+)(?: Ar (\w+))?", line)
        assert item or not line.startswith(".It"), line
        if item:
            found[f"--{item[1]}"] = item[2] or ""
    return found


@both
def test_every_option_is_described_and_none_that_is_not_there(name: str) -> None:
    assert described(PAGES[name].read_text()) == options(PARSERS[name]())


@both
def test_the_synopsis_names_every_option(name: str) -> None:
    synopsis = section(PAGES[name].read_text(), "SYNOPSIS")
    named = {f"--{flag}" for flag in re.findall(r"(?:Fl|\|) -([\w-]+)", synopsis)}
    assert named == set(options(PARSERS[name]()))


@both
def test_the_exit_statuses_are_those_of_the_commands(name: str) -> None:
    listed = re.findall(r"^\.It (\d+)$", section(PAGES[name].read_text(), "EXIT STATUS"), re.M)
    left_out = {
        "server": {"GONE", "NO_LEASE"},
        "watch": {"GONE", "NO_LEASE", "NOT_RUNNING"},
    }.get(name, set())
    constants = [
        value for key, value in vars(status).items() if key.isupper() and key not in left_out
    ]
    assert [int(number) for number in listed] == sorted(constants)


@both
def test_numbers_are_those_of_the_commands(name: str) -> None:
    module = importlib.import_module(f"wg_dynamic.cli.{name}")
    text = section(PAGES[name].read_text(), "OPTIONS")
    for constant in ("DEFAULT_LEASE_TIME", "MIN_LEASE_TIME", "MAX_LEASE_TIME", "DEFAULT_WAIT"):
        if hasattr(module, constant):
            assert re.search(rf"\b{int(getattr(module, constant))}\b", text), constant


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize(
    "checker",
    [["mandoc", "-T", "lint", "-W", "warning"], ["groff", "-ww", "-mdoc", "-T", "utf8", "-z"]],
    ids=lambda checker: str(checker[0]),
)
def test_formatters_have_nothing_to_say(page: Path, checker: list[str]) -> None:
    """With those of the formatters that are installed; without one, macros are looked at only."""
    if shutil.which(checker[0]):
        done = subprocess.run([*checker, str(page)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert macros(page) <= KNOWN
    text = page.read_text()
    assert text.count("\n.Bl ") == text.count("\n.El")
    assert text.count("\n.Bd ") == text.count("\n.Ed")


def leaves(parser: argparse.ArgumentParser, words: str = "") -> dict[str, set[str]]:
    """Each command of wg-dynamic, and the long options that it takes."""
    inner = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not inner:
        return {words: set(options(parser)) - {"--help"}}
    return {
        name: taken
        for verb, below in inner[0].choices.items()
        for name, taken in leaves(below, f"{words} {verb}".strip()).items()
    }


def test_the_page_of_the_command_has_each_command_with_each_option_and_no_other() -> None:
    text = section((ROOT / "docs/man/wg-dynamic.1").read_text(), "COMMANDS")
    told = {}
    for item in re.split(r"^\.It Cm ", text, flags=re.M)[1:]:
        head, _, body = item.partition("\n")
        flags = re.findall(r"(?:Fl |, )-([\w-]+)", body)
        told[head.partition(" Ar")[0]] = {f"--{flag}" for flag in flags}
    assert told == leaves(make_parser())


def test_the_page_of_the_command_has_its_exit_statuses() -> None:
    text = section((ROOT / "docs/man/wg-dynamic.1").read_text(), "EXIT STATUS")
    known = {value for key, value in vars(status).items() if key.isupper()} - {status.GONE}
    assert {int(number) for number in re.findall(r"^\.It (\d+)$", text, re.M)} == known


KNOWN = {
    *("Ar", "Bd", "Bl", "Cm", "Dd", "Dl", "Dt", "Dv", "Ed", "El", "Fl", "It", "Li", "Nm", "Op"),
    *("Os", "Pa", "Pp", "Pq", "Ql", "Sh", "Sq", "Ss", "Sx", "Va", "Xr"),
    "Nd",  # codespell:ignore nd
}
"""Of mdoc(7), what these pages use."""


def macros(page: Path) -> set[str]:
    return set(re.findall(r"^\.(\w+)", page.read_text(), re.M))

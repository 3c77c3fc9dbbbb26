"""Lay out the pages of the site: `tools/stages site` builds it from them (mkdocs.yml).

    python -m tools.site_pages DIRECTORY

The repository's own layout is kept, so that links between documents are the same on the site and in
a checkout. What is not there as a document is made from the code: the commands with their options
from their parsers, the configuration from the file that `config default` prints, the library from
its docstrings, the manual pages by groff.
"""

import argparse
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import wg_dynamic.protocol as library
from tools.repository import ROOT
from wg_dynamic.cli.command.main import make_parser

PAGES: Final = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE")
TREES: Final = ("docs", "examples", "bench")
FILES: Final = ("fuzz/README.md", "tests/defences.toml")
_MANUAL: Final = ROOT / "docs" / "man"
_TO_MANUAL: Final = re.compile(r"\]\((?:[./]*)(?:docs/)?man/([a-z.-]+)\.([158])\)")
_DEFAULT: Final = ROOT / "src/wg_dynamic/cli/command/server.toml"
_CLIENT: Final = ROOT / "src/wg_dynamic/cli/command/client.toml"


def lay_out(directory: Path) -> None:
    """Make the directory, in place of what was there."""
    shutil.rmtree(directory, ignore_errors=True)
    for name in (*PAGES, *TREES, *FILES):
        _copy(ROOT / name, directory / name)
    reference = directory / "reference"
    reference.mkdir()
    (reference / "commands.md").write_text(commands(), "utf-8")
    (reference / "configuration.md").write_text(configuration(), "utf-8")
    (reference / "library.md").write_text(library_page(), "utf-8")
    (reference / "manual.md").write_text(manual(), "utf-8")
    (reference / "decisions.md").write_text(decisions(), "utf-8")
    (reference / "examples.md").write_text(examples(), "utf-8")
    for page in directory.rglob("*.md"):
        up = "../" * (len(page.relative_to(directory).parts) - 1)
        page.write_text(relinked(page.read_text("utf-8"), f"{up}reference"), "utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "man"))
    else:
        shutil.copy(source, target)


def relinked(text: str, reference: str) -> str:
    """A document with its links to manual pages and directories going to pages that have them."""

    def to_manual(match: re.Match[str]) -> str:
        return f"]({reference}/manual.md#{match[1].replace('.', '')}{match[2]})"

    text = _TO_MANUAL.sub(to_manual, text)
    text = text.replace("](decisions/)", f"]({reference}/decisions.md)")
    return text.replace("](../examples/)", f"]({reference}/examples.md)")


def decisions() -> str:
    """The records, by number."""
    lines = [
        "# Decisions",
        "",
        "What cannot be undone cheaply, or what readers would ask about:",
        "",
    ]
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        title = path.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title.replace('. ', ' ', 1)}](../docs/decisions/{path.name})")
    return "\n".join([*lines, ""])


def examples() -> str:
    """The programs, whole."""
    parts = ["# Examples\n\nEach is run by the tests.\n"]
    for path in sorted((ROOT / "examples").iterdir()):
        if path.is_file():
            kind = "python" if path.suffix == ".py" else "sh"
            parts.append(f"## {path.name}\n\n```{kind}\n{path.read_text('utf-8')}```\n")
    return "\n".join(parts)


def commands() -> str:
    """The commands of wg-dynamic, with all that they take."""
    parts = [
        "# Commands\n\nWhat each command says of itself (`--help`); shown with what they print"
    ]
    parts[0] += " in [The command](../docs/command.md).\n"
    for words, parser in sorted(_leaves(make_parser(), "wg-dynamic")):
        parts.append(f"## {words}\n\n```\n{parser.format_help().rstrip()}\n```\n")
    return "\n".join(parts)


def _leaves(
    parser: argparse.ArgumentParser, words: str
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    inner = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not inner:
        yield words, parser
    for action in inner:
        for name, one in action.choices.items():
            yield from _leaves(one, f"{words} {name}")


def configuration() -> str:
    """The commented files that `wg-dynamic config default` prints."""
    return (
        "# Configuration\n\nThe files with their comments, as `wg-dynamic config default` prints"
        " them; every key is in [wg-dynamic.toml(5)](manual.md#wg-dynamictoml5).\n"
        "\n## Of a server\n\n"
        f"```toml\n{_DEFAULT.read_text('utf-8')}```\n\n## Of a client\n\n"
        f"```toml\n{_CLIENT.read_text('utf-8')}```\n"
    )


def library_page() -> str:
    """Each public name of wg_dynamic.protocol, with its docstring and what can be called."""
    parts = ["# Library by name\n\n`wg_dynamic.protocol`, as its docstrings have it; how to use it"]
    parts[0] += " is in [The protocol as a library](../docs/library.md).\n"
    for name in sorted(library.__all__):
        one = getattr(library, name)
        if inspect.isclass(one) or inspect.isfunction(one):
            parts.append(_described(name, one))
    return "\n".join(parts)


def _described(name: str, one: object) -> str:
    head = f"## {name}\n\n```python\n{name}{_signature(one)}\n```\n\n{inspect.getdoc(one) or ''}\n"
    methods = []
    if inspect.isclass(one) and not issubclass(one, BaseException):
        for method, function in vars(one).items():
            if inspect.isfunction(function) and not method.startswith("_"):
                text = (inspect.getdoc(function) or "").replace("\n", "\n    ")
                methods.append(f"- `{method}{_signature(function)}`\n\n    {text}\n")
    return head + ("\n" + "\n".join(methods) if methods else "")


def _signature(one: object) -> str:
    try:
        return str(inspect.signature(one))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""


def manual() -> str:
    """All manual pages, as groff prints them."""
    parts = ["# Manual pages\n"]
    for path in sorted(_MANUAL.iterdir()):
        stem, _, section = path.name.rpartition(".")
        command = ["groff", "-mdoc", "-T", "utf8", "-P", "-cbou", "-r", "LL=100n", str(path)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        parts.append(f"## {stem}({section})\n\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))

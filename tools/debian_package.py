"""Build the Debian package from this checkout, with dpkg-deb and nothing else.

    python -m tools.debian_package [DIRECTORY]

writes DIRECTORY/wg-dynamic_VERSION_all.deb (DIRECTORY is dist unless it is said) and prints its
path. docs/decisions/0020 says why it takes no more than that. Files are those of the source tree;
owners, modes and times do not depend on who builds, so the same tree gives the same package.
"""

import gzip
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Final

from tools.repository import ROOT, files
from wg_dynamic.cli.command import completion
from wg_dynamic.cli.command.completion import BASH, FISH, ZSH, walk
from wg_dynamic.cli.command.main import make_parser

PACKAGE: Final = "wg-dynamic"
DEBIAN: Final = Path("packaging/debian")
MODULES: Final = Path("usr/lib/python3/dist-packages")
DOCUMENTS: Final = Path("usr/share/doc") / PACKAGE
EXAMPLES: Final = DOCUMENTS / "examples"
DAEMONS: Final = {
    "wg-dynamic-client": "usr/sbin",
    "wg-dynamic-server": "usr/sbin",
    "wg-dynamic-watch": "usr/sbin",
}
"""Where programs go that are not for everybody's PATH; the units name them by path."""
PLACES: Final = {
    "packaging/wg-dynamic-quick": "usr/bin",
    "packaging/systemd/wg-quick-auto.conf": str(EXAMPLES),
    "packaging/systemd/": "usr/lib/systemd/system",
    "packaging/sysusers.d/": "usr/lib/sysusers.d",
    "packaging/tmpfiles.d/": "usr/lib/tmpfiles.d",
    "packaging/networkd/": str(EXAMPLES / "networkd"),
    "packaging/NetworkManager/": str(EXAMPLES / "NetworkManager"),
    "examples/": str(EXAMPLES),
    "docs/decisions/": str(DOCUMENTS / "decisions"),
    "docs/": str(DOCUMENTS),
    "README.md": str(DOCUMENTS),
    "SECURITY.md": str(DOCUMENTS),
    "src/wg_dynamic/cli/command/server.toml": str(EXAMPLES),
    "src/wg_dynamic/cli/command/client.toml": str(EXAMPLES),
}
"""What goes where: the first line that fits a file counts."""
COMPLETIONS: Final = {
    BASH: "usr/share/bash-completion/completions/wg-dynamic",
    ZSH: "usr/share/zsh/vendor-completions/_wg-dynamic",
    FISH: "usr/share/fish/vendor_completions.d/wg-dynamic.fish",
}
"""Made when the package is, out of the command's own parser."""
SCRIPTS: Final = ("postinst", "prerm", "postrm")
_EXECUTABLE: Final = 0o755
_PLAIN: Final = 0o644


class Tree:
    """The files of the package, while they are put together."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def put(self, place: Path | str, content: bytes, mode: int = _PLAIN) -> None:
        """Write one file."""
        path = self.top / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)

    def files(self) -> Iterator[Path]:
        """Those that are installed, from the top, sorted."""
        for path in sorted(self.top.rglob("*")):
            inside = path.relative_to(self.top)
            if path.is_file() and inside.parts[0] != "DEBIAN":
                yield inside

    def finish(self, seconds: int) -> None:
        """Modes of directories, and times, which are those of the builder until now."""
        for path in (self.top, *self.top.rglob("*")):
            if path.is_dir():
                path.chmod(_EXECUTABLE)
            os.utime(path, (seconds, seconds))


def version_of(upstream: str) -> str:
    """The version as Debian sorts it: 0.2.0.dev1 comes before 0.2.0."""
    release = re.sub(r"\.?(dev|a|b|rc)", r"~\1", upstream)
    return f"{release}-1"


def place_of(name: str) -> str | None:
    """The directory where a file of the source tree goes, or None: not in the package."""
    for prefix, place in PLACES.items():
        if name == prefix or (prefix.endswith("/") and name.startswith(prefix)):
            rest = name.removeprefix(prefix) if prefix.endswith("/") else ""
            return str(Path(place) / Path(rest).parent)
    return None


def programs(settings: dict[str, dict[str, dict[str, str]]]) -> Iterator[tuple[str, str]]:
    """Where each command of pyproject.toml goes, and the module that it runs."""
    for name, target in settings["project"]["scripts"].items():
        module, _, function = target.partition(":")
        if function != "main":
            msg = f"{name} = {target!r}, expected the function main of a module"
            raise ValueError(msg)
        yield f"{DAEMONS.get(name, 'usr/bin')}/{name}", module


def stage(tree: Tree, root: Path, version: str, seconds: int) -> None:
    """Put all into the tree that is to be installed."""
    for inside in files(root):
        name = str(inside)
        content = (root / inside).read_bytes()
        if name.startswith("src/wg_dynamic/"):
            tree.put(MODULES / inside.relative_to("src"), content)
        if name.startswith("docs/man/"):
            page = Path("usr/share/man") / f"man{inside.suffix[1:]}" / f"{inside.name}.gz"
            tree.put(page, _compressed(content))
        elif (place := place_of(name)) is not None:
            runs = place == "usr/bin" or (
                name.startswith("examples/") and (root / inside).stat().st_mode & 0o100
            )
            mode = _EXECUTABLE if runs else _PLAIN
            tree.put(Path(place) / inside.name, content, mode)
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    program = (root / DEBIAN / "program").read_text("utf-8")
    for place, module in programs(settings):
        tree.put(place, program.replace("@MODULE@", module).encode(), _EXECUTABLE)
    commands = list(walk(make_parser()))
    for shell, place in COMPLETIONS.items():
        tree.put(place, completion.SCRIPTS[shell](commands).encode())
    overrides = (root / DEBIAN / "lintian-overrides").read_bytes()
    tree.put(f"usr/share/lintian/overrides/{PACKAGE}", overrides)
    tree.put(DOCUMENTS / "copyright", _copyright(root).encode())
    tree.put(DOCUMENTS / "changelog.gz", _compressed((root / "CHANGELOG.md").read_bytes()))
    tree.put(DOCUMENTS / "changelog.Debian.gz", _compressed(_changelog(root, version, seconds)))


def control_files(tree: Tree, root: Path, version: str) -> None:
    """What dpkg reads: control, sums, scripts."""
    contents = {name: (tree.top / name).read_bytes() for name in tree.files()}
    size = sum(map(len, contents.values()))
    sums = [
        f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}  {name}\n"
        for name, content in contents.items()
    ]
    control = (root / DEBIAN / "control").read_text("utf-8")
    control = control.replace("@VERSION@", version).replace("@SIZE@", str(size // 1024 + 1))
    tree.put("DEBIAN/control", control.encode())
    tree.put("DEBIAN/md5sums", "".join(sums).encode())
    for name in SCRIPTS:
        tree.put(f"DEBIAN/{name}", (root / DEBIAN / name).read_bytes(), _EXECUTABLE)


def build(directory: Path, root: Path = ROOT) -> Path:
    """Build the package into a directory; its path."""
    text = (root / "src/wg_dynamic/__init__.py").read_text("utf-8")
    version = version_of(text.split('__version__ = "')[1].split('"')[0])
    seconds = _source_date(root)
    directory.mkdir(parents=True, exist_ok=True)
    package = directory / f"{PACKAGE}_{version}_all.deb"
    with tempfile.TemporaryDirectory() as scratch:
        tree = Tree(Path(scratch))
        stage(tree, root, version, seconds)
        control_files(tree, root, version)
        tree.finish(seconds)
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", scratch, str(package)]
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(seconds)}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return package


def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, 9, mtime=0)


def _copyright(root: Path) -> str:
    """The licence in the form that Debian reads."""
    _, owner, *lines = re.split(r"\n\n", (root / "LICENSE").read_text("utf-8").strip(), maxsplit=2)
    indented = "\n".join(f" {line}" if line else " ." for line in "\n\n".join(lines).split("\n"))
    text = (root / DEBIAN / "copyright").read_text("utf-8")
    return text.replace("@COPYRIGHT@", owner.removeprefix("Copyright (c) ")).replace(
        "@LICENSE@", indented
    )


def _changelog(root: Path, version: str, seconds: int) -> bytes:
    maintainer = re.findall(r"^Maintainer: (.*)$", (root / DEBIAN / "control").read_text(), re.M)[0]
    date = formatdate(seconds)
    return (
        f"{PACKAGE} ({version}) unstable; urgency=medium\n\n"
        "  * What is new stands in changelog.gz.\n\n"
        f" -- {maintainer}  {date}\n"
    ).encode()


def _source_date(root: Path) -> int:
    """Unix time of the last commit; of the changelog, where there is no git."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return int((root / "CHANGELOG.md").stat().st_mtime)


def main() -> int:
    """Build it."""
    print(build(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "dist"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

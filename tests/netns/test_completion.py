"""What zsh and fish offer, the real ones: Debian's, laid over /usr in a mount namespace.

Bash, which every machine has, is asked in tests/unit/cli/command/test_completion.py.
"""

import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.packages import unpacked
from tools.processes import PATIENCE
from wg_dynamic.cli.command.completion import FISH, SCRIPTS, ZSH, walk
from wg_dynamic.cli.command.main import make_parser

PACKAGES = ("zsh", "zsh-common", "fish", "fish-common", "libpcre2-32-0")
CASES = [
    ("lease re", {"revoke", "release", "reserve"}),
    ("leases --state q", {"quarantined"}),
    ("peer add x --sa", {"--save"}),
    ("completion f", {"fish"}),
]


def laid_over(*command: str) -> list[str]:
    """A command with the programs of PACKAGES."""
    layers = ":".join(str(unpacked(package) / "usr") for package in PACKAGES)
    script = f'mount -t overlay -o lowerdir={layers}:/usr overlay /usr && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", *command]


@pytest.mark.parametrize(("typed", "expected"), CASES)
def test_fish_offers_what_may_stand_there(tmp_path: Path, typed: str, expected: set[str]) -> None:
    script = tmp_path / "wg-dynamic.fish"
    script.write_text(SCRIPTS[FISH](list(walk(make_parser()))))
    asked = f"source {script}; complete -C 'wg-dynamic {typed}'"
    done = subprocess.run(
        laid_over("fish", "--no-config", "-c", asked),
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line.split("\t")[0] for line in done.stdout.splitlines()} == expected


class Zsh:
    """An interactive one, on a terminal."""

    def __init__(self, home: Path) -> None:
        (home / "script").write_text(SCRIPTS[ZSH](list(walk(make_parser()))))
        start = f"PS1='> '\nautoload -Uz compinit && compinit -u -D\nsource {home}/script\n"
        (home / ".zshrc").write_text(f"{start}echo ready\n")
        command = laid_over("zsh", "-i")
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            environment = {**os.environ, "ZDOTDIR": str(home), "HOME": str(home), "TERM": "dumb"}
            os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is wanted
        self.read_until("ready")

    def read_until(self, *texts: str) -> str:
        said, deadline = "", time.monotonic() + 10.0 * PATIENCE
        while not all(text in said for text in texts):
            ready, _, _ = select.select([self._terminal], [], [], deadline - time.monotonic())
            assert ready, said
            said += os.read(self._terminal, 65536).decode(errors="replace")
        return said

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def close(self) -> None:
        os.close(self._terminal)
        os.waitpid(self.pid, 0)


@pytest.fixture
def zsh(tmp_path: Path) -> Iterator[Zsh]:
    one = Zsh(tmp_path)
    yield one
    one.close()


@pytest.mark.parametrize(("typed", "expected"), CASES)
def test_zsh_offers_what_may_stand_there(zsh: Zsh, typed: str, expected: set[str]) -> None:
    zsh.type(f"wg-dynamic {typed}\t\t")
    said = zsh.read_until(*expected)
    assert "_wg_dynamic:" not in said, "no error of its own"

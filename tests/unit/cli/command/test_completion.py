"""Completions made out of the parser; in a real bash."""

import shutil
import subprocess

import pytest

from tests.integration.test_man_pages import leaves
from wg_dynamic.cli.command.completion import BASH, FISH, SCRIPTS, ZSH, walk
from wg_dynamic.cli.command.main import main, make_parser


def completed(*words: str) -> set[str]:
    """What bash offers for the last of these words."""
    script = SCRIPTS[BASH](list(walk(make_parser())))
    typed = " ".join(f"'{word}'" for word in ("wg-dynamic", *words))
    asked = f"COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _wg_dynamic"
    program = f"wg() {{ echo wg0 wg1; }}\n{script}{asked}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(
        ["bash", "--norc", "-ec", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["le"], {"leases", "lease"}),
        (["lease", "re"], {"revoke", "release", "reserve"}),
        (["leases", "--state", "q"], {"quarantined"}),
        (["leases", "--pe"], {"--peer"}),
        (["status", "w"], {"wg0", "wg1"}),
        (["lease", "show", "--interface", ""], {"wg0", "wg1"}),
        (["peer", "add", "x", "--s"], {"--save"}),
        (["completion", ""], {"bash", "zsh", "fish", "--help"}),
        (["peer", "add", "lease", "--no-s"], {"--no-save"}),
    ],
)
def test_bash_offers_what_may_stand_there(words: list[str], expected: set[str]) -> None:
    assert completed(*words) == expected


@pytest.mark.parametrize("shell", [BASH, ZSH, FISH])
def test_every_command_is_known_to_every_shell(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert f"made by: wg-dynamic completion {shell}\n" in script
    for words in leaves(make_parser()):
        for word in words.split():
            assert word in script


def test_what_is_printed_is_a_script() -> None:
    """Of fish and zsh the grammar is checked where they are installed."""
    for shell, check in ((BASH, "-n"), (ZSH, "-n"), (FISH, "--no-execute")):
        program = shutil.which(shell)
        if program:
            script = SCRIPTS[shell](list(walk(make_parser())))
            subprocess.run([program, check], input=script, text=True, check=True)

"""README.md's guide is run as it stands: its files are written, its commands typed, in a lab."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tools.netlab import LISTEN_PORT, Host, Lab, generate_keys
from tools.repository import ROOT

pytestmark = pytest.mark.netns

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMPT = re.compile(r"(\w+)# (.+)")
PRIVATE = ("/etc/wireguard", "/run", "/usr/local/sbin", "/var/lib", "/var/log")
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EXAMPLES = {
    "10.44.0.175": r"10\.44\.0\.\d+",
    "fd00:44::1a5b:d829:3ffb:b22c": r"fd00:44::[0-9a-f:]+",
}
"""Addresses in the guide that are others each time."""


@dataclass
class Command:
    host: str
    command: str
    expected: list[str]


def commands(block: str) -> Iterator[Command]:
    """The commands of a ```console block with what they shall print; … stands for anything."""
    now: Command | None = None
    for line in block.splitlines():
        prompt = PROMPT.fullmatch(line)
        if prompt:
            if now is not None:
                yield now
            now = Command(prompt[1], prompt[2], [])
        else:
            assert now is not None, f"output before any command: {line!r}"
            now.expected.append(line)
    assert now is not None, "a console block without a command"
    yield now


def pattern(expected: list[str]) -> re.Pattern[str]:
    parts = []
    for line in expected:
        if line == "…":
            parts.append(r"(?:.*\n)*?")
            continue
        escaped = r"\s+".join(re.escape(word) for word in line.split())
        for example, anything in EXAMPLES.items():
            escaped = escaped.replace(re.escape(example), anything)
        parts.append(escaped + r"\s*\n")
    return re.compile("".join(parts))


DEV_LOG = Path("/dev/log")
NO_LOG = "; log: nowhere, as there is no /dev/log: use --log-file"
"""What a machine without a system log, such as a container, is told besides."""


class Reader:
    """Does what the guide says."""

    def __init__(self, lab: Lab) -> None:
        hub, laptop = lab.hosts("hub", "laptop", private=PRIVATE)
        self.hosts = {"hub": hub, "laptop": laptop}
        self.words = {"hub.example.org:51820": f"{hub.address}:{LISTEN_PORT}"}
        for name in self.hosts:
            keys = generate_keys()
            self.words[f"{name.upper()}_PRIVATE_KEY"] = keys.private
            self.words[f"{name.upper()}_PUBLIC_KEY"] = keys.public

    def filled_in(self, text: str) -> str:
        for word, meaning in self.words.items():
            text = text.replace(word, meaning)
        return text

    def write(self, block: str) -> None:
        """A configuration, whose first line is a comment with the host's name."""
        name = block.splitlines()[0].removeprefix("# ")
        path = self.hosts[name].path("/etc/wireguard/wg0.conf")
        path.touch(mode=0o600)
        path.write_text(self.filled_in(block))

    def type(self, command: Command) -> None:
        for name in self.hosts if command.host == "both" else [command.host]:
            self._type(self.hosts[name], command)

    def _type(self, host: Host, command: Command) -> None:
        done = host.run(
            ["bash", "-c", f"({command.command}) 2>&1"],
            env={"PATH": SYSTEM_PATH},  # the links of the guide count, not our own .venv
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == 0, f"{host.name}# {command.command}\n{done.stdout}"
        wanted = pattern([self.filled_in(line) for line in command.expected])
        shown = done.stdout if DEV_LOG.exists() else done.stdout.replace(NO_LOG, "")
        assert wanted.fullmatch(shown), (
            f"{host.name}# {command.command}\n{done.stdout}\ndoes not match {wanted.pattern!r}"
        )


def test_the_guide_works_as_it_stands() -> None:
    blocks = BLOCK.findall(README)
    typed = 0
    with Lab() as lab:
        reader = Reader(lab)
        for kind, block in blocks:
            if kind == "ini":
                reader.write(block)
            else:
                assert kind == "console", f"a ```{kind} block is not run by anybody"
                for command in commands(block):
                    reader.type(command)
                    typed += 1
    assert typed >= 10


def test_every_block_says_what_it_is() -> None:
    assert README.count("```") == 2 * len(BLOCK.findall(README))


def test_the_targets_of_make_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake (\w+)\b", README)) - {"and"}
    assert named >= {"demo", "test"}
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target

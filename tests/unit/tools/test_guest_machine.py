from itertools import pairwise
from pathlib import Path

from tools.guest_machine import PORTS, qemu, uml

DESCRIPTORS = {name: number for number, name in enumerate(PORTS, start=7)}


def values(command: list[str], option: str) -> list[str]:
    return [after for word, after in pairwise(command) if word == option]


def test_qemu_gives_the_machine_read_only_and_shares_to_write() -> None:
    command = qemu(
        Path("/vmlinux"), Path("/ird"), Path("/con"), DESCRIPTORS, [Path("/a,b")], memory=512
    )
    root, share = values(command, "-fsdev")
    assert root.startswith("local,id=machine,path=/,")
    assert "readonly=on" in root
    assert share == "local,id=share0,path=/a,,b,security_model=passthrough"
    assert values(command, "-m") == ["512M"]


def test_qemu_emulates_and_ends_when_linux_panics() -> None:
    command = qemu(Path("/vmlinux"), Path("/ird"), Path("/con"), DESCRIPTORS, memory=512)
    assert values(command, "-accel")[0].startswith("tcg")
    assert "-no-reboot" in command
    (append,) = values(command, "-append")
    assert {"panic=-1", "oops=panic"} <= set(append.split())


def test_each_port_has_its_descriptor() -> None:
    command = qemu(Path("/vmlinux"), Path("/ird"), Path("/con"), DESCRIPTORS, memory=512)
    assert values(command, "-chardev") == [
        "socket,id=out,fd=7",
        "socket,id=err,fd=8",
        "socket,id=status,fd=9",
    ]
    words = uml(Path("/linux"), Path("/job"), DESCRIPTORS, memory=512)
    assert {"con1=null,fd:7", "con2=null,fd:8", "con3=null,fd:9"} <= set(words)


def test_user_mode_linux_starts_on_the_machines_files_read_only() -> None:
    words = uml(Path("/linux"), Path("/job"), DESCRIPTORS, memory=512)
    assert words[0] == "/linux"
    assert {"ro", "root=hostfs", "init=/job/init", "mem=512M"} <= set(words)

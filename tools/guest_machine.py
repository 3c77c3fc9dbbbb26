"""The command lines of the machines that guests run on: QEMU, or User Mode Linux."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

__all__ = ["PORTS", "qemu", "uml"]

PORTS: Final = ("out", "err", "status")

# A Linux that panics ends its machine. An emulated processor is slow, hence: no defences against
# what a real one leaks, no watchdog that takes slowness for a lock-up, no profiles of AppArmor that
# systemd would load for a minute, no tests of the kernel's own crypto or clock, and namespaces go
# away without long waits.
_QEMU_APPEND: Final = (
    "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic mitigations=off nokaslr"
    " nowatchdog apparmor=0 norandmaps transparent_hugepage=never cryptomgr.notests=1"
    " rcupdate.rcu_expedited=1 tsc=reliable"
)
_UML_APPEND: Final = "quiet panic=-1 oops=panic root=hostfs rootfstype=hostfs rootflags=/ ro"


def qemu(
    image: Path,
    initramfs: Path,
    console: Path,
    ports: Mapping[str, int],
    shares: Sequence[Path] = (),
    *,
    memory: int,
) -> list[str]:
    """QEMU with the machine's files, and a virtual serial port on each descriptor of a socket.

    Emulation only (KVM may be absent, or there and hang), one processor. The
    processor is one without AVX, which is faster to emulate.
    """
    command = [
        "qemu-system-x86_64",
        *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *("-machine", "q35,hpet=off", "-accel", "tcg,thread=multi,tb-size=512"),
        *("-cpu", "Nehalem", "-smp", "1", "-m", f"{memory}M"),
        *("-kernel", str(image), "-initrd", str(initramfs), "-append", _QEMU_APPEND),
        *("-serial", f"file:{console}"),
        *("-device", "virtio-rng-pci", "-device", f"virtio-serial-pci,max_ports={len(PORTS) + 1}"),
        *_files("machine", Path("/"), "security_model=none,readonly=on,multidevs=remap"),
    ]
    for number, name in enumerate(PORTS, start=1):
        command += ["-chardev", f"socket,id={name},fd={ports[name]}"]
        command += ["-device", f"virtserialport,chardev={name},nr={number},name={name}"]
    for number, directory in enumerate(shares):
        command += _files(f"share{number}", directory, "security_model=passthrough")
    return command


def uml(kernel: Path, directory: Path, ports: Mapping[str, int], *, memory: int) -> list[str]:
    """A kernel of User Mode Linux, with the files of guest_boot.scripts in `directory`.

    It prints its own console. One processor: more are new there.
    """
    consoles = [f"con{number}=null,fd:{ports[name]}" for number, name in enumerate(PORTS, start=1)]
    return [
        *(str(kernel), f"mem={memory}M", *_UML_APPEND.split(), f"init={directory}/init"),
        *("con=null", "con0=null,fd:1", *consoles, "ssl=null"),
        *("seccomp=auto", f"uml_dir={directory}/", "umid=guest"),
    ]


def _files(tag: str, directory: Path, options: str) -> list[str]:
    """A directory for the guest to mount by this tag. A comma in QEMU's options is doubled."""
    path = str(directory).replace(",", ",,")
    return [
        *("-fsdev", f"local,id={tag},path={path},{options}"),
        *("-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"),
    ]

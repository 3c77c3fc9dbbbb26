import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.guest_boot import Job, archive, initramfs, module_order, scripts
from tools.guest_files import File
from tools.guest_kernels import Kernel, KernelError

DEPENDENCIES = """\
kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/fscache.ko kernel/fs/netfs.ko
kernel/net/9p/9pnet.ko: kernel/fs/netfs.ko
kernel/fs/overlayfs/overlay.ko:
kernel/drivers/virtio-rng.ko.xz:
"""


def test_modules_are_loaded_after_what_they_need_and_once() -> None:
    assert module_order(DEPENDENCIES, ["9pnet", "9p", "overlay"]) == [
        "kernel/fs/netfs.ko",
        "kernel/net/9p/9pnet.ko",
        "kernel/fs/fscache.ko",
        "kernel/fs/9p/9p.ko",
        "kernel/fs/overlayfs/overlay.ko",
    ]


def test_a_module_is_known_by_either_spelling_and_one_built_in_is_left_out() -> None:
    assert module_order(DEPENDENCIES, ["virtio_rng", "virtio_pci"]) == [
        "kernel/drivers/virtio-rng.ko.xz"
    ]


def test_an_archive_is_what_cpio_unpacks(tmp_path: Path) -> None:
    if shutil.which("cpio") is None:
        pytest.skip("needs cpio")
    files = [
        File("a", 0o040755),
        File("a/program", 0o100755, b"#!/bin/sh\n"),
        File("a/empty", 0o100644, modified=1_000_000_000),
        File("a/link", 0o120777, b"program"),
    ]
    subprocess.run(["cpio", "-im", "--quiet"], input=archive(files), cwd=tmp_path, check=True)
    assert (tmp_path / "a/program").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "a/program").stat().st_mode == 0o100755
    assert (tmp_path / "a/empty").read_bytes() == b""
    assert (tmp_path / "a/empty").stat().st_mtime == 1_000_000_000
    assert (tmp_path / "a/link").readlink() == Path("program")


def test_an_initramfs_holds_modules_unpacked_and_the_job(tmp_path: Path) -> None:
    (tmp_path / "kernel/fs/overlayfs").mkdir(parents=True)
    (tmp_path / "modules.dep").write_text("kernel/fs/overlayfs/overlay.ko.xz:\n")
    (tmp_path / "kernel/fs/overlayfs/overlay.ko.xz").write_bytes(lzma.compress(b"the module"))
    (tmp_path / "busybox").write_bytes(b"the busybox")
    kernel = Kernel("6.1.0", tmp_path / "vmlinux", tmp_path)
    made = initramfs(Job(["make tea"], tmp_path), kernel, tmp_path / "busybox")
    for part in (b"the module", b"the busybox", b"overlay.ko\n", b"exec 'make tea'"):
        assert part in made


def test_a_module_compressed_in_a_way_that_we_cannot_undo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text("overlay.ko.zst:\n")
    (tmp_path / "overlay.ko.zst").write_bytes(b"")
    (tmp_path / "busybox").write_bytes(b"")
    kernel = Kernel("6.1.0", tmp_path / "vmlinux", tmp_path)
    with pytest.raises(KernelError, match=r"overlay.ko.zst: got .* \.zst"):
        initramfs(Job(["true"], tmp_path), kernel, tmp_path / "busybox")


def test_the_command_gets_its_words_directory_and_environment_as_they_are(tmp_path: Path) -> None:
    directory = tmp_path / "it's a directory"
    directory.mkdir()
    job = Job(
        ["sh", "-c", 'printf "%s|" "$@" "$TEA" "$PWD"', "sh", "two words", "$HOME", "'"],
        directory,
        {"TEA": "a 'b'\n$c", "PATH": "/usr/bin:/bin"},
    )
    text = scripts(job, None)["command"]
    done = subprocess.run(["env", "-i", "sh"], input=text, capture_output=True, check=True)
    assert done.stdout.decode() == f"two words|$HOME|'|a 'b'\n$c|{directory}|"


def settings(job: Job, kernel: Kernel | None, then: str) -> list[str]:
    """What the scripts do with their settings, with `mount` and `mkdir` replaced by `echo`."""
    text = scripts(job, kernel)["settings"].decode()
    replaced = 'mount() { printf "%s " mount "$@"; echo; }\nmkdir() { echo mkdir "$@"; }\n'
    done = subprocess.run(
        ["sh", "-euc", f"{replaced}{text}\n{then}"], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_shares_are_mounted_by_9p_in_qemu_and_by_hostfs_in_user_mode_linux(tmp_path: Path) -> None:
    job = Job(["true"], tmp_path, shares=[Path("/a b"), Path("/c")])
    kernel = Kernel("6.1.0", tmp_path / "vmlinux", tmp_path)
    by_9p = settings(job, kernel, "mount_shares")
    assert by_9p[0] == "mkdir -p ./a b"
    assert by_9p[1].startswith("mount -t 9p -o trans=virtio,")
    assert by_9p[1].endswith("share0 ./a b ")
    assert by_9p[3].endswith("share1 ./c ")
    by_hostfs = settings(job, None, "mount_shares")
    assert by_hostfs[1] == "mount -t hostfs -o /a b hostfs ./a b "


def test_the_machine_is_mounted_read_only(tmp_path: Path) -> None:
    kernel = Kernel("6.1.0", tmp_path / "vmlinux", tmp_path)
    (line,) = settings(Job(["true"], tmp_path), kernel, "mount_machine /machine")
    assert line.startswith("mount -t 9p -o ro,")
    assert line.endswith("machine /machine ")


@pytest.mark.parametrize("systemd", [True, False])
def test_the_scripts_know_the_kernel_and_what_is_pid_1(tmp_path: Path, systemd: bool) -> None:
    kernel = Kernel("6.1.0-1 amd64", tmp_path / "vmlinux", tmp_path)
    job = Job(["true"], tmp_path, systemd=systemd)
    got = settings(job, kernel, 'mount_shares; echo "$release|$modules|${systemd:-no}"')
    assert got == [f"6.1.0-1 amd64|{tmp_path}|{'yes' if systemd else 'no'}"]


def test_packages_are_unpacked_in_their_order_from_the_machine_s_files(tmp_path: Path) -> None:
    job = Job(["true"], tmp_path, packages=[Path("/a b.tar"), Path("/c.tar")])
    told = settings(job, None, 'tar() { echo tar "$@"; }; unpack_packages')
    assert told == ["tar -xf ./a b.tar", "tar -xf ./c.tar"]
    assert settings(Job(["true"], tmp_path), None, "unpack_packages") == []

import lzma
import struct
from pathlib import Path

import pytest

from tools.guest_kernels import (
    KernelError,
    cache_directory,
    choose,
    debian_sources,
    image_packages,
    vmlinux,
)

RECORDS = """\
Package: linux-image-amd64
Version: 6.12.95-1~bpo12+1
Depends: linux-image-6.12.95+deb12-amd64 (= 6.12.95-1~bpo12+1)
Description: Linux for 64-bit PCs (meta-package)

Package: linux-image-amd64
Version: 6.1.192-2
Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)

Package: linux-image-amd64
Version: 6.1.76-1
Depends: linux-image-6.1.0-18-amd64 (= 6.1.76-1)
"""


def test_the_machines_own_suites_are_used_and_backports_of_the_same_mirror() -> None:
    targets = [
        "bookworm main http://mirror.example/debian/",
        "bookworm contrib http://mirror.example/debian/",
        "bookworm-security main http://mirror.example/security/",
        "nodistro main http://other.example/",
        "trixie main http://third.example/debian/",
    ]
    assert debian_sources(targets, "bookworm").splitlines() == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/security/ bookworm-security main",
        "deb http://mirror.example/debian/ bookworm-backports main",
    ]


def test_backports_that_the_machine_has_already_stay_as_they_are() -> None:
    targets = ["bookworm-backports main http://b.example/", "bookworm main http://a.example/"]
    assert debian_sources(targets, "bookworm").splitlines() == [
        "deb http://b.example/ bookworm-backports main",
        "deb http://a.example/ bookworm main",
    ]


def test_a_machine_without_sources_of_its_release_is_told_so() -> None:
    with pytest.raises(KernelError, match="no source of Debian bookworm"):
        debian_sources(["trixie main http://mirror.example/debian/"], "bookworm")


def test_a_name_means_the_newest_kernel_of_its_series() -> None:
    images = image_packages(RECORDS)
    assert choose(images, "6.1") == "linux-image-6.1.0-56-amd64"
    assert choose(images, "newest") == "linux-image-6.12.95+deb12-amd64"
    with pytest.raises(KernelError, match=r"no linux-image-amd64 6\.1 "):
        choose(images[:1], "6.1")


def a_vmlinuz(payload: bytes) -> bytes:
    """A vmlinuz with two sectors of set-up code, 16 bytes of head room and this payload."""
    head = bytearray((2 + 1) * 512 + 16)
    head[0x1F1] = 2
    struct.pack_into("<II", head, 0x248, 16, len(payload) + 4)
    return bytes(head) + payload + struct.pack("<I", 7) + b"what follows"


def test_the_kernel_inside_a_vmlinuz_is_found() -> None:
    elf = b"\x7fELF" + bytes(range(256)) * 40
    assert vmlinux(a_vmlinuz(lzma.compress(elf))) == elf


@pytest.mark.parametrize(
    "payload", [lzma.compress(b"not a kernel"), b"unknown", b"\x28\xb5\x2f\xfd broken"]
)
def test_a_vmlinuz_that_cannot_be_unpacked_is_left_to_the_guest(payload: bytes) -> None:
    assert vmlinux(a_vmlinuz(payload)) is None


def test_kernels_are_kept_with_the_users_other_caches() -> None:
    assert cache_directory({"HOME": "/home/me"}) == Path("/home/me/.cache/wg-dynamic/kernels")
    assert cache_directory({"HOME": "/", "XDG_CACHE_HOME": "/c"}) == Path("/c/wg-dynamic/kernels")

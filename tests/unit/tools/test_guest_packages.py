import io
import tarfile
from pathlib import Path

import pytest

from tools.guest_packages import merge, merged, planned

SAID = """\
Inst systemd [252.38-1~deb12u1] (252.39-1~deb12u2 Debian:12.15/oldstable [amd64]) []
Inst libndp0 (1.8-1+deb12u1 Debian:12.15/oldstable, Debian-Security:12/oldstable-security [amd64])
Inst resolvconf (1:1.91+nmu1 Debian:12.15/oldstable [all])
Remv openresolv [3.12.0-3]
Conf systemd (252.39-1~deb12u2 Debian:12.15/oldstable [amd64])
"""


def test_what_would_be_installed_is_read_from_the_simulation() -> None:
    assert planned(SAID) == [
        ("systemd", "252.39-1~deb12u2", "amd64"),
        ("libndp0", "1.8-1+deb12u1", "amd64"),
        ("resolvconf", "1:1.91+nmu1", "all"),
    ]
    assert planned("") == []


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("./lib/systemd/systemd", "usr/lib/systemd/systemd"),
        ("./sbin", "usr/sbin"),
        ("./library/x", "library/x"),
        ("./usr/bin/x", "usr/bin/x"),
        ("./etc/udev.conf", "etc/udev.conf"),
        ("./", ""),
    ],
)
def test_files_lie_where_the_machine_s_links_lead(name: str, place: str) -> None:
    assert merged(name) == place


def test_an_archive_is_laid_out_for_a_machine_with_merged_usr(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "old", "w") as old:
        for name in ("./", "./usr", "./lib", "./lib/a"):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE
            old.addfile(member)
        file = tarfile.TarInfo("./lib/a/file")
        file.size, file.mode = 3, 0o755
        old.addfile(file, io.BytesIO(b"abc"))
        for kind, target in ((tarfile.LNKTYPE, "./lib/a/file"), (tarfile.SYMTYPE, "/lib/a/file")):
            link = tarfile.TarInfo(f"./sbin/{kind.decode()}")
            link.type, link.linkname = kind, target
            old.addfile(link)
    merge(tmp_path / "old", tmp_path / "new")
    with tarfile.open(tmp_path / "new") as new:
        members = {each.name: each for each in new}
        assert sorted(members) == [
            "usr/lib",
            "usr/lib/a",
            "usr/lib/a/file",
            "usr/sbin/1",
            "usr/sbin/2",
        ]
        extracted = new.extractfile("usr/sbin/1")
        assert extracted is not None
        assert extracted.read() == b"abc"
        assert members["usr/lib/a/file"].mode == 0o755
        assert members["usr/sbin/2"].linkname == "/lib/a/file"

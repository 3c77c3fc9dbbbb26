"""recorder.c, compiled."""

import shutil
import subprocess
from pathlib import Path

from tools.netlab import Host

SOURCE = Path(__file__).with_name("recorder.c")


def build_recorder(library: Path, below: Path, log: Path) -> None:
    """Make `library`, which records into `log` what a process does to the files below `below`."""
    subprocess.run(
        [
            *("gcc", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror"),
            *(f'-DRECORD_BELOW="{below}"', f'-DRECORD_LOG="{log}"'),
            *("-o", library, SOURCE),
        ],
        check=True,
    )


def record_all(host: Host, library: Path) -> None:
    """Load `library` into every program of a host, started from now on.

    Also into those that get no environment: by /etc/ld.so.preload, in an /etc of this host alone.
    """
    etc = library.with_name("etc")
    shutil.copytree("/etc", etc, symlinks=True, ignore_dangling_symlinks=True)
    (etc / "ld.so.preload").write_text(f"{library}\n")
    host.run(["mount", "--bind", str(etc), "/etc"])

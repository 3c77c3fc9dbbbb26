"""recorder.c, compiled."""

import subprocess
from pathlib import Path

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

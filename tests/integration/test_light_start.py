"""What a client imports before it has a lease: nearly all of the time that a start takes."""

import subprocess
import sys
from typing import Final

import pytest

from tools.processes import environment

NOTHING_OF: Final = (
    *("argparse", "dataclasses", "inspect", "json", "logging", "random"),
    *("subprocess", "threading", "tomllib", "traceback"),
)


@pytest.mark.parametrize("name", ["client_start", "client_keep", "client_network"])
def test_nothing_that_takes_long_is_imported_on_the_way_to_a_lease(name: str) -> None:
    module = f"wg_dynamic.cli.{name}"
    code = f"import sys; sys.path += {sys.path!r}; import {module}; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    imported = set(done.stdout.split())
    assert module in imported
    assert imported & set(NOTHING_OF) == set(), "docs/decisions/0013"

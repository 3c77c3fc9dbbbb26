"""What is in `test_daemon.py` runs in namespaces, with real WireGuard: marked `netns`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.daemons import database_path
from tools.netlab import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An open lab; WG_DYNAMIC_TEST_BACKEND says with which WireGuard."""
    with Lab() as opened:
        yield opened


@pytest.fixture
def database() -> Iterator[Path]:
    """A file that the service account can reach."""
    with database_path() as path:
        yield path

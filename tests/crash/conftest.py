"""What is in `test_daemon.py` runs in namespaces, with real WireGuard: marked `netns`."""

from tests.netns.conftest import database, lab

__all__ = ["database", "lab"]

"""What is below runs in namespaces, with real WireGuard: each test file says `netns`."""

from tests.netns.conftest import database, lab, pytest_runtest_makereport

__all__ = ["database", "lab", "pytest_runtest_makereport"]

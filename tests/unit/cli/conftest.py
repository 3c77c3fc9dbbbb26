"""The commands are run in the process of the tests, which is to keep what it may do."""

import pytest

from wg_dynamic.cli import daemon


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the helper's limits are said to lack; a test may add to it."""
    lacks: list[str] = []
    monkeypatch.setattr(daemon, "limit_helper", lambda: lacks)
    return lacks

"""Tests below install packages; they need root, debootstrap and the archive (make package)."""

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.package)

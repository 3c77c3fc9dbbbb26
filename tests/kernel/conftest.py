"""Tests of the guests themselves (tools/guest.py). All tests below are marked `qemu`."""

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    item.add_marker(pytest.mark.qemu)

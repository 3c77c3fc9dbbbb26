"""The files of packaging/, looked at by systemd's own tools."""

import re

import pytest

from tests.systemd.machine import run

UNITS = ("wg-dynamic-server@.service", "wg-dynamic-client@.service")
EXPOSURE = 4.0
"""systemd-analyze calls what is below 5 OK; docs/operations.md has the figures."""


def test_systemd_has_nothing_to_say_about_the_units(machine: None) -> None:
    instances = [unit.replace("@", "@wg0") for unit in UNITS]
    assert run("systemd-analyze", "verify", "--man=yes", *instances) == ""


@pytest.mark.parametrize("unit", UNITS)
def test_the_units_are_locked_in(unit: str, machine: None) -> None:
    table = run("systemd-analyze", "security", unit.replace("@", "@wg0"))
    (level,) = re.findall(r"Overall exposure level for .*: (\d\.\d) OK", table)
    assert float(level) < EXPOSURE

"""What all tests share: with WG_DYNAMIC_REQUIRE_ALL=1 (make test) a skipped test is a failed one.

A machine that lacks what a test needs would otherwise pass without having run it. An expected
failure (xfail) counts as skipped.
"""

import logging
import os
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import settings

from wg_dynamic.system import log

# How long an example takes depends on what else the machine does: no test is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

REQUIRE_ALL = os.environ.get("WG_DYNAMIC_REQUIRE_ALL") == "1"


def pytest_runtest_setup() -> None:
    """Let lines go to `logging`, and so to caplog, whatever the last test has set up."""
    log.forget()
    logging.getLogger().setLevel(logging.WARNING)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outermost: after the plugin that makes xfail
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRE_ALL and report.skipped:
        report.longrepr = f"skipped, but WG_DYNAMIC_REQUIRE_ALL=1: {_reason(report)}"
        report.outcome = "failed"
        vars(report).pop("wasxfail", None)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if REQUIRE_ALL and report.skipped:
        report.longrepr = f"skipped, but WG_DYNAMIC_REQUIRE_ALL=1: {_reason(report)}"
        report.outcome = "failed"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    expected: str | None = getattr(report, "wasxfail", None)
    if expected is not None:
        return f"expected to fail: {expected}"
    where: Any = report.longrepr  # (path, line, reason) for a skip
    return str(where[2] if isinstance(where, tuple) else where)

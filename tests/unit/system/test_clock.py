"""The machine's clocks."""

import re
import time

import pytest

from tests.fakes.clock import FakeClock
from wg_dynamic.system.clock import Clock, SystemClock


def test_now_is_the_boottime_clock_and_never_steps_back() -> None:
    clock: Clock = SystemClock()
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= clock.now() <= clock.now() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_wall_is_unix_time() -> None:
    before = time.clock_gettime(time.CLOCK_REALTIME)
    assert abs(SystemClock().wall() - before) < 60


def test_the_boot_has_a_name_that_stays() -> None:
    name = SystemClock().boot_id()
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", name)
    assert SystemClock().boot_id() == name


def test_the_boot_s_name_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    name = clock.boot_id()
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_: pytest.fail("no file may be opened"))
    assert clock.boot_id() == name


def test_the_fake_stands_still_until_it_is_moved() -> None:
    clock: Clock = FakeClock()
    assert clock.now() == clock.now()
    assert clock.boot_id() == clock.boot_id()

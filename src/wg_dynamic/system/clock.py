"""The only reader of clocks. CLOCK_BOOTTIME decides: it goes on in suspend and never steps."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where `now` comes from."""

    def now(self) -> float:
        """Seconds since boot, suspend included (clock_gettime(2), CLOCK_BOOTTIME)."""

    def suspended(self) -> float:
        """Seconds of those in which the computer was suspended."""

    def wall(self) -> float:
        """Unix time in seconds; may step."""

    def boot_id(self) -> str:
        """Which boot `now` counts from."""


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self._boot_id = ""

    def now(self) -> float:
        """See Clock."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def suspended(self) -> float:
        """See Clock."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)

    def wall(self) -> float:
        """See Clock."""
        return time.time()  # noqa: TID251 - the one place that may

    def boot_id(self) -> str:
        """See Clock."""
        if not self._boot_id:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                self._boot_id = file.read().strip()
        return self._boot_id

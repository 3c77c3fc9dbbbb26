"""A Clock that stands still until a test moves it."""

from wg_dynamic.store.base import Moment


class FakeClock:
    """Implements Clock."""

    def __init__(self, now: float = 1000.0, wall: float = 1_700_000_000.0, boot: str = "1") -> None:
        self._now = now
        self._wall = wall
        self._boot = boot
        self._suspended = 0.0

    def now(self) -> float:
        return self._now

    def suspended(self) -> float:
        return self._suspended

    def wall(self) -> float:
        return self._wall

    def boot_id(self) -> str:
        return self._boot

    def moment(self) -> Moment:
        """One reading of all three."""
        return Moment(self._now, self._wall, self._boot)

    def pass_time(self, seconds: float) -> None:
        """Both clocks go on."""
        self._now += seconds
        self._wall += seconds

    def suspend(self, seconds: float) -> None:
        """The computer sleeps: both clocks go on, programs do not."""
        self.pass_time(seconds)
        self._suspended += seconds

    def set_wall(self, wall: float) -> None:
        """Somebody sets the wall clock; `now` goes on as ever."""
        self._wall = wall

    def reboot(self, *, after: float = 0.0, now: float = 5.0) -> None:
        """`after` seconds by the wall clock it is `now` seconds after the start of a new boot."""
        self._wall += after
        self._now = now
        self._boot += "'"

"""A clock that moves only when a test says so."""

from datetime import datetime, timedelta


class FrozenClock:
    """Stands still at `moment` until advanced."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment
        self.elapsed = 0.0

    def now(self) -> datetime:
        """Return the moment at which the clock stands."""
        return self.moment

    def monotonic(self) -> float:
        """Return the seconds by which the clock was advanced."""
        return self.elapsed

    def advance(self, step: timedelta) -> None:
        """Move the clock by `step`, which may be negative (the monotonic reading then stays)."""
        self.moment += step
        self.elapsed += max(step.total_seconds(), 0.0)

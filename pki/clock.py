"""The only source of time. Rooms take a `Clock`; nothing else reads the machine's clock."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day and measures durations."""

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps back."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the machine's time of day, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()


def to_ms(moment: datetime) -> int:
    """Return `moment` as whole unix milliseconds, the form in which tables keep times."""
    return int(moment.timestamp() * 1000)


def from_ms(value: int) -> datetime:
    """Return the aware UTC time of `value` unix milliseconds."""
    return datetime.fromtimestamp(value / 1000, UTC)


def rfc3339(moment: datetime) -> str:
    """Return `moment` as RFC 3339 text in whole seconds, with Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

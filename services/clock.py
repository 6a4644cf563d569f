"""Time is input: services take a clock, the domain takes instants."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a service reads the time, UTC."""

    def now(self) -> datetime:
        """The present instant, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present instant, UTC."""
        return datetime.now(UTC)


class SimulatedClock:
    """A clock that stands until it is moved, and never goes back."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """The instant the clock was last moved to, UTC."""
        return self._now

    def move_to(self, instant: datetime) -> None:
        """Go forward to an instant; an earlier one leaves the clock where it is."""
        self._now = max(self._now, instant.astimezone(UTC))

"""The working calendar and the one time zone in which people speak of days.

The resolved calendar comes from the log (`CalendarAdopted`, `CalendarAmended`), never from a library, so that an
upgrade cannot change a past verdict. Nothing here reads the clock or the server's own time zone.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from zoneinfo import ZoneInfo

from contracts.limits import CalendarDay, DayKind

LOCAL = ZoneInfo("Asia/Ho_Chi_Minh")
_ONE_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class WorkingCalendar:
    """Which local days are worked: Monday to Friday, except as `days` say.

    A later entry for the same date replaces an earlier one, so an amendment is appended. Beyond the years that `days`
    cover only the weekday rule is left.
    """

    days: tuple[CalendarDay, ...] = ()
    _kinds: Mapping[dt.date, DayKind] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_kinds", MappingProxyType({day.date: day.kind for day in self.days}))

    @property
    def years(self) -> frozenset[int]:
        """The years for which the calendar knows holidays."""
        return frozenset(date.year for date in self._kinds)

    def is_working(self, date: dt.date) -> bool:
        """Whether the local day is worked."""
        kind = self._kinds.get(date)
        return date.weekday() < 5 if kind is None else kind == "swap_workday"

    def next_working_day(self, date: dt.date) -> dt.date:
        """The day itself if worked, else the first worked day after it."""
        return date if self.is_working(date) else self.add_working_days(date, 1)

    def previous_working_day(self, date: dt.date) -> dt.date:
        """The day itself if worked, else the last worked day before it."""
        return date if self.is_working(date) else self.add_working_days(date, -1)

    def add_working_days(self, date: dt.date, n: int) -> dt.date:
        """The n-th worked day after `date` (before it if n is negative); `date` itself, worked or not, if n is 0."""
        step = _ONE_DAY if n > 0 else -_ONE_DAY
        left = abs(n)
        while left:
            date += step
            left -= self.is_working(date)
        return date


WEEKDAYS = WorkingCalendar()
"""Monday to Friday without a holiday: what holds before a calendar is adopted."""


def at_local(date: dt.date, time: dt.time) -> dt.datetime:
    """The UTC instant of a local day and time of day (`time` without offset; ValueError otherwise)."""
    if time.tzinfo is not None:
        raise ValueError(f"time {time.isoformat()} carries an offset: give local time of day")
    return dt.datetime.combine(date, time, tzinfo=LOCAL).astimezone(dt.UTC)


def local_midnight(date: dt.date) -> dt.datetime:
    """The UTC instant at which the local day begins."""
    return at_local(date, dt.time())


def to_local(instant: dt.datetime) -> dt.datetime:
    """The instant in local time. ValueError if it has no offset: it would be read in the server's time zone."""
    if instant.tzinfo is None:
        raise ValueError(f"instant {instant.isoformat()} has no offset: give an aware datetime")
    return instant.astimezone(LOCAL)


def local_date(instant: dt.datetime) -> dt.date:
    """The local day that holds the instant (aware; ValueError otherwise)."""
    return to_local(instant).date()


def last_day_before(instant: dt.datetime) -> dt.date:
    """The local day of the last moment before the instant: of a limit, its last on-time day."""
    return local_date(instant - dt.timedelta.resolution)

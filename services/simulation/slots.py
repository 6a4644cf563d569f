"""The half-days on which simulated departments act: 08:00 and 14:00 of working days, local time."""

import datetime as dt
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from domain.calendar import WorkingCalendar, at_local

MORNING, AFTERNOON = dt.time(8), dt.time(14)
_ONE_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Slots:
    """All half-days of a run in order, UTC."""

    at: tuple[dt.datetime, ...]

    def from_instant(self, instant: dt.datetime) -> int:
        """The first half-day at or after an instant."""
        return bisect_left(self.at, instant)

    def before(self, instant: dt.datetime) -> int:
        """The last half-day before an instant, -1 when there is none."""
        return bisect_left(self.at, instant) - 1

    def after(self, instant: dt.datetime) -> int:
        """The first half-day after an instant."""
        return bisect_right(self.at, instant)


def slots_between(start: dt.datetime, until: dt.date, calendar: WorkingCalendar) -> Slots:
    """The half-days after `start` (UTC) up to and with the local day `until`."""
    day, found = start.astimezone(dt.UTC).date(), []
    while day <= until:
        if calendar.is_working(day):
            found += [at for at in (at_local(day, MORNING), at_local(day, AFTERNOON)) if at >= start]
        day += _ONE_DAY
    return Slots(tuple(found))

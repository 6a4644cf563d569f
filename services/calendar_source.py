"""A proposal of the Vietnamese calendar, made once when a programme is imported.

The log keeps what was adopted; a person may amend it. Future swap days are decided year by year, so the library knows
only those announced before its release.
"""

import datetime as dt
from collections.abc import Iterable

from holidays import country_holidays

from contracts.limits import CalendarDay


def proposed_calendar(years: Iterable[int]) -> tuple[CalendarDay, ...]:
    """Public holidays, days rested and weekend days worked in exchange, in order of date, with Vietnamese names."""
    wanted = sorted(set(years))
    # A working Saturday is announced with the rest day it pays for, which may lie across New Year.
    source = country_holidays("VN", years=[year + n for year in wanted for n in (-1, 0, 1)], language="vi")
    # The library labels a swap as "<label> (… %s)": the text before the date tells it from a holiday.
    swap = source.tr(source.substituted_label).split("%s")[0]
    rests = [
        CalendarDay(date=date, name=name, kind="swap_rest" if name.startswith(swap) else "holiday")
        for date, name in source.items()
    ]
    works = [_worked(date) for date in source.weekend_workdays]
    return tuple(sorted((day for day in rests + works if day.date.year in wanted), key=lambda day: day.date))


def _worked(date: dt.date) -> CalendarDay:
    return CalendarDay(date=date, name="Ngày làm việc bù", kind="swap_workday")

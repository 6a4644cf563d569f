"""Limits computed from the words of a programme: one exclusive UTC instant each (R-041 to R-058, R-163 to R-167)."""

import calendar as gregorian
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from contracts.limits import Boundary, DueRule, Frequency, Limit, Offset
from domain.calendar import (
    WEEKDAYS,
    WorkingCalendar,
    at_local,
    last_day_before,
    local_midnight,
    to_local,
)

OnHoliday = Literal["as_written", "next_working_day", "previous_working_day"]
"""What becomes of a limit whose last on-time day is not worked; as written unless the calendar says (R-142)."""

DataPeriod = Literal["between_limits", "calendar"]
"""What a report covers (R-166): from the previous limit to its own, or the week, month, quarter or year itself."""

_ONE_DAY = dt.timedelta(days=1)
_MONTHS: dict[Frequency, int] = {"monthly": 1, "quarterly": 3, "half_yearly": 6, "nine_monthly": 9, "yearly": 12}


@dataclass(frozen=True)
class Period:
    """A calendar period of a regime: `code` is part of stream ids, `named` ISO text; local days, both inclusive."""

    code: str
    named: str
    first: dt.date
    last: dt.date


@dataclass(frozen=True)
class Occurrence:
    """One report that a rule asks for; its data [period_start, period_end) are apart from its limit (R-166). UTC."""

    code: str
    period_start: dt.datetime
    period_end: dt.datetime
    limit: Limit


def before(date: dt.date, time: dt.time | None = None) -> Limit:
    """As in "before the 19th" or "before 15:00 on Thursday": the named day or hour is late already (R-163, R-164)."""
    if time is None:
        return Limit(at=local_midnight(date), boundary="before", named=date.isoformat())
    exact = "auto" if time.second or time.microsecond else "minutes"
    named = f"{date.isoformat()}T{time.isoformat(timespec=exact)}"
    return Limit(at=at_local(date, time), boundary="before", named=named)


def by_end_of(date: dt.date) -> Limit:
    """As in "by 05/6 at the latest": the named day still counts (R-041)."""
    return Limit(at=local_midnight(date + _ONE_DAY), boundary="by_end_of", named=date.isoformat())


def within_month(year: int, month: int) -> Limit:
    """As in "in January 2027" (R-052)."""
    return _within(_month_span("monthly", year, month))


def within_quarter(year: int, quarter: int) -> Limit:
    """As in "in the second quarter of 2027" (R-055). Quarters are 1 to 4."""
    return _within(_month_span("quarterly", year, 3 * quarter - 2))


def within_year(year: int) -> Limit:
    """As in "in the year 2028"; of a range of years, its last (R-058)."""
    return _within(_month_span("yearly", year, 1))


def limit_of(date: dt.date, boundary: Boundary, time: dt.time | None = None) -> Limit:
    """The limit of a named day; with `within` it is the last day of the range.

    ValueError if a time is given to another boundary than `before`: "by 15:00" does not say whether that minute counts.
    """
    if boundary == "before":
        return before(date, time)
    if time is not None:
        raise ValueError(f"limit {date.isoformat()} {time.isoformat()}: a time of day needs boundary 'before'")
    if boundary == "by_end_of":
        return by_end_of(date)
    return _within(Period(code="", named=date.isoformat(), first=date, last=date))


def last_on_time_day(limit: Limit) -> dt.date:
    """The last local day, whole or in part, that is on time."""
    return last_day_before(limit.at)


def shift(limit_at: dt.datetime, offset: Offset, calendar: WorkingCalendar = WEEKDAYS) -> dt.datetime:
    """The UTC instant at a signed offset from a limit, local time of day kept; hours are added after days.

    A limit at midnight ends the day before, so working days are counted from that day: |n| whole working days lie
    between the two instants, weekends or not.
    """
    local = to_local(limit_at)
    time = local.time()
    if not offset.working_days:
        return at_local(local.date() + dt.timedelta(days=offset.days), time) + dt.timedelta(hours=offset.hours)
    if time != dt.time():
        return at_local(calendar.add_working_days(local.date(), offset.working_days), time)
    ended = local.date() - _ONE_DAY
    if offset.working_days < 0:
        ended = calendar.previous_working_day(ended)
    return local_midnight(calendar.add_working_days(ended, offset.working_days) + _ONE_DAY)


def periods(frequency: Frequency, start: dt.date, end: dt.date) -> Iterator[Period]:
    """The calendar periods that share a day with [start, end], in order.

    They are the obligations of a regime whose limit is not set (R-169, R-175). `once` has none, and October to December
    belong to no nine-month period.
    """
    for period in _periods_of_years(frequency, start.year - 1, end.year + 1):
        if period.first <= end and period.last >= start:
            yield period


def occurrences(
    rule: DueRule | None,
    start: dt.date,
    end: dt.date,
    *,
    on_holiday: OnHoliday = "as_written",
    calendar: WorkingCalendar = WEEKDAYS,
    data_period: DataPeriod = "between_limits",
) -> Iterator[Occurrence]:
    """The reports whose last on-time day, as written, lies in [start, end] (local, both inclusive), in order.

    No limit that passed before the start yields a report (R-164), and none without a rule (R-169). Moving a limit off a
    holiday moves neither its code nor its data period, and may make two limits equal (a week of Tết). No report
    covers time before the start, unless `data_period` is `calendar`.
    """
    if rule is None:
        return
    opening = local_midnight(start)
    for period in _candidates(rule, start, end):
        limit = _as_written(rule, period)
        last = last_on_time_day(limit)
        if last > end:
            return
        if last >= start:
            covers = (opening, limit.at) if data_period == "between_limits" else _span(rule, period, start)
            yield Occurrence(period.code, *covers, _moved(limit, on_holiday, calendar))
        opening = max(opening, limit.at)


def _candidates(rule: DueRule, start: dt.date, end: dt.date) -> Iterator[Period]:
    if rule.date is not None:
        yield Period(rule.date.strftime("%Y%m%d"), rule.date.isoformat(), rule.date, rule.date)
        return
    # A year on either side: "before the 1st" has its last on-time day in the period before.
    yield from _periods_of_years(rule.frequency, start.year - 1, end.year + 1)


def _periods_of_years(frequency: Frequency, first: int, last: int) -> Iterator[Period]:
    if frequency == "once":
        return
    for year in range(first, last + 1):
        if frequency == "weekly":
            yield from _weeks(year)
        else:
            months = _MONTHS[frequency]
            yield from (_month_span(frequency, year, month) for month in range(1, 14 - months, months))


def _weeks(year: int) -> Iterator[Period]:
    # 28 December is always in the last ISO week of its year.
    for week in range(1, dt.date(year, 12, 28).isocalendar().week + 1):
        monday = dt.date.fromisocalendar(year, week, 1)
        yield Period(f"{year:04}W{week:02}", f"{year:04}-W{week:02}", monday, monday + dt.timedelta(days=6))


def _month_span(frequency: Frequency, year: int, month: int) -> Period:
    """The period of the frequency that begins with the month."""
    months = _MONTHS[frequency]
    final = month + months - 1
    last = dt.date(year, final, gregorian.monthrange(year, final)[1])
    code, named = {
        "monthly": (f"M{month:02}", f"-{month:02}"),
        "quarterly": (f"Q{final // 3}", f"-Q{final // 3}"),
        "half_yearly": (f"H{final // 6}", f"-H{final // 6}"),
        "nine_monthly": ("N9", f"-01/{year:04}-09"),
        "yearly": ("Y", ""),
    }[frequency]
    return Period(f"{year:04}{code}", f"{year:04}{named}", dt.date(year, month, 1), last)


def _within(period: Period) -> Limit:
    return Limit(at=local_midnight(period.last + _ONE_DAY), boundary="within", named=period.named)


def _as_written(rule: DueRule, period: Period) -> Limit:
    if rule.date is None and rule.boundary == "within":
        return _within(period)
    return limit_of(_named_day(rule, period), rule.boundary, rule.time)


def _named_day(rule: DueRule, period: Period) -> dt.date:
    if rule.weekday is not None:
        return period.first + dt.timedelta(days=rule.weekday)
    if rule.day_of_month is not None:
        return period.last.replace(day=min(rule.day_of_month, period.last.day))
    return period.last


def _span(rule: DueRule, period: Period, start: dt.date) -> tuple[dt.datetime, dt.datetime]:
    first = start if rule.frequency == "once" else period.first
    return local_midnight(first), local_midnight(period.last + _ONE_DAY)


def _moved(limit: Limit, on_holiday: OnHoliday, calendar: WorkingCalendar) -> Limit:
    """The limit with its last on-time day on a worked day, boundary and time of day kept."""
    last = last_on_time_day(limit)
    if on_holiday == "as_written" or calendar.is_working(last):
        return limit
    to = calendar.next_working_day(last) if on_holiday == "next_working_day" else calendar.previous_working_day(last)
    local = to_local(limit.at) + (to - last)
    if limit.boundary != "before":
        return limit_of(to, limit.boundary)
    return before(local.date(), local.time() if local.time() != dt.time() else None)

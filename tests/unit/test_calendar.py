"""The working calendar, local days, and the proposal made from the holidays library."""

import datetime as dt
import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.limits import CalendarDay, DayKind, DueRule, Offset
from domain.calendar import (
    WEEKDAYS,
    WorkingCalendar,
    at_local,
    last_day_before,
    local_date,
    local_midnight,
    to_local,
)
from domain.limits import before, by_end_of, occurrences, shift, within_month
from services.calendar_source import proposed_calendar

VIETNAM = WorkingCalendar(proposed_calendar(range(2025, 2029)))
DAYS = st.dates(dt.date(2020, 1, 1), dt.date(2035, 12, 31))


def day(date: str, kind: DayKind, name: str = "Quốc khánh") -> CalendarDay:
    return CalendarDay(date=dt.date.fromisoformat(date), name=name, kind=kind)


@pytest.fixture(params=["UTC", "America/New_York", "Pacific/Kiritimati", "Asia/Kolkata"])
def server_zone(request: pytest.FixtureRequest) -> Iterator[str]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def test_weekdays_work_and_weekends_rest_without_a_calendar() -> None:
    week = [dt.date(2026, 6, 1) + dt.timedelta(days=n) for n in range(7)]
    assert [WEEKDAYS.is_working(date) for date in week] == [True] * 5 + [False] * 2


def test_holiday_and_swap_rest_are_not_worked_and_a_swap_saturday_is() -> None:
    calendar = WorkingCalendar(
        (day("2026-08-22", "swap_workday"), day("2026-08-31", "swap_rest"), day("2026-09-02", "holiday"))
    )
    worked = [calendar.is_working(dt.date(2026, *md)) for md in ((8, 22), (8, 23), (8, 31), (9, 1), (9, 2))]
    assert worked == [True, False, False, True, False]
    assert calendar.years == {2026}


def test_a_later_entry_amends_an_earlier_one() -> None:
    adopted = (day("2026-09-01", "holiday"),)
    assert WorkingCalendar((*adopted, day("2026-09-01", "swap_workday"))).is_working(dt.date(2026, 9, 1))


def test_beyond_its_years_the_weekday_rule_holds() -> None:
    assert VIETNAM.years == {2025, 2026, 2027, 2028}
    assert VIETNAM.is_working(dt.date(2031, 9, 2)), "Tuesday 02/9/2031 is not in the calendar"
    assert not VIETNAM.is_working(dt.date(2031, 9, 6))


def test_working_days_step_over_tet() -> None:
    eve = dt.date(2027, 2, 3)
    assert VIETNAM.add_working_days(eve, 1) == dt.date(2027, 2, 11)
    assert VIETNAM.add_working_days(dt.date(2027, 2, 11), -1) == eve
    assert VIETNAM.next_working_day(dt.date(2027, 2, 4)) == dt.date(2027, 2, 11)
    assert VIETNAM.previous_working_day(dt.date(2027, 2, 10)) == eve
    assert VIETNAM.next_working_day(eve) == VIETNAM.previous_working_day(eve) == eve


@given(DAYS, st.integers(-60, 60))
def test_working_days_there_and_back(date: dt.date, n: int) -> None:
    start = VIETNAM.next_working_day(date)
    assert VIETNAM.add_working_days(VIETNAM.add_working_days(start, n), -n) == start


@given(DAYS, st.integers(1, 40))
def test_the_nth_working_day_has_n_working_days_up_to_it(date: dt.date, n: int) -> None:
    reached = VIETNAM.add_working_days(date, n)
    between = [date + dt.timedelta(days=k) for k in range(1, (reached - date).days + 1)]
    assert sum(VIETNAM.is_working(each) for each in between) == n


@given(DAYS)
def test_a_local_day_begins_at_17_utc_of_the_day_before(date: dt.date) -> None:
    begin = local_midnight(date)
    assert begin.utcoffset() == dt.timedelta()
    assert begin.hour == 17
    assert begin.date() == date - dt.timedelta(days=1)
    assert local_date(begin) == date
    assert last_day_before(begin) == date - dt.timedelta(days=1)


@pytest.mark.usefixtures("server_zone")
def test_server_time_zone_changes_no_day() -> None:
    assert at_local(dt.date(2026, 6, 4), dt.time(15)).isoformat() == "2026-06-04T08:00:00+00:00"
    assert local_midnight(dt.date(2026, 6, 19)).isoformat() == "2026-06-18T17:00:00+00:00"
    assert local_date(dt.datetime(2026, 6, 4, 17, tzinfo=dt.UTC)) == dt.date(2026, 6, 5)
    assert local_date(dt.datetime(2026, 6, 4, 16, 59, 59, tzinfo=dt.UTC)) == dt.date(2026, 6, 4)


@pytest.mark.usefixtures("server_zone")
def test_server_time_zone_changes_no_limit() -> None:
    weekly = DueRule(frequency="weekly", boundary="before", weekday=3, time=dt.time(15))
    limits = [each.limit for each in occurrences(weekly, dt.date(2026, 5, 30), dt.date(2027, 9, 30))]
    assert len(limits) == 70
    assert limits[0].at.isoformat() == "2026-06-04T08:00:00+00:00"
    assert shift(limits[0].at, Offset(working_days=-1)).isoformat() == "2026-06-03T08:00:00+00:00"
    assert before(dt.date(2026, 6, 19)).at.isoformat() == "2026-06-18T17:00:00+00:00"
    assert by_end_of(dt.date(2026, 6, 5)).at.isoformat() == "2026-06-05T17:00:00+00:00"
    assert within_month(2027, 1).at.isoformat() == "2027-01-31T17:00:00+00:00"


def test_values_that_depend_on_the_server_are_refused() -> None:
    with pytest.raises(ValueError, match="no offset"):
        to_local(dt.datetime(2026, 6, 4, 15))  # noqa: DTZ001
    with pytest.raises(ValueError, match="local time of day"):
        at_local(dt.date(2026, 6, 4), dt.time(15, tzinfo=dt.UTC))


def test_the_proposal_has_holidays_and_swap_days_with_vietnamese_names() -> None:
    proposed = {each.date: each for each in proposed_calendar([2026])}
    assert proposed[dt.date(2026, 9, 2)] == day("2026-09-02", "holiday")
    assert proposed[dt.date(2026, 8, 31)].kind == "swap_rest"
    assert proposed[dt.date(2026, 8, 22)].kind == "swap_workday"
    assert proposed[dt.date(2026, 2, 17)].name == "Tết Nguyên Đán"
    assert list(proposed) == sorted(proposed)
    assert {date.year for date in proposed} == {2026}


def test_the_proposal_does_not_depend_on_the_order_or_company_of_years() -> None:
    apart = proposed_calendar([2025]) + proposed_calendar([2026])
    assert proposed_calendar([2026, 2025, 2026]) == apart


@pytest.mark.parametrize("date", [dt.date(1989, 12, 31), dt.date(2200, 1, 1)])
def test_a_day_out_of_range_is_refused(date: dt.date) -> None:
    with pytest.raises(ValidationError, match="outside 1990 to 2199"):
        CalendarDay(date=date, name="Quốc khánh", kind="holiday")

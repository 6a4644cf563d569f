"""Every limit of appendix 2 by name, the recurring limits of the regimes, offsets from a limit, holidays."""

import datetime as dt
from dataclasses import FrozenInstanceError
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts.limits import Boundary, CalendarDay, DueRule, Frequency, Limit, Offset
from domain.calendar import LOCAL, WorkingCalendar, at_local, local_midnight, to_local
from domain.limits import (
    Occurrence,
    before,
    by_end_of,
    last_on_time_day,
    limit_of,
    occurrences,
    periods,
    shift,
    within_month,
    within_quarter,
    within_year,
)
from domain.timeliness import judge
from services.calendar_source import proposed_calendar

VIETNAM = WorkingCalendar(proposed_calendar(range(2025, 2029)))
START, END = dt.date(2026, 5, 30), dt.date(2027, 9, 30)
SECOND = dt.timedelta(seconds=1)

WEEKLY = DueRule(frequency="weekly", boundary="before", weekday=3, time=dt.time(15))
MONTHLY = DueRule(frequency="monthly", boundary="before", day_of_month=19, month_of_period="reporting")
QUARTERLY = DueRule(frequency="quarterly", boundary="before", day_of_month=19, month_of_period="last")
FINAL = DueRule(frequency="once", boundary="before", date=dt.date(2027, 12, 15))


def first(rule: DueRule) -> Limit:
    return next(occurrences(rule, START, END)).limit


def last(rule: DueRule, end: dt.date) -> Limit:
    return list(occurrences(rule, START, end))[-1].limit


APPENDIX_2 = {
    "R-041 phase 1 products of 000": (by_end_of(dt.date(2026, 6, 5)), "2026-06-05T23:59:59"),
    "R-042 phase 1 inner items of 003, strict": (before(dt.date(2026, 6, 5)), "2026-06-04T23:59:59"),
    "R-042 phase 1 end of 003": (by_end_of(dt.date(2026, 6, 5)), "2026-06-05T23:59:59"),
    "R-043 phase 1 products of 004": (by_end_of(dt.date(2026, 6, 10)), "2026-06-10T23:59:59"),
    "R-163 first weekly report": (first(WEEKLY), "2026-06-04T14:59:59"),
    "R-164 first monthly report": (first(MONTHLY), "2026-06-18T23:59:59"),
    "R-165 first quarterly report": (first(QUARTERLY), "2026-06-18T23:59:59"),
    "R-163 last weekly report of phase 2": (last(WEEKLY, dt.date(2026, 12, 31)), "2026-12-31T14:59:59"),
    "R-052 phase 3 review": (within_month(2027, 1), "2027-01-31T23:59:59"),
    "R-053 scenario and indicator set": (within_month(2027, 2), "2027-02-28T23:59:59"),
    "R-054 Q1 targets and remedies, strict": (before(dt.date(2027, 3, 31)), "2027-03-30T23:59:59"),
    "R-055 key tasks of Q2": (within_quarter(2027, 2), "2027-06-30T23:59:59"),
    "R-056 all targets, strict": (before(dt.date(2027, 9, 30)), "2027-09-29T23:59:59"),
    "R-047 five products of 004": (by_end_of(dt.date(2027, 9, 30)), "2027-09-30T23:59:59"),
    "R-167 final report": (last(FINAL, dt.date(2028, 1, 1)), "2027-12-14T23:59:59"),
    "R-058 standardised processes": (within_year(2028), "2028-12-31T23:59:59"),
}


@pytest.mark.parametrize(("limit", "last_on_time"), APPENDIX_2.values(), ids=APPENDIX_2.keys())
def test_appendix_2_limit(limit: Limit, last_on_time: str) -> None:
    moment = dt.datetime.fromisoformat(last_on_time).replace(tzinfo=LOCAL)
    assert limit.at == moment + SECOND
    assert judge(moment, limit.at) == "on_time"
    assert judge(moment + SECOND, limit.at) == "late"
    assert last_on_time_day(limit) == moment.date()


def test_r057_review_after_the_campaign_has_no_limit() -> None:
    assert judge(local_midnight(dt.date(2028, 1, 1)), None) == "undated"
    assert list(occurrences(None, START, END)) == []


@pytest.mark.parametrize(
    ("limit", "named"),
    [
        (before(dt.date(2026, 6, 4), dt.time(15)), "2026-06-04T15:00"),
        (before(dt.date(2026, 6, 4), dt.time(15, 0, 30)), "2026-06-04T15:00:30"),
        (by_end_of(dt.date(2026, 6, 5)), "2026-06-05"),
        (within_month(2027, 1), "2027-01"),
        (within_quarter(2027, 2), "2027-Q2"),
        (within_year(2028), "2028"),
    ],
)
def test_a_limit_keeps_the_name_it_was_given_by(limit: Limit, named: str) -> None:
    assert limit.named == named


def test_limit_of_follows_the_boundary_of_the_data() -> None:
    day = dt.date(2027, 1, 31)
    assert limit_of(day, "before") == before(day)
    assert limit_of(day, "before", dt.time(15)) == before(day, dt.time(15))
    assert limit_of(day, "by_end_of") == by_end_of(day)
    assert limit_of(day, "within").at == within_month(2027, 1).at
    with pytest.raises(ValueError, match="needs boundary 'before'"):
        limit_of(day, "by_end_of", dt.time(15))


# Recurring limits


@pytest.mark.parametrize(
    ("begin", "end", "count"),
    [
        (START, END, 70),
        (START, dt.date(2026, 6, 4), 1),
        (dt.date(2026, 6, 5), dt.date(2026, 12, 31), 30),
        (dt.date(2027, 1, 1), dt.date(2027, 3, 31), 12),
        (dt.date(2027, 4, 1), END, 27),
    ],
    ids=["all", "phase 1", "phase 2", "phase 3", "phase 4"],
)
def test_r163_weekly_limits_fall_on_thursday_before_15(begin: dt.date, end: dt.date, count: int) -> None:
    weekly = list(occurrences(WEEKLY, begin, end))
    assert len(weekly) == count
    assert {(to_local(each.limit.at).weekday(), to_local(each.limit.at).time()) for each in weekly} == {
        (3, dt.time(15))
    }


def test_r163_codes_are_iso_weeks_of_the_day_of_the_limit() -> None:
    codes = [each.code for each in occurrences(WEEKLY, START, END)]
    assert (codes[0], codes[-1]) == ("2026W23", "2027W39")
    assert codes[30:32] == ["2026W53", "2027W01"]
    assert len(set(codes)) == 70


def test_r163_145959_is_on_time_and_150000_is_late() -> None:
    limit_at = first(WEEKLY).at
    thursday = dt.date(2026, 6, 4)
    assert judge(at_local(thursday, dt.time(14, 59, 59)), limit_at) == "on_time"
    assert judge(at_local(thursday, dt.time(15)), limit_at) == "late"


def test_r164_monthly_reports_run_from_june_2026_to_september_2027() -> None:
    monthly = list(occurrences(MONTHLY, START, END))
    assert len(monthly) == 16
    assert (monthly[0].code, monthly[-1].code) == ("2026M06", "2027M09")
    weekend = [day for each in monthly if (day := last_on_time_day(each.limit)).weekday() > 4]
    assert [f"{day:%Y-%m-%d}" for day in weekend] == [
        "2026-07-18", "2026-10-18", "2027-04-18", "2027-07-18", "2027-09-18",
    ]  # fmt: skip


def test_r165_quarter_ends_share_one_limit_under_two_codes() -> None:
    monthly = {each.limit.at: each.code for each in occurrences(MONTHLY, START, END)}
    quarterly = list(occurrences(QUARTERLY, START, END))
    assert [(each.code, monthly[each.limit.at]) for each in quarterly] == [
        ("2026Q2", "2026M06"), ("2026Q3", "2026M09"), ("2026Q4", "2026M12"),
        ("2027Q1", "2027M03"), ("2027Q2", "2027M06"), ("2027Q3", "2027M09"),
    ]  # fmt: skip


def test_r166_data_period_runs_from_limit_to_limit_and_starts_with_the_regime() -> None:
    june, july = list(occurrences(MONTHLY, START, dt.date(2026, 7, 31)))
    assert (june.period_start, june.period_end) == (local_midnight(START), june.limit.at)
    assert (july.period_start, july.period_end) == (
        local_midnight(dt.date(2026, 6, 19)), local_midnight(dt.date(2026, 7, 19)),
    )  # fmt: skip


def test_r166_data_period_can_be_the_calendar_month() -> None:
    june = next(occurrences(MONTHLY, START, END, data_period="calendar"))
    assert june.period_start == local_midnight(dt.date(2026, 6, 1))
    assert june.period_end == local_midnight(dt.date(2026, 7, 1)) > june.limit.at


def test_r167_final_report_falls_once() -> None:
    (final,) = occurrences(FINAL, START, dt.date(2027, 12, 31))
    assert (final.code, final.limit.named) == ("20271215", "2027-12-15")
    assert (final.period_start, final.period_end) == (local_midnight(START), final.limit.at)
    assert list(occurrences(FINAL, START, END)) == []


def test_r164_a_limit_that_nobody_could_meet_after_the_start_yields_nothing() -> None:
    assert next(occurrences(MONTHLY, dt.date(2026, 6, 18), END)).code == "2026M06"
    assert next(occurrences(MONTHLY, dt.date(2026, 6, 19), END)).code == "2026M07"
    assert next(occurrences(WEEKLY, dt.date(2026, 6, 4), END)).code == "2026W23"


def test_r047_a_limit_at_the_end_of_the_last_day_belongs_to_the_regime() -> None:
    rule = DueRule(frequency="once", boundary="by_end_of", date=END)
    assert [each.limit.at for each in occurrences(rule, START, END)] == [local_midnight(dt.date(2027, 10, 1))]


def test_r175_four_periods_of_2025() -> None:
    year = dt.date(2025, 1, 1), dt.date(2025, 12, 31)
    kinds: tuple[Frequency, ...] = ("quarterly", "half_yearly", "nine_monthly", "yearly", "once")
    assert [[each.code for each in periods(kind, *year)] for kind in kinds] == [
        ["2025Q1", "2025Q2", "2025Q3", "2025Q4"], ["2025H1", "2025H2"], ["2025N9"], ["2025Y"], [],
    ]  # fmt: skip
    (nine,) = periods("nine_monthly", *year)
    assert (nine.first, nine.last) == (dt.date(2025, 1, 1), dt.date(2025, 9, 30))


def test_r169_periods_of_a_regime_without_a_limit() -> None:
    assert [each.code for each in periods("monthly", START, dt.date(2026, 7, 1))] == ["2026M05", "2026M06", "2026M07"]


@pytest.mark.parametrize(
    ("frequency", "code", "named", "ends"),
    [
        ("weekly", "2026W22", "2026-W22", "2026-05-31"),
        ("monthly", "2026M05", "2026-05", "2026-05-31"),
        ("quarterly", "2026Q2", "2026-Q2", "2026-06-30"),
        ("half_yearly", "2026H1", "2026-H1", "2026-06-30"),
        ("nine_monthly", "2026N9", "2026-01/2026-09", "2026-09-30"),
        ("yearly", "2026Y", "2026", "2026-12-31"),
    ],
)
def test_within_needs_no_day(frequency: Frequency, code: str, named: str, ends: str) -> None:
    one = next(occurrences(DueRule(frequency=frequency, boundary="within"), START, END))
    assert (one.code, one.limit.named, last_on_time_day(one.limit).isoformat()) == (code, named, ends)


def test_a_day_the_month_lacks_is_its_last_day() -> None:
    rule = DueRule(frequency="monthly", boundary="by_end_of", day_of_month=31)
    days = [last_on_time_day(each.limit) for each in occurrences(rule, dt.date(2027, 1, 1), dt.date(2027, 4, 30))]
    assert [day.day for day in days] == [31, 28, 31, 30]


def test_before_the_first_belongs_to_the_day_before() -> None:
    rule = DueRule(frequency="monthly", boundary="before", day_of_month=1)
    codes = [each.code for each in occurrences(rule, dt.date(2026, 12, 31), dt.date(2027, 1, 31))]
    assert codes == ["2027M01", "2027M02"]


# Holidays


def on_national_day(**options: Any) -> Occurrence:
    return next(occurrences(WEEKLY, dt.date(2027, 9, 2), END, calendar=VIETNAM, **options))


def test_r142_a_limit_on_a_holiday_stays_as_written_by_default() -> None:
    assert not VIETNAM.is_working(dt.date(2027, 9, 2))
    assert on_national_day().limit == before(dt.date(2027, 9, 2), dt.time(15))


def test_r142_a_setting_moves_the_limit_but_neither_code_nor_data_period() -> None:
    written, later = on_national_day(), on_national_day(on_holiday="next_working_day")
    earlier = on_national_day(on_holiday="previous_working_day")
    assert later.limit == before(dt.date(2027, 9, 6), dt.time(15)), "Friday 03/9 is a holiday too"
    assert earlier.limit == before(dt.date(2027, 9, 1), dt.time(15))
    assert {(each.code, each.period_end) for each in (written, later, earlier)} == {("2027W35", written.limit.at)}


@pytest.mark.parametrize(
    ("boundary", "moved"),
    [("before", before(dt.date(2026, 7, 21))), ("by_end_of", by_end_of(dt.date(2026, 7, 20)))],
)
def test_r142_the_last_on_time_day_decides_whether_a_limit_moves(boundary: Boundary, moved: Limit) -> None:
    day = 19 if boundary == "before" else 18
    rule = DueRule(frequency="monthly", boundary=boundary, day_of_month=day)
    one = next(occurrences(rule, dt.date(2026, 7, 1), END, on_holiday="next_working_day", calendar=VIETNAM))
    assert one.limit == moved, "Saturday 18/7/2026 gives way to Monday 20/7/2026"


# Offsets


@pytest.mark.parametrize(
    ("limit", "offset", "expected"),
    [
        (before(dt.date(2026, 6, 4), dt.time(15)), Offset(days=-1), "2026-06-03T15:00"),
        (before(dt.date(2026, 6, 4), dt.time(15)), Offset(days=1, hours=-6), "2026-06-05T09:00"),
        (before(dt.date(2026, 6, 4), dt.time(15)), Offset(working_days=2), "2026-06-08T15:00"),
        (before(dt.date(2026, 9, 3), dt.time(15)), Offset(working_days=-1), "2026-08-28T15:00"),
        (by_end_of(dt.date(2026, 6, 5)), Offset(working_days=1), "2026-06-09T00:00"),
        (by_end_of(dt.date(2026, 6, 5)), Offset(working_days=-1), "2026-06-05T00:00"),
        (within_month(2027, 1), Offset(working_days=-1), "2027-01-29T00:00"),
        (within_month(2027, 1), Offset(working_days=1), "2027-02-02T00:00"),
        (within_month(2027, 1), Offset(), "2027-02-01T00:00"),
    ],
    ids=str,
)
def test_shift(limit: Limit, offset: Offset, expected: str) -> None:
    assert shift(limit.at, offset, VIETNAM) == dt.datetime.fromisoformat(expected).replace(tzinfo=LOCAL)


DAYS = st.dates(dt.date(2025, 1, 1), dt.date(2028, 12, 31))
TIMES = st.one_of(st.just(dt.time()), st.times().map(lambda time: time.replace(microsecond=0)))


@given(DAYS, TIMES, st.integers(-60, 60))
def test_shift_by_working_days_there_and_back(date: dt.date, time_of_day: dt.time, n: int) -> None:
    worked = VIETNAM.next_working_day(date)
    limit_at = by_end_of(worked).at if time_of_day == dt.time() else at_local(worked, time_of_day)
    there = shift(limit_at, Offset(working_days=n), VIETNAM)
    assert to_local(there).time() == time_of_day
    assert shift(there, Offset(working_days=-n), VIETNAM) == limit_at


@given(DAYS, st.integers(-60, 60).filter(bool))
def test_whole_working_days_lie_between_a_midnight_limit_and_its_shift(date: dt.date, n: int) -> None:
    limit = by_end_of(date)
    low, high = sorted((limit.at, shift(limit.at, Offset(working_days=n), VIETNAM)))
    days = (to_local(high).date() - to_local(low).date()).days
    between = [to_local(low).date() + dt.timedelta(days=k) for k in range(days)]
    assert sum(VIETNAM.is_working(each) for each in between) == abs(n)


@given(DAYS, TIMES, st.integers(-400, 400), st.integers(-100, 100))
def test_shift_by_days_and_hours_there_and_back(date: dt.date, time_of_day: dt.time, days: int, hours: int) -> None:
    limit_at = at_local(date, time_of_day)
    there = shift(limit_at, Offset(days=days, hours=hours))
    assert there - limit_at == dt.timedelta(days=days, hours=hours)
    assert shift(there, Offset(days=-days, hours=-hours)) == limit_at


# Invariants


@st.composite
def rules(draw: st.DrawFn) -> DueRule:
    frequency = draw(
        st.sampled_from(["weekly", "monthly", "quarterly", "half_yearly", "nine_monthly", "yearly", "once"])
    )
    boundary = draw(st.sampled_from(["before", "by_end_of", "within"]))
    fields: dict[str, Any] = {"frequency": frequency, "boundary": boundary}
    if boundary == "before":
        fields["time"] = draw(st.none() | TIMES)
    if frequency == "once":
        fields["date"] = draw(DAYS)
    elif boundary != "within" and frequency == "weekly":
        fields["weekday"] = draw(st.integers(0, 6))
    elif boundary != "within":
        fields |= {"day_of_month": draw(st.integers(1, 31)), "month_of_period": "last"}
    return DueRule(**fields)


@given(rules(), DAYS, st.integers(0, 800))
def test_occurrences_increase_cover_time_without_gap_and_stay_in_range(
    rule: DueRule, start: dt.date, days: int
) -> None:
    end = start + dt.timedelta(days=days)
    found = list(occurrences(rule, start, end))
    for one, two in pairwise(found):
        assert one.limit.at < two.limit.at
        assert one.code != two.code
        assert one.period_end == two.period_start
    for each in found:
        assert start <= last_on_time_day(each.limit) <= end
        assert each.period_start < each.period_end == each.limit.at
        assert each.limit.at.utcoffset() == dt.timedelta()
        # A rule without a time of day ends with a local day, never with a day of UTC or of the server.
        assert to_local(each.limit.at).time() == (rule.time or dt.time())
    if found:
        assert found[0].period_start == local_midnight(start)


@given(rules(), DAYS, st.integers(0, 400), st.integers(1, 400))
def test_a_regime_cut_in_two_yields_the_same_limits(rule: DueRule, start: dt.date, days: int, more: int) -> None:
    cut, end = start + dt.timedelta(days=days), start + dt.timedelta(days=days + more)
    whole = [(each.code, each.limit) for each in occurrences(rule, start, end)]
    parts = [*occurrences(rule, start, cut), *occurrences(rule, cut + dt.timedelta(days=1), end)]
    assert [(each.code, each.limit) for each in parts] == whole


@given(rules(), DAYS, st.sampled_from(["next_working_day", "previous_working_day"]))
def test_r142_moved_limits_end_on_a_worked_day_in_order(rule: DueRule, start: dt.date, on_holiday: Any) -> None:
    end = start + dt.timedelta(days=400)
    found = list(occurrences(rule, start, end, on_holiday=on_holiday, calendar=VIETNAM))
    assert all(VIETNAM.is_working(last_on_time_day(each.limit)) for each in found)
    assert [each.limit.at for each in found] == sorted(each.limit.at for each in found)
    assert [each.code for each in found] == [each.code for each in occurrences(rule, start, end)]


@given(rules())
def test_rules_survive_json(rule: DueRule) -> None:
    kept = TypeAdapter(DueRule)
    assert kept.validate_json(kept.dump_json(rule)) == rule


# Refusals


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"frequency": "weekly", "boundary": "before"}, "field 'weekday' is missing"),
        ({"frequency": "monthly", "boundary": "before"}, "field 'day_of_month' is missing"),
        ({"frequency": "quarterly", "boundary": "before", "day_of_month": 19}, "field 'month_of_period' is missing"),
        ({"frequency": "once", "boundary": "before"}, "field 'date' is missing"),
        ({"frequency": "weekly", "boundary": "within", "weekday": 3}, "field 'weekday' has no place"),
        ({"frequency": "weekly", "boundary": "before", "weekday": 3, "day_of_month": 1}, "'day_of_month' has no place"),
        ({"frequency": "weekly", "boundary": "by_end_of", "weekday": 3, "time": dt.time(15)}, "field 'time' needs"),
        ({"frequency": "weekly", "boundary": "before", "weekday": 3, "time": dt.time(15, tzinfo=dt.UTC)}, "offset"),
        (
            {"frequency": "yearly", "boundary": "before", "day_of_month": 15, "month_of_period": "reporting"},
            "field 'month_of_period' of a yearly rule",
        ),
    ],
)
def test_a_due_rule_names_the_field_at_fault(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DueRule(**fields)


def test_an_offset_counts_one_kind_of_time() -> None:
    with pytest.raises(ValidationError, match="excludes 'days' and 'hours'"):
        Offset(working_days=1, hours=2)


def test_values_are_frozen_strict_and_closed() -> None:
    with pytest.raises(FrozenInstanceError):
        WEEKLY.weekday = 4  # type: ignore[misc]
    with pytest.raises(ValidationError, match="date"):
        TypeAdapter(CalendarDay).validate_json('{"date": 20260902, "name": "Quốc khánh", "kind": "holiday"}')
    with pytest.raises(ValidationError, match="Unexpected keyword"):
        TypeAdapter(Offset).validate_json('{"weeks": 1}')
    with pytest.raises(ValidationError, match="timezone"):
        Limit(at=dt.datetime(2026, 6, 4, 15), boundary="before", named="2026-06-04")  # noqa: DTZ001

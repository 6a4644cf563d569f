"""Early, on time, late: two clocks and a limit (R-124, R-347)."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.calendar import at_local
from domain.limits import before
from domain.timeliness import deciding_instant, judge

DAY = dt.timedelta(days=1)


def local(day: int, hour: int = 9, month: int = 6) -> dt.datetime:
    return at_local(dt.date(2026, month, day), dt.time(hour))


INSTANTS = st.integers(0, 730 * 86_400).map(lambda seconds: local(1) + dt.timedelta(seconds=seconds))
THURSDAY_15 = before(dt.date(2026, 6, 4), dt.time(15)).at


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        (at_local(dt.date(2026, 6, 3), dt.time(23, 59, 59)), "early"),
        (at_local(dt.date(2026, 6, 4), dt.time()), "on_time"),
        (at_local(dt.date(2026, 6, 4), dt.time(14, 59, 59)), "on_time"),
        (at_local(dt.date(2026, 6, 4), dt.time(15)), "late"),
    ],
)
def test_r124_early_is_a_local_day_before_the_last_on_time_day(instant: dt.datetime, expected: str) -> None:
    assert judge(instant, THURSDAY_15) == expected


def test_r124_the_last_on_time_day_of_a_midnight_limit_is_the_day_before_it() -> None:
    limit_at = before(dt.date(2026, 6, 19)).at
    assert [judge(local(day), limit_at) for day in (17, 18, 19)] == ["early", "on_time", "late"]


def test_r169_nothing_is_late_for_a_limit_that_is_not_set() -> None:
    assert judge(local(4), None) == "undated"


def test_r347_entered_within_the_tolerance_the_senders_clock_decides() -> None:
    assert deciding_instant(local(15), local(15) + DAY, DAY) == (local(15), False)


def test_r347_entered_on_20_6_for_15_6_the_logs_clock_decides_and_the_entry_is_late() -> None:
    assert deciding_instant(local(15), local(20), DAY) == (local(20), True)


def test_r347_a_senders_clock_slightly_ahead_is_no_late_entry() -> None:
    ahead = local(15) + dt.timedelta(minutes=4)
    assert deciding_instant(ahead, local(15), dt.timedelta()) == (ahead, False)


@given(INSTANTS, INSTANTS, INSTANTS)
def test_no_later_instant_is_judged_better(one: dt.datetime, two: dt.datetime, limit_at: dt.datetime) -> None:
    order = ["early", "on_time", "late"]
    first, second = sorted((one, two))
    assert order.index(judge(first, limit_at)) <= order.index(judge(second, limit_at))
    assert (judge(one, limit_at) == "late") == (one >= limit_at)


@given(INSTANTS, INSTANTS, st.timedeltas(dt.timedelta(), dt.timedelta(days=30)))
def test_r347_the_decision_is_one_of_the_two_clocks_and_never_before_the_senders(
    occurred: dt.datetime, recorded: dt.datetime, tolerance: dt.timedelta
) -> None:
    instant, late_entry = deciding_instant(occurred, recorded, tolerance)
    assert instant == (recorded if late_entry else occurred)
    assert instant >= occurred

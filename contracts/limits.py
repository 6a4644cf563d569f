"""Limits, due rules, offsets and calendar days as data: no logic beyond naming what a value lacks.

A limit is one exclusive instant: something is on time if and only if it happened before `Limit.at`.
Days and hours that people name are those of Asia/Ho_Chi_Minh; instants are UTC.
"""

import datetime as dt
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from contracts.base import value
from contracts.types import Instant, Line

Boundary = Literal["before", "by_end_of", "within"]
"""before: the named hour or day is already late; by_end_of: the named day still counts;
within: the named week, month, quarter or year counts to its last moment (R-041, R-042, R-052, R-054)."""

Frequency = Literal["weekly", "monthly", "quarterly", "half_yearly", "nine_monthly", "yearly", "once"]
DayKind = Literal["holiday", "swap_workday", "swap_rest"]


def _of_our_time(day: dt.date) -> dt.date:
    # Two days inside the range of Instant, so that a limit computed from a day is an instant too.
    if not dt.date(1990, 1, 2) <= day <= dt.date(2199, 12, 30):
        raise PydanticCustomError("day_out_of_range", "day lies outside 1990 to 2199")
    return day


def _iso_day(value: Any) -> Any:
    # pydantic alone would take "1780012800" for a day
    if isinstance(value, dt.date) or (isinstance(value, str) and value[4:5] == "-"):
        return value
    raise PydanticCustomError("date_type", "Input should be a valid date, ISO text such as 2026-06-05")


def _without_offset(time: dt.time) -> dt.time:
    if time.tzinfo is not None:
        raise PydanticCustomError("time_with_offset", "a local time of day has no offset; leave it out")
    return time


Day = Annotated[dt.date, Field(strict=False), BeforeValidator(_iso_day), AfterValidator(_of_our_time)]
"""A local day."""

LocalTime = Annotated[dt.time, AfterValidator(_without_offset)]
"""A local time of day."""


@value
class Limit:
    """The instant from which something is late, and the words it was given in.

    `at` is UTC and exclusive. `named` is the day, hour, week, month, quarter or year the source names, as ISO text in
    local time: `2026-06-04T15:00`, `2026-06-19`, `2027-01`, `2027-Q2`, `2028`.
    """

    at: Instant
    boundary: Boundary
    named: Annotated[str, StringConstraints(pattern=r"^[0-9TWQHZ:./+-]{4,40}$")]


@value
class DueRule:
    """How the limits of a recurring report are computed (R-162). Local days and hours.

    With boundary `within` the period itself is the limit and no day is named. A rule whose day the source leaves open
    is no rule at all: store None in its place (R-169).
    """

    frequency: Frequency
    boundary: Boundary
    weekday: Annotated[int, Field(ge=0, le=6)] | None = None
    """Monday is 0; weekly rules only."""
    day_of_month: Annotated[int, Field(ge=1, le=31)] | None = None
    """A day the month lacks means its last day."""
    month_of_period: Literal["reporting", "last"] | None = None
    """The month that holds the day: that of a monthly report is its reporting month, of longer periods the last one."""
    time: dt.time | None = None
    """Local time of day without offset; only with boundary `before`."""
    date: Day | None = None
    """The named day of a rule that falls once."""

    @model_validator(mode="after")
    def _names_what_it_needs(self) -> Self:
        needed, allowed = _fields_of(self.frequency, self.boundary)
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"field '{name}' is missing: a {self.frequency} rule '{self.boundary}' needs it")
        for name in ("weekday", "day_of_month", "month_of_period", "date"):
            if name not in allowed and getattr(self, name) is not None:
                raise ValueError(f"field '{name}' has no place in a {self.frequency} rule '{self.boundary}'")
        if self.time is not None and self.boundary != "before":
            raise ValueError(f"field 'time' needs boundary 'before', not '{self.boundary}'")
        if self.time is not None and self.time.tzinfo is not None:
            raise ValueError("field 'time' is local time of day: leave the offset out")
        if self.month_of_period == "reporting" and self.frequency != "monthly":
            raise ValueError(f"field 'month_of_period' of a {self.frequency} rule is 'last', not 'reporting'")
        return self


def _fields_of(frequency: Frequency, boundary: Boundary) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the fields a rule must state, and of those it may state."""
    if frequency == "once":
        return ("date",), ("date",)
    if boundary == "within":
        return (), ()
    if frequency == "weekly":
        return ("weekday",), ("weekday",)
    if frequency == "monthly":
        return ("day_of_month",), ("day_of_month", "month_of_period")
    return ("day_of_month", "month_of_period"), ("day_of_month", "month_of_period")


@value
class Offset:
    """A signed distance from a limit, negative before it: calendar days and hours, or working days alone."""

    days: int = Field(default=0, ge=-3660, le=3660)
    working_days: int = Field(default=0, ge=-1000, le=1000)
    hours: int = Field(default=0, ge=-8784, le=8784)

    @model_validator(mode="after")
    def _one_kind_of_time(self) -> Self:
        if self.working_days and (self.days or self.hours):
            raise ValueError("field 'working_days' excludes 'days' and 'hours': an offset counts one kind of time")
        return self


@value
class CalendarDay:
    """A local day that departs from the weekday rule; `name` is the Vietnamese label.

    A public holiday, a weekend day worked in exchange (`swap_workday`), or the weekday rested for it (`swap_rest`).
    """

    date: Day
    name: Line
    kind: DayKind

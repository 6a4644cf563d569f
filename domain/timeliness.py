"""Early, on time or late: which of two clocks decides, and against which limit (R-124, R-330, R-347)."""

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from domain.calendar import last_day_before, local_date

Timeliness = Literal["early", "on_time", "late", "undated"]


@dataclass(frozen=True)
class Verdict:
    """One completion judged twice, against its original limit and against the current one (R-124)."""

    against_original: Timeliness
    against_current: Timeliness


def deciding_instant(
    occurred_at: dt.datetime, recorded_at: dt.datetime, tolerance: dt.timedelta
) -> tuple[dt.datetime, bool]:
    """The instant that decides, and whether the entry was late (R-347).

    `occurred_at`, what the sender says, decides if it was entered within the programme's tolerance (inclusive), else
    `recorded_at`, what the log says, and the entry is late.
    """
    late_entry = recorded_at - occurred_at > tolerance
    return (recorded_at if late_entry else occurred_at), late_entry


def judge(instant: dt.datetime, limit_at: dt.datetime | None, early_margin: dt.timedelta | None = None) -> Timeliness:
    """How an instant stands to an exclusive limit: late from the limit on, undated without one (R-124, R-169).

    Early means on a local day before the last on-time day or, if a margin is given, at least that long before it.
    """
    if limit_at is None:
        return "undated"
    if instant >= limit_at:
        return "late"
    if early_margin is not None:
        return "early" if limit_at - instant >= early_margin else "on_time"
    return "early" if local_date(instant) < last_day_before(limit_at) else "on_time"


def verdict(
    instant: dt.datetime,
    original: dt.datetime | None,
    current: dt.datetime | None,
    early_margin: dt.timedelta | None = None,
) -> Verdict:
    """The instant judged against both limits."""
    return Verdict(judge(instant, original, early_margin), judge(instant, current, early_margin))


def counts_as_on_time(timeliness: Timeliness) -> bool:
    """Whether a rate of on-time work counts it: early is on time (R-124)."""
    return timeliness in ("early", "on_time")


def limit_that_counts(
    original: dt.datetime | None, changes: Iterable[tuple[dt.datetime, dt.datetime]]
) -> dt.datetime | None:
    """The current limit after the changes (granted at, new limit), in order, that may count in favour of the doer.

    A change granted once the limit then counting has passed is left out: it gives time to finish, not punctuality
    (R-330).
    """
    counting = original
    for granted_at, new_limit in changes:
        if counting is None or granted_at < counting:
            counting = new_limit
    return counting

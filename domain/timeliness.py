"""Early, on time or late: which of two clocks decides, and how it stands to a limit (R-124, R-347)."""

import datetime as dt

from contracts.assignment import Timeliness
from domain.calendar import last_day_before, local_date


def deciding_instant(
    occurred_at: dt.datetime, recorded_at: dt.datetime, tolerance: dt.timedelta
) -> tuple[dt.datetime, bool]:
    """The instant that decides, and whether the entry was late (R-347).

    `occurred_at`, what the sender says, decides if it was entered within the programme's tolerance (inclusive), else
    `recorded_at`, what the log says, and the entry is late.
    """
    late_entry = recorded_at - occurred_at > tolerance
    return (recorded_at if late_entry else occurred_at), late_entry


def judge(instant: dt.datetime, limit_at: dt.datetime | None) -> Timeliness:
    """How an instant stands to an exclusive limit: late from the limit on, undated without one (R-124, R-169).

    Early means on a local day before the last on-time day.
    """
    if limit_at is None:
        return "undated"
    if instant >= limit_at:
        return "late"
    return "early" if local_date(instant) < last_day_before(limit_at) else "on_time"

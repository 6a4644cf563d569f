"""Answers about a past moment: `as_of` and `time`, and where in the log they lead."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Request
from psycopg import Cursor
from pydantic import BeforeValidator

from projections.past import Axis, Moment, last_recorded, position_at, read_at
from projections.queries import Standing
from services.api.problems import invalid

_OFFSET = re.compile(r"T.*(Z|[+-]\d\d:?\d\d)$")


@dataclass(frozen=True, slots=True)
class Past:
    """The moment a request asks for, UTC, on which axis, and the present one."""

    at: datetime
    axis: Axis
    now: datetime


@dataclass(frozen=True, slots=True)
class Reached:
    """The moment an answer is of, and how many events the read models lack for it.

    `fixed` is the position of an answer that never changes again, None while it may.
    """

    moment: Moment
    lag: int
    fixed: int | None


def _instant(text: Any) -> datetime:
    try:
        if isinstance(text, str) and _OFFSET.search(text):
            return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError("an instant with its offset, such as 2026-06-05T08:00:00Z (write + as %2B)")


AsOf = Annotated[
    datetime | None,
    BeforeValidator(_instant, json_schema_input_type=str),
    Query(description="answer as of this instant, RFC 3339 with offset; without it, as things stand"),
]
Time = Annotated[
    Axis | None,
    Query(
        description="with `as_of`: `recorded` (the default), what was known then; `occurred`, what was true then with all"
        " that is known now"
    ),
]


def past_of(request: Request, as_of: AsOf = None, time: Time = None) -> Past | None:
    """The past moment a request asks for, if it does. Raises Problem for an axis without a moment."""
    if as_of is None:
        if time is not None:
            raise invalid(
                "query.time", "without_as_of", "`time` says which kind of moment `as_of` is; give `as_of` too"
            )
        return None
    return Past(as_of, time or "recorded", request.app.state.clock.now())


def go_back(cursor: Cursor[Any], where: Standing, past: Past, *, of_log: bool) -> Reached:
    """Let the transaction's queries read the moment asked for. Raises Problem when it has not come yet."""
    if past.at > past.now and past.at > (last_recorded(cursor) or past.now):
        raise invalid("query.as_of", "future", "this moment has not come yet; ask for one that has")
    reached, wanted, fixed = where.head if of_log else where.position, where.head, None
    if past.axis == "recorded":
        wanted, closed = position_at(cursor, past.at)
        fixed = wanted if closed and wanted <= reached else None
    moment = Moment(past.at, past.axis, min(wanted, reached))
    read_at(cursor, moment)
    return Reached(moment, max(wanted - where.position, 0), fixed)

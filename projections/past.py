"""The past of every read model and view, on two axes: what was known at a moment, and what was true at it.

Two schemas hold a view for each read model, under its own name, and the registered views over these. So a query that names no
schema reads the present in `read`, what was known in `read_recorded`, and what was true in `read_occurred`, by the
search path alone. Which moment it is, stands in a setting of the transaction. `log_events` is the log in the same three
ways (deploy/migrations/011_log_events.sql), and `<model>_versions` all versions of a model's rows up to the moment.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString

from psycopg import Cursor
from psycopg.sql import SQL, Composed, Identifier

from domain.kernel import Recorded
from projections.model import ReadModel, View
from projections.rows import CannotApply
from projections.tables import create_views

Axis = Literal["recorded", "occurred"]
"""`recorded`: what the system knew then. `occurred`: what was true then, with all that is known now."""
_SETTINGS: dict[Axis, str] = {"recorded": "sauro.position", "occurred": "sauro.instant"}

# In a query of its own, a setting is looked up once; as a plain expression, once a row.
_POSITION = "(SELECT current_setting('sauro.position')::bigint)"
_INSTANT = "(SELECT current_setting('sauro.instant')::timestamptz)"
_KNOWN = f"""
    SELECT {{columns}}, from_pos FROM read.{{live}} WHERE from_pos <= {_POSITION}
    UNION ALL SELECT {{columns}}, from_pos FROM read.{{history}} WHERE to_pos > {_POSITION} AND from_pos <= {_POSITION}"""
_TRUE = f"""
    SELECT {{columns}}, from_pos FROM read.{{live}} WHERE from_at <= {_INSTANT}
    UNION ALL SELECT {{columns}}, from_pos FROM read.{{history}} WHERE to_at > {_INSTANT} AND from_at <= {_INSTANT}
    UNION ALL SELECT {{columns}}, from_pos FROM read.{{occurred}}
    WHERE from_at <= {_INSTANT} AND (to_at > {_INSTANT} OR to_at IS NULL)"""

_VERSIONS = """
    SELECT {columns}, from_pos, to_pos FROM {history} UNION ALL SELECT {columns}, from_pos, NULL FROM {live}"""
_KNOWN_VERSIONS = f"""
    SELECT {{columns}}, from_pos, CASE WHEN to_pos <= {_POSITION} THEN to_pos END AS to_pos
    FROM read.{{history}} WHERE from_pos <= {_POSITION}
    UNION ALL SELECT {{columns}}, from_pos, NULL FROM read.{{live}} WHERE from_pos <= {_POSITION}"""
_TRUE_VERSIONS = f"""
    SELECT {{columns}}, from_pos, from_at AS true_from, CASE WHEN to_at <= {_INSTANT} THEN to_at END AS true_to
    FROM (SELECT {{columns}}, from_pos, from_at, NULL::timestamptz AS to_at FROM read.{{live}} WHERE from_at IS NOT NULL
        UNION ALL SELECT {{columns}}, from_pos, from_at, to_at FROM read.{{history}} WHERE from_at < to_at
        UNION ALL SELECT {{columns}}, from_pos, from_at, to_at FROM read.{{occurred}}) v
    WHERE from_at <= {_INSTANT}"""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment on an axis. `at` is UTC; `position` is the last one recorded by then, or the last one known at all."""

    at: datetime
    axis: Axis
    position: int


def past_schema(axis: Axis) -> str:
    """The schema whose views show the past on an axis."""
    return f"read_{axis}"


def create_past(cursor: Cursor[Any], models: Sequence[ReadModel], views: Sequence[View]) -> None:
    """Make the views on the past of read models, and the registered views over them."""
    create_views(cursor, "read", ((f"{model.name}_versions", _past_of(model, _VERSIONS)) for model in models))
    axes: tuple[tuple[Axis, LiteralString, LiteralString], ...] = (
        ("recorded", _KNOWN, _KNOWN_VERSIONS),
        ("occurred", _TRUE, _TRUE_VERSIONS),
    )
    for axis, query, versions in axes:
        schema = past_schema(axis)
        create_views(cursor, schema, ((model.name, _past_of(model, query)) for model in models))
        create_views(cursor, schema, ((model.counts, counted(model)) for model in models if model.counted_by))
        create_views(cursor, schema, ((f"{model.name}_versions", _past_of(model, versions)) for model in models))
        create_views(cursor, schema, ((view.name, SQL(view.query)) for view in views))


def counted(model: ReadModel) -> Composed:
    """What `<model>_counts` says of the rows that the model's name stands for."""
    return SQL("SELECT {}, 1 AS n FROM {}").format(
        SQL(", ").join(map(Identifier, model.counted_by)), Identifier(model.name)
    )


def _past_of(model: ReadModel, query: LiteralString) -> Composed:
    live, history, occurred, *_ = (Identifier(name) for name, _ in model.tables)
    columns = SQL(", ").join(Identifier(column.name) for column in model.columns)
    return SQL(query).format(columns=columns, live=live, history=history, occurred=occurred)


_BY_HALVES = """
    WITH RECURSIVE search (low, high) AS (
        SELECT 0::bigint, coalesce(max(notification_id), 0) FROM log.events
        UNION ALL
        SELECT CASE WHEN e.recorded_at <= %(at)s THEN middle ELSE low END,
               CASE WHEN e.recorded_at <= %(at)s THEN high ELSE middle - 1 END
        FROM (SELECT low, high, (low + high + 1) / 2 AS middle FROM search WHERE low < high) s
        JOIN log.events e ON e.notification_id = middle)
    SELECT low AS position, EXISTS (SELECT FROM log.events WHERE notification_id = low + 1) AS closed
    FROM search WHERE low = high"""


def position_at(cursor: Cursor[Any], at: datetime) -> tuple[int, bool]:
    """The last position recorded by an instant (0: none), and whether no more can come: something was recorded after it.

    Found by halves: neither positions nor `recorded_at` have gaps or go back.
    """
    row = cursor.execute(_BY_HALVES, {"at": at}, prepare=True).fetchone()
    assert row is not None
    return row["position"], row["closed"]


def last_recorded(cursor: Cursor[Any]) -> datetime | None:
    """When the log took in its last event, UTC; None while it is empty."""
    row = cursor.execute("SELECT recorded_at FROM log.events ORDER BY notification_id DESC LIMIT 1").fetchone()
    return None if row is None else row["recorded_at"]


def first_event(cursor: Cursor[Any]) -> tuple[datetime, datetime] | None:
    """When the first event was recorded, and when it occurred, UTC; None while the log is empty."""
    query = "SELECT recorded_at, occurred_at FROM read.log_events ORDER BY notification_id LIMIT 1"
    row = cursor.execute(query).fetchone()
    return None if row is None else (row["recorded_at"], row["occurred_at"])


def read_at(cursor: Cursor[Any], moment: Moment) -> None:
    """Let queries of this transaction read the past."""
    value = str(moment.position) if moment.axis == "recorded" else moment.at.isoformat()
    cursor.execute(
        "SELECT set_config('search_path', %s, true), set_config(%s, %s, true)",
        (past_schema(moment.axis), _SETTINGS[moment.axis], value),
    )


def read_now(cursor: Cursor[Any]) -> None:
    """Let queries of this transaction read the present again."""
    cursor.execute("SET LOCAL search_path TO read")


def in_order(events: Sequence[Recorded[Any]]) -> list[tuple[datetime, Recorded[Any]]]:
    """Events of one stream or row, given by version, in the order in which they occurred, each with since when it is true.

    Nothing of it was true before it began: what is said to have occurred earlier counts from then. Equal times go by version.
    """
    began = events[0].occurred_at
    return sorted(((max(event.occurred_at, began), event) for event in events), key=lambda pair: pair[0])


def true_versions(
    model: ReadModel, events: Sequence[Recorded[Any]]
) -> list[tuple[Any, int, datetime, datetime | None]]:
    """What was true of a row over time, from its events by version: row, position, from, to (None: it still is).

    Versions that lasted no time are left out. Raises CannotApply, naming the last event.
    """
    found: list[tuple[Any, int, datetime, datetime | None]] = []
    row, position, since = None, 0, events[0].occurred_at
    for at, event in in_order(events):
        try:
            after = model.apply(row, event)
        except Exception as error:
            raise CannotApply(model.name, events[-1], error) from error
        if after is row or after == row:
            continue
        if row is not None and since < at:
            found.append((row, position, since, at))
        row, position, since = after, event.position, at
    if row is not None:
        found.append((row, position, since, None))
    return found


def known_row(model: ReadModel, events: Iterable[Recorded[Any]]) -> Any | None:
    """A row as its events by version make it."""
    row = None
    for event in events:
        row = model.apply(row, event)
    return row

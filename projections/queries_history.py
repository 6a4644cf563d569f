"""Queries over the log for reviewers: one stream's events, what caused what, receipts, kept words, late entries, readings.

Events come as stored bytes, in order of position. `log_events` is the log as of the moment that the transaction reads
(`projections.past`); none of these reads more of it than the events it gives, but where it says so.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg import Cursor
from psycopg.sql import SQL, Composed

from projections.causes import TRACKED
from projections.queries import Row, Where, fetch
from projections.queries_log import _STREAM_VISIBLE
from projections.scope import ReadScope
from projections.status import positions

_LOG = SQL("log_events")
_CAUSED = SQL(
    "(SELECT c.cause, c.id, notification_id, originator_id, state"
    " FROM caused_events c JOIN log_events ON notification_id = from_pos) caused"
)
CHUNK = 5000


def streams_named(cursor: Cursor[Any], scope: ReadScope, aggregates: Sequence[str], subject: str) -> list[str]:
    """The streams of some aggregates that a subject may mean: a stream id, `<PROGRAMME>/<CODE>`, or a code alone."""
    owners = fetch(cursor, SQL("SELECT code FROM read.programmes UNION SELECT organisation FROM read.programmes"))
    endings = [subject, *(f"{row['code']}/{subject}" for row in owners)]
    named = [subject, *(f"{aggregate}/{ending}" for aggregate in aggregates for ending in endings)]
    where = Where().add("originator_id = ANY(%s)", named).add("originator_version = 1").within(scope, _STREAM_VISIBLE)
    query = SQL("SELECT originator_id FROM log_events{} ORDER BY 1 LIMIT 50").format(where.clause)
    return [row["originator_id"] for row in fetch(cursor, query, where.values)]


def of_streams(cursor: Cursor[Any], scope: ReadScope, streams: Sequence[str]) -> list[bytes]:
    """All events of some streams."""
    return _states(cursor, scope, Where().add("originator_id = ANY(%s)", list(streams)))


def at_positions(cursor: Cursor[Any], scope: ReadScope, positions: Sequence[int]) -> list[bytes]:
    """The events at some positions."""
    return _states(cursor, scope, Where().add("notification_id = ANY(%s)", list(positions)))


def with_id(
    cursor: Cursor[Any], scope: ReadScope, wanted: str, near: Sequence[str] = (), before: int | None = None
) -> list[bytes]:
    """The event with an id, if there is one, and before a position if one is given.

    Looked for in the streams `near`, then among the events that another one caused, and then backwards through the log from
    that position: causes are seldom far.
    """
    where = Where().add("originator_id = ANY(%s)", list(near)).add("id = %s", wanted)
    if near and (found := _states(cursor, scope, where.given("notification_id < %s", before))):
        return found
    where = Where().add("id = %s", wanted).given("notification_id < %s", before)
    if _reached(cursor) and (found := _states(cursor, scope, where, _CAUSED)):
        return found
    where = Where().add("id = %s", wanted).given("notification_id < %s", before).within(scope, _STREAM_VISIBLE)
    query = SQL("SELECT state FROM log_events{} ORDER BY notification_id DESC LIMIT 1").format(where.clause)
    return [bytes(row["state"]) for row in fetch(cursor, query, where.values)]


def caused_by(cursor: Cursor[Any], scope: ReadScope, ids: Iterable[str], after: int) -> list[bytes]:
    """The events after a position whose command names one of some events as its cause.

    Found by the read model of causes; what that has not reached yet is looked through in the log.
    """
    wanted, reached, found = list(dict.fromkeys(ids)), _reached(cursor), list[bytes]()
    if reached:
        where = Where().add("cause = ANY(%s)", wanted).add("notification_id > %s", after)
        found = _states(cursor, scope, where, _CAUSED)
    where = Where().add("notification_id > %s", max(after, reached)).add("cause = ANY(%s)", wanted)
    return found + _states(cursor, scope, where)


def _reached(cursor: Cursor[Any]) -> int:
    """The position that the read model of causes has reached; 0 when nobody has made it."""
    return positions(cursor).get(TRACKED, 0)


def of_commands(cursor: Cursor[Any], scope: ReadScope, rows: Iterable[Row]) -> list[bytes]:
    """The events of commands, given their receipts."""
    positions = [
        row["first_position"] + number for row in rows if row["first_position"] for number in range(row["event_count"])
    ]
    return at_positions(cursor, scope, positions)


def receipts_of(cursor: Cursor[Any], keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Row]:
    """Receipts by (source, command id)."""
    sources, ids = zip(*keys, strict=True) if (keys := list(keys)) else ((), ())
    query = SQL(
        "SELECT r.* FROM unnest(%s::text[], %s::text[]) AS k(source, command_id) JOIN log.receipts r USING (source, command_id)"
    )
    return {(row["source"], row["command_id"]): row for row in fetch(cursor, query, [list(sources), list(ids)])}


def words_kept(cursor: Cursor[Any], refs: Iterable[str]) -> dict[str, tuple[bytes, str]]:
    """Salt and words of erasable texts that are still stored, by reference."""
    query = SQL("SELECT ref::text AS ref, salt, words FROM log.texts WHERE ref = ANY(%s::uuid[])")
    return {row["ref"]: (bytes(row["salt"]), row["words"]) for row in fetch(cursor, query, [list(refs)])}


def who_is_who(cursor: Cursor[Any], organisations: Iterable[str]) -> list[bytes]:
    """Every event that names a unit or a post of some organisations."""
    query = SQL(
        "SELECT state FROM log_events WHERE originator_id = ANY(%s) AND topic = ANY(%s) ORDER BY notification_id"
    )
    topics = [
        f"sauro.organisation.{name}.v1" for name in ("OrganisationRegistered", "UnitEstablished", "PostEstablished")
    ]
    streams = [f"organisation/{code}" for code in organisations]
    return [bytes(row["state"]) for row in fetch(cursor, query, [streams, topics])]


_LATE = SQL(
    "SELECT state FROM log.events WHERE notification_id IN ("
    "SELECT e.notification_id FROM log_events e WHERE {mine} AND e.recorded_at - e.occurred_at > %s"
    " AND e.topic NOT LIKE 'sauro.%%.Deadline%%' AND e.topic NOT LIKE 'sauro.access.%%'"
    " UNION SELECT e.notification_id FROM log_events d JOIN log_events e ON e.originator_id = d.originator_id"
    " AND e.originator_version > d.originator_version AND e.topic NOT LIKE 'sauro.%%.Deadline%%'"
    " WHERE {mine} AND d.topic LIKE 'sauro.%%.DeadlinePassed.v1' AND d.occurred_at > e.occurred_at)"
    " ORDER BY notification_id"
)
_MOVED = SQL(
    "SELECT e.state FROM log_events e WHERE {mine} AND e.topic LIKE 'sauro.%%.DeadlineRescheduled.v1'"
    " ORDER BY e.notification_id"
)
_LIMITS = SQL(
    "SELECT state FROM log_events WHERE originator_id = ANY(%s) AND topic LIKE 'sauro.%%.Deadline%%' ORDER BY notification_id"
)


def entered_late(cursor: Cursor[Any], scope: ReadScope, programme: str | None, longer_than: timedelta) -> list[bytes]:
    """Events recorded longer than a while after they occurred, or after a limit of their stream that they lie before.

    Rungs and limits are left out: they carry their own instants by design (R-353). Reads the whole log.
    """
    mine = _mine(scope, programme)
    query = _LATE.format(mine=_all(mine))
    return [bytes(row["state"]) for row in fetch(cursor, query, [*mine.values, longer_than, *mine.values])]


def moved_limits(cursor: Cursor[Any], scope: ReadScope, programme: str | None) -> list[bytes]:
    """Every event that moved a limit. Reads the whole log."""
    mine = _mine(scope, programme)
    return [bytes(row["state"]) for row in fetch(cursor, _MOVED.format(mine=_all(mine)), mine.values)]


def _mine(scope: ReadScope, programme: str | None) -> Where:
    mine = Where().given("split_part(e.originator_id, '/', 2) = %s", programme)
    return mine.within(scope, "split_part(e.originator_id, '/', 2) = ANY(%s) AND cardinality(%s::text[]) >= 0")


def limits_of(cursor: Cursor[Any], streams: Iterable[str]) -> list[bytes]:
    """The deadline events of some streams."""
    return [bytes(row["state"]) for row in fetch(cursor, _LIMITS, [list(streams)])]


def accesses(
    cursor: Cursor[Any], scope: ReadScope, programme: str | None, limit: int, before: int | None = None
) -> list[bytes]:
    """What readings were recorded, newest first; of one programme if it is named."""
    where = Where().add("originator_id LIKE 'access/%%'").given("notification_id < %s", before)
    if programme is not None:
        where.add("position(%s::bytea IN state) > 0", f'"programme":"{programme}"'.encode())
    if not scope.all:
        where.add("split_part(originator_id, '/', 2) = ANY(%s)", scope.programme_list)
    query = SQL("SELECT state FROM log_events{} ORDER BY notification_id DESC LIMIT %s").format(where.clause)
    return [bytes(row["state"]) for row in fetch(cursor, query, [*where.values, limit])]


def receipts_in_order(cursor: Cursor[Any]) -> Iterator[Row]:
    """Every receipt in the order in which commands were answered, read by thousands."""
    last = 0
    query = SQL(
        "SELECT receipt, source, command_id, outcome, digest, recorded_at, first_position, event_count, refusal"
        " FROM log.receipts WHERE receipt > %s ORDER BY receipt LIMIT %s"
    )
    while rows := fetch(cursor, query, [last, CHUNK]):
        yield from rows
        last = rows[-1]["receipt"]


def last_answered(cursor: Cursor[Any]) -> datetime | None:
    """When the last command was answered, UTC; None while none was."""
    rows = fetch(cursor, SQL("SELECT recorded_at FROM log.receipts ORDER BY receipt DESC LIMIT 1"))
    return rows[0]["recorded_at"] if rows else None


def organisation_of(cursor: Cursor[Any], programme: str) -> str | None:
    """The organisation a programme belongs to, by its first event."""
    query = SQL("SELECT state FROM log.events WHERE originator_id = %s AND originator_version = 1")
    rows = fetch(cursor, query, [f"programme/{programme}"])
    return bytes(rows[0]["state"]).split(b'"organisation":"', 1)[1].split(b'"', 1)[0].decode() if rows else None


def _all(where: Where) -> Composed:
    return SQL(" AND ").join(where.parts) if where.parts else Composed([SQL("true")])


def _states(cursor: Cursor[Any], scope: ReadScope, where: Where, source: SQL = _LOG) -> list[bytes]:
    query = SQL("SELECT state FROM {}{} ORDER BY notification_id").format(
        source, where.within(scope, _STREAM_VISIBLE).clause
    )
    return [bytes(row["state"]) for row in fetch(cursor, query, where.values)]

"""Queries over the log for reviewers: one stream's events, what caused what, receipts, kept words, late entries, readings.

Events come as stored bytes, in order of position. An event's `id`, `causationid` and `time` stand in its envelope, before
its data; PostgreSQL finds them there without decoding.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from psycopg import Cursor
from psycopg.sql import SQL, Composed

from projections.queries import Row, Where, fetch
from projections.queries_log import _STREAM_VISIBLE
from projections.scope import ReadScope

_AFTER = (
    "split_part(convert_from(substring(state FROM position('{0}'::bytea IN state) + {1} FOR 101), 'LATIN1'), '\"', 1)"
)
_ID, _CAUSE = _AFTER.format('"id":"', 6), _AFTER.format('"causationid":"', 15)
_TIME = (
    "split_part(convert_from(substring({}.state FROM position('\"time\":\"'::bytea IN {}.state) + 8 FOR 30), 'LATIN1'),"
    " '\"', 1)::timestamptz"
)
CHUNK = 5000


def streams_named(cursor: Cursor[Any], scope: ReadScope, subject: str) -> list[str]:
    """The streams a subject may mean: a stream id, `<PROGRAMME>/<CODE>`, or a code alone."""
    where = (
        Where()
        .add("originator_version = 1")
        .add("(originator_id = %s OR originator_id LIKE %s)", subject, f"%/{subject}")
    )
    query = SQL("SELECT originator_id FROM log.events{} ORDER BY 1 LIMIT 50").format(
        where.within(scope, _STREAM_VISIBLE).clause
    )
    return [row["originator_id"] for row in fetch(cursor, query, where.values)]


def of_streams(cursor: Cursor[Any], scope: ReadScope, streams: Sequence[str]) -> list[bytes]:
    """All events of some streams."""
    return _states(cursor, scope, Where().add("originator_id = ANY(%s)", list(streams)))


def at_positions(cursor: Cursor[Any], scope: ReadScope, positions: Sequence[int]) -> list[bytes]:
    """The events at some positions."""
    return _states(cursor, scope, Where().add("notification_id = ANY(%s)", list(positions)))


def with_ids(cursor: Cursor[Any], scope: ReadScope, ids: Iterable[str], before: int) -> list[bytes]:
    """The events with some ids, which lie before a position; the search goes backwards, as causes are seldom far."""
    wanted = list(dict.fromkeys(ids))
    where = Where().add("notification_id < %s", before).add(f"{_ID} = ANY(%s)", wanted)
    where.within(scope, _STREAM_VISIBLE)
    query = SQL("SELECT state FROM log.events{} ORDER BY notification_id DESC LIMIT %s").format(where.clause)
    return [bytes(row["state"]) for row in fetch(cursor, query, [*where.values, len(wanted)])][::-1]


def caused_by(cursor: Cursor[Any], scope: ReadScope, ids: Iterable[str], after: int) -> list[bytes]:
    """The events after a position whose command names one of some events as its cause. Reads the log from there on."""
    where = Where().add("notification_id > %s", after).add(f"{_CAUSE} = ANY(%s)", list(dict.fromkeys(ids)))
    return _states(cursor, scope, where)


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


def words_kept(cursor: Cursor[Any], refs: Iterable[str]) -> dict[str, str]:
    """The words of erasable texts that are still stored, by reference."""
    query = SQL("SELECT ref::text AS ref, words FROM log.texts WHERE ref = ANY(%s::uuid[])")
    return {row["ref"]: row["words"] for row in fetch(cursor, query, [list(refs)])}


def who_is_who(cursor: Cursor[Any]) -> list[bytes]:
    """Every event that names a unit or a post."""
    query = SQL("SELECT state FROM log.events WHERE topic = ANY(%s) ORDER BY notification_id")
    topics = [
        f"sauro.organisation.{name}.v1" for name in ("OrganisationRegistered", "UnitEstablished", "PostEstablished")
    ]
    return [bytes(row["state"]) for row in fetch(cursor, query, [topics])]


_LATE = SQL(
    "SELECT state FROM log.events WHERE notification_id IN ("
    "SELECT e.notification_id FROM log.events e WHERE {mine} AND e.recorded_at - {occurred} > %s"
    " AND e.topic NOT LIKE 'sauro.%%.Deadline%%' AND e.topic NOT LIKE 'sauro.access.%%'"
    " UNION SELECT e.notification_id FROM log.events d JOIN log.events e ON e.originator_id = d.originator_id"
    " AND e.originator_version > d.originator_version AND e.topic NOT LIKE 'sauro.%%.Deadline%%'"
    " WHERE {mine} AND d.topic LIKE 'sauro.%%.DeadlinePassed.v1' AND {limit} > {occurred}) ORDER BY notification_id"
)
_MOVED = SQL(
    "SELECT e.state FROM log.events e WHERE {mine} AND e.topic LIKE 'sauro.%%.DeadlineRescheduled.v1' ORDER BY 1"
)
_LIMITS = SQL(
    "SELECT state FROM log.events WHERE originator_id = ANY(%s) AND topic LIKE 'sauro.%%.Deadline%%' ORDER BY notification_id"
)


def entered_late(cursor: Cursor[Any], scope: ReadScope, programme: str | None, longer_than: timedelta) -> list[bytes]:
    """Events recorded longer than a while after they occurred, or after a limit of their stream that they lie before.

    Rungs and limits are left out: they carry their own instants by design (R-353).
    """
    mine = Where().given("split_part(e.originator_id, '/', 2) = %s", programme)
    mine.within(scope, "split_part(e.originator_id, '/', 2) = ANY(%s) AND cardinality(%s::text[]) >= 0")
    occurred, limit = (SQL(_TIME.format(name, name)) for name in ("e", "d"))
    query = _LATE.format(mine=_all(mine), occurred=occurred, limit=limit)
    return [bytes(row["state"]) for row in fetch(cursor, query, [*mine.values, longer_than, *mine.values])]


def moved_limits(cursor: Cursor[Any], scope: ReadScope, programme: str | None) -> list[bytes]:
    """Every event that moved a limit."""
    mine = Where().given("split_part(e.originator_id, '/', 2) = %s", programme)
    mine.within(scope, "split_part(e.originator_id, '/', 2) = ANY(%s) AND cardinality(%s::text[]) >= 0")
    return [bytes(row["state"]) for row in fetch(cursor, _MOVED.format(mine=_all(mine)), mine.values)]


def limits_of(cursor: Cursor[Any], streams: Iterable[str]) -> list[bytes]:
    """The deadline events of some streams."""
    return [bytes(row["state"]) for row in fetch(cursor, _LIMITS, [list(streams)])]


def accesses(
    cursor: Cursor[Any], scope: ReadScope, programme: str | None, limit: int, before: int | None = None
) -> list[bytes]:
    """What readings were recorded, newest first; of one programme if it is named."""
    where = Where().add("originator_id LIKE 'access/%%'").given("notification_id < %s", before)
    if programme is not None:
        where.add("position(%s::bytea IN state) > 0", f'"programme":"{programme}","'.encode())
    if not scope.all:
        where.add("split_part(originator_id, '/', 2) = ANY(%s)", scope.programme_list)
    query = SQL("SELECT state FROM log.events{} ORDER BY notification_id DESC LIMIT %s").format(where.clause)
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


def organisation_of(cursor: Cursor[Any], programme: str) -> str | None:
    """The organisation a programme belongs to, by its first event."""
    query = SQL("SELECT state FROM log.events WHERE originator_id = %s AND originator_version = 1")
    rows = fetch(cursor, query, [f"programme/{programme}"])
    return bytes(rows[0]["state"]).split(b'"organisation":"', 1)[1].split(b'"', 1)[0].decode() if rows else None


def _all(where: Where) -> Composed:
    return SQL(" AND ").join(where.parts) if where.parts else Composed([SQL("true")])


def _states(cursor: Cursor[Any], scope: ReadScope, where: Where) -> list[bytes]:
    query = SQL("SELECT state FROM log.events{} ORDER BY notification_id").format(
        where.within(scope, _STREAM_VISIBLE).clause
    )
    return [bytes(row["state"]) for row in fetch(cursor, query, where.values)]

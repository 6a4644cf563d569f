"""A second build of read models in a schema of its own: where it stands, and how it takes the live one's place."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from psycopg import Cursor
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Identifier

from projections.model import Key, ReadModel, View
from projections.past import create_past
from projections.rows import Known, rows_of
from projections.tables import create_bare_tables, create_indexes, create_tables, drop_tables

BUILD = "read_build"
VACUUM_PATIENCE = "5s"
"""For autovacuums to give way, each within PostgreSQL's `deadlock_timeout`, a second unless it was set otherwise."""


def begin_build(cursor: Cursor[Any], models: Mapping[str, ReadModel]) -> None:
    """An empty build of models, each under the name its position is kept by."""
    drop_build(cursor)
    cursor.execute(SQL("CREATE SCHEMA {}").format(Identifier(BUILD)))
    cursor.execute(SQL("CREATE TABLE {} (LIKE read.positions)").format(Identifier(BUILD, "positions")))
    for name, model in models.items():
        create_bare_tables(cursor, BUILD, model)
        cursor.execute(SQL("INSERT INTO {} VALUES (%s, 0)").format(Identifier(BUILD, "positions")), (name,))


def drop_build(cursor: Cursor[Any]) -> None:
    """Throw the build away, if there is one."""
    cursor.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(BUILD)))


def built_position(cursor: Cursor[Any], names: Iterable[str]) -> int:
    """Where a build of exactly these models stopped; 0 when there is none, or one of other models or shapes."""
    found = cursor.execute("SELECT to_regclass(%s) IS NOT NULL AS found", (f"{BUILD}.positions",)).fetchone()
    if found is None or not found["found"]:
        return 0
    rows = cursor.execute(SQL("SELECT * FROM {}").format(Identifier(BUILD, "positions"))).fetchall()
    known = {row["application_name"]: row["notification_id"] for row in rows}
    return min(known.values(), default=0) if known.keys() == set(names) else 0


def save_position(cursor: Cursor[Any], position: int) -> None:
    """Say how far the rows of the build are, in the transaction that writes them."""
    cursor.execute(SQL("UPDATE {} SET notification_id = %s").format(Identifier(BUILD, "positions")), (position,))


def built_rows(cursor: Cursor[Any], model: ReadModel) -> Iterator[tuple[Key, Known]]:
    """All rows of the build, streamed, and those that are gone."""
    columns = SQL(", ").join(Identifier(column.name) for column in model.columns)
    key, history = SQL(", ").join(map(Identifier, model.key)), Identifier(BUILD, f"{model.name}_history")
    live = SQL("SELECT {}, from_pos, from_at FROM {}").format(columns, Identifier(BUILD, model.name))
    gone = SQL(
        "SELECT DISTINCT ON ({0}) {0}, to_pos, to_at FROM {1} h WHERE NOT EXISTS"
        " (SELECT FROM {2} WHERE ({0}) = ({3})) ORDER BY {0}, to_pos DESC"
    ).format(
        key,
        history,
        Identifier(BUILD, model.name),
        SQL(", ").join(SQL("h.{}").format(Identifier(name)) for name in model.key),
    )
    with cursor.connection.cursor(name="built", row_factory=tuple_row) as rows:
        rows.itersize = 5000
        rows.execute(live, binary=True)
        yield from rows_of(model, rows)
    for *values, to_pos, to_at in cursor.connection.cursor(row_factory=tuple_row).execute(gone):
        yield tuple(values), (None, to_pos, to_at)


def analyse_build(cursor: Cursor[Any], models: Iterable[ReadModel]) -> None:
    """Let the planner know the tables that have just been filled: the figures over them are slow without."""
    for model in models:
        for table in _tables(model):
            cursor.execute(SQL("ANALYZE {}").format(Identifier(BUILD, table)))


def index_build(cursor: Cursor[Any], models: Iterable[ReadModel]) -> None:
    """The indexes that live tables have: last, when all rows are there."""
    for model in models:
        create_indexes(cursor, BUILD, model)


def hold_tables(cursor: Cursor[Any], schema: str, models: Iterable[ReadModel], patience: str) -> None:
    """Keep every reader out for the rest of the transaction. Raises LockNotAvailable after `patience`, such as '300ms'.

    Shorter than PostgreSQL's deadlock timeout: when a reader waits for one table and holds another, it is not the reader
    who gives way. An autovacuum of these tables or of the build's, which may take minutes, gives way only to who has waited
    that long: so it is asked to first, by a lock that keeps no reader out.
    """
    names = [name for model in models for name in _tables(model)]
    live, built = ([Identifier(place, name) for name in names] for place in (schema, BUILD))
    for tables, mode, longest in (
        ([*live, *built], "SHARE UPDATE EXCLUSIVE", VACUUM_PATIENCE),
        (live, "ACCESS EXCLUSIVE", patience),
    ):
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", (longest,))
        cursor.execute(SQL("LOCK TABLE {} IN {} MODE").format(SQL(", ").join(tables), SQL(mode)))


def take_place(
    cursor: Cursor[Any], schema: str, built: Iterable[ReadModel], models: Sequence[ReadModel], views: Sequence[View]
) -> None:
    """Put the build's tables in the place of those of a schema, whose models and views these are."""
    for model in built:
        drop_tables(cursor, schema, model)
        for table in _tables(model):
            cursor.execute(SQL("ALTER TABLE {} SET SCHEMA {}").format(Identifier(BUILD, table), Identifier(schema)))
    create_tables(cursor, schema, models, views)
    create_past(cursor, models, views)


def _tables(model: ReadModel) -> tuple[str, ...]:
    return tuple(name for name, _ in model.tables)


_TRANSACTIONS = """
    SELECT l.virtualtransaction AS id FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'virtualxid' AND l.granted AND l.pid <> pg_backend_pid()
    AND a.datname = current_database() AND a.usesysid IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_locks w WHERE w.pid = l.pid AND w.locktype = 'advisory' AND NOT w.granted)"""


def transactions(cursor: Cursor[Any]) -> set[str]:
    """The transactions under way in this database, but our own and those that wait for an advisory lock.

    What was committed before this question is seen by every transaction that is not among them.
    """
    return {row["id"] for row in cursor.execute(_TRANSACTIONS).fetchall()}

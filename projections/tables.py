"""Tables of read models: made from the row types, read as of any position, compared with a second build.

A row that changes several times in a batch leaves every version in history, so that each past position can be read.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import Cursor
from psycopg.sql import SQL, Composed, Identifier, Literal

from projections.model import Column, ReadModel, View


def create_tables(cursor: Cursor[Any], schema: str, models: Iterable[ReadModel], views: Iterable[View]) -> None:
    """Make the tables, indexes and views of a schema that are missing."""
    for model in models:
        create_bare_tables(cursor, schema, model)
        create_indexes(cursor, schema, model)
    create_views(cursor, schema, ((view.name, SQL(view.query)) for view in views))


def create_views(cursor: Cursor[Any], schema: str, views: Iterable[tuple[str, SQL | Composed]]) -> None:
    """Make views of queries that name tables and views of the schema only."""
    cursor.execute(SQL("SET LOCAL search_path TO {}").format(Identifier(schema)))
    for name, query in views:
        cursor.execute(SQL("DROP VIEW IF EXISTS {} CASCADE").format(Identifier(schema, name)))
        cursor.execute(SQL("CREATE VIEW {} AS {}").format(Identifier(schema, name), query))


def create_bare_tables(cursor: Cursor[Any], schema: str, model: ReadModel) -> None:
    """Make a model's tables with the primary key as the only index: what a build fills."""
    columns = _declared(model.columns)
    key = _columns(model.key)
    live, history, true, *counts = (Identifier(schema, name) for name, _ in model.tables)
    cursor.execute(
        SQL(
            "CREATE TABLE IF NOT EXISTS {} ({}, from_pos bigint NOT NULL, from_at timestamptz, PRIMARY KEY ({}))"
            " WITH (fillfactor = 60)"
        ).format(live, columns, key)
    )
    cursor.execute(
        SQL(
            "CREATE TABLE IF NOT EXISTS {} ({}, from_pos bigint NOT NULL, from_at timestamptz,"
            " to_pos bigint NOT NULL, to_at timestamptz)"
        ).format(history, columns)
    )
    cursor.execute(
        SQL(
            "CREATE TABLE IF NOT EXISTS {} ({}, from_pos bigint NOT NULL, from_at timestamptz NOT NULL,"
            " to_at timestamptz, PRIMARY KEY ({}, from_at))"
        ).format(true, columns, key)
    )
    for table in counts:
        groups = _declared(model.grouping)
        cursor.execute(SQL("CREATE TABLE IF NOT EXISTS {} ({}, n integer NOT NULL)").format(table, groups))
        cursor.execute(
            SQL("CREATE UNIQUE INDEX IF NOT EXISTS {} ON {} ({}) NULLS NOT DISTINCT").format(
                Identifier(f"{model.counts}_key"), table, SQL(model.group_key)
            )
        )


def create_indexes(cursor: Cursor[Any], schema: str, model: ReadModel) -> None:
    """Make the indexes of a model that are missing."""
    scope = Identifier(model.scope)
    past = {
        "key": _columns(model.key),
        "recorded": SQL("{}, to_pos, from_pos").format(scope),
        "occurred": SQL("{}, to_at, from_at").format(scope),
    }
    for name, columns in past.items():
        index, table = Identifier(f"{model.name}_history_{name}"), Identifier(schema, f"{model.name}_history")
        cursor.execute(SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(index, table, columns))
    for number, wanted in enumerate(model.indexes):
        index, table = Identifier(f"{model.name}_{number}"), Identifier(schema, model.name)
        cursor.execute(SQL("CREATE INDEX IF NOT EXISTS {} ON {} {}").format(index, table, SQL(wanted)))


def _declared(columns: Iterable[Column]) -> Composed:
    return SQL(", ").join(
        SQL("{} {}{}").format(
            Identifier(column.name), SQL(column.declared), SQL("" if column.nullable else " NOT NULL")
        )
        for column in columns
    )


def _columns(names: Iterable[str]) -> Composed:
    return SQL(", ").join(map(Identifier, names))


def drop_tables(cursor: Cursor[Any], schema: str, model: ReadModel) -> None:
    """Throw a read model's tables away, with the views on them."""
    for name, _ in model.tables:
        cursor.execute(SQL("DROP TABLE IF EXISTS {} CASCADE").format(Identifier(schema, name)))


def table_ids(cursor: Cursor[Any], schema: str, names: Iterable[str]) -> list[int]:
    """The object ids of tables, in the order of their names: others when the tables are others."""
    found = cursor.execute(
        "SELECT coalesce(array_agg(oid::bigint ORDER BY relname), '{}') AS ids FROM pg_class"
        " WHERE relnamespace = %s::regnamespace AND relname = ANY(string_to_array(%s, ' '))",
        (schema, " ".join(names)),
        prepare=True,
    ).fetchone()
    return list(found["ids"]) if found else []


def known_rows(cursor: Cursor[Any], schema: str) -> dict[str, int]:
    """How many rows PostgreSQL believes the tables of a schema to have."""
    cursor.execute(
        "SELECT relname, greatest(reltuples, 0)::bigint AS rows FROM pg_class WHERE relnamespace = %s::regnamespace",
        (schema,),
    )
    return {row["relname"]: row["rows"] for row in cursor.fetchall()}


def analyse(cursor: Cursor[Any], schema: str, tables: Iterable[str]) -> None:
    """Let PostgreSQL look at tables, but for those somebody has locked. Outside of a transaction none stays locked."""
    names = SQL(", ").join(Identifier(schema, table) for table in tables)
    cursor.execute(SQL("ANALYZE (SKIP_LOCKED) {}").format(names))


def as_of(schema: str, model: ReadModel, position: int) -> Composed:
    """The rows as they were at a log position: live and history under one WHERE clause."""
    columns = SQL(", ").join(Identifier(column.name) for column in model.columns)
    return SQL(
        "(SELECT {0}, from_pos FROM {1} WHERE from_pos <= {3} UNION ALL"
        " SELECT {0}, from_pos FROM {2} WHERE from_pos <= {3} AND {3} < to_pos)"
    ).format(columns, Identifier(schema, model.name), Identifier(schema, f"{model.name}_history"), Literal(position))


def checksum(cursor: Cursor[Any], schema: str, relation: str) -> tuple[int, str]:
    """Number of rows and a checksum over all columns of all rows, in no order."""
    cursor.execute(
        SQL(
            "SELECT count(*) AS rows, coalesce(sum(hash_record_extended(t, 0)::numeric), 0)::text AS sum FROM {} t"
        ).format(Identifier(schema, relation))
    )
    record = cursor.fetchone()
    assert record is not None
    rows, total = record.values() if isinstance(record, dict) else record
    return rows, f"{int(total) & (2**128 - 1):032x}"


def differences(
    cursor: Cursor[Any], left: str, right: str, relation: str, key: Sequence[str], limit: int = 20
) -> list[dict[str, Any]]:
    """Keys whose rows differ between two schemas, with both rows; parts of a key may be null."""
    side = SQL("(SELECT jsonb_build_array({names}) AS key, to_jsonb(t) AS row FROM {table} t)")
    names = SQL(", ").join(map(Identifier, key))
    rows = cursor.execute(
        SQL(
            "SELECT key, l.row AS live, r.row AS rebuilt FROM {left} l FULL JOIN {right} r USING (key)"
            " WHERE l.row IS DISTINCT FROM r.row ORDER BY key LIMIT {limit}"
        ).format(
            left=side.format(names=names, table=Identifier(left, relation)),
            right=side.format(names=names, table=Identifier(right, relation)),
            limit=Literal(limit),
        )
    ).fetchall()
    return [dict(zip(key, row["key"], strict=True)) | {"live": row["live"], "rebuilt": row["rebuilt"]} for row in rows]

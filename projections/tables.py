"""Tables of read models: made from the row types, filled by batches, read as of any position.

The SQL every read model shares. One transaction a batch; a row that changes several times in a batch leaves every version in
history, so that each past position can be read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson
from psycopg import Cursor
from psycopg.sql import SQL, Composed, Identifier, Literal
from psycopg.types.json import Jsonb

from domain.kernel import Recorded
from projections.model import Key, ReadModel, View

COPY_FROM = 200


class CannotApply(Exception):
    """A read model cannot apply an event; the event is quarantined and the model stops before it (R-352)."""

    def __init__(self, model: str, event: Recorded[Any], cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.model, self.event = model, event


def create_tables(cursor: Cursor[Any], schema: str, models: Iterable[ReadModel], views: Iterable[View]) -> None:
    """Make the tables and views of a schema that are missing."""
    for model in models:
        columns = SQL(", ").join(
            SQL("{} {}{}").format(
                Identifier(column.name), SQL(column.sql_type), SQL("" if column.nullable else " NOT NULL")
            )
            for column in model.columns
        )
        key = SQL(", ").join(map(Identifier, model.key))
        live, history = Identifier(schema, model.name), Identifier(schema, f"{model.name}_history")
        cursor.execute(
            SQL(
                "CREATE TABLE IF NOT EXISTS {} ({}, from_pos bigint NOT NULL, PRIMARY KEY ({})) WITH (fillfactor = 60)"
            ).format(live, columns, key)
        )
        cursor.execute(
            SQL("CREATE TABLE IF NOT EXISTS {} ({}, from_pos bigint NOT NULL, to_pos bigint NOT NULL)").format(
                history, columns
            )
        )
        cursor.execute(
            SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(
                Identifier(f"{model.name}_history_key"), history, key
            )
        )
        for number, index in enumerate(model.indexes):
            name = Identifier(f"{model.name}_{number}")
            cursor.execute(SQL("CREATE INDEX IF NOT EXISTS {} ON {} {}").format(name, live, SQL(index)))
    cursor.execute(SQL("SET LOCAL search_path TO {}").format(Identifier(schema)))
    for view in views:
        cursor.execute(SQL("DROP VIEW IF EXISTS {}").format(Identifier(schema, view.name)))
        cursor.execute(SQL("CREATE VIEW {} AS {}").format(Identifier(schema, view.name), SQL(view.query)))


def drop_tables(cursor: Cursor[Any], schema: str, model: ReadModel) -> None:
    """Throw a read model's tables away, with the views on them."""
    for name in (model.name, f"{model.name}_history"):
        cursor.execute(SQL("DROP TABLE IF EXISTS {} CASCADE").format(Identifier(schema, name)))


@dataclass
class Fold:
    """Rows of one model while a batch is applied: what was loaded, what it became, and the versions in between."""

    model: ReadModel
    rows: dict[Key, tuple[Any, int] | None] = field(default_factory=dict)
    before: dict[Key, tuple[Any, int] | None] = field(default_factory=dict)
    closed: list[tuple[Any, int, int]] = field(default_factory=list)

    def take(self, event: Recorded[Any]) -> None:
        """Apply one event to the rows it touches."""
        if not self.model.handles_event(event):
            return
        for key in self.model.keys(event):
            known = self.rows.get(key)
            row = known[0] if known else None
            after = self.model.apply(row, event)
            if after == row:
                continue
            if known is not None:
                self.closed.append((*known, event.position))
            self.rows[key] = None if after is None else (after, event.position)


@dataclass(frozen=True)
class _Statements:
    """The statements of one model in one schema, composed once."""

    load: str
    upsert: str
    delete: str
    close: str
    copy: str


@lru_cache(maxsize=256)
def _statements(schema: str, model: ReadModel) -> _Statements:
    types = {column.name: column.sql_type for column in model.columns}
    key_arrays = SQL(", ").join(SQL("%s::{}[]").format(SQL(types[name])) for name in model.key)
    key_names = SQL(", ").join(map(Identifier, model.key))
    live, history = Identifier(schema, model.name), Identifier(schema, f"{model.name}_history")
    selected = SQL(", ").join(SQL("t.{}").format(Identifier(column.name)) for column in model.columns)
    names = [*types, "from_pos"]
    arrays = [SQL("%s::{}[]").format(SQL(type_)) for type_ in (*types.values(), "bigint")]
    rest = SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(n)) for n in names if n not in model.key)
    matches = SQL(" AND ").join(SQL("t.{0} = k.{0}").format(Identifier(name)) for name in model.key)
    columns = SQL(", ").join(map(Identifier, names))
    return _Statements(
        load=SQL("SELECT {}, t.from_pos FROM unnest({}) AS k({}) JOIN {} t USING ({})")
        .format(selected, key_arrays, key_names, live, key_names)
        .as_string(),
        upsert=SQL("INSERT INTO {} ({}) SELECT * FROM unnest({}) ON CONFLICT ({}) DO UPDATE SET {}")
        .format(live, columns, SQL(", ").join(arrays), key_names, rest)
        .as_string(),
        delete=SQL("DELETE FROM {} t USING unnest({}) AS k({}) WHERE {}")
        .format(live, key_arrays, key_names, matches)
        .as_string(),
        close=SQL("INSERT INTO {} ({}, to_pos) SELECT * FROM unnest({}, %s::bigint[])")
        .format(history, columns, SQL(", ").join(arrays))
        .as_string(),
        copy=SQL("COPY {} ({}, to_pos) FROM STDIN").format(history, columns).as_string(),
    )


def load_rows(
    cursor: Cursor[Any], schema: str, model: ReadModel, keys: Sequence[Key]
) -> dict[Key, tuple[Any, int] | None]:
    """The live rows of some keys, in one query; absent ones are None."""
    found: dict[Key, tuple[Any, int] | None] = dict.fromkeys(keys)
    if not keys:
        return found
    cursor.execute(_statements(schema, model).load, [list(values) for values in zip(*keys, strict=True)], prepare=True)
    at = [[column.name for column in model.columns].index(name) for name in model.key]
    tuples = [column.sql_type == "jsonb" for column in model.columns]
    for record in cursor:
        values = list(record.values()) if isinstance(record, dict) else list(record)
        from_pos = values.pop()
        row = model.row(
            *(_from_json(value) if is_json else value for value, is_json in zip(values, tuples, strict=True))
        )
        found[tuple(values[index] for index in at)] = (row, from_pos)
    return found


def _from_json(value: Any) -> Any:
    return tuple(_from_json(item) for item in value) if isinstance(value, list) else value


def _values(model: ReadModel, row: Any) -> list[Any]:
    values = list(model.fields_of(row))
    for index in model.json_columns:
        values[index] = Jsonb(values[index], orjson.dumps)
    return values


def fold_batch(cursor: Cursor[Any], schema: str, model: ReadModel, events: Sequence[Recorded[Any]]) -> Fold:
    """Load the rows a batch touches and apply it; raises CannotApply naming the event."""
    touched = dict.fromkeys(key for event in events if model.handles_event(event) for key in _keys(model, event))
    loaded = load_rows(cursor, schema, model, list(touched))
    fold = Fold(model, dict(loaded), loaded)
    for event in events:
        try:
            fold.take(event)
        except Exception as error:
            raise CannotApply(model.name, event, error) from error
    return fold


def _keys(model: ReadModel, event: Recorded[Any]) -> Iterable[Key]:
    try:
        return model.keys(event)
    except Exception as error:
        raise CannotApply(model.name, event, error) from error


def write_fold(cursor: Cursor[Any], schema: str, fold: Fold) -> None:
    """Write what a batch changed: upserts and deletes by set, closed versions by set or, when there are many, by COPY."""
    model, statements = fold.model, _statements(schema, fold.model)
    changed = [known for key, known in fold.rows.items() if known is not None and known is not fold.before.get(key)]
    gone = [key for key, known in fold.rows.items() if known is None and fold.before.get(key) is not None]
    if changed:
        cursor.execute(statements.upsert, _by_column(model, changed), prepare=True)
    if gone:
        cursor.execute(statements.delete, [list(values) for values in zip(*gone, strict=True)], prepare=True)
    if not fold.closed:
        return
    if len(fold.closed) < COPY_FROM:
        cursor.execute(statements.close, _by_column(model, fold.closed), prepare=True)
        return
    with cursor.copy(statements.copy) as copy:
        for row, from_pos, to_pos in fold.closed:
            copy.write_row((*_values(model, row), from_pos, to_pos))


def _by_column(model: ReadModel, rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    values = [[*_values(model, row), *positions] for row, *positions in rows]
    return [list(column) for column in zip(*values, strict=True)]


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
            "SELECT count(*) AS rows, coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text AS sum FROM {} t"
        ).format(Identifier(schema, relation))
    )
    record = cursor.fetchone()
    assert record is not None
    rows, total = record.values() if isinstance(record, dict) else record
    return rows, f"{int(total) & (2**128 - 1):032x}"


def differences(
    cursor: Cursor[Any], left: str, right: str, relation: str, key: Sequence[str], limit: int = 20
) -> list[dict[str, Any]]:
    """Keys whose rows differ between two schemas, with both rows."""
    names = SQL(", ").join(map(Identifier, key))
    cursor.execute(
        SQL(
            "SELECT {names}, to_jsonb(l) AS live, to_jsonb(r) AS rebuilt FROM {left} l FULL JOIN {right} r USING ({names})"
            " WHERE to_jsonb(l) IS DISTINCT FROM to_jsonb(r) LIMIT {limit}"
        ).format(names=names, left=Identifier(left, relation), right=Identifier(right, relation), limit=Literal(limit))
    )
    return [dict(record) for record in cursor]

"""Rows of read models while events are applied: loaded, folded, written back by set, kept in memory between batches."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
from psycopg import Cursor
from psycopg.rows import tuple_row
from psycopg.sql import SQL, Composed, Identifier

from domain.kernel import Recorded
from projections.model import Key, ReadModel

COPY_FROM = 50
"""From so many rows on COPY is faster than JSON; below, a statement without a staging table answers sooner."""

Version = tuple[Any, int, datetime | None]
"""A row (None: it is gone), the position it stands since, and since when it is true; None when the row's events did not come
in the order in which they occurred: its past in that order is then kept apart."""
Known = Version | None
"""None: there never was such a row."""
Closed = tuple[Any, int, datetime | None, int, datetime | None]
"""A row with both its beginnings and both its ends."""
_SINCE = {"from_pos": "bigint", "from_at": "timestamptz"}
_UNTIL = {"to_pos": "bigint", "to_at": "timestamptz"}
_TRUE = {"from_pos": "bigint", "from_at": "timestamptz", "to_at": "timestamptz"}


class CannotApply(Exception):
    """A read model cannot apply an event; the event is quarantined and the model stops before it (R-352)."""

    def __init__(self, model: str, event: Recorded[Any], cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.model, self.event = model, event


@dataclass(slots=True)
class Fold:
    """Rows of one model while a batch is applied: what they became, which changed, and the versions in between.

    `changed` says of each row that is to be written whether it is new: its table holds none of this key yet.
    `apart` names the stream of every touched row whose events did not come in the order in which they occurred, `left`
    those of them that were in order until now. `grown` says by how many each group of a counted model has.
    """

    model: ReadModel
    rows: dict[Key, Known] = field(default_factory=dict)
    changed: dict[Key, bool] = field(default_factory=dict)
    apart: dict[Key, str] = field(default_factory=dict)
    left: dict[Key, None] = field(default_factory=dict)
    closed: list[Closed] = field(default_factory=list)
    grown: Counter[Key] = field(default_factory=Counter)

    @property
    def large(self) -> bool:
        """Whether COPY writes it, which has no place in a pipeline of statements."""
        return bool(self.apart) or max(len(self.changed), len(self.closed)) >= COPY_FROM

    def take(self, key: Key, event: Recorded[Any]) -> None:
        """Apply one event to one row. Raises CannotApply."""
        known = self.rows.get(key)
        row = known[0] if known else None
        try:
            after = self.model.apply(row, event)
        except Exception as error:
            raise CannotApply(self.model.name, event, error) from error
        same = after is row or after == row
        at: datetime | None = event.occurred_at
        if known is None:
            if same:
                return
        elif known[2] is None or same or event.occurred_at < known[2]:
            # What changes nothing now may change something where it occurred, or once more has come before it.
            self._set_apart(key, known, event)
            at = None
        if not same:
            if known is not None and row is not None:
                self.closed.append((row, known[1], known[2] if at else None, event.position, at))
            self.rows[key] = (after, event.position, at)
            self._count(row, after)
        self.changed.setdefault(key, row is None)

    def _count(self, before: Any | None, after: Any | None) -> None:
        if (group_of := self.model.group_of) is None:
            return
        left, entered = before and group_of(before), after and group_of(after)
        if left != entered:
            if left is not None:
                self.grown[left] -= 1
            if entered is not None:
                self.grown[entered] += 1

    def _set_apart(self, key: Key, known: Version, event: Recorded[Any]) -> None:
        self.apart[key] = event.stream
        if known[2] is not None:
            self.left[key] = None
        self.rows[key] = (known[0], known[1], None)


class RowCache:
    """The rows used last, so that a projector need not load what it has just written.

    True only as long as nobody else writes these rows: the owner clears it when its transaction fails or the tables are no
    longer those it knew. At most two generations of `size` rows a model: when the young one is full, the old one goes.
    """

    def __init__(self, size: int = 25_000) -> None:
        self._size = size
        self._young: dict[str, dict[Key, Known]] = {}
        self._old: dict[str, dict[Key, Known]] = {}

    def find(self, model: ReadModel, keys: Iterable[Key]) -> dict[Key, Known]:
        """What is known of these keys."""
        young, old = self._young.get(model.name, {}), self._old.get(model.name, {})
        found: dict[Key, Known] = {}
        for key in keys:
            if key in young:
                found[key] = young[key]
            elif key in old:
                found[key] = old[key]
        return found

    def keep(self, fold: Fold) -> None:
        """Remember a fold's rows, once they are committed."""
        name = fold.model.name
        young = self._young.setdefault(name, {})
        young.update(fold.rows)
        if len(young) >= self._size:
            self._old[name], self._young[name] = young, {}

    def clear(self) -> None:
        """Forget everything."""
        self._young, self._old = {}, {}


@dataclass(frozen=True)
class _Statements:
    """The statements of one model in one schema, composed once."""

    load: str
    load_gone: str
    upsert: str
    delete: str
    close: str
    leave: str
    forget: str
    copy_live: str
    copy_closed: str
    copy_true: str
    stage: str
    copy_staged: str
    upsert_staged: str
    count: str
    drop_empty: str


@lru_cache(maxsize=256)
def _statements(schema: str, model: ReadModel) -> _Statements:
    types = {column.name: column.sql_type for column in model.columns}
    key_arrays = SQL(", ").join(SQL("%b::{}[]").format(SQL(types[name])) for name in model.key)
    key_names = SQL(", ").join(map(Identifier, model.key))
    live, history = Identifier(schema, model.name), Identifier(schema, f"{model.name}_history")
    true, counts = Identifier(schema, f"{model.name}_occurred"), Identifier(schema, model.counts)
    staged = Identifier("pg_temp", f"{model.name}_{model.fingerprint}")
    selected = SQL(", ").join(SQL("t.{}").format(Identifier(column.name)) for column in model.columns)
    names = [*types, *_SINCE]
    rest = SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(n)) for n in names if n not in model.key)
    upsert = SQL("ON CONFLICT ({}) DO UPDATE SET {}").format(key_names, rest)
    matches = SQL(" AND ").join(SQL("t.{0} = k.{0}").format(Identifier(name)) for name in model.key)
    columns, closed, lasting = _names(names), _names([*names, *_UNTIL]), _names([*types, *_TRUE])
    composed = {
        "load": SQL("SELECT {}, t.from_pos, t.from_at FROM unnest({}) AS k({}) JOIN {} t USING ({})").format(
            selected, key_arrays, key_names, live, key_names
        ),
        "load_gone": SQL(
            "SELECT k.*, h.to_pos, h.to_at FROM unnest({}) AS k({}) CROSS JOIN LATERAL"
            " (SELECT to_pos, to_at FROM {} t WHERE {} ORDER BY to_pos DESC LIMIT 1) h"
        ).format(key_arrays, key_names, history, matches),
        "upsert": SQL("INSERT INTO {0} ({1}) SELECT {1} FROM json_populate_recordset(NULL::{0}, %s) {2}").format(
            live, columns, upsert
        ),
        "delete": SQL("DELETE FROM {} t USING unnest({}) AS k({}) WHERE {}").format(
            live, key_arrays, key_names, matches
        ),
        "close": SQL("INSERT INTO {0} ({1}) SELECT {1} FROM json_populate_recordset(NULL::{0}, %s)").format(
            history, closed
        ),
        "leave": SQL(
            "UPDATE {} t SET from_at = NULL, to_at = NULL FROM unnest({}) AS k({}) WHERE {}"
            " AND (t.from_at IS NOT NULL OR t.to_at IS NOT NULL)"
        ).format(history, key_arrays, key_names, matches),
        "forget": SQL("DELETE FROM {} t USING unnest({}) AS k({}) WHERE {}").format(
            true, key_arrays, key_names, matches
        ),
        "copy_live": SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(live, columns),
        "copy_closed": SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(history, closed),
        "copy_true": SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(true, lasting),
        "stage": SQL("CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {}) ON COMMIT DELETE ROWS").format(staged, live),
        "copy_staged": SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(staged, columns),
        "upsert_staged": SQL("INSERT INTO {0} ({1}) SELECT {1} FROM {2} {3}").format(live, columns, staged, upsert),
        "count": SQL(
            "INSERT INTO {0} AS t ({1}, n) SELECT {1}, n FROM json_populate_recordset(NULL::{0}, %s)"
            " ON CONFLICT ({2}) DO UPDATE SET n = t.n + excluded.n"
        ).format(counts, _names(model.counted_by), SQL(model.group_key)),
        "drop_empty": SQL("DELETE FROM {} WHERE n = 0").format(counts),
    }
    return _Statements(**{name: statement.as_string() for name, statement in composed.items()})


def _names(names: Iterable[str]) -> Composed:
    return SQL(", ").join(map(Identifier, names))


def load_rows(cursor: Cursor[Any], schema: str, model: ReadModel, keys: Sequence[Key]) -> dict[Key, Known]:
    """What is known of some keys: their live rows, or when they went; None of those that never were."""
    found: dict[Key, Known] = dict.fromkeys(keys)
    if not keys:
        return found
    statements = _statements(schema, model)
    with cursor.connection.cursor(binary=True, row_factory=tuple_row) as rows:
        found.update(rows_of(model, rows.execute(statements.load, _by_key(keys), prepare=True)))
        if gone := [key for key, known in found.items() if known is None]:
            for *key, to_pos, to_at in rows.execute(statements.load_gone, _by_key(gone), prepare=True):
                found[tuple(key)] = (None, to_pos, to_at)
    return found


def _by_key(keys: Iterable[Key]) -> list[list[Any]]:
    return [list(values) for values in zip(*keys, strict=True)]


def rows_of(model: ReadModel, records: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Key, Version]]:
    """Rows by key, from records of all columns, from_pos and from_at."""
    at = [[column.name for column in model.columns].index(name) for name in model.key]
    for *values, from_pos, from_at in records:
        for index in model.json_columns:
            values[index] = _from_json(values[index])
        yield tuple(values[index] for index in at), (model.row(*values), from_pos, from_at)


def _from_json(value: Any) -> Any:
    return tuple(_from_json(item) for item in value) if isinstance(value, list) else value


def fold_batch(
    cursor: Cursor[Any], schema: str, model: ReadModel, events: Sequence[Recorded[Any]], cache: RowCache
) -> Fold:
    """Apply a model's events of a batch to the rows they touch; raises CannotApply naming the event."""
    touched = [(key, event) for event in events for key in keys_of(model, event)]
    rows = cache.find(model, (key for key, _ in touched))
    unknown: dict[Key, None] = {}
    for key, event in touched:
        if key not in rows and key not in unknown:
            if event.version == 1:
                rows[key] = None  # a row belongs to one stream, and this one has just begun
            else:
                unknown[key] = None
    rows |= load_rows(cursor, schema, model, list(unknown))
    fold = Fold(model, rows)
    for key, event in touched:
        fold.take(key, event)
    return fold


def keys_of(model: ReadModel, event: Recorded[Any]) -> Iterable[Key]:
    """The rows an event touches. Raises CannotApply."""
    try:
        return model.keys(event)
    except Exception as error:
        raise CannotApply(model.name, event, error) from error


def write_fold(cursor: Cursor[Any], schema: str, fold: Fold) -> None:
    """Write what a batch changed: each row once, however often it changed, and every version it went through."""
    left: list[Key] = []
    live: list[Version] = []
    fresh: list[Version] = []
    for key, new in fold.changed.items():
        known = fold.rows[key]
        if known is None or known[0] is None:
            left.append(key)
        else:
            (fresh if new else live).append(known)
    if len(fresh) >= COPY_FROM:
        _copy(cursor, _statements(schema, fold.model).copy_live, fold.model, fresh, _SINCE)
    else:
        live += fresh
    write_rows(cursor, schema, fold.model, live)
    delete_rows(cursor, schema, fold.model, left)
    write_closed(cursor, schema, fold.model, fold.closed)
    write_counts(cursor, schema, fold)


def write_rows(cursor: Cursor[Any], schema: str, model: ReadModel, rows: Sequence[Version]) -> None:
    """Insert or update live rows by their key: once a transaction, whose end empties what they are staged in.

    (Emptied in place, the staging table keeps its file; TRUNCATE would make it another one.)
    """
    statements = _statements(schema, model)
    if not rows:
        return
    if len(rows) < COPY_FROM:
        cursor.execute(statements.upsert, (_as_json(model, rows, _SINCE),), prepare=True)
        return
    cursor.execute(statements.stage)
    _copy(cursor, statements.copy_staged, model, rows, _SINCE)
    cursor.execute(statements.upsert_staged, prepare=True)


def replace_rows(cursor: Cursor[Any], schema: str, model: ReadModel, rows: Sequence[Version]) -> None:
    """Write a table anew, with these live rows only: faster than an update of many of them. Nobody may read it meanwhile."""
    cursor.execute(SQL("TRUNCATE {}").format(Identifier(schema, model.name)))
    if rows:
        _copy(cursor, _statements(schema, model).copy_live, model, rows, _SINCE)


def delete_rows(cursor: Cursor[Any], schema: str, model: ReadModel, keys: Sequence[Key]) -> None:
    """Remove live rows; those that were never there are no matter."""
    if keys:
        cursor.execute(_statements(schema, model).delete, _by_key(keys), prepare=True)


def write_closed(cursor: Cursor[Any], schema: str, model: ReadModel, closed: Sequence[Closed]) -> None:
    """Add versions that have ended to the history."""
    statements = _statements(schema, model)
    if not closed:
        return
    if len(closed) < COPY_FROM:
        cursor.execute(statements.close, (_as_json(model, closed, {**_SINCE, **_UNTIL}),), prepare=True)
        return
    _copy(cursor, statements.copy_closed, model, closed, {**_SINCE, **_UNTIL})


def write_counts(cursor: Cursor[Any], schema: str, fold: Fold) -> None:
    """Add what a fold counted to what was counted before, once; groups without rows go."""
    statements, names = _statements(schema, fold.model), (*fold.model.counted_by, "n")
    changes = [dict(zip(names, (*group, n), strict=True)) for group, n in fold.grown.items() if n]
    shrunk = any(n < 0 for n in fold.grown.values())
    fold.grown.clear()
    if changes:
        cursor.execute(statements.count, (orjson.dumps(changes).decode(),), prepare=True)
        if shrunk:
            cursor.execute(statements.drop_empty, prepare=True)


def leave_order(cursor: Cursor[Any], schema: str, model: ReadModel, keys: Iterable[Key]) -> None:
    """Take all past versions of rows off the axis of what was true."""
    if values := _by_key(keys):
        cursor.execute(_statements(schema, model).leave, values, prepare=True)


def replace_true(
    cursor: Cursor[Any],
    schema: str,
    model: ReadModel,
    keys: Iterable[Key],
    versions: Sequence[tuple[Any, int, datetime, datetime | None]],
) -> None:
    """Write anew what was true of rows, with the versions given."""
    if values := _by_key(keys):
        cursor.execute(_statements(schema, model).forget, values, prepare=True)
    if versions:
        _copy(cursor, _statements(schema, model).copy_true, model, versions, _TRUE)


def _as_json(model: ReadModel, rows: Sequence[tuple[Any, ...]], more: Iterable[str]) -> str:
    """Rows as one parameter: psycopg takes longer over an array a column than PostgreSQL over all of this."""
    names = [*(column.name for column in model.columns), *more]
    return orjson.dumps(
        [dict(zip(names, (*model.values_of(row), *positions), strict=True)) for row, *positions in rows]
    ).decode()


def _copy(
    cursor: Cursor[Any], statement: str, model: ReadModel, rows: Sequence[tuple[Any, ...]], more: Mapping[str, str]
) -> None:
    jsons, values_of = model.json_columns, model.values_of
    types = ["text" if column.sql_type == "jsonb" else column.sql_type for column in model.columns]
    with cursor.copy(statement) as copy:
        copy.set_types([*types, *more.values()])
        for row, *positions in rows:
            values = [*values_of(row), *positions]
            for index in jsons:
                values[index] = _jsonb(values[index])
            copy.write_row(values)


def _jsonb(value: Any) -> str | None:
    """A value as jsonb in PostgreSQL's binary format, its version and then the text. Most are empty lists."""
    return "\x01[]" if value == () else None if value is None else "\x01" + orjson.dumps(value).decode()

"""What every query over the read models shares: one snapshot, conditions, keyset pages.

A query function takes a cursor with dict rows inside a snapshot, a `ReadScope`, and returns lists of dicts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString, Self

from psycopg import Cursor
from psycopg.sql import SQL, Composed, Identifier

from projections.model import ReadModel
from projections.scope import ReadScope
from projections.status import positions

Row = dict[str, Any]
Rows = list[Row]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where log and read models stand in one snapshot.

    `position` is what all read models have reached, `head` the last position of the log, `as_of` when the log took in
    the event at `position` (UTC; None before the first), `models` the position of each model.
    """

    position: int
    head: int
    as_of: datetime | None
    models: dict[str, int]

    @property
    def lag(self) -> int:
        """How many events the read models are behind the log."""
        return self.head - self.position


def begin_snapshot(cursor: Cursor[Any]) -> None:
    """Make the transaction that was just opened read one state of the database, and nothing but read."""
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def standing(cursor: Cursor[Any], models: Iterable[ReadModel]) -> Standing:
    """Where log and read models stand; a model nobody has built yet stands at 0."""
    known = positions(cursor)
    reached = {model.name: known.get(f"{model.name}@{model.fingerprint}", 0) for model in models}
    position = min(reached.values(), default=0)
    (row,) = fetch(
        cursor,
        SQL(
            "SELECT coalesce((SELECT max(notification_id) FROM log.events), 0) AS head,"
            " (SELECT recorded_at FROM log.events WHERE notification_id = %s) AS as_of"
        ),
        [position],
    )
    return Standing(position, row["head"], row["as_of"], reached)


def unbuilt(cursor: Cursor[Any], models: Iterable[ReadModel]) -> list[str]:
    """Names of the read models the projector has not made tables for yet."""
    names = [model.name for model in models]
    query = SQL("SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass('read.' || quote_ident(name)) IS NULL")
    return [row["name"] for row in fetch(cursor, query, [names])]


def fetch(cursor: Cursor[Any], query: SQL | Composed, values: Sequence[Any] = ()) -> Rows:
    """All rows of a query. Never a prepared one: a rebuilt table may have other columns."""
    return [dict(row) for row in cursor.execute(query, values, prepare=False)]


@dataclass(slots=True)
class Where:
    """Conditions with their values, joined by AND."""

    parts: list[Composed | SQL] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def add(self, condition: LiteralString, *values: Any) -> Self:
        """One more condition."""
        self.parts.append(SQL(condition))
        self.values.extend(values)
        return self

    def given(self, condition: LiteralString, value: Any) -> Self:
        """One more condition, unless its value is None."""
        return self if value is None else self.add(condition, value)

    def within(self, scope: ReadScope, visible: LiteralString = "(programme = ANY(%s) OR unit = ANY(%s))") -> Self:
        """Only what the scope shows; `visible` takes its programmes, then its units."""
        return self if scope.all else self.add(visible, scope.programme_list, scope.unit_list)

    @property
    def clause(self) -> Composed:
        """The WHERE clause, empty without conditions."""
        return SQL(" WHERE {}").format(SQL(" AND ").join(self.parts)) if self.parts else Composed([])


def page(
    cursor: Cursor[Any], model: str, key: Sequence[str], where: Where, after: Sequence[Any] | None, limit: int
) -> tuple[Rows, list[Any] | None]:
    """One page of a read model's live rows in key order, and the key to go on after (None at the end)."""
    names = SQL(", ").join(map(Identifier, key))
    clause, values = where.clause, list(where.values)
    if after is not None:
        holes = SQL(", ").join([SQL("%s")] * len(key))
        joint = SQL(" AND ") if where.parts else SQL(" WHERE ")
        clause = Composed([clause, joint, SQL("({}) > ({})").format(names, holes)])
        values += after
    query = SQL("SELECT * FROM {}{} ORDER BY {} LIMIT %s").format(Identifier("read", model), clause, names)
    rows = fetch(cursor, query, [*values, limit + 1])
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], [rows[limit - 1][name] for name in key]

"""What every query over the read models shares: one snapshot, conditions, keyset pages.

A query function takes a cursor with dict rows inside a snapshot, a `ReadScope`, and returns lists of dicts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString, Self

from psycopg import Cursor
from psycopg.sql import SQL, Composed, Identifier

from projections.model import ReadModel, View
from projections.scope import ReadScope

Row = dict[str, Any]
Rows = list[Row]
Build = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where log and read models stand in one snapshot.

    `position` is what all read models have reached, `head` the last position of the log, `as_of` when the log took in
    the event at `position` (UTC; None before the first), `models` the position of each model, `build` the identity of the
    tables and views (a rebuild changes it without changing positions), `held` a digest of what is in quarantine.
    """

    position: int
    head: int
    as_of: datetime | None
    models: dict[str, int]
    build: Build = ()
    held: int = 0

    @property
    def lag(self) -> int:
        """How many events the read models are behind the log."""
        return self.head - self.position


def begin_snapshot(cursor: Cursor[Any]) -> None:
    """Make the transaction that was just opened read one state of the database, and nothing but read."""
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL search_path TO read")


def begin_reading(cursor: Cursor[Any]) -> None:
    """The same in one round trip with the opening of the transaction; the block of the connection ends it."""
    cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL search_path TO read")


_BUILD = (
    "(SELECT array_agg(to_regclass('read.' || quote_ident(name))::oid::bigint)"
    " FROM unnest(string_to_array(%s, ' ')) AS name)"
)
_STANDING = f"""
    SELECT reached, coalesce((SELECT max(notification_id) FROM log.events), 0) AS head, {_BUILD} AS build,
           (SELECT coalesce(sum(hashtext(held::text)), 0)::bigint FROM read.quarantine held) AS held,
           (SELECT recorded_at FROM log.events WHERE notification_id = least_of.position) AS as_of
    FROM (SELECT array_agg(position ORDER BY number) AS reached, min(position) AS position
          FROM (SELECT number, coalesce(notification_id, 0) AS position
                FROM unnest(string_to_array(%s, ' ')) WITH ORDINALITY AS model(name, number)
                LEFT JOIN read.positions ON application_name = name) each) least_of"""


def standing(cursor: Cursor[Any], models: Sequence[ReadModel], views: Sequence[View] = ()) -> Standing:
    """Where log and read models stand, in one round trip; a model nobody has built yet stands at 0."""
    tracked = " ".join(f"{model.name}@{model.fingerprint}" for model in models)
    row = cursor.execute(_STANDING, [_names(models, views), tracked], prepare=True).fetchone()
    assert row is not None
    reached = dict(zip((model.name for model in models), row["reached"] or (), strict=True))
    return Standing(
        min(reached.values(), default=0), row["head"], row["as_of"], reached, tuple(row["build"]), row["held"]
    )


def build(cursor: Cursor[Any], models: Sequence[ReadModel], views: Sequence[View]) -> Build:
    """The identity of the tables and views that queries find now, whatever the snapshot."""
    row = cursor.execute(f"SELECT {_BUILD} AS build", [_names(models, views)], prepare=True).fetchone()
    assert row is not None
    return tuple(row["build"])


def _names(models: Sequence[ReadModel], views: Sequence[View]) -> str:
    return " ".join([*(model.name for model in models), *(view.name for view in views)])


def unbuilt(cursor: Cursor[Any], models: Iterable[ReadModel]) -> list[str]:
    """Names of the read models the projector has not made tables for yet."""
    names = [model.name for model in models]
    query = SQL("SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass('read.' || quote_ident(name)) IS NULL")
    return [row["name"] for row in fetch(cursor, query, [names])]


def fetch(cursor: Cursor[Any], query: SQL | Composed, values: Sequence[Any] = ()) -> Rows:
    """All rows of a query. Never a prepared one: a rebuilt table may have other columns.

    Queries name read models and views without a schema: the transaction says whether they read the present or the past.
    """
    found = [dict(row) for row in cursor.execute(query, values, prepare=False)]
    if found and "from_at" in found[0]:  # bookkeeping of the tables, and late events change it
        for row in found:
            del row["from_at"]
            row.pop("to_at", None)
    return found


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
    """One page of a read model's rows in key order, and the key to go on after (None at the end)."""
    names = SQL(", ").join(map(Identifier, key))
    clause, values = where.clause, list(where.values)
    if after is not None:
        holes = SQL(", ").join([SQL("%s")] * len(key))
        joint = SQL(" AND ") if where.parts else SQL(" WHERE ")
        clause = Composed([clause, joint, SQL("({}) > ({})").format(names, holes)])
        values += after
    query = SQL("SELECT * FROM {}{} ORDER BY {} LIMIT %s").format(Identifier(model), clause, names)
    rows = fetch(cursor, query, [*values, limit + 1])
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], [rows[limit - 1][name] for name in key]

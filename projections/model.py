"""What a read model is: an immutable row type, which events touch which rows, and one function that says what they become.

Tables follow from the row type. A live row is updated in place; the version it replaces is kept, closed, in
`<model>_history`. So every read model has its past for free: the state as of a position is one query (R-348).

Rows stand on two axes: `from_pos`/`to_pos` say what was known, `from_at`/`to_at` what was true. Most events of a row come in
the order in which they occurred, and one version serves both. Once one of them does not, that row's versions in the order of
occurrence are kept in `<model>_occurred`, folded anew from its stream whenever it gets an event.

A model that figures are counted from names the columns they depend on: `<model>_counts` then holds how many live rows have
which values there, kept with the rows. So a figure costs the same however many rows it counts.
"""

import types
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from hashlib import sha256
from operator import attrgetter, itemgetter
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from contracts.base import Event
from domain.kernel import Recorded

Key = tuple[Any, ...]
R = TypeVar("R")
_FORM = 4
"""Of what stands beside a model's own columns."""

_SQL_TYPES: dict[Any, str] = {
    str: "text",
    int: "bigint",
    float: "double precision",
    bool: "boolean",
    datetime: "timestamptz",
    date: "date",
    tuple: "jsonb",
    dict: "jsonb",
}


@dataclass(frozen=True)
class Column:
    """A column of a read model's table, derived from a field of its row type."""

    name: str
    sql_type: str
    nullable: bool

    @property
    def declared(self) -> str:
        """Its type in a table. Texts are compared byte by byte: rows come in one order whatever language the database speaks."""
        return f'{self.sql_type} COLLATE "C"' if self.sql_type == "text" else self.sql_type


def _column(name: str, hint: Any) -> Column:
    nullable = False
    if get_origin(hint) in (Union, types.UnionType):
        parts = [part for part in get_args(hint) if part is not type(None)]
        nullable = len(parts) < len(get_args(hint))
        hint = parts[0]
    return Column(name, _SQL_TYPES[get_origin(hint) or hint], nullable)


def wide(row: type[R]) -> type[R]:
    """Has a NamedTuple's `_replace` look at the columns it is given only: an event changes few of many, in half the time.

    `_replace` raises TypeError for a name that is no column.
    """
    named: Any = row
    at = {name: index for index, name in enumerate(named._fields)}
    new = tuple.__new__

    def replace(self: Any, /, **columns: Any) -> Any:
        values = list(self)
        try:
            for name, value in columns.items():
                values[at[name]] = value
        except KeyError as error:
            raise TypeError(f"{row.__name__} has no column {error}") from None
        return new(named, values)

    named._replace = replace
    return row


@dataclass(frozen=True, eq=False)
class ReadModel:
    """A read model of one row type: a NamedTuple (copied and compared fastest: a `wide` row changes often) or frozen dataclass.

    `keys(event)` names the rows an event touches, from the event alone; `apply(row, event)` gives the row after it: None
    before the first event of a key, None to remove the row. Both are pure. All events of a row are of one stream, and
    `apply` takes those after its first in any order. `indexes` are column lists with an optional WHERE. `counted_by` are the
    columns, two at least, that figures over the rows depend on; each should have few values.
    """

    name: str
    row: type[Any]
    key: tuple[str, ...]
    handles: frozenset[tuple[str, type[Event]]]
    keys: Callable[[Recorded[Any]], Iterable[Key]]
    apply: Callable[[Any | None, Recorded[Any]], Any | None]
    indexes: tuple[str, ...] = ()
    counted_by: tuple[str, ...] = ()

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the table, in the row type's order."""
        return tuple(_column(name, hint) for name, hint in get_type_hints(self.row).items())

    @cached_property
    def values_of(self) -> Callable[[Any], Iterable[Any]]:
        """The values of a row in the columns' order."""
        if issubclass(self.row, tuple):
            return iter
        return attrgetter(*(column.name for column in self.columns))

    @cached_property
    def group_of(self) -> Callable[[Any], tuple[Any, ...]] | None:
        """The values of a row that it is counted by; None when rows of this model are not counted."""
        if not self.counted_by:
            return None
        if issubclass(self.row, tuple):
            names = [column.name for column in self.columns]
            return itemgetter(*map(names.index, self.counted_by))
        return attrgetter(*self.counted_by)

    @cached_property
    def json_columns(self) -> tuple[int, ...]:
        """Which columns hold lists, stored as jsonb."""
        return tuple(index for index, column in enumerate(self.columns) if column.sql_type == "jsonb")

    @cached_property
    def tables(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Its tables, each with the columns that name a row: live, history, occurred, and counts if it is counted."""
        return (
            (self.name, self.key),
            (f"{self.name}_history", (*self.key, "from_pos", "to_pos")),
            (f"{self.name}_occurred", (*self.key, "from_at")),
            *([(self.counts, self.counted_by)] if self.counted_by else ()),
        )

    @property
    def counts(self) -> str:
        """The relation that says how many rows (`n`) there are of each group: a table of the live ones, a view in the past."""
        return f"{self.name}_counts"

    @cached_property
    def group_key(self) -> str:
        """What tells groups apart, as a unique index takes it: lists by their hash, since an index entry has a limit."""
        return ", ".join(f"md5({c.name}::text)" if c.sql_type == "jsonb" else c.name for c in self.grouping)

    @cached_property
    def grouping(self) -> tuple[Column, ...]:
        """The columns its rows are counted by."""
        return tuple(column for name in self.counted_by for column in self.columns if column.name == name)

    @cached_property
    def scope(self) -> str:
        """The column that most questions are limited by."""
        return "programme" if "programme" in {column.name for column in self.columns} else self.key[0]

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the table's shape does; a follower then builds the model anew."""
        columns = [(c.name, c.sql_type, c.nullable) for c in self.columns]
        shape = [_FORM, self.key, columns, self.indexes, self.counted_by]
        return sha256(repr(shape).encode()).hexdigest()[:16]

    def handles_event(self, event: Recorded[Any]) -> bool:
        """Whether the event touches this model at all."""
        return (event.aggregate, type(event.data)) in self.handles


class Handlers:
    """Which models an event concerns: a table looked into once an event, so that no model sees events of others."""

    def __init__(self, models: Iterable[ReadModel]) -> None:
        found: dict[tuple[str, type[Event]], list[str]] = defaultdict(list)
        for model in models:
            for handled in model.handles:
                found[handled].append(model.name)
        self._models = dict(found)

    def split(self, events: Iterable[Recorded[Any]]) -> dict[str, list[Recorded[Any]]]:
        """The events of each model, by its name, in order; models that have none are left out."""
        found: dict[str, list[Recorded[Any]]] = defaultdict(list)
        for event in events:
            for name in self._models.get((event.aggregate, type(event.data)), ()):
                found[name].append(event)
        return found


@dataclass(frozen=True)
class View:
    """Figures computed from read models by a query, as a SQL view beside their tables.

    `counts` are whole numbers that add up over rows, `rates` are made of them; other columns are only shown and compared.
    """

    name: str
    key: tuple[str, ...]
    query: str
    counts: tuple[str, ...] = ()
    rates: tuple[str, ...] = ()


def by_stream(event: Recorded[Any]) -> Iterable[Key]:
    """Rows keyed by (programme, code) of the event's own stream."""
    return ((event.programme, event.code),)


def handling(aggregate: str, events: Iterable[type[Event]]) -> frozenset[tuple[str, type[Event]]]:
    """`handles` for events of one aggregate."""
    return frozenset((aggregate, event) for event in events)

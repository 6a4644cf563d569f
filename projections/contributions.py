"""Which events changed a figure: a view computed over single versions of rows instead of over all rows.

Every version that began or ended between two positions is given a programme of its own, named after the position and whether the
version began or ended there. The view's own query then says what each event added to each figure and took from it. So
figures that are counts and sums over rows explain themselves, whatever view they stand in. On the axis of what was true, the
versions are those in the order of occurrence.

What was known at a moment and what was true at it are told apart in the same way, row by row.
"""

from collections.abc import Iterable, Mapping
from typing import Any, LiteralString

from psycopg import Cursor
from psycopg.sql import SQL, Composed, Identifier, Literal

from projections.model import ReadModel, View
from projections.past import Axis, Moment, counted, read_at, read_now
from projections.queries import Rows, fetch

_MARK = "#"
_KNOWN = """
    SELECT {began}, from_pos FROM read.{live} WHERE from_pos > {first} AND from_pos <= {last} AND {wanted}
    UNION ALL SELECT {began}, from_pos FROM read.{history}
    WHERE from_pos > {first} AND from_pos <= {last} AND to_pos > {first} AND {wanted}
    UNION ALL SELECT {ended}, from_pos FROM read.{history} WHERE to_pos > {first} AND to_pos <= {last} AND {wanted}"""
# A version that stands apart ends with the event the next one begins with; 0 if none follows.
_TRUE = """
    SELECT {began}, from_pos FROM read.{live} WHERE from_at > {first} AND from_at <= {last} AND {wanted}
    UNION ALL SELECT {began}, from_pos FROM read.{history}
    WHERE from_at > {first} AND from_at <= {last} AND to_at > {first} AND {wanted}
    UNION ALL SELECT {ended}, from_pos FROM read.{history} WHERE to_at > {first} AND to_at <= {last} AND {wanted}
    UNION ALL SELECT {began}, from_pos FROM read.{occurred} WHERE from_at > {first} AND from_at <= {last} AND {wanted}
    UNION ALL SELECT {ended}, from_pos
    FROM (SELECT *, CASE WHEN lead(from_at) OVER own = to_at THEN lead(from_pos) OVER own ELSE 0 END AS to_pos
          FROM read.{occurred} WHERE {wanted} WINDOW own AS (PARTITION BY {key} ORDER BY from_at)) apart
    WHERE to_at > {first} AND to_at <= {last}"""
_APART = """
    (SELECT {ended}, from_pos FROM read_recorded.{live} WHERE {wanted}
     EXCEPT ALL SELECT {ended}, from_pos FROM read_occurred.{live} WHERE {wanted})
    UNION ALL
    (SELECT {began}, from_pos FROM read_occurred.{live} WHERE {wanted}
     EXCEPT ALL SELECT {began}, from_pos FROM read_recorded.{live} WHERE {wanted})"""
_CHANGES: dict[Axis, LiteralString] = {"recorded": _KNOWN, "occurred": _TRUE}


def changes_of(
    cursor: Cursor[Any],
    models: Iterable[ReadModel],
    view: View,
    first: Moment,
    last: Moment,
    programme: str | None = None,
) -> dict[tuple[Any, ...], dict[int, dict[str, int]]]:
    """By the view's key, by position: by how much the event there changed which of the view's counts. Only those that changed.

    Both moments are on one axis. A figure that depends on several rows at once is not explained; what is missing shows in
    the sums.
    """
    known = first.axis == "recorded"
    ends = {"first": first.position, "last": last.position} if known else {"first": first.at, "last": last.at}
    shadows = [_shadow(model, _CHANGES[first.axis], ends, programme) for model in models if model.scope == "programme"]
    return _summed(view, _over(cursor, view, shadows))


def moves_of(
    cursor: Cursor[Any],
    models: Iterable[ReadModel],
    view: View,
    known: Moment,
    true: Moment,
    programme: str | None = None,
) -> dict[tuple[Any, ...], dict[int, dict[str, int]]]:
    """By the view's key, by position: by how much what is known now of a row moved which figure of a past moment.

    `known` and `true` are that moment on either axis. A position is that of the event which made one of the row's two
    versions: its stream is the one that moved.
    """
    read_at(cursor, known)
    read_at(cursor, true)
    shadows = [_shadow(model, _APART, {}, programme, "from_pos") for model in models if model.scope == "programme"]
    return _summed(view, _over(cursor, view, shadows))


def _over(cursor: Cursor[Any], view: View, shadows: Iterable[Composed]) -> Rows:
    query = SQL("WITH {} SELECT * FROM ({}) v").format(SQL(", ").join(shadows), SQL(view.query))
    read_now(cursor)
    return fetch(cursor, query)


def _shadow(
    model: ReadModel, versions: LiteralString, ends: Mapping[str, Any], programme: str | None, ended: str = "to_pos"
) -> Composed:
    def columns(sign: str, position: str) -> Composed:
        marked = SQL("programme || {} || {} AS programme").format(Literal(_MARK + sign), Identifier(position))
        names = (column.name for column in model.columns)
        return SQL(", ").join(marked if name == "programme" else Identifier(name) for name in names)

    live, history, occurred, *_ = (Identifier(name) for name, _ in model.tables)
    query = SQL(versions).format(
        began=columns("+", "from_pos"),
        ended=columns("-", ended),
        key=SQL(", ").join(map(Identifier, model.key)),
        live=live,
        history=history,
        occurred=occurred,
        **{name: Literal(end) for name, end in ends.items()},
        wanted=SQL("true") if programme is None else SQL("programme = {}").format(Literal(programme)),
    )
    shadow = SQL("{} AS ({})").format(Identifier(model.name), query)
    if not model.counted_by:
        return shadow
    return SQL("{}, {} AS ({})").format(shadow, Identifier(model.counts), counted(model))


def _summed(view: View, rows: Rows) -> dict[tuple[Any, ...], dict[int, dict[str, int]]]:
    found: dict[tuple[Any, ...], dict[int, dict[str, int]]] = {}
    for row in rows:
        programme, mark = row["programme"].rsplit(_MARK, 1)
        key = tuple(programme if name == "programme" else row[name] for name in view.key)
        figures = found.setdefault(key, {}).setdefault(int(mark[1:]), {})
        for name in view.counts:
            if int(mark[1:]):
                figures[name] = figures.get(name, 0) + (row[name] or 0) * (1 if mark[0] == "+" else -1)
    return {
        key: {
            position: changed
            for position, figures in sorted(events.items())
            if (changed := {name: value for name, value in figures.items() if value})
        }
        for key, events in found.items()
    }

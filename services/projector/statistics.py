"""What PostgreSQL knows of tables that grow quickly.

A plan is kept until PostgreSQL learns that a table has grown, and autovacuum looks once a minute. For an empty table every index
is as good as the next: a plan made then may read all rows of a programme, or all there are, to find one by its key.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from psycopg import Cursor
from psycopg.sql import SQL, Identifier

from projections.rows import Fold

LEAST, ENOUGH = 1000, 4000
"""Until so many rows are written any plan is quick; and once so many are known, plans stay right however a table grows."""


class Statistics:
    """Counts what is written: young tables are to be analysed when they may have doubled. All sessions then plan anew."""

    def __init__(self) -> None:
        self._known: dict[str, float] = {}
        self._written: Counter[str] = Counter()

    def begin(self, cursor: Cursor[Any], schema: str) -> None:
        """Take over what PostgreSQL knows of a schema's tables."""
        query = "SELECT relname, greatest(reltuples, 0) AS rows FROM pg_class WHERE relnamespace = %s::regnamespace"
        self._known = {row["relname"]: row["rows"] for row in cursor.execute(query, (schema,)).fetchall()}
        self._written.clear()

    def wrote(self, fold: Fold) -> None:
        """Rows of a model were written, and committed."""
        live, history, occurred = (name for name, _ in fold.model.tables[:3])
        self._written += Counter({live: len(fold.changed), history: len(fold.closed), occurred: len(fold.apart)})

    def grown(self) -> list[str]:
        """The tables that are to be analysed now: they may have doubled, and PostgreSQL knows of few rows."""
        young = ((table, self._known[table], written) for table, written in self._written.items())
        found = [table for table, known, written in young if known < ENOUGH and written > max(known, LEAST)]
        for table in found:
            self._known[table] += self._written.pop(table)
        return found


def analyse(cursor: Cursor[Any], schema: str, tables: Sequence[str]) -> None:
    """Let PostgreSQL look at tables, outside of a transaction, so that none is locked while it looks at the next."""
    names = SQL(", ").join(Identifier(schema, table) for table in tables)
    cursor.execute(SQL("ANALYZE {}").format(names))

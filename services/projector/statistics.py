"""What PostgreSQL knows of tables that grow quickly.

A plan is kept until PostgreSQL learns that a table has grown, and autovacuum looks once a minute. For an empty table every index
is as good as the next: a plan made then may read all rows of a programme, or all there are, to find one by its key.
"""

from collections import Counter
from collections.abc import Mapping

from projections.rows import Fold

LEAST, ENOUGH = 1000, 4000
"""Until so many rows are written any plan is quick; and once so many are known, plans stay right however a table grows."""


class Statistics:
    """Counts what is written: young tables are to be analysed when they may have doubled. All sessions then plan anew."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._written: Counter[str] = Counter()

    def begin(self, known: Mapping[str, int]) -> None:
        """Take over how many rows PostgreSQL knows of, by table."""
        self._known = dict(known)
        self._written.clear()

    def wrote(self, fold: Fold) -> None:
        """Rows of a model were written, and committed."""
        if not fold.changed:
            return
        live, history, occurred = (name for name, _ in fold.model.tables[:3])
        self._written += Counter({live: len(fold.changed), history: len(fold.closed), occurred: len(fold.apart)})

    def grown(self) -> list[str]:
        """The tables that are to be analysed now: they may have doubled, and PostgreSQL knows of few rows."""
        young = ((table, self._known[table], written) for table, written in self._written.items())
        found = [table for table, known, written in young if known < ENOUGH and written > max(known, LEAST)]
        for table in found:
            self._known[table] += self._written.pop(table)
        return found

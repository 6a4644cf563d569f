"""Folds the log into the build schema: closed versions as they come, live rows and what stands apart at each checkpoint."""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

from psycopg import Connection, Cursor

from projections.builds import BUILD, begin_build, built_position, built_rows, save_position
from projections.model import Handlers, ReadModel
from projections.rows import Closed, Fold, keys_of, replace_rows, write_closed, write_counts, write_fold
from services.collecting import no_collector
from services.eventlog.reading import states_after
from services.projector.apart import write_apart
from services.projector.core import tracked_name
from services.store import Store

BATCH = 5000
CHECKPOINT = 250_000
"""After so many events rows and position are committed: what a stopped build loses at most."""
Progress = Callable[[int, int], None]


class Builder:
    """A build on one connection, whose transactions hold rows and position together.

    All live rows are kept in memory: about a kilobyte each; of those that are gone, when they went.
    """

    def __init__(self, store: Store, connection: Connection[Any], models: Sequence[ReadModel]) -> None:
        self.models = {tracked_name(model): model for model in models}
        self.position = 0
        self._store, self._connection = store, connection
        self._handlers = Handlers(models)
        self._folds = {model.name: Fold(model) for model in models}

    @contextmanager
    def transaction(self) -> Iterator[Cursor[Any]]:
        """A transaction on the build's connection."""
        with self._connection.transaction():
            yield self._connection.cursor()

    def begin(self) -> None:
        """An empty build."""
        with self.transaction() as cursor:
            begin_build(cursor, self.models)

    def resume(self, live: int) -> bool:
        """Go on with the build that was stopped; False when there is none of these models, or it is beyond the live ones."""
        with self.transaction() as cursor:
            self.position = built_position(cursor, self.models)
            if not 0 < self.position <= live:
                self.position = 0
                return False
            for model in self.models.values():
                self._folds[model.name].rows = dict(built_rows(cursor, model))
        return True

    def advance(self, cursor: Cursor[Any], to: int, progress: Progress | None = None) -> None:
        """Fold up to a position and write it, all in the caller's transaction. Raises CannotApply."""
        with no_collector(), ThreadPoolExecutor(1) as writer, closing(self._batches(to)) as batches:
            writing: Future[None] | None = None
            for states in batches:
                closed = self._fold(states)
                if writing is not None:
                    writing.result()
                writing = writer.submit(_write_closed, cursor, closed)
                if progress is not None:
                    progress(self.position, to)
            if writing is not None:
                writing.result()
        self._write_live(cursor)
        save_position(cursor, self.position)

    def _batches(self, to: int) -> Generator[list[bytes], None, None]:
        """The log up to a position; the next batch is read while this one is folded. Positions have no gaps."""
        with self._store.recorder.reading() as cursor, ThreadPoolExecutor(1) as reader:
            at = self.position
            following = reader.submit(states_after, cursor, at, BATCH, to)
            while states := following.result():
                at += len(states)
                following = reader.submit(states_after, cursor, at, BATCH, to)
                yield states

    def _fold(self, states: Sequence[bytes]) -> list[tuple[ReadModel, list[Closed]]]:
        """Apply a batch; returns the versions it closed, by model. PostgreSQL takes them in while the next batch is folded."""
        decode = self._store.codec.decode
        handled = self._handlers.split(map(decode, states))
        found = []
        for model in self.models.values():
            fold = self._folds[model.name]
            for event in handled.get(model.name, ()):
                for key in keys_of(model, event):
                    fold.take(key, event)
            found.append((model, fold.closed))
            fold.closed = []
        self.position += len(states)
        return found

    def _write_live(self, cursor: Cursor[Any]) -> None:
        for fold in self._folds.values():
            model, rows = fold.model, fold.rows
            if len(fold.changed) > len(rows) // 4:
                replace_rows(cursor, BUILD, model, [known for known in rows.values() if known and known[0]])
                write_counts(cursor, BUILD, fold)
            else:
                write_fold(cursor, BUILD, fold)
            write_apart(cursor, BUILD, fold, self._store.codec, self.position)
            fold.changed.clear()
            fold.apart.clear()
            fold.left.clear()


def _write_closed(cursor: Cursor[Any], closed: Sequence[tuple[ReadModel, Sequence[Closed]]]) -> None:
    for model, versions in closed:
        write_closed(cursor, BUILD, model, versions)

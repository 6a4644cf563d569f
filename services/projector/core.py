"""Follows the log in batches; each read model's rows and its position change in one transaction.

A model that cannot apply an event stops before it: the event is quarantined with its error and the other models go on (R-352).
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import psycopg
import structlog
from eventsourcing.persistence import IntegrityError
from psycopg import Cursor

from domain.kernel import Recorded
from projections.model import Handlers, ReadModel
from projections.past import create_past
from projections.rows import CannotApply, Fold, RowCache, fold_batch, write_fold
from projections.status import (
    begin_positions,
    clear_quarantine,
    forget_positions,
    move_positions,
    positions,
    quarantine,
    tell,
)
from projections.tables import analyse, create_tables, drop_tables, known_rows, table_ids
from services.clock import Clock
from services.collecting import no_collector
from services.eventlog.reading import states_after
from services.projector.apart import write_apart
from services.projector.statistics import Statistics
from services.store import Store

SCHEMA = "read"
BATCH = 1000
"""At most so many events a transaction. A batch takes what is there: one event at once when idle, this many under load."""
PROJECTOR_LOCK = 0x5A_55_52_50
"""Shared by the projector for each batch, taken alone by a rebuild that switches."""
_UNFIT = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    TypeError,
    ValueError,
    OverflowError,
)
"""A row that does not fit its table. Whatever else goes wrong may pass."""
log = structlog.get_logger("sauro.projector")


class CannotStore(Exception):
    """A read model's table does not take a row an event led to: out of range, or empty where it must not be."""


def tracked_name(model: ReadModel) -> str:
    """Under which name a model's position is kept: with its shape, so that another shape begins anew."""
    return f"{model.name}@{model.fingerprint}"


class Projector:
    """All read models of a registry, kept by one process."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._models = {model.name: model for model in store.registry.read_models}
        self._handlers = Handlers(self._models.values())
        self._positions: dict[str, int] = {}
        self._stopped: set[str] = set()
        self._cache = RowCache()
        self._statistics = Statistics()
        self._tables: Sequence[int] = ()
        self._prepared = False

    def prepare(self) -> None:
        """Make missing tables; a model whose shape changed is thrown away and built anew from the log."""
        models = self._models.values()
        with self._store.recorder.transaction() as cursor:
            self._begin(cursor)
            known = positions(cursor)
            for model in models:
                if tracked_name(model) not in known:
                    drop_tables(cursor, SCHEMA, model)
                    forget_positions(cursor, model.name)
            create_tables(cursor, SCHEMA, models, self._store.registry.views)
            create_past(cursor, self._store.registry.read_models, self._store.registry.views)
            begin_positions(cursor, [tracked_name(model) for model in models])
            clear_quarantine(cursor)
            self._statistics.begin(known_rows(cursor, SCHEMA))
            tell(cursor, self._models)
        self._positions = {model.name: known.get(tracked_name(model), 0) for model in models}
        self._stopped = set()
        self._cache.clear()
        self._prepared = True

    def step(self) -> int:
        """Apply one batch to every model; returns how many events were read, 0 at the head of the log.

        After an error the next step prepares anew: it reads the positions and trusts no row in memory.
        """
        if not self._prepared:
            self.prepare()
        going = self._going()
        if not going:
            return 0
        start = min(self._positions[model.name] for model in going)
        with self._store.recorder.reading() as cursor:
            states = states_after(cursor, start, BATCH)
        if not states:
            return 0
        self._prepared = False
        with no_collector():
            self._apply([self._store.codec.decode(state) for state in states])
        if grown := self._statistics.grown():
            with self._store.recorder.reading() as cursor:
                analyse(cursor, SCHEMA, grown)
        self._prepared = True
        return len(states)

    def _apply(self, events: Sequence[Recorded[Any]]) -> None:
        try:
            self._apply_to(self._going(), events)
        except (CannotApply, CannotStore):
            for model in self._going():  # find out which model it is, and let the others go on
                self._apply_alone(model, events)

    def _going(self) -> list[ReadModel]:
        return [model for model in self._models.values() if model.name not in self._stopped]

    def _apply_to(self, models: Sequence[ReadModel], events: Sequence[Recorded[Any]]) -> None:
        last = events[-1].position
        behind = [model for model in models if self._positions[model.name] < last]
        if not behind:
            return
        handled = self._handlers.split(events)
        moves = {tracked_name(model): (self._positions[model.name], last) for model in behind}
        with self._store.recorder.transaction() as cursor:
            self._begin(cursor)
            move_positions(cursor, moves)  # first of all: who is not the only one writes nothing
            if cursor.rowcount != len(moves):
                raise IntegrityError(
                    f"another projector has applied events up to {last}; one is enough, and this one prepares anew"
                )
            self._look_at_tables(table_ids(cursor, SCHEMA, self._models))
            folds = [self._fold(cursor, model, handled) for model in behind]
            large = any(fold.large for fold in folds)  # COPY has no place in a pipeline
            try:
                with nullcontext() if large else cursor.connection.pipeline():
                    self._write(cursor, folds, last)
            except _UNFIT as error:
                raise CannotStore(f"{type(error).__name__}: {error}") from error
        for fold in folds:
            self._cache.keep(fold)
            self._statistics.wrote(fold)
            self._positions[fold.model.name] = last

    @staticmethod
    def _begin(cursor: Cursor[Any]) -> None:
        """Begin a transaction that keeps a switch of tables away.

        Its commit need not wait for the disk: rows and position are lost together, if at all, and come again from the log.
        """
        cursor.execute(
            "SELECT pg_advisory_xact_lock_shared(%s), set_config('synchronous_commit', 'off', true)",
            (PROJECTOR_LOCK,),
            prepare=True,
        )

    def _look_at_tables(self, found: Sequence[int]) -> None:
        """Rows in memory are those of the tables they were written to: a rebuild may have switched them since."""
        if found != self._tables:
            self._cache.clear()
            self._tables = found

    def _fold(self, cursor: Cursor[Any], model: ReadModel, handled: Mapping[str, Sequence[Recorded[Any]]]) -> Fold:
        at = self._positions[model.name]
        fresh = [event for event in handled.get(model.name, ()) if event.position > at]
        return fold_batch(cursor, SCHEMA, model, fresh, self._cache)

    def _write(self, cursor: Cursor[Any], folds: Sequence[Fold], last: int) -> None:
        for fold in folds:
            write_fold(cursor, SCHEMA, fold)
            write_apart(cursor, SCHEMA, fold, self._store.codec, last)
        tell(cursor, [fold.model.name for fold in folds if fold.changed])

    def _apply_alone(self, model: ReadModel, events: Sequence[Recorded[Any]]) -> None:
        if model.name in self._stopped:
            return
        try:
            self._apply_to([model], events)
        except CannotApply as failed:
            before = [event for event in events if event.position < failed.event.position]
            if before:
                self._apply_alone(model, before)
            self._stop(model, failed.event, str(failed))
        except CannotStore as failed:
            if len(events) == 1:
                self._stop(model, events[0], str(failed))
                return
            middle = len(events) // 2  # the table refuses a row, not an event: find the event by halves
            self._apply_alone(model, events[:middle])
            self._apply_alone(model, events[middle:])

    def _stop(self, model: ReadModel, event: Recorded[Any], error: str) -> None:
        if model.name in self._stopped:
            return  # an earlier event stopped it
        self._stopped.add(model.name)
        log.error("event quarantined", model=model.name, position=event.position, stream=event.stream, error=error)
        with self._store.recorder.transaction() as cursor:
            quarantine(cursor, model.name, event.position, event.stream, error, self._clock.now())

    @property
    def position(self) -> int:
        """The position all models have reached."""
        return min(self._positions.values(), default=0)

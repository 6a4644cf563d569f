"""Follows the log in batches; each read model's rows and its position change in one transaction.

A model that cannot apply an event stops before it: the event is quarantined with its error and the other models go on (R-352).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from eventsourcing.persistence import IntegrityError, Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from psycopg import Cursor

from domain.kernel import Recorded
from projections.model import ReadModel
from projections.status import clear_quarantine, forget_positions, positions, quarantine
from projections.tables import CannotApply, create_tables, drop_tables, fold_batch, write_fold
from services.clock import Clock
from services.store import Store

SCHEMA = "read"
BATCH = 1000
CHANNEL = "sauro_read"
PROJECTOR_LOCK = 0x5A_55_52_50
"""Shared by the projector for each batch, taken alone by a rebuild that switches."""
log = structlog.get_logger("sauro.projector")


class CannotStore(Exception):
    """A read model's table does not take a row an event led to: out of range, or empty where it must not be."""


class Positions(PostgresTrackingRecorder):
    """The library's tracking recorder over read.positions, on the pool of the log's datastore."""

    def __init__(self, store: PostgresDatastore) -> None:
        schema, store.schema = store.schema, SCHEMA  # the recorder reads the schema's name once, here
        super().__init__(store, tracking_table_name="positions")
        store.schema = schema

    def create_table(self) -> None:
        """Nothing: migrations own the table."""

    def track(self, cursor: Cursor[Any], reached: Sequence[Tracking]) -> None:
        """Move positions forward in the caller's transaction, in one round trip.

        Raises IntegrityError, as the library does, when one stands there already: another projector was faster.
        """
        if not reached:
            return
        cursor.executemany(
            self.insert_tracking_statement,
            [{"application_name": t.application_name, "notification_id": t.notification_id} for t in reached],
        )
        if cursor.rowcount != len(reached):
            raise IntegrityError("another projector has applied these events")


def tracked_name(model: ReadModel) -> str:
    """Under which name a model's position is kept: with its shape, so that another shape begins anew."""
    return f"{model.name}@{model.fingerprint}"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one model is."""

    model: str
    position: int


class Projector:
    """All read models of a registry, kept by one process."""

    def __init__(self, store: Store, clock: Clock, schema: str = SCHEMA) -> None:
        self._store, self._clock, self._schema = store, clock, schema
        self._tracking = Positions(store.datastore)
        self._positions: dict[str, int] = {}
        self._stopped: set[str] = set()

    def prepare(self) -> None:
        """Make missing tables; a model whose shape changed is thrown away and built anew from the log."""
        models = self._store.registry.read_models
        with self._store.recorder.transaction() as cursor:
            known = positions(cursor)
            for model in models:
                if tracked_name(model) not in known:
                    drop_tables(cursor, self._schema, model)
                    forget_positions(cursor, model.name)
            create_tables(cursor, self._schema, models, self._store.registry.views)
            clear_quarantine(cursor)
        self._positions = {model.name: known.get(tracked_name(model), 0) for model in models}
        self._stopped = set()

    def step(self) -> int:
        """Apply one batch to every model; returns how many events were read, 0 at the head of the log."""
        if not self._positions:
            self.prepare()
        going = {name: position for name, position in self._positions.items() if name not in self._stopped}
        if not going:
            return 0
        start = min(going.values())
        notifications = self._store.recorder.select_notifications(start, BATCH, inclusive_of_start=False)
        if not notifications:
            return 0
        events = [self._store.codec.decode(notification.state) for notification in notifications]
        self._apply(events)
        return len(events)

    def _apply(self, events: Sequence[Recorded[Any]]) -> None:
        try:
            self._apply_to(self._going(), events)
        except (CannotApply, CannotStore):
            for model in self._going():  # find out which model it is, and let the others go on
                self._apply_alone(model, events)

    def _going(self) -> list[ReadModel]:
        return [model for model in self._store.registry.read_models if model.name not in self._stopped]

    def _apply_to(self, models: Sequence[ReadModel], events: Sequence[Recorded[Any]]) -> None:
        last = events[-1].position
        with self._store.recorder.transaction() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", (PROJECTOR_LOCK,), prepare=True)
            reached = [self._write(cursor, model, events) for model in models]
            self._tracking.track(cursor, [tracking for tracking in reached if tracking is not None])
            cursor.execute(f"NOTIFY {CHANNEL}")
        for model in models:
            self._positions[model.name] = max(self._positions[model.name], last)

    def _write(self, cursor: Cursor[Any], model: ReadModel, events: Sequence[Recorded[Any]]) -> Tracking | None:
        at = self._positions[model.name]
        fresh = [event for event in events if event.position > at]
        if not fresh:
            return None
        fold = fold_batch(cursor, self._schema, model, fresh)
        try:
            write_fold(cursor, self._schema, fold)
        except (psycopg.DataError, psycopg.IntegrityError, TypeError) as error:
            raise CannotStore(f"{type(error).__name__}: {error}") from error
        return Tracking(tracked_name(model), fresh[-1].position)

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

    def progress(self) -> tuple[Progress, ...]:
        """Where each model stands."""
        return tuple(Progress(name, position) for name, position in self._positions.items())

    @property
    def position(self) -> int:
        """The position all models have reached."""
        return min(self._positions.values(), default=0)

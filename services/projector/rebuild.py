"""A second build of the read models beside the live ones, compared row by row at one position (R-313, R-352).

The same `apply` as the live projector, folded in memory; closed versions are copied as they come, live rows at the end. With
`switch` the new build takes the live one's place in one transaction.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from psycopg import Cursor
from psycopg.sql import SQL, Identifier

from projections.model import Key, ReadModel, View
from projections.status import positions
from projections.tables import Fold, checksum, create_tables, differences, drop_tables, fold_batch, write_fold
from services.projector.core import PROJECTOR_LOCK, SCHEMA, tracked_name
from services.store import Store

BUILD = "read_build"
BATCH = 5000
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A read model as it is and as it was built anew, at one position; equal checksums mean equal rows, all columns."""

    name: str
    position: int
    rows: int
    checksum: str
    rebuilt_checksum: str
    differences: tuple[dict[str, Any], ...] = ()

    @property
    def equal(self) -> bool:
        """Whether the two builds are the same."""
        return self.checksum == self.rebuilt_checksum


class UnknownReadModel(Exception):
    """No read model has that name."""


class ReadModelsApart(Exception):
    """Read models at different positions cannot be compared as one."""


@dataclass
class Builder:
    """Folds the log in memory into the build schema."""

    store: Store
    models: tuple[ReadModel, ...]
    position: int = 0
    rows: dict[str, dict[Key, tuple[Any, int] | None]] = field(default_factory=dict)

    def begin(self) -> None:
        """An empty build schema with the tables, without their indexes' cost until the end."""
        with self.store.recorder.transaction() as cursor:
            cursor.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(BUILD)))
            cursor.execute(SQL("CREATE SCHEMA {}").format(Identifier(BUILD)))
            create_tables(cursor, BUILD, self.models, ())
        self.rows = {model.name: {} for model in self.models}

    def advance(self, to: int, cursor: Cursor[Any] | None = None) -> None:
        """Fold events up to a position, writing closed versions as they come."""
        while self.position < to:
            found = self.store.recorder.select_notifications(self.position, BATCH, stop=to, inclusive_of_start=False)
            if not found:
                return
            events = [self.store.codec.decode(notification.state) for notification in found]
            folds = []
            for model in self.models:
                fold = Fold(model, self.rows[model.name])
                for event in events:
                    fold.take(event)
                folds.append(Fold(model, closed=fold.closed))
            self._flush(folds, cursor)
            self.position = found[-1].id

    def _flush(self, folds: Iterable[Fold], cursor: Cursor[Any] | None) -> None:
        if cursor is not None:
            for fold in folds:
                write_fold(cursor, BUILD, fold)
            return
        with self.store.recorder.transaction() as own:
            for fold in folds:
                write_fold(own, BUILD, fold)

    def finish(self, cursor: Cursor[Any]) -> None:
        """Write the live rows."""
        for model in self.models:
            write_fold(cursor, BUILD, Fold(model, self.rows[model.name]))


def rebuild(
    store: Store, names: Sequence[str] | None = None, progress: Progress | None = None, *, switch: bool = False
) -> tuple[Rebuilt, ...]:
    """Build read models anew and compare. `progress(position, head)` is called as it goes. Raises UnknownReadModel."""
    models = _chosen(store, names)
    views = store.registry.views if names is None else ()
    builder = Builder(store, models)
    builder.begin()
    head = store.recorder.max_notification_id() or 0
    while builder.position < head:
        builder.advance(min(head, builder.position + BATCH))
        if progress is not None:
            progress(builder.position, head)
    rebuilt = _compare(store, builder, views)
    if switch:
        _switch(store, builder)
    with store.recorder.transaction() as cursor:
        cursor.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(BUILD)))
    return rebuilt


def _chosen(store: Store, names: Sequence[str] | None) -> tuple[ReadModel, ...]:
    known = {model.name: model for model in store.registry.read_models}
    if names is None:
        return tuple(known.values())
    if missing := [name for name in names if name not in known]:
        raise UnknownReadModel(f"no read model '{missing[0]}'; there are {', '.join(sorted(known))}")
    return tuple(known[name] for name in names)


def _compare(store: Store, builder: Builder, views: Iterable[View]) -> tuple[Rebuilt, ...]:
    """Bring the build to the live position as one snapshot sees it, then compare in that snapshot."""
    with store.recorder.transaction() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        known = positions(cursor)
        at = {known.get(tracked_name(model), 0) for model in builder.models}
        position = max(at, default=0)
        if len(at) > 1:
            raise ReadModelsApart(
                "the read models stand at different positions: one is in quarantine, or the projector has not"
                " caught up; rebuild them by name"
            )
        if builder.position > position:  # the live side is behind: fold a fresh build only as far as it is
            builder.rows, builder.position = {model.name: {} for model in builder.models}, 0
            for model in builder.models:
                cursor.execute(SQL("TRUNCATE {}").format(Identifier(BUILD, f"{model.name}_history")))
        builder.advance(position, cursor)
        builder.finish(cursor)
        create_tables(cursor, BUILD, (), views)
        relations = [
            *((model.name, model.key) for model in builder.models),
            *((f"{model.name}_history", (*model.key, "from_pos", "to_pos")) for model in builder.models),
            *((view.name, view.key) for view in views),
        ]
        return tuple(_compared(cursor, name, key, position) for name, key in relations)


def _compared(cursor: Cursor[Any], name: str, key: tuple[str, ...], position: int) -> Rebuilt:
    rows, live = checksum(cursor, SCHEMA, name)
    _, built = checksum(cursor, BUILD, name)
    found = () if live == built else tuple(differences(cursor, SCHEMA, BUILD, name, key))
    return Rebuilt(name, position, rows, live, built, found)


def _switch(store: Store, builder: Builder) -> None:
    """Put the build in the live one's place: under the projector's lock, caught up, in one transaction."""
    with store.recorder.transaction() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (PROJECTOR_LOCK,))
        known = positions(cursor)
        for model in builder.models:
            at = known.get(tracked_name(model), 0)
            found = store.recorder.select_notifications(builder.position, 1_000_000, stop=at, inclusive_of_start=False)
            events = [store.codec.decode(notification.state) for notification in found]
            if events:
                write_fold(cursor, BUILD, fold_batch(cursor, BUILD, model, events))
        cursor.execute(SQL("SET LOCAL search_path TO {}").format(Identifier(BUILD)))
        for model in builder.models:
            drop_tables(cursor, SCHEMA, model)
            for table in (model.name, f"{model.name}_history"):
                cursor.execute(SQL("ALTER TABLE {} SET SCHEMA {}").format(Identifier(BUILD, table), Identifier(SCHEMA)))
        create_tables(cursor, SCHEMA, store.registry.read_models, store.registry.views)

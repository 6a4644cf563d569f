"""A second build of the read models beside the live ones, compared row by row at one position (R-313, R-352).

The same `apply` as the live projector, folded in memory, while the service runs and is read. A build that was stopped can
go on from its last checkpoint. With `switch` the new build takes the live one's place in one transaction.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, Cursor

from projections.builds import BUILD, analyse_build, drop_build
from projections.model import ReadModel, View
from projections.status import positions
from projections.tables import checksum, create_tables, differences
from services.projector.building import BATCH, CHECKPOINT, Builder, Progress
from services.projector.core import SCHEMA, tracked_name
from services.projector.switching import switch_to
from services.store import Store

REBUILD_LOCK = 0x5A_55_52_42


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
    """Read models at different positions, or that began anew meanwhile, cannot be compared as one."""


class RebuildRunning(Exception):
    """Another rebuild is at work on this database."""


def rebuild(
    store: Store,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
    *,
    switch: bool = False,
    resume: bool = False,
    checkpoint: int = CHECKPOINT,
) -> tuple[Rebuilt, ...]:
    """Build read models anew, compare, and with `switch` put the build in the live one's place.

    `progress(position, target)` is called as it goes. Whatever stops it leaves the live read models untouched and the build
    as of its last checkpoint, one every `checkpoint` events; `resume` goes on from there, if there is one. Raises
    UnknownReadModel, ReadModelsApart, RebuildRunning, and SwitchBlocked when readers do not let it switch.
    """
    models = _chosen(store, names)
    views = store.registry.views if names is None else ()
    with _alone(store) as connection:
        builder = Builder(store, connection, models)
        live = _live_position(connection.cursor(), models)
        if not (resume and builder.resume(live)):
            builder.begin()
        _catch_up(builder, connection, live, progress, checkpoint)
        rebuilt = _compare(builder, views)
        if switch:
            switch_to(store, builder, connection)
        with builder.transaction() as cursor:
            drop_build(cursor)
    return rebuilt


@contextmanager
def _alone(store: Store) -> Iterator[Connection[Any]]:
    """A connection that keeps other rebuilds away; all of the build is written on it, so that both are lost together."""
    with store.recorder.reading() as cursor:
        row = cursor.execute("SELECT pg_try_advisory_lock(%s) AS taken", (REBUILD_LOCK,)).fetchone()
        if row is None or not row["taken"]:
            raise RebuildRunning("another rebuild is running on this database; wait for its end, or stop it")
        try:
            yield cursor.connection
        finally:
            if not cursor.connection.broken:
                cursor.execute("SELECT pg_advisory_unlock(%s)", (REBUILD_LOCK,))


def _chosen(store: Store, names: Sequence[str] | None) -> tuple[ReadModel, ...]:
    known = {model.name: model for model in store.registry.read_models}
    if names is None:
        return tuple(known.values())
    if missing := [name for name in names if name not in known]:
        raise UnknownReadModel(f"no read model '{missing[0]}'; there are {', '.join(sorted(known))}")
    return tuple(known[name] for name in names)


def _live_position(cursor: Cursor[Any], models: Iterable[ReadModel]) -> int:
    known = positions(cursor)
    at = {known.get(tracked_name(model), 0) for model in models}
    if len(at) > 1:
        raise ReadModelsApart(
            "the read models stand at different positions: one is in quarantine, or the projector has not"
            " caught up; rebuild them by name"
        )
    return max(at, default=0)


def _catch_up(
    builder: Builder, connection: Connection[Any], live: int, progress: Progress | None, checkpoint: int
) -> None:
    """Fold, a checkpoint a transaction, until the live read models are less than a batch ahead."""
    while builder.position < live:
        with builder.transaction() as cursor:
            builder.advance(cursor, min(live, builder.position + checkpoint), progress and _towards(live, progress))
        now = _live_position(connection.cursor(), builder.models.values())
        if now - builder.position > BATCH:
            live = now


def _towards(live: int, progress: Progress) -> Progress:
    return lambda position, _: progress(position, live)


def _compare(builder: Builder, views: Iterable[View]) -> tuple[Rebuilt, ...]:
    """Bring the build to the live position as one snapshot sees it, then compare in that snapshot: nobody waits for it."""
    with builder.transaction() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        position = _live_position(cursor, builder.models.values())
        if builder.position > position:
            raise ReadModelsApart("the live read models began anew during the rebuild; start it again")
        builder.advance(cursor, position)
        analyse_build(cursor, builder.models.values())
        create_tables(cursor, BUILD, (), views)
        relations = [
            *(table for model in builder.models.values() for table in model.tables),
            *((view.name, view.key) for view in views),
        ]
        return tuple(_compared(cursor, name, key, position) for name, key in relations)


def _compared(cursor: Cursor[Any], name: str, key: tuple[str, ...], position: int) -> Rebuilt:
    rows, live = checksum(cursor, SCHEMA, name)
    _, built = checksum(cursor, BUILD, name)
    found = () if live == built else tuple(differences(cursor, SCHEMA, BUILD, name, key))
    return Rebuilt(name, position, rows, live, built, found)

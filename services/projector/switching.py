"""Puts a build in the place of the live read models, while they are written and read.

The projector waits, for less than a batch's work; readers see the old rows whole or the new rows whole.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection
from psycopg.errors import LockNotAvailable

from projections.builds import hold_tables, index_build, take_place, transactions
from projections.status import positions, tell
from services.projector.building import BATCH, Builder
from services.projector.core import PROJECTOR_LOCK, SCHEMA
from services.store import Store

ATTEMPTS = 20
PATIENCE = 1.0
"""Seconds a switch waits for readers before it lets the projector go on and tries again."""


class SwitchBlocked(Exception):
    """Readers held the live read models all the time."""


def switch_to(store: Store, builder: Builder, connection: Connection[Any]) -> None:
    """Index the build, catch up, switch. Raises SwitchBlocked when transactions of readers do not end."""
    with builder.transaction() as cursor:
        index_build(cursor, builder.models.values())
    for _ in range(ATTEMPTS):
        _approach(builder, connection)
        with _projector_waits(connection):
            _reach(builder, connection)
            if _older_readers_left(connection) and _switched(store, builder):
                return
    raise SwitchBlocked(
        f"readers held the read models in all of {ATTEMPTS} attempts; end long transactions, then go on with --switch --resume"
    )


def _approach(builder: Builder, connection: Connection[Any]) -> None:
    """Catch up beside the projector, to within a batch."""
    while _live(builder, connection) - builder.position > BATCH:
        _reach(builder, connection)


def _reach(builder: Builder, connection: Connection[Any]) -> None:
    live = _live(builder, connection)
    with builder.transaction() as cursor:
        builder.advance(cursor, live)


def _live(builder: Builder, connection: Connection[Any]) -> int:
    known = positions(connection.cursor())
    return min(known.get(name, 0) for name in builder.models)


@contextmanager
def _projector_waits(connection: Connection[Any]) -> Iterator[None]:
    connection.execute("SELECT pg_advisory_lock(%s)", (PROJECTOR_LOCK,))
    try:
        yield
    finally:
        connection.execute("SELECT pg_advisory_unlock(%s)", (PROJECTOR_LOCK,))


def _older_readers_left(connection: Connection[Any]) -> bool:
    """Wait until every transaction has ended that began before the last rows of the build were committed.

    A snapshot older than those rows would find them missing in the tables that take the live ones' place.
    """
    cursor, until = connection.cursor(), time.monotonic() + PATIENCE
    older = transactions(cursor)
    while older & transactions(cursor):
        if time.monotonic() > until:
            return False
        cursor.execute("SELECT pg_sleep(0.002)")
    return True


def _switched(store: Store, builder: Builder) -> bool:
    built, registry = list(builder.models.values()), store.registry
    try:
        with builder.transaction() as cursor:
            hold_tables(cursor, SCHEMA, built, "300ms")
            take_place(cursor, SCHEMA, built, registry.read_models, registry.views)
            tell(cursor, [model.name for model in built])
    except LockNotAvailable:
        return False
    return True

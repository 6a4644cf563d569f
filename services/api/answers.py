"""The envelope of every answer: the log position it was computed at, the read models' lag, and the data.

Handlers ask for a `Snapshot`: one REPEATABLE READ transaction in which position and rows are read, so that they agree.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

import orjson
import psycopg
from fastapi import Depends, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool
from psycopg import Cursor
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, Field

from projections.queries import Standing, begin_snapshot, standing
from projections.scope import EVERYTHING, ReadScope
from services.api.problems import Problem, ProblemDetails, not_found
from services.store import Store

T = TypeVar("T")
WAIT_SECONDS = 3.0
READERS = 8
"""Snapshots at a time. More requests wait without a thread: one that waited for a connection in a thread would keep it
from those who have a connection to give back."""


class Answer(BaseModel, Generic[T]):
    """What the read models said at one log position."""

    position: int = Field(description="log position the data was computed at")
    lag: int = Field(description="events in the log that the read models have not applied yet")
    as_of: datetime | None = Field(
        description="when the log took in the event at `position`, UTC; null before the first"
    )
    data: T


class Page(Answer[T], Generic[T]):
    """An answer in pages."""

    next: str | None = Field(description="`cursor` of the next page; null on the last one")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One state of the database, to be read by one request."""

    cursor: Cursor[Any]
    standing: Standing
    scope: ReadScope = EVERYTHING

    def answer(self, data: Any, **more: Any) -> Response:
        """Data computed from read models."""
        return self._response(self.standing.position, [*self._head(self.standing.position, more), _json(data)])

    def from_log(self, data: Any, **more: Any) -> Response:
        """Data read from the log itself: the position is the log's, the lag still that of the read models."""
        return self._response(self.standing.head, [*self._head(self.standing.head, more), _json(data)])

    def stored(self, events: Sequence[bytes], **more: Any) -> Response:
        """Stored events, byte for byte."""
        return self._response(self.standing.head, [*self._head(self.standing.head, more), joined(events)])

    def with_parts(self, parts: dict[str, bytes]) -> Response:
        """Data from read models whose members are JSON already."""
        members = b",".join(_json(name) + b":" + part for name, part in parts.items())
        return self._response(self.standing.position, [*self._head(self.standing.position, {}), b"{", members, b"}"])

    def found(self, row: T | None, what: str) -> T:
        """The row, or a 404 that names what is missing."""
        if row is None:
            raise not_found(what)
        return row

    def headers(self, position: int | None = None) -> dict[str, str]:
        """Position and lag as headers."""
        reached = self.standing.position if position is None else position
        return {"Sauro-Position": str(reached), "Sauro-Lag": str(self.standing.lag)}

    def _head(self, position: int, more: dict[str, Any]) -> list[bytes]:
        known = {"position": position, "lag": self.standing.lag, "as_of": self.standing.as_of, **more}
        return [_json(known)[:-1], b',"data":']

    def _response(self, position: int, parts: Sequence[bytes]) -> Response:
        return Response(b"".join([*parts, b"}"]), media_type="application/json", headers=self.headers(position))


def _json(value: Any) -> bytes:
    return orjson.dumps(value, default=float, option=orjson.OPT_UTC_Z)  # numeric comes as Decimal


def encoded(value: Any) -> bytes:
    """JSON with instants in UTC."""
    return _json(value)


def joined(events: Sequence[bytes]) -> bytes:
    """A JSON array of stored events, none of them decoded."""
    return b"[" + b",".join(events) + b"]"


@contextmanager
def open_snapshot(store: Store) -> Iterator[Snapshot]:
    """A snapshot on a connection of its own; raises psycopg.OperationalError when PostgreSQL is away."""
    try:
        snapshot, opened = _begin(store)
    except PoolTimeout:
        raise
    except psycopg.OperationalError:  # a connection from before a restart of PostgreSQL: have them all checked
        store.datastore.pool.check()
        snapshot, opened = _begin(store)
    with opened:
        yield snapshot


def _begin(store: Store) -> tuple[Snapshot, ExitStack]:
    pool = store.datastore.pool
    pool.open()
    with ExitStack() as stack:
        connection = stack.enter_context(pool.connection(timeout=WAIT_SECONDS))
        stack.enter_context(connection.transaction())
        cursor = connection.cursor()
        begin_snapshot(cursor)
        return Snapshot(cursor, standing(cursor, store.registry.read_models)), stack.pop_all()


async def _snapshot(request: Request) -> AsyncIterator[Snapshot]:
    state = request.app.state
    async with state.gate, contextmanager_in_threadpool(open_snapshot(state.store)) as snapshot:
        request.state.standing_headers = snapshot.headers()
        yield snapshot


Reading = Annotated[Snapshot, Depends(_snapshot, scope="function")]
"""A handler's snapshot; it ends before the response is sent."""

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemDetails, "description": what}
    for status, what in ((404, "not known here"), (422, "a parameter breaks a rule"), (503, "an engine is away"))
}
"""Responses of every reading endpoint, for the OpenAPI document."""

__all__ = ["PROBLEMS", "Answer", "Page", "Problem", "Reading", "Snapshot", "encoded", "joined", "open_snapshot"]

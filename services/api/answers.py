"""The envelope of every answer: the log position it was computed at, the read models' lag, and the data.

Handlers ask for a `Snapshot`: one REPEATABLE READ transaction in which position and rows are read, so that they agree.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar

import orjson
import psycopg
from fastapi import Depends, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from psycopg import Cursor
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, Field

from projections.past import Axis, Moment
from projections.queries import Standing, begin_reading, build, standing
from projections.scope import EVERYTHING, ReadScope
from services.api.conditional import CACHE_CONTROL, OF_READING, Asked, NotModified, Source
from services.api.past import Past, Reached, go_back, past_of
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
        description="the moment asked for, UTC; without one, when the log took in the event at `position`, null before the first"
    )
    time: Axis | None = Field(
        default=None, description="only with `as_of`: whether that is a moment of recording or of occurrence"
    )
    data: T


class Page(Answer[T], Generic[T]):
    """An answer in pages."""

    next: str | None = Field(description="`cursor` of the next page; null on the last one")


class Snapshot:
    """One state of the database, to be read by one request.

    It begins at its first use and ends with the answer, both in the thread of the handler: a request then changes threads
    once. Beginning raises NotModified when the caller holds this representation, and psycopg.OperationalError when
    PostgreSQL is away.
    """

    def __init__(
        self, store: Store, asked: Asked | None = None, scope: ReadScope = EVERYTHING, past: Past | None = None
    ) -> None:
        self.store, self._asked, self.scope, self._past = store, asked, scope, past
        self._stack = ExitStack()
        self._begun: tuple[Cursor[Any], Standing] | None = None
        self._reached: Reached | None = None

    @property
    def cursor(self) -> Cursor[Any]:
        """For queries that see this state."""
        return self._begin()[0]

    @property
    def standing(self) -> Standing:
        """Where log and read models stand in this state."""
        return self._begin()[1]

    @property
    def moment(self) -> Moment | None:
        """The past moment that queries see; None for the present."""
        self._begin()
        return None if self._reached is None else self._reached.moment

    def _begin(self) -> tuple[Cursor[Any], Standing]:
        if self._begun is None:
            try:
                self._begun = self._opened()
            except PoolTimeout:
                raise
            except psycopg.OperationalError:  # a connection from before a restart of PostgreSQL: have them all checked
                self.store.datastore.pool.check()
                self._begun = self._opened()
            if self._asked is not None and self._asked.holds(self._begun[1], self._fixed):
                headers = self.headers()
                self.close()
                raise NotModified(headers)
        return self._begun

    def _opened(self) -> tuple[Cursor[Any], Standing]:
        pool, registry = self.store.datastore.pool, self.store.registry
        pool.open()
        with ExitStack() as stack:
            cursor = stack.enter_context(pool.connection(timeout=WAIT_SECONDS)).cursor()
            begin_reading(cursor)
            found = standing(cursor, registry.read_models, registry.views)
            if self._past is not None:
                of_log = self._asked is not None and self._asked.source == "log"
                self._reached = go_back(cursor, found, self._past, of_log=of_log)
            self._stack = stack.pop_all()
        return cursor, found

    def close(self) -> None:
        """Give the connection back."""
        self._stack.close()

    def abandon(self) -> Mapping[str, str]:
        """Close after trouble; position and lag if they were known."""
        with suppress(psycopg.Error):
            self.close()
        return {} if self._begun is None else _position(self._begun[1], self._begun[1].position)

    def answer(self, data: Any, **more: Any) -> Response:
        """Data computed from read models."""
        return self._of_models([*self._head(self.standing.position, more), _json(data)])

    def from_log(self, data: Any, **more: Any) -> Response:
        """Data read from the log itself: the position is the log's, the lag still that of the read models."""
        return self._response(self.headers(), [*self._head(self.standing.head, more), _json(data)])

    def stored(self, events: Sequence[bytes], **more: Any) -> Response:
        """Stored events, byte for byte."""
        return self._response(self.headers(), [*self._head(self.standing.head, more), joined(events)])

    def with_parts(self, parts: dict[str, bytes]) -> Response:
        """Data from read models whose members are JSON already."""
        members = b",".join(_json(name) + b":" + part for name, part in parts.items())
        return self._of_models([*self._head(self.standing.position, {}), b"{", members, b"}"])

    def found(self, row: T | None, what: str) -> T:
        """The row, or a 404 that names what is missing."""
        if row is None:
            raise not_found(what)
        return row

    def envelope(self) -> dict[str, Any]:
        """What an answer from the log says beside its data."""
        return {"position": self.standing.head, "lag": self.standing.lag, "as_of": self.standing.as_of}

    def headers(self) -> dict[str, str]:
        """Position, lag and, for a request that reads, the entity tag."""
        if self._asked is None:
            return _position(self.standing, self.standing.head)
        at = _position(self.standing, self._asked.position(self.standing), self._reached)
        return {**at, "ETag": self._asked.tag(self.standing, self._fixed), "Cache-Control": CACHE_CONTROL}

    @property
    def _fixed(self) -> int | None:
        return None if self._reached is None else self._reached.fixed

    def _head(self, position: int, more: dict[str, Any]) -> list[bytes]:
        known = {"position": position, "lag": self.standing.lag, "as_of": self.standing.as_of, **more}
        if self._reached is not None:
            moment, lag = self._reached.moment, self._reached.lag
            known |= {"position": moment.position, "lag": lag, "as_of": moment.at, "time": moment.axis}
        return [_json(known)[:-1], b',"data":']

    def _of_models(self, parts: Sequence[bytes]) -> Response:
        # PostgreSQL finds tables by name as they are now, whatever the snapshot: rows of a build that was switched in
        # meanwhile are not those of this position.
        registry = self.store.registry
        if build(self.cursor, registry.read_models, registry.views) != self.standing.build:
            detail = "the read models were replaced while they were read; ask again"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "replaced", detail)
        return self._response(self.headers(), parts)

    def _response(self, headers: dict[str, str], parts: Sequence[bytes]) -> Response:
        self.close()
        if self._asked is not None and self._asked.known == "*":
            raise NotModified(headers)
        return Response(b"".join([*parts, b"}"]), media_type="application/json", headers=headers)


def _position(where: Standing, position: int, reached: Reached | None = None) -> dict[str, str]:
    lag = where.lag
    if reached is not None:
        position, lag = reached.moment.position, reached.lag
    return {"Sauro-Position": str(position), "Sauro-Lag": str(lag)}


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
    snapshot = Snapshot(store)
    try:
        _ = snapshot.standing
        yield snapshot
    finally:
        snapshot.close()


IfNoneMatch = Annotated[list[str] | None, Header(description="entity tags of answers the caller holds")]


@asynccontextmanager
async def _snapshot(
    request: Request, source: Source, held: list[str] | None, past: Past | None = None
) -> AsyncIterator[Snapshot]:
    """A handler's snapshot; it ends before the response is sent."""
    state = request.app.state
    asked = Asked(f"{request.url.path}?{request.url.query}", ", ".join(held or ()).strip(), source)
    async with state.gate:
        snapshot = Snapshot(state.store, asked, past=past)
        try:
            yield snapshot
        except NotModified:
            raise
        except BaseException:
            request.state.standing_headers = await run_in_threadpool(snapshot.abandon)
            raise


Reader = Callable[..., AsyncIterator[Snapshot]]


def _reader(source: Source) -> Reader:
    async def read(request: Request, if_none_match: IfNoneMatch = None) -> AsyncIterator[Snapshot]:
        async with _snapshot(request, source, if_none_match) as snapshot:
            yield snapshot

    return read


def _past_reader(source: Source) -> Reader:
    async def read(
        request: Request, past: Annotated[Past | None, Depends(past_of)], if_none_match: IfNoneMatch = None
    ) -> AsyncIterator[Snapshot]:
        async with _snapshot(request, source, if_none_match, past) as snapshot:
            yield snapshot
        if past is not None:
            request.state.past_read = (snapshot, past.at)  # for the record of readings

    return read


Reading = Annotated[Snapshot, Depends(_reader("models"), scope="function")]
"""A snapshot for a handler that reads read models."""
LogReading = Annotated[Snapshot, Depends(_reader("log"), scope="function")]
"""A snapshot for a handler that reads the log."""
PastReading = Annotated[Snapshot, Depends(_past_reader("models"), scope="function")]
"""A snapshot of read models as of the moment that is asked for."""
PastLogReading = Annotated[Snapshot, Depends(_past_reader("log"), scope="function")]
"""A snapshot of the log, with the moment that is asked for."""
PastBothReading = Annotated[Snapshot, Depends(_past_reader("both"), scope="function")]
"""A snapshot of both as of the moment that is asked for; its position is that of the read models."""

PROBLEMS: dict[int | str, dict[str, Any]] = OF_READING | {
    status: {"model": ProblemDetails, "description": what}
    for status, what in ((404, "not known here"), (422, "a parameter breaks a rule"), (503, "an engine is away"))
}
"""Responses of every reading endpoint, for the OpenAPI document."""

__all__ = [
    "PROBLEMS",
    "Answer",
    "LogReading",
    "Page",
    "PastBothReading",
    "PastLogReading",
    "PastReading",
    "Problem",
    "Reading",
    "Snapshot",
    "encoded",
    "joined",
    "open_snapshot",
]

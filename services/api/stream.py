"""Stored events as they come, as server-sent events (WHATWG HTML, section 9.2); resumable at any position."""

import asyncio
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Header, Query, Request, Response
from starlette.types import Receive, Scope, Send

from projections.queries_log import StoredPage
from services.api.feed import Feed, TooManyStreams
from services.api.limits import Limits
from services.api.parameters import CodeQuery
from services.api.problems import AWAY, Problem, ProblemDetails, invalid
from services.api.waiting import gone

router = APIRouter(prefix="/v1", tags=["record"])
MEDIA_TYPE = "text/event-stream"
RETRY = b"retry: 2000\n\n"
HEARTBEAT = b":\n\n"
CHUNK = 32 * 1024
"""Bytes of a write at most, but for a larger event: what a reader must take before it counts as stalled."""
_POSITION = re.compile(r"[0-9]{1,18}")
_LAST = "header.Last-Event-ID"
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`id` is the log position, `event` the CloudEvents type, `data` the event as stored, byte for byte;"
        " a comment after a pause, `retry` at the start",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    422: {"model": ProblemDetails, "description": "a parameter or the Last-Event-ID breaks a rule"},
    503: {"model": ProblemDetails, "description": "PostgreSQL is away, or all streams are taken"},
}
log = structlog.get_logger("sauro.api")


@router.get("/stream", response_class=Response, responses=_RESPONSES, summary="Stored events as they come")
async def stream(
    request: Request,
    last_event_id: Annotated[
        str | None, Header(description="position of the last event received; goes before `after`")
    ] = None,
    after: Annotated[int, Query(ge=0, lt=2**63, description="position after which to begin")] = 0,
    programme: CodeQuery = None,
) -> Response:
    """Events after a position in log order, without gap or double, then each new one once it is committed.

    To begin with what a reading answer does not show yet, send its `Sauro-Position` as `after`. A reader that takes nothing for
    some seconds is dropped; it goes on where it was with `Last-Event-ID`, as browsers do by themselves.
    """
    feed: Feed = request.app.state.feed
    field, position = ("query.after", after) if not last_event_id else (_LAST, _resumed(last_event_id))
    if position > (head := await feed.look()):
        raise invalid(field, "beyond_head", f"position {position} lies beyond the log, which ends at {head}")
    return _EventStream(feed, request.app.state.limits, position, programme)


def _resumed(given: str) -> int:
    if not _POSITION.fullmatch(given):
        raise invalid(
            _LAST, "position", f"'{given[:40]}' is not a log position; send the `id` of the last event received"
        )
    return int(given)


class _EventStream(Response):
    """One reader of the feed."""

    def __init__(self, feed: Feed, limits: Limits, position: int, programme: str | None) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}, media_type=MEDIA_TYPE)
        del self.headers["content-length"]
        self._feed, self._limits, self._position, self._programme = feed, limits, position, programme

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write until the reader leaves or stalls, or the server stops."""
        try:
            async with self._feed.reading():
                await self._serve(scope, receive, send)
        except TooManyStreams:
            detail = "all streams are taken; try again, or read pages from /v1/events"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "too-many-streams", detail) from None

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        writing = asyncio.create_task(self._write(send))
        left = asyncio.create_task(gone(receive))
        stopping = asyncio.create_task(self._feed.closed.wait())
        try:
            await asyncio.wait((writing, left, stopping), return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                await asyncio.wait((writing, left), timeout=1, return_when=asyncio.FIRST_COMPLETED)
            if not left.done() and not (writing.done() and writing.result()):
                await _drop(scope, left)
        finally:
            for task in (writing, left, stopping):
                task.cancel()
            await asyncio.gather(writing, left, stopping, return_exceptions=True)

    async def _write(self, send: Send) -> bool:
        """Whether the stream came to its end; False when the reader took nothing for too long."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._push(send, RETRY)
            await self._follow(send)
            await self._push(send, b"", more=False)
        except TimeoutError:
            log.info("dropped a reader that takes nothing", position=self._position)
            return False
        except AWAY as error:
            log.warning("a stream ends: PostgreSQL is away", error=str(error).strip())
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True

    async def _follow(self, send: Send) -> None:
        clock, pause = asyncio.get_running_loop().time, self._limits.stream_heartbeat
        spoken = clock()
        while not self._feed.closed.is_set():
            if await self._feed.beyond(self._position, spoken + pause - clock()):
                page = await self._feed.page(self._position, self._programme)
                for chunk in _chunks(page):
                    await self._push(send, chunk)
                    spoken = clock()
                self._position = page.reached
            if clock() - spoken >= pause:
                await self._push(send, HEARTBEAT)
                spoken = clock()

    async def _push(self, send: Send, body: bytes, *, more: bool = True) -> None:
        async with asyncio.timeout(self._limits.stream_stall):
            await send({"type": "http.response.body", "body": body, "more_body": more})


def _chunks(page: StoredPage) -> Iterator[bytes]:
    """The events of a page as server-sent events. Stored bytes are compact JSON, so they hold no line break."""
    chunk = bytearray()
    for event in page.events:
        chunk += b"id: %d\nevent: %s\ndata: %s\n\n" % (event.position, event.topic.encode(), event.state)
        if len(chunk) >= CHUNK:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


async def _drop(scope: Scope, left: asyncio.Task[None]) -> None:
    """Cut the connection, with what the server still holds for the reader."""
    abort = scope.get("state", {}).get("abort")
    if abort is not None:
        abort()
        await left

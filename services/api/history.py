"""For reviewers: the history of a subject, causes and effects of an event, late entries, and who read them (R-358).

Reading here is recorded as events of its own stream: who, by header `Sauro-Reader`, why, by `Sauro-Reason`. Nothing has
authenticated a reader yet; who names no post is recorded as unnamed.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from contracts.access import Act
from services.api.answers import PROBLEMS, Answer, PastLogReading, Snapshot
from services.api.parameters import CodeQuery
from services.api.problems import Problem, invalid, not_found
from services.audit.access import Access, AccessQueue, NotRecorded, checked_reader, checked_reason
from services.audit.known import NotKnown, Owners, asked_of
from services.audit.narrative import Language
from services.audit.readings import Ambiguous, NothingThere, Read, Readings
from services.clock import Clock
from services.registry import Registry

router = APIRouter(prefix="/v1", responses=PROBLEMS, tags=["history"])
Lang = Annotated[Language, Query(description="language of the sentences")]
Position = Annotated[int, Path(ge=1, lt=2**63, description="log position of an event")]


@dataclass(frozen=True)
class Reader:
    """Who reads and why, and where the reading is put on record."""

    queue: AccessQueue
    clock: Clock
    registry: Registry
    post: str | None
    reason: str | None

    def answer(self, reading: Snapshot, read: Callable[[Readings], Read]) -> Response:
        """Read, put the reading on its way to the record, and answer."""
        try:
            found = read(Readings(reading.cursor, reading.scope, self.registry))
        except NotKnown as error:
            raise invalid("query.programme", "unknown_programme", str(error)) from None
        except NothingThere as error:
            raise not_found(str(error)) from None
        except Ambiguous as error:
            raise invalid("path.subject", "ambiguous", str(error)) from None
        as_of = None if reading.moment is None else reading.moment.at
        self.note(reading, found.act, found.about, found.organisation, found.programme, as_of)
        return reading.from_log(found.answer)

    def note(
        self,
        reading: Snapshot,
        act: Act,
        about: str,
        organisation: str | None,
        programme: str | None,
        as_of: datetime | None,
    ) -> None:
        """Put a reading whose answer is computed on its way to the record; any endpoint may."""
        at, position = self.clock.now(), reading.standing.head
        who = (self.post, self.reason)
        self.queue.put(Access(act, "api", about, position, at, organisation, programme, *who, as_of))


def _checked(header: str, check: Callable[[str | None], str | None], text: str | None) -> str | None:
    try:
        return check(None if text is None else unquote(text, errors="strict"))
    except ValueError as error:
        raise invalid(f"header.{header}", "unfit", f"{error}; percent-encoded UTF-8") from None


def _reader_of(request: Request, post: str | None, reason: str | None) -> Reader:
    """The reader a request names; refused (503) when readings cannot be recorded now."""
    state = request.app.state
    who = _checked("Sauro-Reader", checked_reader, post), _checked("Sauro-Reason", checked_reason, reason)
    queue: AccessQueue = state.access
    queue.start()
    try:
        queue.require()
    except NotRecorded as error:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unrecorded", str(error)) from None
    return Reader(queue, state.clock, state.store.registry, *who)


async def _reader(
    request: Request,
    sauro_reader: Annotated[str | None, Header(description="code of the post that reads")] = None,
    sauro_reason: Annotated[str | None, Header(description="why it reads, percent-encoded UTF-8")] = None,
) -> AsyncIterator[Reader]:
    request.state.on_record = True
    yield _reader_of(request, sauro_reader, sauro_reason)


async def past_on_record(request: Request) -> AsyncIterator[None]:
    """Puts the reading of any past moment (`as_of`) on record, whichever endpoint answers it, unless it does so itself."""
    if "as_of" not in request.query_params:
        yield
        return
    reader = _reader_of(request, request.headers.get("Sauro-Reader"), request.headers.get("Sauro-Reason"))
    yield
    read = getattr(request.state, "past_read", None)
    if read is not None and not getattr(request.state, "on_record", False):
        reading, at = read
        organisation, programme = asked_of(request.path_params, request.url.path, request.query_params)
        about = f"{request.url.path}?{request.url.query}"
        if not hasattr(request.app.state, "owners"):
            request.app.state.owners = Owners(request.app.state.store)
        if organisation is None:
            organisation = await run_in_threadpool(request.app.state.owners.of, programme)
        reader.note(reading, "replay", about, organisation, programme, at)


Reads = Annotated[Reader, Depends(_reader, scope="function")]


@router.get("/history/{subject:path}", response_model=Answer[dict[str, Any]], summary="The history of a subject")
def history(
    subject: Annotated[str, Path(max_length=120)], reading: PastLogReading, reader: Reads, lang: Lang = "vi"
) -> Response:
    """Every event of a stream, and those of the warnings, explanations and decisions it led to, as sentences.

    `subject` is a stream (`assignment/SVHTTDL-TD500/T-01`), `<PROGRAMME>/<CODE>`, or a code that only one stream has.
    """
    return reader.answer(reading, lambda readings: readings.history(subject, lang))


@router.get("/events/{position}/causes", response_model=Answer[dict[str, Any]], summary="What led to an event")
def causes(position: Position, reading: PastLogReading, reader: Reads, lang: Lang = "vi") -> Response:
    """The chain from an event up to the first command, with that command's receipt."""
    return reader.answer(reading, lambda readings: readings.causes(str(position), lang))


@router.get("/events/{position}/effects", response_model=Answer[dict[str, Any]], summary="What an event led to")
def effects(position: Position, reading: PastLogReading, reader: Reads, lang: Lang = "vi") -> Response:
    """Everything an event led to, as a tree; `whole` is false when there was more than is shown."""
    return reader.answer(reading, lambda readings: readings.effects(str(position), lang))


@router.get("/late", response_model=Answer[list[dict[str, Any]]], summary="Late entries")
def late(
    reading: PastLogReading,
    reader: Reads,
    programme: CodeQuery = None,
    after: Annotated[int, Query(ge=0, lt=2**63, description="position after which to begin")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    lang: Lang = "vi",
) -> Response:
    """What was entered long after it happened, dated back across a limit, or moved after its limit had passed.

    Each with both times, who did it, and the verdict by either clock; `counted` is the clock that decided.
    """
    return reader.answer(reading, lambda readings: readings.late(programme, after, limit, lang))


@router.get("/access", response_model=Answer[list[dict[str, Any]]], summary="Who read the audit history")
def access(
    reading: PastLogReading,
    reader: Reads,
    programme: CodeQuery = None,
    before: Annotated[int | None, Query(ge=1, lt=2**63, description="position before which to begin")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Who read what, when and why, newest first. This reading is recorded, too."""
    return reader.answer(reading, lambda readings: readings.accesses(programme, before, limit))

"""One command: the central rules, the aggregate's decision, the events with what surrounds them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import structlog

from contracts.receipts import Refusal
from domain.kernel import SYSTEM_SOURCES, Change, Decider, Recorded, Refused, Request, StreamNotLoaded, recorded
from services.ids import named_uuid
from services.intake.reading import Readable
from services.intake.states import Loaded, Overlay

UNDECIDABLE = "Undecidable"
log = structlog.get_logger("sauro.intake")
FUTURE_TOLERANCE = timedelta(minutes=5)
_EVENTS = UUID("6a3c2f0e-5b0a-5c7e-9d1e-53617572af00").bytes


class OccurredInFuture(Refused):
    """What happened cannot lie more than five minutes ahead of the log's clock."""


class OccurredBeforeStream(Refused):
    """What happened to a subject cannot lie before the subject began."""


class UnexpectedVersion(Refused):
    """The subject has moved on since the sender saw it (R-357)."""


class WrongOrganisation(Refused):
    """The programme belongs to another organisation."""


class Decided(NamedTuple):
    """What became of a command: its events, or the refusal; `version` is the subject's version afterwards."""

    events: tuple[Recorded[Any], ...] = ()
    refusal: Refusal | None = None
    version: int | None = None


def decide_one(readable: Readable, decider: Decider[Any], overlay: Overlay) -> Decided:
    """Decide a command on what the batch sees, and let the batch see its events. Raises StreamNotLoaded, changing nothing."""
    request = readable.request
    subject = overlay.stream(request.subject)
    try:
        _check(request, subject, overlay)
        events = _surround(decider.decide(request, subject.state, overlay), request, overlay)
        overlay.apply(events)
    except Refused as refused:
        return Decided(refusal=Refusal(rule=refused.rule, field=refused.field, message=refused.message))
    except StreamNotLoaded:
        raise
    except Exception as error:  # a defect of ours: answered and named, so that one message cannot hold up all others
        log.exception("undecidable command", source=request.source, id=request.id, subject=request.subject)
        refusal = Refusal(
            rule=UNDECIDABLE,
            field="(message)",
            message=f"Sauro failed to decide this command ({type(error).__name__}); nothing was stored, please report it",
        )
        return Decided(refusal=refusal)
    return Decided(tuple(events), version=overlay.stream(request.subject).version)


def _check(request: Request[Any], subject: Loaded, overlay: Overlay) -> None:
    if request.expected_version is not None and request.expected_version != subject.version:
        raise UnexpectedVersion(
            f"{request.subject} is at version {subject.version}, not {request.expected_version}; read it again and resend",
            field="expectedversion",
        )
    if request.source in SYSTEM_SOURCES:
        return
    if request.occurred_at > overlay.now + FUTURE_TOLERANCE:
        raise OccurredInFuture(
            f"time {request.occurred_at.isoformat()} lies after the log's {overlay.now.isoformat()}", field="time"
        )
    if subject.began_at is not None and request.occurred_at < subject.began_at:
        raise OccurredBeforeStream(
            f"{request.subject} began at {subject.began_at.isoformat()}; send the time at which this happened",
            field="time",
        )
    _check_organisation(request, overlay)


def _check_organisation(request: Request[Any], overlay: Overlay) -> None:
    if request.subject.startswith(("organisation/", "programme/")) and overlay.stream(request.subject).state is None:
        return
    if request.subject.startswith("organisation/"):
        return
    programme = overlay.load(f"programme/{request.programme}")
    owner = getattr(programme, "organisation", request.organisation)
    if owner != request.organisation:
        raise WrongOrganisation(f"programme {request.programme} belongs to '{owner}'", field="organisation")


def _surround(found: Sequence[Change], request: Request[Any], overlay: Overlay) -> list[Recorded[Any]]:
    """Give each event its stream, next version, instants and a deterministic id."""
    versions: dict[str, int] = {}
    events = []
    for index, change in enumerate(found):
        stream = change.stream or request.subject
        versions[stream] = versions.get(stream, overlay.stream(stream).version) + 1
        id_ = event_id(request.source, request.id, index)
        events.append(recorded(change, request, overlay.now, version=versions[stream], id_=id_))
    return events


def event_id(source: str, command_id: str, index: int) -> str:
    """The id of a command's event; it derives from the command's."""
    return named_uuid(_EVENTS, f"{source}/{command_id}/{index}")


def surely_read(readable: Readable, deciders: Mapping[str, Decider[Any]]) -> tuple[str, ...]:
    """The streams a command will surely need, so that a batch loads them all at once."""
    request = readable.request
    return (request.subject, f"programme/{request.programme}", *deciders[readable.aggregate].reads(request))


def missing_streams(
    readables: Iterable[Readable], deciders: Mapping[str, Decider[Any]], overlay: Overlay
) -> Iterator[str]:
    """The streams that decisions ahead would ask for as things stand; nothing is applied, since deciding is pure."""
    for readable in readables:
        request = readable.request
        with suppress(Exception):  # refused or failing: its own turn will tell
            try:
                deciders[readable.aggregate].decide(request, overlay.stream(request.subject).state, overlay)
            except StreamNotLoaded as missing:
                yield from missing.streams

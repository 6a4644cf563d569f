"""Any aggregate as of any moment, folded from its stream: the definitions in force among them."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from contracts.types import StreamId
from projections.queries_log import stream_events
from services.api.answers import PROBLEMS, Answer, PastLogReading, Snapshot
from services.api.parameters import CodePath
from services.api.problems import not_found
from services.audit.replay import replay
from services.store import Store

router = APIRouter(prefix="/v1", tags=["replay"], responses=PROBLEMS)
One = Answer[dict[str, Any]]


@router.get("/streams/{stream:path}", response_model=One, summary="Any aggregate")
def aggregate(stream: Annotated[StreamId, Path()], reading: PastLogReading) -> Response:
    """The state of an aggregate as the domain folds it, its version, and the events that decided it.

    404 when its stream had not begun by `as_of`. `position` is that of the log.
    """
    return _replayed(reading, stream)


@router.get("/programmes/{code}/definition", response_model=One, summary="A programme's definition in force")
def definition(code: CodePath, reading: PastLogReading) -> Response:
    """Roles, calendar, escalation policy, regimes and indicators in force, with their versions."""
    return _replayed(reading, f"programme/{code}")


@router.get("/organisations/{code}", response_model=One, summary="An organisation")
def organisation(code: CodePath, reading: PastLogReading) -> Response:
    """Units, posts, holders and grants of authority in force, with their validity."""
    return _replayed(reading, f"organisation/{code}")


def _replayed(reading: Snapshot, stream: str) -> Response:
    store: Store = reading.store
    deciders = {decider.name: decider for decider in store.registry.deciders}
    decider = deciders.get(stream.split("/", 1)[0])
    if decider is None:
        raise not_found(f"stream {stream}")
    events = [store.codec.decode(state) for state in stream_events(reading.cursor, reading.scope, stream)]
    found = reading.found(replay(decider, events, reading.moment), f"stream {stream} at that moment")
    return reading.from_log(found.document())

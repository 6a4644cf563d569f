"""Wiring of the HTTP API."""

import asyncio
from typing import Any

from fastapi import Depends, FastAPI

from services.api import audit, commands, history, operations, problems, programmes, record, replay, stream, work
from services.api.answers import READERS
from services.api.feed import Feed
from services.api.limits import Limits
from services.api.metrics import CountRequests, Metrics
from services.api.parameters import only_known_parameters
from services.api.waiting import Waiting
from services.audit.access import AccessQueue
from services.bus import Bus
from services.clock import Clock
from services.settings import Settings
from services.store import Store

READY_LAG = 5_000
RECONNECT_SECONDS = 2.0
DESCRIPTION = """\
What Sauro's log and read models say, and a second door for commands.

Every answer carries the log position it was computed at (`position`, header `Sauro-Position`) and how many events the
read models are behind the log (`lag`, header `Sauro-Lag`); position and data come from one snapshot. Reading answers carry
a weak `ETag`: sent back in `If-None-Match`, it is answered 304 as long as nothing has changed. Instants are UTC;
days are those of Asia/Ho_Chi_Minh. Limits are exclusive: on time is before the limit. Errors are RFC 9457 problems.

`as_of` asks for a past moment: with `time=recorded` (the default) what was known then, which never changes again, with
`time=occurred` what was true then with all that is known now. Before the first event there is nothing (404 for one thing);
a moment yet to come is refused (422).
"""
TAGS = [
    {"name": "programmes", "description": "Programmes, departments and phases with their scorecards"},
    {"name": "assignments", "description": "Six-clear tasks and what came of them"},
    {"name": "obligations", "description": "Reports, products, commitments, explanations and milestones owed"},
    {"name": "warnings", "description": "Warnings raised, delivered, answered, escalated"},
    {"name": "deadlines", "description": "Limits in force and when the next rung falls due"},
    {"name": "replay", "description": "Any aggregate, and the definitions in force, as of any moment"},
    {"name": "record", "description": "Stored events (in pages or as they come), receipts, quarantine, labels"},
    {
        "name": "history",
        "description": "For reviewers: who did what, caused by what, entered when; reading it is recorded",
    },
    {"name": "audit", "description": "Proof: signed checkpoints, tiles, inclusion and consistency proofs"},
    {"name": "commands", "description": "Publishing commands"},
    {"name": "operations", "description": "Health, readiness, metrics"},
]


def create_app(
    store: Store,
    bus: Bus | None,
    clock: Clock,
    settings: Settings,
    *,
    ready_lag: int = READY_LAG,
    limits: Limits | None = None,
) -> FastAPI:
    """The API over one store. Without a bus it reads only. `ready_lag`: events a read model may lag and be ready.

    `limits` bound streams and waiting requests; without them the environment says (SAURO_API_*).
    """
    metrics = Metrics()
    app = _routes()
    app.state.store, app.state.bus, app.state.clock, app.state.settings = store, bus, clock, settings
    app.state.metrics, app.state.ready_lag = metrics, ready_lag
    app.state.limits = limits = limits or Limits()
    app.state.publishing = asyncio.Semaphore(limits.publishing)
    app.state.feed, app.state.waiting = Feed(store, limits.streams), Waiting(bus, limits.waiters)
    # The pool doubles its pause between attempts; giving one up early lets the next request make a new one at once.
    store.datastore.pool.reconnect_timeout = RECONNECT_SECONDS
    app.state.gate = asyncio.Semaphore(READERS)
    app.state.access = AccessQueue(bus)
    app.add_middleware(CountRequests, metrics=metrics)
    return app


def leave(app: FastAPI) -> None:
    """End what stays connected, for the server to stop: streams, and requests that wait for a receipt."""
    app.state.feed.close()
    app.state.waiting.closed.set()


async def settle(app: FastAPI) -> None:
    """Publish what still waits, for the server to stop: records of who read the audit history."""
    await app.state.access.close()


def openapi_document() -> dict[str, Any]:
    """The OpenAPI document; needs no engines."""
    return _routes().openapi()


def _routes() -> FastAPI:
    app = FastAPI(
        title="Sauro",
        version="1",
        summary="Six-clear assignments, limits, escalation, and figures that explain themselves",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        openapi_url="/v1/openapi.json",
        docs_url="/v1/docs",
        redoc_url=None,
        dependencies=[Depends(only_known_parameters), Depends(history.past_on_record, scope="function")],
    )
    problems.install(app)
    for module in (programmes, work, replay, record, history, stream, commands, operations, audit):
        app.include_router(module.router)
    return app

"""Wiring of the HTTP API."""

import asyncio
from typing import Any

from fastapi import Depends, FastAPI

from services.api import commands, operations, problems, programmes, record, work
from services.api.answers import READERS
from services.api.metrics import CountRequests, Metrics
from services.api.parameters import only_known_parameters
from services.bus import Bus
from services.clock import Clock
from services.settings import Settings
from services.store import Store

READY_LAG = 5_000
RECONNECT_SECONDS = 2.0
DESCRIPTION = """\
What Sauro's log and read models say, and a second door for commands.

Every answer carries the log position it was computed at (`position`, header `Sauro-Position`) and how many events the
read models are behind the log (`lag`, header `Sauro-Lag`); position and data come from one snapshot. Instants are UTC;
days are those of Asia/Ho_Chi_Minh. Limits are exclusive: on time is before the limit. Errors are RFC 9457 problems.
"""
TAGS = [
    {"name": "programmes", "description": "Programmes, departments and phases with their scorecards"},
    {"name": "assignments", "description": "Six-clear tasks and what came of them"},
    {"name": "obligations", "description": "Reports, products, commitments, explanations and milestones owed"},
    {"name": "warnings", "description": "Warnings raised, delivered, answered, escalated"},
    {"name": "deadlines", "description": "Limits in force and when the next rung falls due"},
    {"name": "record", "description": "Stored events, receipts, quarantine, labels"},
    {"name": "commands", "description": "Publishing commands"},
    {"name": "operations", "description": "Health, readiness, metrics"},
]


def create_app(
    store: Store, bus: Bus | None, clock: Clock, settings: Settings, *, ready_lag: int = READY_LAG
) -> FastAPI:
    """The API over one store. Without a bus it reads only. `ready_lag`: events a read model may lag and be ready."""
    metrics = Metrics()
    app = _routes()
    app.state.store, app.state.bus, app.state.clock, app.state.settings = store, bus, clock, settings
    app.state.metrics, app.state.ready_lag = metrics, ready_lag
    # The pool doubles its pause between attempts; giving one up early lets the next request make a new one at once.
    store.datastore.pool.reconnect_timeout = RECONNECT_SECONDS
    app.state.gate = asyncio.Semaphore(READERS)
    app.add_middleware(CountRequests, metrics=metrics)
    return app


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
        dependencies=[Depends(only_known_parameters)],
    )
    problems.install(app)
    for module in (programmes, work, record, commands, operations):
        app.include_router(module.router)
    return app

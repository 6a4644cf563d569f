"""For operators: is the process up, is it ready, and its figures for Prometheus."""

from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from projections.queries import unbuilt
from projections.status import quarantined
from services.api.answers import open_snapshot
from services.api.metrics import DatabaseFigures, Metrics, bus_followers, database_figures
from services.api.problems import AWAY, Problem, ProblemDetails
from services.bus import Bus
from services.store import Store

router = APIRouter(tags=["operations"])
log = structlog.get_logger("sauro.api")


@router.get("/healthz", summary="Is the process up?")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "up"}


@router.get("/readyz", summary="Is the service ready?", responses={503: {"model": ProblemDetails}})
async def readyz(request: Request) -> Response:
    """PostgreSQL, NATS, lag and quarantine of each read model; 503 with the reasons when one of them is not well."""
    state = request.app.state
    found: dict[str, Any] = {"nats": nats_state(state.bus)}
    reasons = ["NATS is not connected"] if found["nats"] == "away" else []
    if state.bus is not None and (trouble := state.access.trouble()) is not None:
        reasons.append(trouble)
    try:
        found |= {"postgresql": "up", **await run_in_threadpool(_read_models, state.store)}
        reasons += _reasons(found["models"], state.ready_lag)
    except AWAY as error:
        log.warning("not ready: PostgreSQL is away", error=str(error).strip())
        found["postgresql"] = "away"
        reasons.append("PostgreSQL does not answer")
    if reasons:
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE, "not-ready", "; ".join(reasons), more={"reasons": reasons, **found}
        )
    headers = {"Sauro-Position": str(found["position"]), "Sauro-Lag": str(found["lag"])}
    content = orjson.dumps({"status": "ready", **found}, option=orjson.OPT_UTC_Z)
    return Response(content, media_type="application/json", headers=headers)


def nats_state(bus: Bus | None) -> str:
    """`up`, `away`, or `not configured`."""
    if bus is None:
        return "not configured"
    return "up" if bus.client.is_connected else "away"


def _read_models(store: Store) -> dict[str, Any]:
    with open_snapshot(store) as snapshot:
        where = snapshot.standing
        missing = unbuilt(snapshot.cursor, store.registry.read_models)
        held = [row["model"] for row in quarantined(snapshot.cursor)]
    models = [
        {
            "name": name,
            "position": position,
            "lag": where.head - position,
            "quarantined": held.count(name),
            "built": name not in missing,
        }
        for name, position in where.models.items()
    ]
    return {"position": where.position, "lag": where.lag, "as_of": where.as_of, "models": models}


def _reasons(models: list[dict[str, Any]], bound: int) -> list[str]:
    unmade = [f"read model {m['name']} is not built yet" for m in models if not m["built"]]
    held = [f"read model {m['name']} has {m['quarantined']} events in quarantine" for m in models if m["quarantined"]]
    late = [f"read model {m['name']} lags {m['lag']} events, more than {bound}" for m in models if m["lag"] > bound]
    return unmade + held + late


@router.get("/metrics", summary="Prometheus", response_class=Response)
async def metrics(request: Request) -> Response:
    """Figures in the Prometheus text format; `sauro_postgresql_up` and `sauro_nats_up` tell what could not be asked."""
    state = request.app.state
    figures: Metrics = state.metrics
    database: DatabaseFigures | None = None
    try:
        database = await run_in_threadpool(database_figures, state.store, state.clock, figures.receipts)
    except AWAY as error:
        log.warning("no figures: PostgreSQL is away", error=str(error).strip())
    followers = await bus_followers(state.bus, database.head if database else None)
    text = generate_latest(figures.exposition(database, followers))
    return Response(text, media_type=CONTENT_TYPE_LATEST)

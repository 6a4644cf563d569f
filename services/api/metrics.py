"""Prometheus figures of one app: computed when scraped, but for the counts of HTTP requests."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from threading import Lock

import nats.errors
import nats.js.errors
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from projections.queries_log import next_limit, receipts_since
from projections.status import duplicates, quarantined
from services.api.answers import open_snapshot
from services.bus import Bus
from services.clock import Clock
from services.store import Store

OUTCOMES = {1: "accepted", 2: "rejected", 3: "unreadable"}
BUS_SECONDS = 2.0
RECEIPTS_HELP = (
    "Receipts by outcome. A duplicate stores none: it is answered with the first receipt, marked `duplicate`, and intake says"
    " every two seconds how many there were"
)


@dataclass
class ReceiptCounts:
    """Stored receipts by outcome. A scrape counts those since the last one; the first counts them all."""

    last: int = 0
    counts: dict[int, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    lock: Lock = field(default_factory=Lock)

    def advance(self, last: int, more: dict[int, int]) -> None:
        """Add what was counted after `self.last`."""
        self.last = last
        for outcome, number in more.items():
            self.counts[outcome] += number


@dataclass(frozen=True, slots=True)
class DatabaseFigures:
    """What PostgreSQL says in one snapshot; `overdue` are seconds since the next limit should have fired."""

    head: int
    models: dict[str, int]
    quarantine: dict[str, int]
    receipts: dict[str, int]
    overdue: float


def database_figures(store: Store, clock: Clock, receipts: ReceiptCounts) -> DatabaseFigures:
    """Ask PostgreSQL; raises psycopg.OperationalError when it is away."""
    with receipts.lock, open_snapshot(store) as snapshot:
        held = [row["model"] for row in quarantined(snapshot.cursor)]
        # Before the projector's first start there are no tables, and no limits either.
        due = next_limit(snapshot.cursor) if snapshot.standing.position else None
        receipts.advance(*receipts_since(snapshot.cursor, receipts.last))
        where = snapshot.standing
        return DatabaseFigures(
            head=where.head,
            models=where.models,
            quarantine={name: held.count(name) for name in where.models},
            receipts={OUTCOMES[outcome]: number for outcome, number in receipts.counts.items()}
            | {"duplicate": duplicates(snapshot.cursor)},
            overdue=max(0.0, (clock.now() - due).total_seconds()) if due else 0.0,
        )


@dataclass(frozen=True, slots=True)
class BusFigures:
    """What NATS says: messages each follower has not taken or not acknowledged, by follower."""

    lag: dict[str, int]


async def bus_followers(bus: Bus | None, head: int | None) -> BusFigures | None:
    """The relay's lag behind the log, and that of every consumer; None when NATS is away or not configured."""
    if bus is None or not bus.client.is_connected:
        return None
    lag: dict[str, int] = {}
    try:
        async with asyncio.timeout(BUS_SECONDS):
            events = await bus.js.stream_info(bus.names.stream("EVENTS"))
            if head is not None:
                lag["relay"] = max(0, head - events.state.last_seq)
            for stream in ("COMMANDS", "EVENTS"):
                for consumer in await bus.js.consumers_info(bus.names.stream(stream)):
                    waiting = (consumer.num_pending or 0) + (consumer.num_ack_pending or 0)
                    lag[f"{stream.lower()}/{consumer.name}"] = waiting
    except (TimeoutError, nats.errors.Error, nats.js.errors.Error):
        return None
    return BusFigures(lag)


class _Scraped(Collector):
    def __init__(self, database: DatabaseFigures | None, followers: BusFigures | None) -> None:
        self._database, self._followers = database, followers

    def collect(self) -> Iterable[Metric]:
        """What was found out for this scrape."""
        yield GaugeMetricFamily("sauro_postgresql_up", "Whether PostgreSQL answered", int(self._database is not None))
        yield GaugeMetricFamily("sauro_nats_up", "Whether NATS answered", int(self._followers is not None))
        lag = GaugeMetricFamily(
            "sauro_follower_lag_events", "Events, or messages of NATS, a follower has yet to take", labels=["follower"]
        )
        if self._followers is not None:
            for name, number in self._followers.lag.items():
                lag.add_metric([name], number)
        if self._database is not None:
            yield from _of_database(self._database, lag)
        yield lag


def _of_database(found: DatabaseFigures, lag: GaugeMetricFamily) -> Iterator[Metric]:
    yield CounterMetricFamily("sauro_events", "Events in the log", found.head)
    yield GaugeMetricFamily("sauro_log_position", "Last position of the log", found.head)
    receipts = CounterMetricFamily("sauro_receipts", RECEIPTS_HELP, labels=["outcome"])
    for outcome, number in found.receipts.items():
        receipts.add_metric([outcome], number)
    yield receipts
    position = GaugeMetricFamily("sauro_read_model_position", "Position a read model has reached", labels=["model"])
    held = GaugeMetricFamily("sauro_quarantined_events", "Events a read model could not apply", labels=["model"])
    for name, reached in found.models.items():
        position.add_metric([name], reached)
        held.add_metric([name], found.quarantine[name])
        lag.add_metric([f"read/{name}"], found.head - reached)
    yield position
    yield held
    yield GaugeMetricFamily(
        "sauro_next_limit_overdue_seconds", "Seconds since the next limit should have fired", found.overdue
    )


class Metrics:
    """An app's own registry: request durations kept, the rest found out at each scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.receipts = ReceiptCounts()
        self.requests = Histogram(
            "sauro_http_request_seconds",
            "Duration of HTTP requests",
            ["method", "route", "status"],
            registry=self.registry,
        )

    def exposition(self, database: DatabaseFigures | None, followers: BusFigures | None) -> CollectorRegistry:
        """A registry for one scrape: the requests, and what was found out."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self.requests)
        registry.register(_Scraped(database, followers))
        return registry


class CountRequests:
    """ASGI middleware: counts and times requests by the route's template, never by the path itself."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._requests = app, metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "(none)")
            method = scope["method"] if scope["method"] in METHODS else "OTHER"
            self._requests.labels(method, route, str(status)).observe(time.perf_counter() - started)


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

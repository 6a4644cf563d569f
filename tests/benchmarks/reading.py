"""`history` and `scorecards`: what readers of the HTTP API wait for, on a log of 1,000,000 events.

`sauro serve api` answers in a process of its own; one connection asks one thing after the other and times each answer.
"""

import random
import statistics
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from projections import queries_log, queries_scorecards, queries_work
from projections.scope import EVERYTHING
from tests.benchmarks.bench import RUNS, Bench, Installation
from tests.benchmarks.commands import PROGRAMME, code_of, mixed_chains, random_ids
from tests.benchmarks.figures import Figure, median_of
from tests.benchmarks.floors import GET, SMALL_LOG, SQL
from tests.benchmarks.following import big
from tests.benchmarks.ingest import connected, disconnected
from tests.benchmarks.peers import library
from tests.benchmarks.processors import Processors
from tests.benchmarks.running import Http, sauro
from tests.benchmarks.world import World, world

HISTORY, CARDS = 1_000, 200
PHASE = "P2"


async def history(bench: Bench) -> list[Figure]:
    """An assignment's state and its history, assignments at random, on both logs in turn.

    On the large log psycopg then asks the same, and the library gets aggregates with ten events.
    """
    assignments = {"large": big(bench).assignments, "small": 1_000}
    runs: dict[str, list[float]] = {}
    numbers, requests = random.Random(1), max(200, bench.size(HISTORY))
    async with AsyncExitStack() as stack:
        http, places, processors = {}, {}, {}
        for name, wanted in (("large", big(bench)), ("small", World(assignments["small"], mixed_chains()))):
            bench.says(f"the {name} log")
            place = stack.enter_context(bench.installation(world(bench, wanted, projected=True)))
            running = await api(stack, place)
            http[name] = await stack.enter_async_context(Http(running["api"]))
            places[name], processors[name] = place, Processors(bench.engines, running)
        cursor = stack.enter_context(reader(places["large"]))
        works = stack.enter_context(library(stack.enter_context(bench.empty_database()), [10] * 200, random_ids(3)))
        for run in range(RUNS + 1):
            for name, connection in http.items():
                bench.says(f"run {run} of {RUNS}, {name} log")
                among, times = assignments[name], []
                processors[name].begin()
                for number in range(requests):
                    path = f"/v1/assignments/{PROGRAMME}/{code_of(numbers.randrange(among))}"
                    times.append(await timed(connection.json(path + "/history" * (number % 2))))
                if run:
                    keep(runs, name, times)
                    processors[name].end(requests)
            codes = [code_of(numbers.randrange(assignments["large"])) for _ in range(requests)]
            bare, gets = _bare_history(cursor, codes), works.gets(200)
            if run:
                keep(runs, SQL, bare)
                keep(runs, GET, gets)
    if bench.profile:
        processors["large"].show("history, a large log", "request")
    beside = {SMALL_LOG: "small", SQL: SQL, GET: GET}
    return [
        Figure(
            f"history {cut}",
            "ms",
            False,
            tuple(runs[f"large {cut}"]),
            {name: median_of(runs[f"{key} {cut}"]) for name, key in beside.items()},
        )
        for cut in ("p50", "p99")
    ]


@contextmanager
def reader(place: Installation) -> Iterator[psycopg.Cursor[dict[str, object]]]:
    """A cursor over the read models, without the API around it."""
    with (
        psycopg.connect(place.dsn, autocommit=True, row_factory=dict_row, options="-c search_path=read") as connection,
        connection.cursor() as cursor,
    ):
        yield cursor


def _bare_history(cursor: psycopg.Cursor[dict[str, object]], codes: Sequence[str]) -> list[float]:
    """Milliseconds of the queries behind each answer: state and history in turn."""
    times = []
    for number, code in enumerate(codes):
        begun = time.perf_counter()
        if number % 2:
            queries_log.stream_events(cursor, EVERYTHING, f"assignment/{PROGRAMME}/{code}")
            queries_work.assignment_versions(cursor, EVERYTHING, PROGRAMME, code)
        else:
            queries_work.assignment(cursor, EVERYTHING, PROGRAMME, code)
        times.append(1000 * (time.perf_counter() - begun))
    return times


async def scorecards(bench: Bench) -> list[Figure]:
    """Department and phase scorecards, the same SQL over one connection of psycopg, and the 304 to a known ETag."""
    runs: dict[str, list[float]] = {}
    paths = {
        "department": f"/v1/programmes/{PROGRAMME}/departments",
        "phase": f"/v1/programmes/{PROGRAMME}/phases/{PHASE}/departments",
    }
    async with AsyncExitStack() as stack:
        place = stack.enter_context(bench.installation(world(bench, big(bench), projected=True)))
        http = await stack.enter_async_context(Http((await api(stack, place))["api"]))
        cursor = stack.enter_context(reader(place))
        for run in range(RUNS + 1):
            for name, path in paths.items():
                bench.says(f"run {run} of {RUNS}, {name}")
                ours, theirs = [], []
                for _ in range(max(40, bench.size(CARDS))):
                    ours.append(await timed(http.json(path)))
                    begun = time.perf_counter()
                    _bare(cursor, name)
                    theirs.append(1000 * (time.perf_counter() - begun))
                if run:
                    keep(runs, name, ours)
                    keep(runs, f"bare {name}", theirs)
            same = await _unchanged(http, paths["department"], max(40, bench.size(CARDS)))
            if run and same:
                keep(runs, "304", same)
    found = [
        Figure(
            f"scorecards {name} {cut}",
            "ms",
            False,
            tuple(runs[f"{name} {cut}"]),
            {SQL: median_of(runs[f"bare {name} {cut}"])},
        )
        for name in paths
        for cut in ("p50", "p99")
    ]
    cuts = ("p50", "p99") if "304 p50" in runs else ()
    return found + [Figure(f"scorecards 304 {cut}", "ms", False, tuple(runs[f"304 {cut}"])) for cut in cuts]


async def api(stack: AsyncExitStack, place: Installation) -> dict[str, Any]:
    """`sauro serve api` on a place: its address and process."""
    store, bus = await connected(place)
    await disconnected(store, bus)
    return await stack.enter_async_context(sauro(place, "serve", "api"))


def _bare(cursor: psycopg.Cursor[dict[str, object]], name: str) -> None:
    """The queries behind a scorecard, without the API around them."""
    if name == "department":
        queries_scorecards.department_rows(cursor, EVERYTHING, PROGRAMME)
        queries_scorecards.programme_totals(cursor, EVERYTHING, PROGRAMME)
    else:
        queries_scorecards.phase_department_rows(cursor, EVERYTHING, PROGRAMME, PHASE)
        queries_scorecards.phase_totals(cursor, EVERYTHING, PROGRAMME, PHASE)


async def _unchanged(http: Http, path: str, count: int) -> list[float]:
    """Milliseconds of answers without a body; none when the API gives no ETag."""
    _, headers, _ = await http.get(path)
    if "etag" not in headers:
        return []
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        status, _, _ = await http.get(path, f"If-None-Match: {headers['etag']}\r\n")
        times.append(1000 * (time.perf_counter() - begun))
        assert status == 304, status
    return times


async def timed(answer: Awaitable[object]) -> float:
    """Milliseconds until an answer."""
    begun = time.perf_counter()
    await answer
    return 1000 * (time.perf_counter() - begun)


def keep(runs: dict[str, list[float]], name: str, times: list[float]) -> None:
    cuts = statistics.quantiles(times, n=100)
    runs.setdefault(f"{name} p50", []).append(cuts[49])
    runs.setdefault(f"{name} p99", []).append(cuts[98])

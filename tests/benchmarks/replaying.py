"""`replay`: what a reviewer who asks for past moments waits for, on a log of 1,000,000 events of 20 programmes.

Moments are drawn at random over the whole log, so nothing is asked twice; programmes and assignments as well.
"""

import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import psycopg

from services.clock import SystemClock
from services.intake.reading import Incoming
from services.outgoing import to_json
from services.spine import intake_for
from services.store import Store
from tests.benchmarks.bench import RUNS, Bench, Installation
from tests.benchmarks.commands import PROGRAMME, SOURCE, code_of, mixed_chains, outgoing
from tests.benchmarks.figures import Figure, median_of
from tests.benchmarks.floors import RECORDED
from tests.benchmarks.following import big
from tests.benchmarks.processors import Processors
from tests.benchmarks.reading import api, keep, timed
from tests.benchmarks.running import Http
from tests.benchmarks.world import Cloning, Pattern, World, imported, project, send

PROGRAMMES, SUBJECTS, CARDS, ALL = 20, 300, 100, 20
LATE = 100
"""One assignment in so many has an event that was entered out of order."""
_SPREAD = """
    UPDATE log.events e SET originator_id = replace(originator_id, %(old)s, programme),
        state = convert_to(regexp_replace(replace(convert_from(state, 'UTF8'), %(old)s, programme),
            '"time":"[^"]*"', '"time":"' || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') || '"'), 'UTF8')
    FROM (SELECT notification_id, 'SKHCN-P' || lpad((number / 24 %% %(programmes)s)::text, 2, '0') AS programme,
            %(start)s::timestamptz + number %% 1000 * interval '1 minute' + interval '1 day'
            * CASE WHEN number %% %(late)s = 7 AND originator_version = 5 THEN 2.5 ELSE originator_version END AS at
        FROM (SELECT notification_id, originator_version,
                substring(split_part(originator_id, '/', 3) FROM '[0-9]+')::bigint AS number
              FROM log.events WHERE originator_id LIKE 'assignment/' || %(old)s || '/B%%') cloned) new
    WHERE e.notification_id = new.notification_id"""
_FOUND = """
    UPDATE log.events SET state = convert_to(regexp_replace(convert_from(state, 'UTF8'), '"time":"[^"]*"', %(found)s), 'UTF8')
    WHERE originator_id NOT LIKE 'assignment/%%'"""


async def replay(bench: Bench) -> list[Figure]:
    """One assignment, one programme's scorecards, and the figures of all programmes, as of any moment on both axes."""
    runs: dict[str, list[float]] = {}
    numbers = random.Random(4)
    template = bench.template(("replay", bench.scale), lambda place: build(bench, place))
    async with AsyncExitStack() as stack:
        place = stack.enter_context(bench.installation(template))
        recorded, occurred, assignments = _moments(place), _days(), big(bench).assignments

        def one() -> str:
            number = numbers.randrange(assignments)
            return f"/v1/assignments/{programme_of(number)}/{code_of(number)}"

        def cards() -> str:
            return f"/v1/programmes/{programme_code(numbers.randrange(PROGRAMMES))}/departments"

        asked: dict[str, tuple[Callable[[], str], int]] = {
            "subject": (one, SUBJECTS),
            "programme": (cards, CARDS),
            "all programmes": (lambda: "/v1/programmes", ALL),
        }
        running = await api(stack, place)
        http = await stack.enter_async_context(Http(running["api"]))
        processors = {name: Processors(bench.engines, running) for name in asked}
        for run in range(RUNS + 1):
            for name, (path, count) in asked.items():
                for axis, moments in (("recorded", recorded), ("occurred", occurred)):
                    bench.says(f"run {run} of {RUNS}, {name}, {axis}")
                    times = []
                    processors[name].begin()
                    for _ in range(max(20, bench.size(count))):
                        query = f"?as_of={quote(numbers.choice(moments))}&time={axis}"
                        times.append(await timed(http.json(path() + query)))
                    if run:
                        keep(runs, f"{name} {axis}", times)
                        processors[name].end(len(times))
    for name in asked if bench.profile else ():
        processors[name].show(f"replay, {name}", "request")
    found = []
    for name in asked:
        for cut in ("p50", "p99"):
            known, true = runs[f"{name} recorded {cut}"], runs[f"{name} occurred {cut}"]
            found.append(Figure(f"replay {name} {cut}", "ms", False, tuple(known)))
            beside = {RECORDED: median_of(known)}
            found.append(Figure(f"replay {name} occurred {cut}", "ms", False, tuple(true), beside))
    return found


def programme_code(number: int) -> str:
    """The code of a programme of this world."""
    return f"SKHCN-P{number:02}"


def programme_of(assignment: int) -> str:
    """The programme of an assignment: chains and programmes in all combinations."""
    return programme_code(assignment // 24 % PROGRAMMES)


def build(bench: Bench, place: Installation) -> None:
    """Twenty programmes, cloned assignments spread over them, their events a day apart and some entered late."""
    bench.says("building")
    wanted = World(big(bench).assignments, mixed_chains())
    store = Store.open(place.dsn, application="bench-world")
    at = datetime.now(UTC)
    commands = imported(at)
    send(store, "PROGRAMME-IMPORT", commands)
    intake = intake_for(store, SystemClock())
    for number in range(PROGRAMMES):
        new = programme_code(number).encode()
        own = [one for one in commands if one.aggregate != "organisation"]
        payloads = [to_json(one, "PROGRAMME-IMPORT").replace(PROGRAMME.encode(), new) for one in own]
        batch = [Incoming("PROGRAMME-IMPORT", new.decode(), payload, n) for n, payload in enumerate(payloads)]
        outcomes = intake.process(batch).outcomes
        assert outcomes == {"accepted": len(batch)}, outcomes
    for number, steps in enumerate(wanted.chains):
        send(store, SOURCE, outgoing(steps, f"Z-{number:07}", at))
    Cloning(store, place.dsn, [Pattern(store, f"Z-{n:07}") for n in range(len(wanted.chains))], wanted).run()
    store.close()
    bench.says("spreading")
    with psycopg.connect(place.dsn) as connection:
        connection.execute("ALTER TABLE log.events DISABLE TRIGGER USER")
        values = {"old": PROGRAMME, "programmes": PROGRAMMES, "start": _start(), "late": LATE}
        connection.execute(_SPREAD, values)
        connection.execute(_FOUND, {"found": f'"time":"{_start():%Y-%m-%dT%H:%M:%SZ}"'})
        connection.execute("ALTER TABLE log.events ENABLE TRIGGER USER")
    place.execute("VACUUM ANALYZE log.events")
    project(bench, place)


def _start() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=40)


def _days() -> list[str]:
    """Moments of occurrence, from when all was assigned until the last event."""
    return [(_start() + timedelta(hours=42 + 2.2 * step)).isoformat() for step in range(100)]


def _moments(place: Installation) -> list[str]:
    """Moments of recording, evenly over the log since all was assigned."""
    head = place.value("SELECT max(notification_id) FROM log.events")
    positions = [head * (60 + step) // 161 for step in range(1, 101)]
    with psycopg.connect(place.dsn) as connection:
        rows = connection.execute(
            "SELECT recorded_at FROM log.events WHERE notification_id = ANY(%s) ORDER BY 1", (positions,)
        )
        return [at.astimezone(UTC).isoformat() for (at,) in rows]

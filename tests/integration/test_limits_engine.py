"""The calendar of limits (appendix 2) as the four programmes have it after import, read from the read models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from itertools import pairwise

import orjson
import pytest

from contracts.deadlines import DeadlineKey, RecordDeadlinePassed
from domain.calendar import LOCAL, local_date
from services.intake.reading import Incoming
from services.outgoing import to_json
from services.projector.core import Projector
from services.store import Store
from tests.integration.support import Desk, clock_at, imported, rows
from tests.unit.spec import local

CULTURE, SCIENCE, WARD, PAST = "SVHTTDL-TD500", "SKHCN-TD500", "PHN-CTHD500", "SVHTTDL-CCHC-2025"
FILES = ("svhttdl-td500", "svhttdl-cchc-2025", "skhcn-td500", "phn-cthd500")
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def world(databases: Callable[[], AbstractContextManager[str]]) -> Iterator[Store]:
    """The four programmes imported, and every report period of the culture department's regimes opened."""
    with databases() as dsn:
        store = Store.open(dsn)
        clock = clock_at("2026-05-30T08:00")
        desk = Desk.open(store, clock, source="IMPORT")
        for name in FILES:
            payloads = [to_json(sent, "IMPORT") for sent in imported(clock.now(), name)]
            batch = [Incoming("IMPORT", orjson.loads(p)["programme"], p, n) for n, p in enumerate(payloads)]
            outcomes = desk.intake.process(batch).outcomes
            assert set(outcomes) <= {"accepted", "duplicate"}
        projector = Projector(store, clock)
        while projector.step():
            pass
        open_periods(desk, projector)
        yield store
        store.close()


def open_periods(desk: Desk, projector: Projector) -> None:
    """Fire the regimes' timers of one programme, each at its instant."""
    timer = Desk.open(desk.store, desk.clock, source="timekeeper")
    query = (
        "SELECT * FROM read.deadlines WHERE kind = 'report_period' AND programme = %s"
        " AND next_at IS NOT NULL ORDER BY next_at, occurrence"
    )
    while due := rows(desk.store, query, CULTURE):
        desk.clock.move_to(due[0]["next_at"])
        now = [row for row in due if row["next_at"] <= desk.clock.now()]
        keys = [DeadlineKey(kind=r["kind"], occurrence=r["occurrence"], due_version=r["due_version"]) for r in now]
        answered = timer.send(
            *(
                timer.sender.document(RecordDeadlinePassed(key=key), row["stream"], "SAURO", at=row["next_at"])
                for key, row in zip(keys, now, strict=True)
            )
        )
        assert answered.outcomes == {"accepted": len(now)}
        while projector.step():
            pass


def last_on_time(store: Store, programme: str, code: str) -> set[str]:
    """The last second on time of obligations by code pattern, in local time; both read models agree."""
    found = rows(
        store,
        "SELECT o.due, d.limit_at FROM read.obligations o LEFT JOIN read.deadlines d"
        " ON d.stream = 'obligation/' || o.programme || '/' || o.code AND d.kind = 'obligation_due'"
        " WHERE o.programme = %s AND o.code LIKE %s",
        programme,
        code,
    )
    assert found, f"{programme}: no obligation {code}"
    assert all(row["due"] == row["limit_at"] for row in found)
    return {(row["due"] - SECOND).astimezone(LOCAL).strftime("%a %Y-%m-%d %H:%M:%S") for row in found}


TABLE = (
    ("R-041", CULTURE, "P1-M1", "Fri 2026-06-05 23:59:59"),
    ("R-041", CULTURE, "P1-LIST-%", "Fri 2026-06-05 23:59:59"),
    ("R-041", CULTURE, "P1-TRACK", "Fri 2026-06-05 23:59:59"),
    ("R-042", SCIENCE, "P1-M2", "Thu 2026-06-04 23:59:59"),
    ("R-042", SCIENCE, "P1-INDSET", "Thu 2026-06-04 23:59:59"),
    ("R-042", SCIENCE, "P1-PLAN-%", "Thu 2026-06-04 23:59:59"),
    ("R-042", SCIENCE, "P1-REG-%", "Thu 2026-06-04 23:59:59"),
    ("R-041", SCIENCE, "P1-M1", "Fri 2026-06-05 23:59:59"),
    ("R-043", WARD, "P1-%", "Wed 2026-06-10 23:59:59"),
    ("R-163", CULTURE, "R-W-2026W23-%", "Thu 2026-06-04 14:59:59"),
    ("R-164", CULTURE, "R-M-2026M06-%", "Thu 2026-06-18 23:59:59"),
    ("R-165", CULTURE, "R-Q-2026Q2-%", "Thu 2026-06-18 23:59:59"),
    ("R-163", CULTURE, "R-W-2026W53-%", "Thu 2026-12-31 14:59:59"),
    ("R-052", CULTURE, "P3-M1-%", "Sun 2027-01-31 23:59:59"),
    ("R-052", SCIENCE, "P3-M1-%", "Sun 2027-01-31 23:59:59"),
    ("R-053", SCIENCE, "P3-M2-SCENARIO", "Sun 2027-02-28 23:59:59"),
    ("R-053", SCIENCE, "P3-M2-INDSET", "Sun 2027-02-28 23:59:59"),
    ("R-054", CULTURE, "P3-M2", "Tue 2027-03-30 23:59:59"),
    ("R-054", SCIENCE, "P3-M3", "Tue 2027-03-30 23:59:59"),
    ("R-055", CULTURE, "P4-M1", "Wed 2027-06-30 23:59:59"),
    ("R-055", SCIENCE, "P4-M1", "Wed 2027-06-30 23:59:59"),
    ("R-056", CULTURE, "P4-M2", "Wed 2027-09-29 23:59:59"),
    ("R-056", SCIENCE, "P4-M2", "Wed 2027-09-29 23:59:59"),
    ("R-047", WARD, "P4-%", "Thu 2027-09-30 23:59:59"),
    ("R-167", CULTURE, "R-F-%", "Tue 2027-12-14 23:59:59"),
    ("R-058", CULTURE, "P5-M1", "Sun 2028-12-31 23:59:59"),
)


@pytest.mark.parametrize(
    ("source", "programme", "code", "instant"), TABLE, ids=[f"{r[0]}-{r[1]}-{r[2]}" for r in TABLE]
)
def test_the_table_of_limits(world: Store, source: str, programme: str, code: str, instant: str) -> None:
    assert last_on_time(world, programme, code) == {instant}


def test_the_ward_owes_five_products_at_the_end(world: Store) -> None:
    """R-047."""
    query = (
        "SELECT code FROM read.obligations WHERE programme = %s AND code LIKE 'P4-%%' AND kind = 'mandatory_product'"
    )
    assert len(rows(world, query, WARD)) == 5


def reports(store: Store, regime: str) -> dict[str, list[datetime]]:
    """The limits of a regime's reports by unit, in order."""
    found: dict[str, list[datetime]] = {}
    query = "SELECT unit, due FROM read.obligations WHERE programme = %s AND regime = %s ORDER BY due"
    for row in rows(store, query, CULTURE, regime):
        found.setdefault(row["unit"], []).append(row["due"])
    assert len(found) == 12
    return found


def test_seventy_weekly_reports_a_unit(world: Store) -> None:
    """R-163: 1 in phase 1, 30 in phase 2, 12 in phase 3, 27 in phase 4; holidays among them stay limits."""
    starts = [local(day) for day in ("2026-06-05", "2027-01-01", "2027-04-01")]
    for limits in reports(world, "R-W").values():
        assert len(limits) == 70
        assert (limits[0], limits[-1]) == (local("2026-06-04T15:00"), local("2027-09-30T15:00"))
        assert {b - a for a, b in pairwise(limits)} == {timedelta(days=7)}
        assert Counter(sum(limit >= start for start in starts) for limit in limits) == {0: 1, 1: 30, 2: 12, 3: 27}
        assert local("2027-09-02T15:00") in limits  # National Day


def test_sixteen_monthly_and_six_quarterly_reports_a_unit(world: Store) -> None:
    """R-164, R-165: before the 19th, so the 18th counts, weekend or not; none for May 2026."""
    for regime, number in (("R-M", 16), ("R-Q", 6)):
        for limits in reports(world, regime).values():
            days = [local_date(limit - SECOND) for limit in limits]
            assert len(days) == number
            assert {day.day for day in days} == {18}
            assert days[0].isoformat() == "2026-06-18"
            assert days[-1].isoformat() == "2027-09-18"
            if regime == "R-M":
                weekend = {day.isoformat()[:7] for day in days if day.weekday() >= 5}
                assert weekend == {"2026-07", "2026-10", "2027-04", "2027-07", "2027-09"}


def test_phases_end_as_their_programmes_say(world: Store) -> None:
    """R-034: the departments' phase 1 ends on 05/6, the ward's on 10/6; phase 2 starts on 05/6 and 11/6."""
    query = "SELECT stream, limit_at FROM read.deadlines WHERE kind = %s AND stream LIKE 'phase/%%'"
    ends = {row["stream"]: row["limit_at"] for row in rows(world, query, "phase_end")}
    starts = {row["stream"]: row["limit_at"] for row in rows(world, query, "phase_start")}
    for programme, end, start in (
        (CULTURE, "2026-06-06", "2026-06-05"),
        (SCIENCE, "2026-06-06", "2026-06-05"),
        (WARD, "2026-06-11", "2026-06-11"),
    ):
        assert ends[f"phase/{programme}/P1"] == local(end)
        assert starts[f"phase/{programme}/P2"] == local(start)
    assert not any(PAST in name for name in (*ends, *starts))

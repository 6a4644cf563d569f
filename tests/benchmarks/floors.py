"""What each figure must reach on two shared cores, as the roadmap states it. A floor is printed, it never fails a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

LIBRARY = "eventsourcing, as documented"
COPY = "raw COPY, 500 a commit"
FETCH = "raw fetch and ack"
SQL = "bare SQL"
GET = "eventsourcing, repository.get"
LOOP = "bare loop"
SLEEPER = "bare process"
ENGINES = "engines alone"
SMALL_LOG = "log of 10,000 events"
RECORDED = "the same in recorded time"


@dataclass(frozen=True)
class Floor:
    """The median to reach (at least or at most, as the figure's direction says), and ratios to what stands beside."""

    reach: float
    ratios: Mapping[str, float] = field(default_factory=dict)


FLOORS: Mapping[str, Floor] = {
    "ingest": Floor(10_000, {LIBRARY: 15, COPY: 0.15}),
    "ingest-cold": Floor(6_000),
    "ingest-mixed": Floor(7_000),
    "sustained": Floor(5_000),
    "receipt p50": Floor(15),
    "receipt p99": Floor(60),
    "visible p50": Floor(25),
    "visible p99": Floor(100),
    "rebuild": Floor(30_000),
    "rebuild memory": Floor(500),
    "catch-up": Floor(12_000),
    "history p99": Floor(5, {SMALL_LOG: 1.3}),
    "scorecards department p99": Floor(20),
    "scorecards department p50": Floor(20, {SQL: 3}),
    "scorecards phase p99": Floor(20),
    "scorecards phase p50": Floor(20, {SQL: 3}),
    "scorecards 304 p99": Floor(5),
    "replay subject p99": Floor(5),
    "replay programme p99": Floor(30),
    "replay all programmes p99": Floor(300),
    "replay subject occurred p99": Floor(15, {RECORDED: 3}),
    "replay programme occurred p99": Floor(90, {RECORDED: 3}),
    "replay all programmes occurred p99": Floor(900, {RECORDED: 3}),
    "verify": Floor(150_000),
    "sign": Floor(20_000),
    "storm passed": Floor(10),
    "storm warned": Floor(25),
    "idle": Floor(1),
    "idle wake": Floor(100),
    "growth loss UUIDv7": Floor(15),
    "start": Floor(4),
    "start memory": Floor(400),
}

"""Commands as the benchmarks send them: what assignments say, progress reports in number, ids of both kinds."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from contracts.assignment import (
    AssignTask,
    CheckingRule,
    Deliverable,
    Due,
    Evidence,
    Measure,
    Milestone,
    ReportProgress,
    SignOffCompletion,
    StartWork,
    SubmitResult,
    TaskContent,
)
from contracts.base import Command
from contracts.envelope import Actor
from services.outgoing import Outgoing, to_json

SOURCE = "BENCH"
PROGRAMME, ORGANISATION = "SKHCN-TD500", "SKHCN"
UNIT = "TTKHCN"
UNITS = ("VP", "TTKHCN", "PKHTC", "PCDS")
DIRECTOR = Actor(post="GD", unit="BGD")
SIGNER = Actor(post="GD", unit="BGD", authority="APPROVE-RESULT")
PHASES = ("P2", "P3")
DUE = date(2030, 12, 31)
Message = tuple[str, str, bytes]
"""source, programme, bytes."""


def head_of(unit: str) -> Actor:
    """The post that answers for a unit."""
    return Actor(post=f"TP-{unit}", unit=unit)


def content(unit: str, phase: str | None = None, milestones: int = 0) -> TaskContent:
    """A six-clear task far from its limit."""
    return TaskContent(
        person=head_of(unit).post,
        work="Nhiệm vụ mẫu để đo tốc độ tiếp nhận",
        due=Due(day=DUE),
        responsibility="Chủ trì thực hiện",
        authority="APPROVE-RESULT",
        deliverables=(Deliverable(code="D1", what="Báo cáo kết quả"),),
        measures=(Measure(what="Hoàn thành đúng hạn"),),
        checking=CheckingRule(checked_by="TP-VP", every="weekly"),
        lead_unit=unit,
        phase=phase,
        milestones=tuple(
            Milestone(code=f"M{number}", what="Mốc trung gian", due=Due(day=date(2029, 1 + number % 12, 1 + number)))
            for number in range(milestones)
        ),
    )


@dataclass(frozen=True)
class Chain:
    """What has happened to an assignment: the commands it went through, in order."""

    unit: str
    done: bool
    commands: tuple[tuple[Actor, Command], ...]


def chain(
    unit: str = UNIT,
    phase: str | None = None,
    *,
    reports: int = 0,
    milestones: int = 0,
    started: bool = True,
    done: bool = False,
) -> Chain:
    """Assigned, started, reported on so many times, and when `done` submitted and signed off."""
    head = head_of(unit)
    begun = ((head, StartWork()),) if started else ()
    told = ((head, ReportProgress(percent=number % 100)) for number in range(reports))
    assigned = AssignTask(content=content(unit, phase, milestones))
    evidence = Evidence(system="DMS", number="KQ-1", sha256="0" * 64)
    ended = ((head, SubmitResult(evidence=(evidence,))), (SIGNER, SignOffCompletion())) if done else ()
    return Chain(unit, done, ((DIRECTOR, assigned), *begun, *told, *ended))


def mixed_chains() -> tuple[Chain, ...]:
    """Four units, two phases, most tasks in work and some done: about ten events an assignment."""
    return tuple(
        chain(unit, phase, reports=6 if done else 7, done=done)
        for unit in UNITS
        for phase in PHASES
        for done in (False, False, True)
    )


Ids = Callable[[int], Iterator[str]]


def uuid7s(since_ms: int) -> Iterator[str]:
    """Ids as RFC 9562 lays UUIDv7 out: milliseconds, a counter, randomness; a thousand a millisecond at most."""
    numbers = random.Random(since_ms)
    while True:
        for counter in range(1000):
            high = since_ms << 80 | 7 << 76 | counter << 64
            yield str(UUID(int=high | 2 << 62 | numbers.getrandbits(62)))
        since_ms += 1


def random_ids(seed: int) -> Iterator[str]:
    """Random ids (UUIDv4)."""
    numbers = random.Random(seed)
    while True:
        yield str(UUID(int=numbers.getrandbits(128), version=4))


def code_of(number: int, series: str = "B") -> str:
    """The code of a cloned assignment."""
    return f"{series}-{number:07}"


def progress(count: int, assignments: Sequence[int], at: datetime, ids: Iterator[str], first: int = 0) -> list[Message]:
    """Progress reports, one assignment after the other, as a department's system would write them."""
    head, among = head_of(UNIT), len(assignments)
    return [
        (SOURCE, PROGRAMME, to_json(report(assignments[(first + n) % among], n % 100, head, at, next(ids)), SOURCE))
        for n in range(count)
    ]


def report(assignment: int, percent: int, actor: Actor, at: datetime, id_: str) -> Outgoing:
    """One progress report."""
    subject = f"assignment/{PROGRAMME}/{code_of(assignment)}"
    data = ReportProgress(percent=percent)
    return Outgoing(id_, "assignment", data, subject, PROGRAMME, ORGANISATION, actor, at)


def outgoing(chain: Chain, code: str, at: datetime) -> Sequence[Outgoing]:
    """The commands of a chain for one assignment."""
    subject = f"assignment/{PROGRAMME}/{code}"
    return [
        Outgoing(f"{code}.{number}", "assignment", command, subject, PROGRAMME, ORGANISATION, actor, at)
        for number, (actor, command) in enumerate(chain.commands)
    ]

"""Given, when, then for the domain: a world of folded streams, without engines.

`world.do(command, subject, actor, at)` decides against the folded states, applies what came of it to its streams and
returns it; a refusal is raised. Times are local (`2026-06-05T14:00`) or aware datetimes.
"""

import importlib.util
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from contracts.base import Command
from contracts.deadlines import RecordDeadlineApproached, RecordDeadlinePassed
from contracts.envelope import Actor
from contracts.limits import DueRule, Offset
from contracts.organisation import EstablishPost, EstablishUnit, RegisterOrganisation, UnitKind
from contracts.programme import (
    ContentArea,
    DefineRegime,
    EscalationPolicy,
    Ladder,
    Participation,
    RegimeDefinition,
    RegisterProgramme,
    RoleHolding,
    Rung,
    Settings,
)
from contracts.types import TextRef
from domain.calendar import LOCAL
from domain.kernel import Decider, Recorded, Request

ORG, PROG = "SVHTTDL", "SVHTTDL-TD500"
_MODULES = ("organisation", "programme", "phase", "obligation", "assignment", "warning")


def local(text: str | datetime) -> datetime:
    """An instant from local ISO text; aware datetimes pass."""
    instant = datetime.fromisoformat(text) if isinstance(text, str) else text
    return instant if instant.tzinfo else instant.replace(tzinfo=LOCAL)


def text(words: str = "x") -> TextRef:
    """An erasable text as intake has sealed it."""
    return TextRef(ref="00000000-0000-0000-0000-000000000000", digest=words.encode().hex().ljust(64, "0")[:64])


def deciders() -> dict[str, Decider[Any]]:
    """The deciders of all aggregates there are."""
    found = [importlib.import_module(f"domain.{name}").DECIDER for name in _MODULES if _exists(name)]
    return {decider.name: decider for decider in found}


def _exists(name: str) -> bool:
    return importlib.util.find_spec(f"domain.{name}") is not None


class _Context:
    def __init__(self, world: "World", now: datetime) -> None:
        self._world, self.now = world, now

    def load(self, stream: str) -> Any | None:
        return self._world.states.get(stream)

    def load_all(self, streams: Sequence[str]) -> list[Any | None]:
        return [self._world.states.get(stream) for stream in streams]


class World:
    """All streams of an installation, folded; `now` is the last instant anything was recorded."""

    def __init__(self, organisation: str = ORG, programme: str = PROG) -> None:
        self.organisation, self.programme = organisation, programme
        self.deciders = deciders()
        self.states: dict[str, Any] = {}
        self.events: list[Recorded[Any]] = []
        self.versions: dict[str, int] = {}
        self.units: dict[str, str] = {}
        self.commands = 0
        self.now = local("2026-05-01T08:00")

    def do(
        self,
        command: Command,
        subject: str,
        actor: str = "GD",
        at: str | datetime | None = None,
        *,
        now: str | datetime | None = None,
        source: str = "qlvb",
        unit: str | None = None,
        authority: str | None = None,
    ) -> list[Recorded[Any]]:
        """Decide, apply, return. `at` is when it happened, `now` when it is recorded (the same unless given)."""
        occurred_at = local(at) if at is not None else self.now
        recorded_at = local(now) if now is not None else occurred_at
        self.commands += 1
        request: Request[Any] = Request(
            data=command,
            subject=subject,
            occurred_at=occurred_at,
            actor=Actor(post=actor, unit=unit or self.units.get(actor, actor), authority=authority),
            source=source,
            id=f"C-{self.commands}",
            organisation=self.organisation,
            programme=self.programme,
        )
        decider = self.deciders[subject.split("/", 1)[0]]
        self.now = recorded_at
        decided = decider.decide(request, self.states.get(subject), _Context(self, recorded_at))
        return [self._apply(request, change, recorded_at, number) for number, change in enumerate(decided)]

    def _apply(self, request: Request[Any], change: Any, recorded_at: datetime, number: int) -> Recorded[Any]:
        stream = change.stream or request.subject
        self.versions[stream] = self.versions.get(stream, 0) + 1
        recorded: Recorded[Any] = Recorded(
            data=change.event,
            stream=stream,
            version=self.versions[stream],
            occurred_at=change.occurred_at or request.occurred_at,
            recorded_at=recorded_at,
            actor=request.actor,
            organisation=request.organisation,
            programme=request.programme,
            sender=request.source,
            command_id=request.id,
            correlation_id=request.id,
            causation_id=request.id,
            id=f"{request.id}.{number}",
            position=len(self.events) + 1,
            policy_version=change.policy_version,
        )
        self.events.append(recorded)
        aggregate = self.deciders[recorded.aggregate]
        assert type(recorded.data) in aggregate.contract.events, f"{type(recorded.data)} is no event of {stream}"
        self.states[stream] = aggregate.evolve(self.states.get(stream), recorded)
        return recorded

    def state(self, stream: str) -> Any:
        """The folded state of a stream; None when it has no events."""
        return self.states.get(stream)

    def timekeeper(self, until: str | datetime, *, late: str | datetime | None = None) -> list[Recorded[Any]]:
        """Fire what is due up to an instant, each at its own time, or all of it `late`."""
        found: list[Recorded[Any]] = []
        while due := self.next_due(local(until)):
            at, stream, command = due
            found += self.do(command, stream, "TIMEKEEPER", late or at, source="timekeeper", unit="SAURO")
        return found

    def next_due(self, until: datetime) -> tuple[datetime, str, Command] | None:
        """The first timer due up to an instant: when, on which stream, and the timekeeper's command."""
        due: list[tuple[datetime, str, Command]] = []
        for stream, state in self.states.items():
            deadlines = getattr(state, "deadlines", None)
            for deadline in deadlines.live.values() if deadlines is not None else ():
                if deadline.passed:
                    continue
                due.append((deadline.limit.at, stream, RecordDeadlinePassed(key=deadline.key)))
                due += [
                    (lead.at, stream, RecordDeadlineApproached(key=deadline.key, rung=lead.rung))
                    for lead in deadline.leads
                    if lead.rung not in deadline.fired
                ]
        first = min(due, key=lambda found: (found[0], found[1]), default=None)
        return first if first is not None and first[0] <= until else None


def names(recorded: list[Recorded[Any]]) -> list[str]:
    """The event names, in order."""
    return [type(event.data).__name__ for event in recorded]


POLICY = EscalationPolicy(
    policy_version=1,
    ours=True,
    ladders=(
        Ladder(
            kinds=("assignment_due", "obligation_due", "assignment_milestone"),
            rungs=(
                Rung(offset=Offset(days=-3), level=0, recipients=("accountable",), act="remind"),
                Rung(offset=Offset(), level=1, recipients=("accountable", "unit_head"), act="warn"),
                Rung(offset=Offset(days=2), level=2, recipients=("coordinating_office",), act="demand_explanation"),
                Rung(offset=Offset(days=5), level=3, recipients=("director",), act="escalate"),
            ),
        ),
        Ladder(
            kinds=("phase_end", "phase_review_due", "progress_update_due"),
            rungs=(Rung(offset=Offset(), level=1, recipients=("coordinating_office",), act="warn"),),
        ),
    ),
)
ROLES = (
    RoleHolding(role="director", posts=("GD",)),
    RoleHolding(role="coordinating_office", posts=("VPS-CVP",)),
    RoleHolding(role="assigner", posts=("GD",)),
    RoleHolding(role="extension_approver", posts=("GD",)),
    RoleHolding(role="reviewer", posts=("VPS-CVP", "VPS-PVP")),
)
_UNITS: tuple[tuple[str, UnitKind, str, str], ...] = (
    ("BGD", "authority", "GD", "PGD"),
    ("VPS", "office", "VPS-CVP", "VPS-PVP"),
    ("PBCXB", "division", "PBCXB-TP", "PBCXB-PP"),
    ("QLVH", "division", "QLVH-TP", "QLVH-PP"),
)


def sample_world(
    *,
    issued_on: date | None = date(2026, 5, 30),
    settings: Settings | None = None,
    window_end: date | None = date(2027, 9, 30),
    at: str = "2026-05-30T07:00",
) -> World:
    """Department SVHTTDL with four units, each a head and a deputy, and its 500-day programme."""
    world = World()
    stream = f"organisation/{ORG}"
    world.do(RegisterOrganisation(name_vi="Sở VHTTDL", kind="department"), stream, at="2026-01-01T08:00")
    for unit, kind, head, deputy in _UNITS:
        world.do(EstablishUnit(unit=unit, name_vi=unit, kind=kind, valid_from=date(2026, 1, 1)), stream)
        for post in (head, deputy):
            world.units[post] = unit
            world.do(EstablishPost(post=post, unit=unit, title_vi=post, head=post == head), stream)
    programme = RegisterProgramme(
        title_vi="Kế hoạch 500 ngày đêm",
        kind="EMULATION-PLAN",
        issued_on=issued_on,
        window_end=window_end,
        content_areas=(ContentArea(code="AREA-1", name_vi="Lĩnh vực 1"),),
        participants=(
            Participation(unit="VPS", role="đầu mối"),
            Participation(unit="PBCXB", role="thực hiện", executes=True),
            Participation(unit="QLVH", role="thực hiện", executes=True),
        ),
        roles=ROLES,
        settings=settings or Settings(),
        policy=POLICY,
    )
    world.do(programme, f"programme/{PROG}", "GD", at)
    return world


def define_regime(
    world: World, code: str, frequency: Any, due: DueRule | None = None, **more: Any
) -> list[Recorded[Any]]:
    """Define a regime as the coordinating office does."""
    regime = RegimeDefinition(code=code, name_vi=f"Báo cáo {code}", frequency=frequency, due=due, **more)
    return world.do(DefineRegime(regime=regime), f"programme/{PROG}", "VPS-CVP")

"""What came of a run, as data: the JSON of `sauro demo --json` and the figures its tables show."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from domain.assignment_content import missing_fields
from domain.assignment_state import Assignment
from domain.obligation_state import Obligation
from domain.warning_state import OPEN, Warned
from projections import queries_scorecards as scorecards
from projections.queries import begin_snapshot
from projections.scope import EVERYTHING
from projections.scorecards import RATES_VERSION
from projections.status import quarantined
from services.programmes.check import Checked
from services.projector.rebuild import rebuild
from services.simulation.desk import WRONG, Desk
from services.simulation.world import World
from services.spine import Spine
from services.store import Store

_CHUNK = 2000


@dataclass(frozen=True)
class DemoResult:
    """`document` is what `--json` writes; the rest serves the tables."""

    document: dict[str, Any]
    titles: dict[str, str]
    drafts: tuple[tuple[str, str, tuple[str, ...]], ...]
    joint_leads: tuple[tuple[str, str, tuple[str, ...], str], ...]
    late_task: str | None = None
    """The stream of a task that went late, was warned about, explained and decided: one for a reviewer to follow."""

    def as_json(self) -> str:
        """The document as JSON."""
        return orjson.dumps(self.document, default=_plain, option=orjson.OPT_INDENT_2).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def build_result(
    store: Store, spine: Spine, world: World, desk: Desk, programmes: tuple[Checked, ...], days: int, elapsed: float
) -> DemoResult:
    """Gather everything; rebuilds the read models beside the live ones to compare them."""
    codes = [checked.programme.code for checked in programmes if checked.programme]
    outcomes = spine.intake.outcomes
    names = world.names
    document = {
        "programmes": codes,
        "virtual_days": days,
        "elapsed_s": round(elapsed, 1),
        "commands": {name: outcomes.get(name, 0) for name in ("accepted", "rejected", "duplicate")},
        "unreadable": outcomes.get("unreadable", 0),
        "events": world.position,
        "deadlines": {
            "scheduled": names["DeadlineScheduled"] + names["DeadlineRescheduled"],
            "passed": names["DeadlinePassed"],
            "fired": names["DeadlinePassed"] + names["DeadlineApproached"],
        },
        "warnings": _warnings(world),
        "transitions": world.transitions.counts(),
        **_scorecards(store, codes),
        "log": {"position": world.position, "digest": world.digest},
        "projections": _projections(store),
        "refusals": refusals(store, desk),
        "rounds": spine.rounds,
    }
    titles = {c.programme.code: c.programme.title.vi for c in programmes if c.programme}
    drafts, joint_leads = tuple(_drafts(world, codes)), tuple(_joint_leads(world, codes))
    return DemoResult(document, titles, drafts, joint_leads, _late_task(world))


def _late_task(world: World) -> str | None:
    """The first task, in order of their beginning, that was finished after its warning had climbed and its explanation stood."""
    climbed = {
        s.about for s in world.states.values() if isinstance(s, Warned) and s.level >= 2 and s.status == "resolved"
    }
    explained = {
        state.duty.about
        for state in world.states.values()
        if isinstance(state, Obligation) and state.duty.kind == "explanation" and state.status == "accepted"
    }
    late = (
        stream
        for stream, state in world.states.items()
        if stream in climbed and stream in explained and isinstance(state, Assignment) and state.status == "completed"
    )
    return next(late, None)


def _warnings(world: World) -> dict[str, int]:
    states = [state for state in world.states.values() if isinstance(state, Warned)]
    return {
        "raised": world.names["WarningRaised"],
        "escalated": world.names["WarningEscalated"],
        "resolved": world.names["WarningResolved"],
        "open": sum(state.status in OPEN for state in states),
    }


def _scorecards(store: Store, codes: list[str]) -> dict[str, Any]:
    departments: list[dict[str, Any]] = []
    phases: list[dict[str, Any]] = []
    totals: list[dict[str, Any]] = []
    with store.recorder.transaction() as cursor:
        begin_snapshot(cursor)
        for code in codes:
            departments += scorecards.department_rows(cursor, EVERYTHING, code)
            states = {row["code"]: row for row in scorecards.phases(cursor, EVERYTHING, code)}
            for row in scorecards.phase_totals(cursor, EVERYTHING, code):
                about = states.get(row["phase"], {})
                phases.append({**row, "name_vi": about.get("name_vi"), "status": about.get("status")})
            totals += scorecards.programme_totals(cursor, EVERYTHING, code)
    versioned = {"rates_version": RATES_VERSION}
    found = {"departments": departments, "phases": phases, "totals": totals}
    return {name: [row | versioned for row in rows] for name, rows in found.items()}


def _projections(store: Store) -> list[dict[str, Any]]:
    with store.recorder.transaction() as cursor:
        stopped = Counter(row["model"] for row in quarantined(cursor))
    return [
        {
            "name": built.name,
            "position": built.position,
            "checksum": built.checksum,
            "rebuilt_checksum": built.rebuilt_checksum,
            "quarantined": stopped[built.name],
        }
        for built in rebuild(store)
    ]


def refusals(store: Store, desk: Desk) -> dict[str, Any]:
    """Refused commands of the departments by rule, and those that were not meant to be refused."""
    rules: Counter[str] = Counter()
    unexpected: list[str] = []
    for start in range(0, len(desk.sent), _CHUNK):
        for (source, id_), (receipt, _) in store.recorder.receipts(desk.sent[start : start + _CHUNK]).items():
            if receipt.refusal is None:
                continue
            rules[receipt.refusal.rule] += 1
            if not id_.endswith(WRONG):
                unexpected.append(f"{source} {id_} {receipt.refusal.rule}: {receipt.refusal.message}")
    return {"by_rule": dict(sorted(rules.items())), "unexpected": sorted(unexpected)}


def _drafts(world: World, codes: list[str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Tasks that are not yet six-clear, with what they lack: programme, code, missing fields (R-023)."""
    for programme in codes:
        for stream in world.streams("assignment", programme):
            task = world.assignment(stream)
            if task.status == "draft":
                yield programme, task.code, missing_fields(task.content)


def _joint_leads(world: World, codes: list[str]) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Tasks whose source names several leads: programme, code, the named ones, the one that leads now (R-083)."""
    for programme in codes:
        for stream in world.streams("assignment", programme):
            task = world.assignment(stream)
            if task.content.lead_resolution is not None:
                yield programme, task.code, task.content.lead_resolution.named, task.unit or "-"

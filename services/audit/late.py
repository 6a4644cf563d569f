"""Late entry, visible: what was entered long after it happened, dated back across a limit, or moved after its limit had passed.

Each with both times, who did it, and what the verdict is by either clock (R-347). Which of the two counted, the programme's
tolerance says; rungs and limits themselves carry their own instants by design and are left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from psycopg import Cursor

from domain.deadlines import SILENT
from domain.kernel import SYSTEM_SOURCES
from domain.timeliness import deciding_instant, judge
from projections import queries_history as queries
from projections.scope import ReadScope
from services.audit.causation import RESTS, SETS, Document, name_of, parsed
from services.audit.chronicle import Tolerances
from services.audit.narrative import instant
from services.registry import Registry

Why = Literal["entered_late", "back_dated_across_limit", "limit_moved_after_passing"]
_SHORTEST = timedelta(minutes=1)
"""Entering takes a moment: nobody is called late for less than this, whatever the programme tolerates."""
_BY_THEMSELVES = SILENT | {"progress_update_due"}
"""Limits that move with the calendar or with each report, not by a decision."""


@dataclass(frozen=True, slots=True)
class LateEntry:
    """One entry. `limit_at` is the limit it lies across, or the one it replaced; verdicts are None without a limit.

    `counted` says which clock the programme's tolerance lets decide.
    """

    document: Document
    why: Why
    delay: timedelta
    tolerance: timedelta
    counted: Literal["occurred", "recorded"]
    limit_at: datetime | None = None
    limit_kind: str | None = None
    by_occurred: str | None = None
    by_recorded: str | None = None


@dataclass(frozen=True, slots=True)
class _Limit:
    """A limit of a stream in one version, and between which positions it was in force."""

    kind: str
    occurrence: str
    at: datetime
    since: int
    until: int | None


def late_entries(
    cursor: Cursor[Any], scope: ReadScope, registry: Registry, programme: str | None = None
) -> list[LateEntry]:
    """All late entries in log order, of one programme if it is named. An entry may stand there for two reasons."""
    late = [d for d in parsed(queries.entered_late(cursor, scope, programme, _SHORTEST)) if _by_people(d)]
    moved = [d for d in parsed(queries.moved_limits(cursor, scope, programme)) if _by_people(d)]
    moved = [d for d in moved if d["data"]["key"]["kind"] not in _BY_THEMSELVES]
    limits = _limits(parsed(queries.limits_of(cursor, {d["subject"] for d in (*late, *moved)})))
    tolerances = Tolerances.of(cursor, scope, registry, {d["programme"] for d in (*late, *moved)})
    found = [entry for document in late for entry in _judged(document, limits, tolerances)]
    found += [entry for document in moved for entry in _moved(document, limits, tolerances)]
    return sorted(found, key=lambda entry: (entry.document["position"], entry.why))


def _by_people(document: Document) -> bool:
    return document["sender"] not in SYSTEM_SOURCES


def _judged(document: Document, limits: dict[str, list[_Limit]], tolerances: Tolerances) -> Iterable[LateEntry]:
    occurred, recorded = instant(document["time"]), instant(document["recordedtime"])
    tolerance = tolerances.at(document["programme"], document["position"])
    delay, late = recorded - occurred, deciding_instant(occurred, recorded, tolerance)[1]
    counted: Literal["occurred", "recorded"] = "recorded" if late else "occurred"
    across = [limit for limit in limits.get(document["subject"], ()) if _in_force(limit, document["position"])]
    across = [limit for limit in across if occurred < limit.at <= recorded]
    for limit in across:
        verdicts = judge(occurred, limit.at), judge(recorded, limit.at)
        yield LateEntry(document, "back_dated_across_limit", delay, tolerance, counted, limit.at, limit.kind, *verdicts)
    if late and not across:
        yield LateEntry(document, "entered_late", delay, tolerance, counted)


def _moved(document: Document, limits: dict[str, list[_Limit]], tolerances: Tolerances) -> Iterable[LateEntry]:
    occurred, recorded = instant(document["time"]), instant(document["recordedtime"])
    key = document["data"]["key"]
    tolerance = tolerances.at(document["programme"], document["position"])
    late = deciding_instant(occurred, recorded, tolerance)[1]
    for limit in limits.get(document["subject"], ()):
        replaced = limit.until == document["position"] and (limit.kind, limit.occurrence) == (
            key["kind"],
            key["occurrence"],
        )
        if replaced and limit.at <= recorded:
            verdicts = judge(occurred, limit.at), judge(recorded, limit.at)
            counted: Literal["occurred", "recorded"] = "recorded" if late else "occurred"
            yield LateEntry(
                document,
                "limit_moved_after_passing",
                recorded - occurred,
                tolerance,
                counted,
                limit.at,
                limit.kind,
                *verdicts,
            )


def _in_force(limit: _Limit, position: int) -> bool:
    """Whether a limit stood when an event was recorded; one that the event's own command ended (just after) still did."""
    return limit.since < position and (limit.until is None or position < limit.until)


def _limits(documents: Iterable[Document]) -> dict[str, list[_Limit]]:
    """The limits of each stream that warnings stand on, in all their versions."""
    found: dict[str, list[_Limit]] = {}
    for document in documents:
        key, own = document["data"]["key"], found.setdefault(document["subject"], [])
        if key["kind"] in SILENT:
            continue
        name, position = name_of(document), document["position"]
        if name in SETS or name in RESTS - {"DeadlineApproached", "DeadlinePassed"}:
            for number, limit in enumerate(own):
                if limit.until is None and (limit.kind, limit.occurrence) == (key["kind"], key["occurrence"]):
                    own[number] = _Limit(limit.kind, limit.occurrence, limit.at, limit.since, position)
        if name in SETS:
            own.append(_Limit(key["kind"], key["occurrence"], instant(document["data"]["limit"]["at"]), position, None))
    return found

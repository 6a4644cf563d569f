"""What the timekeeper and the warning service should have done, re-run over the log, against what was recorded.

Pure but for reading: the log is folded in order with the domain's own rules. For each limit that was set, the rungs its policy
calls for are computed again with the policy and calendar in force then, and each must be on record at its own instant. For each
rung and limit on record, the commands the warning service owes are derived again (`services.warning.reactions`), and at the place
of their receipts decided again by the domain on the states of that moment: the same events must stand there (R-131, R-353).

A difference is explained only by what the log itself shows: silence of the service that should have acted, or of all. The log's
only heartbeat is that commands were answered, so a service with nothing else to do is silent, too: what never came is
explained only by a silence in which something else fell due as well.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from psycopg import Cursor

from contracts.deadlines import DEADLINE_EVENTS
from contracts.programme import EscalationPolicyAdopted
from contracts.warning import RecordDelivery, WarningEscalated, WarningRaised
from domain.escalation import leads
from domain.kernel import Recorded
from domain.programme_state import Programme
from projections import queries_history as queries
from projections.queries import Row
from services.audit.rungs import CATCH_UP, MARGIN, Activity, Rungs
from services.eventlog.codec import EventCodec
from services.eventlog.reading import states_after
from services.intake.deciding import decide_one
from services.intake.reading import CommandReader, Incoming, Readable
from services.intake.states import Folder, Loaded, Overlay, StateCache
from services.outgoing import Outgoing, to_json
from services.registry import Registry
from services.senders import derived_id
from services.timekeeper.core import SOURCE as TIMEKEEPER
from services.warning.core import SOURCE as WARNING
from services.warning.reactions import HEARD, reactions

__all__ = ["CATCH_UP", "MARGIN", "Finding", "Reconciliation", "reconcile"]
_NOTHING_ELSE = "was silent, but nothing else that was looked at fell due then: that it was down is not borne out"
What = Literal["missed", "late", "twice", "different", "uncalled", "unreceipted"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A rung that is not on record as it should be. `reason` None: nothing in the log explains it. Instants are UTC."""

    what: What
    stream: str
    rung: str
    due_at: datetime
    recorded_at: datetime | None = None
    position: int | None = None
    reason: str | None = None
    silent_from: datetime | None = None
    silent_until: datetime | None = None
    detail: str | None = None


@dataclass
class Reconciliation:
    """What came of it: how many rungs were expected and on record, why others were not due, and what is left over."""

    until: datetime | None = None
    on_record: Counter[str] = field(default_factory=Counter)
    not_due: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    @property
    def unexplained(self) -> list[Finding]:
        """Findings without a reason."""
        return [finding for finding in self.findings if finding.reason is None]


@dataclass(frozen=True, slots=True)
class _Owed:
    """A command the warning service owes, and the event that calls for it."""

    outgoing: Outgoing
    event: Recorded[Any]

    @property
    def name(self) -> str:
        return type(self.outgoing.command).__name__


class _Past(StateCache):
    """Every stream's state at one place of the log."""

    def __init__(self) -> None:
        self.states: dict[str, Loaded] = {}

    def get(self, stream: str) -> Loaded:
        """The state; an empty one before the first event."""
        return self.states.get(stream) or Loaded()


class Counterfactual:
    """One pass over receipts and events in log order."""

    def __init__(self, cursor: Cursor[Any], registry: Registry, programme: str | None) -> None:
        self._cursor, self._codec = cursor, EventCodec(registry.contracts)
        self._folder, self._reader = Folder(registry.deciders), CommandReader(registry.contracts)
        self._past, self._owed = _Past(), dict[str, _Owed]()
        self._found, self._activity, self._rungs = Reconciliation(), Activity(), Rungs()
        self._streams: frozenset[str] | None = None
        if programme is not None:
            owner = queries.organisation_of(cursor, programme) or programme
            self._streams = frozenset({programme, owner})

    def run(self, until: datetime | None) -> Reconciliation:
        """Walk the log, then judge what is still owed at its end (or at `until`, if that is later)."""
        events = self._events()
        waiting, last = next(events, None), until
        for receipt in queries.receipts_in_order(self._cursor):
            last = receipt["recorded_at"]
            self._activity.note(receipt["source"], receipt["recorded_at"])
            first, own = receipt["first_position"], []
            while first is not None and waiting is not None and waiting[0] < first + receipt["event_count"]:
                if waiting[0] < first:
                    self._unreceipted(waiting[1])
                elif waiting[1] is not None:
                    own.append(waiting[1])
                waiting = next(events, None)
            self._take(receipt, own)
        while waiting is not None:
            self._unreceipted(waiting[1])
            waiting = next(events, None)
        return self._judged(max((at for at in (last, until) if at is not None), default=None))

    def _events(self) -> Iterator[tuple[int, Recorded[Any] | None]]:
        """Position and event in log order; None for events of programmes that were not asked for."""
        position = 0
        while states := states_after(self._cursor, position, queries.CHUNK):
            for state in states:
                position = int(state[len(b'{"position":') : state.index(b",")])
                yield position, self._codec.decode(state) if self._streams is None or self._mine(state) else None

    def _mine(self, state: bytes) -> bool:
        assert self._streams is not None
        return state.split(b'"subject":"', 1)[1].split(b'"', 1)[0].decode().split("/")[1] in self._streams

    def _take(self, receipt: Row, events: list[Recorded[Any]]) -> None:
        """A command in its turn: decided again if the warning service owed it, then its events are folded."""
        owed = self._owed.pop(receipt["command_id"], None) if receipt["source"] == WARNING else None
        if owed is not None:
            self._compare(owed, receipt, events)
        elif receipt["source"] == WARNING and events:
            self._odd(
                "uncalled", events[0], f"no event calls for command {receipt['command_id']} of the warning service"
            )
        for event in events:
            self._fold(event)

    def _unreceipted(self, event: Recorded[Any] | None) -> None:
        if event is None:
            return
        self._odd("unreceipted", event, "no receipt covers this event: no command led to it")
        self._fold(event)

    def _compare(self, owed: _Owed, receipt: Row, events: list[Recorded[Any]]) -> None:
        late = receipt["recorded_at"] - owed.event.recorded_at
        if not isinstance(owed.outgoing.command, RecordDelivery):
            self._decide_again(owed, receipt, events)
        if receipt["refusal"] is not None:
            self._found.not_due[f"refused: {receipt['refusal']['rule']}"] += 1
        elif not events:
            self._found.not_due[f"{owed.name} called for nothing"] += 1
        elif late > MARGIN:
            self._late("late", owed, receipt["recorded_at"], events[0].position)
        else:
            self._found.on_record[owed.name] += 1

    def _decide_again(self, owed: _Owed, receipt: Row, events: list[Recorded[Any]]) -> None:
        readable = self._read(owed.outgoing)
        overlay = Overlay(self._past, self._folder, receipt["recorded_at"])
        again = decide_one(readable, self._folder.deciders[readable.aggregate], overlay)
        recorded = tuple(event._replace(position=0) for event in events)
        rule = receipt["refusal"]["rule"] if receipt["refusal"] else None
        told = None
        if readable.digest != bytes(receipt["digest"]):
            told = "another command was sent under this id than the event calls for"
        elif (again.refusal.rule if again.refusal else None) != rule:
            told = (
                f"decided again: {again.refusal.rule if again.refusal else 'accepted'}; on record: {rule or 'accepted'}"
            )
        elif again.events != recorded:
            told = f"decided again: {_names(again.events)}; on record: {_names(recorded)}"
        if told is not None:
            at, first = owed.event.occurred_at, events[0].position if events else None
            found = Finding(
                "different", owed.outgoing.subject, owed.name, at, receipt["recorded_at"], first, detail=told
            )
            self._found.findings.append(found)

    def _read(self, outgoing: Outgoing) -> Readable:
        found = self._reader.read(Incoming(WARNING, outgoing.programme, to_json(outgoing, WARNING), 0))
        assert isinstance(found, Readable), found
        return found

    def _fold(self, event: Recorded[Any]) -> None:
        self._past.states[event.stream] = self._folder.fold(self._past.get(event.stream), event)
        data = event.data
        if isinstance(data, DEADLINE_EVENTS):
            self._limit(event)
            if type(data).__name__ in HEARD:
                self._owed |= {command.id: _Owed(command, event) for command in reactions(event)}
        elif isinstance(data, EscalationPolicyAdopted):
            self._policy_changed(event)
        elif isinstance(data, WarningRaised | WarningEscalated):
            id_ = derived_id(WARNING, event.id, "delivered")
            delivery = RecordDelivery.model_construct(level=data.level, notices=())
            address = event.stream, event.programme, event.organisation, event.actor, event.recorded_at
            self._owed[id_] = _Owed(Outgoing(id_, "warning", delivery, *address), event)

    def _policy_changed(self, event: Recorded[Any]) -> None:
        """Count the rungs that limits in force would have under the new policy: they keep the one they were set under."""
        programme = self._past.get(event.stream).state
        assert isinstance(programme, Programme)
        for stream, key, limit, due in self._rungs.in_force(event.programme):
            category = getattr(self._past.get(stream).state, "category", None)
            again = {lead.rung: lead.at for lead in leads(programme, key.kind, limit, category, event.recorded_at)}
            self._found.not_due["policy changed after the limit was set"] += len(again.items() - due.items())

    def _limit(self, event: Recorded[Any]) -> None:
        if (odd := self._rungs.take(event)) is not None:
            self._odd(odd[0], event, odd[1])
        if not hasattr(event.data, "leads"):
            return
        programme = self._past.get(f"programme/{event.programme}").state
        subject = self._past.get(event.stream).state
        if not isinstance(programme, Programme) or not programme.policies:
            return
        category = getattr(subject, "category", None)
        again = leads(programme, event.data.key.kind, event.data.limit, category, event.recorded_at)
        if again != event.data.leads:
            shown = ", ".join(f"{lead.rung} at {lead.at.isoformat()}" for lead in again) or "none"
            detail = f"by policy {programme.policy_version} the rungs before this limit are: {shown}"
            self._odd("different", event, detail)

    def _judged(self, until: datetime | None) -> Reconciliation:
        self._found.until = until
        if until is None:
            return self._found
        for rung in self._rungs.judged(until):
            if rung.verdict == "on_record":
                self._found.on_record[rung.name.split(" ")[0]] += 1
            elif rung.verdict == "not_due":
                self._found.not_due[rung.why] += 1
            else:
                self._excused(
                    Finding(rung.verdict, rung.stream, rung.name, rung.at, rung.recorded_at, rung.position),
                    rung.since,
                    TIMEKEEPER,
                )
        for owed in self._owed.values():
            if until - owed.event.recorded_at <= MARGIN:
                self._found.not_due["still under way at the end"] += 1
            elif self._needed(owed, until):
                self._late("missed", owed, None, None)
            else:
                self._found.not_due[f"{owed.name} would call for nothing"] += 1
        self._found.findings = sorted(self._borne_out(), key=lambda finding: (finding.due_at, finding.stream))
        return self._found

    def _borne_out(self) -> Iterator[Finding]:
        """The findings; what never came keeps its reason only where the same silence held back something else, too."""
        held_back = Counter(map(_silence_of, self._found.findings))
        for finding in self._found.findings:
            if finding.what == "missed" and finding.reason is not None and held_back[_silence_of(finding)] == 1:
                yield replace(finding, reason=None, detail=f"{finding.detail} {_NOTHING_ELSE}")
            else:
                yield finding

    def _needed(self, owed: _Owed, until: datetime) -> bool:
        """Whether a command that never came would still lead to something."""
        if isinstance(owed.outgoing.command, RecordDelivery):
            return True
        readable = self._read(owed.outgoing)
        overlay = Overlay(self._past, self._folder, until)
        return bool(decide_one(readable, self._folder.deciders[readable.aggregate], overlay).events)

    def _late(self, what: What, owed: _Owed, recorded_at: datetime | None, position: int | None) -> None:
        event = owed.event
        known = f"{owed.name} for {type(event.data).__name__} at position {event.position}"
        found = Finding(what, owed.outgoing.subject, known, event.occurred_at, recorded_at, position)
        self._excused(found, event.recorded_at, WARNING)

    def _excused(self, found: Finding, since: datetime, service: str) -> None:
        """A finding with the silence that explains it, if the log shows one."""
        silence = self._activity.silence(service, since, found.recorded_at, self._found.until)
        if silence is not None:
            found = replace(
                found, reason=silence.reason, silent_from=silence.start, silent_until=silence.end, detail=service
            )
        self._found.findings.append(found)

    def _odd(self, what: What, event: Recorded[Any], detail: str) -> None:
        """A finding about an event that should not stand as it does; nothing excuses it."""
        name = type(event.data).__name__
        found = Finding(what, event.stream, name, event.occurred_at, event.recorded_at, event.position, detail=detail)
        self._found.findings.append(found)


def _silence_of(finding: Finding) -> tuple[object, ...]:
    return finding.detail, finding.silent_from, finding.silent_until


def _names(events: tuple[Recorded[Any], ...]) -> str:
    return (
        ", ".join(f"{type(event.data).__name__} v{event.version} of {event.stream}" for event in events) or "no event"
    )


def reconcile(
    cursor: Cursor[Any], registry: Registry, programme: str | None = None, until: datetime | None = None
) -> Reconciliation:
    """Re-run the whole log, or what concerns one programme; the cursor must see one snapshot.

    `until` says how far time has come: limits up to then are due. Raises ValueError when the log goes further than that.
    """
    last = queries.last_answered(cursor)
    if until is not None and last is not None and until < last:
        raise ValueError(
            f"until {until.isoformat()} lies before the last receipt, of {last.isoformat()}: the whole log is reconciled, so"
            " name that moment or a later one, or none"
        )
    return Counterfactual(cursor, registry, programme).run(until)

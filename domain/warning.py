"""Warning: everything a warning can go through (appendix 3.6, groups H and I).

A deadline has at most two warnings: an early one, which its rungs before the limit raise and climb, and one for the limit
itself, which supersedes the early one and climbs the rungs after the limit while nobody answers. Both ids derive from the
deadline, so each rung fires once however often it is found (R-131).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contracts.deadlines import DeadlineKey, RecordDeadlineApproached, RecordDeadlinePassed
from contracts.limits import Limit
from contracts.programme import Ladder, Rung
from contracts.warning import (
    CONTRACT,
    AcknowledgeWarning,
    DismissWarning,
    EscalateWarning,
    RaiseWarning,
    RecordDelivery,
    RecordResponse,
    ResolveWarning,
    ResponseRecorded,
    SupersedeWarning,
    WarningAcknowledged,
    WarningDelivered,
    WarningDismissed,
    WarningEscalated,
    WarningKind,
    WarningRaised,
    WarningResolved,
    WarningSuperseded,
)
from domain.authority import by_known_actor, organisation_of, programme_of, require_role, surroundings
from domain.calendar import local_date
from domain.deadlines import Deadline, Deadlines, record_passing
from domain.escalation import Subject, ladder_for, ladder_of, next_rung_after, recipients, rung_at_limit, sign
from domain.kernel import (
    SYSTEM_SOURCES,
    Change,
    Changes,
    Context,
    Decider,
    NoSuchStream,
    Refused,
    Request,
    changes,
    dispatch,
    only_system,
    require_status,
)
from domain.limits import shift
from domain.obligation_opening import demand_explanation
from domain.obligation_state import Obligation
from domain.organisation import Organisation
from domain.programme_state import Programme
from domain.punctual import folded
from domain.warning_state import OPEN, Status, Warned, evolve, stream_of


class NotRecipient(Refused):
    """Only a post the warning was sent to, or the coordinating office, may answer it."""


def _kind(key: DeadlineKey, subject: Subject, early: bool) -> WarningKind:
    if early:
        return "early"
    if isinstance(subject, Obligation):
        return "missed_milestone" if subject.duty.kind == "phase_milestone" else "missed_report"
    kinds: dict[str, WarningKind] = {
        "assignment_milestone": "missed_milestone",
        "progress_update_due": "stale",
        "work_start_due": "stale",
    }
    return kinds.get(key.kind, "overdue")


def _raise(request: Request[RaiseWarning], state: Warned | None, context: Context) -> Changes:
    only_system(request)
    data = request.data
    subject: Subject | None = context.load(data.about)
    deadline = subject.deadlines.known(data.key) if subject else None
    if subject is None or deadline is None:
        return []  # no rung of this limit was ever reached
    programme = programme_of(request, context)
    ladder = ladder_of(programme, deadline, subject.category)
    if ladder is None:
        return []
    posts = _Posts(subject, programme, organisation_of(request, context))
    if data.rung is not None:
        limit = stream_of(request.programme, data.about, data.key, early=False)
        return _raise_early(
            data.rung, state, deadline, ladder, posts, data.about, overtaken=context.load(limit) is not None
        )
    found = rung_at_limit(ladder)
    if found is None or not deadline.passed or state is not None:
        return []
    raised = _raised(found, deadline, posts, data.about, early=False)
    early = _supersede_early(request, context) if deadline.fired else []  # without a rung before it there is none
    climbs = _response_due(Deadlines(), deadline.limit, ladder, found[0], programme, raised.policy_version or 1)
    return _effective(deadline.limit.at, *early, raised, *climbs)


def _effective(at: datetime, *found: Change) -> Changes:
    """Changes at the instant of the rung or limit that called for them, however late it was found (R-353, R-354)."""
    return [change._replace(occurred_at=at) for change in found]


@dataclass(frozen=True, slots=True)
class _Posts:
    """Whom a rung calls: resolved from subject, programme and organisation."""

    subject: Subject
    programme: Programme
    organisation: Organisation

    def of(self, rung: Rung) -> tuple[str, ...]:
        return recipients(rung, self.subject, self.programme, self.organisation)


def _raise_early(
    number: int,
    state: Warned | None,
    deadline: Deadline,
    ladder: Ladder,
    posts: _Posts,
    about: str,
    *,
    overtaken: bool,
) -> Changes:
    """The first rung before the limit raises the early warning, the next ones climb it.

    Every rung that was reached leaves its trace, even if it is answered only after the limit has passed; `overtaken` by
    the limit's own warning, the early one gives way at once.
    """
    if number >= len(ladder.rungs) or sign(ladder.rungs[number].offset) >= 0:
        return []
    rung = ladder.rungs[number]
    at = next((lead.at for lead in deadline.leads if lead.rung == number), None)
    if at is None or number not in deadline.fired:
        return []
    if state is None:
        given_way = [Change(WarningSuperseded(reason="stronger_warning"))] if overtaken else []
        return _effective(at, _raised((number, rung), deadline, posts, about, early=True), *given_way)
    if not state.is_open or number <= state.rung:
        return []
    climbed = WarningEscalated(level=rung.level, rung=number, act=rung.act, recipients=posts.of(rung), top=False)
    return _effective(at, Change(climbed, policy_version=deadline.policy_version))


def _raised(found: tuple[int, Rung], deadline: Deadline, posts: _Posts, about: str, *, early: bool) -> Change:
    number, rung = found
    raised = WarningRaised(
        about=about,
        key=deadline.key,
        limit=deadline.limit,
        kind=_kind(deadline.key, posts.subject, early),
        rule=f"{deadline.key.kind} rung {number}",
        rung=number,
        level=rung.level,
        act=rung.act,
        recipients=posts.of(rung),
        unit=posts.subject.unit,
        phase=posts.subject.phase,
    )
    return Change(raised, policy_version=deadline.policy_version or posts.programme.policy_version)


def _supersede_early(request: Request[RaiseWarning], context: Context) -> Changes:
    """The warning of the limit is the stronger one; the early one gives way in the same transaction."""
    stream = stream_of(request.programme, request.data.about, request.data.key, early=True)
    early: Warned | None = context.load(stream)
    if early is None or not early.is_open:
        return []
    return [Change(WarningSuperseded(reason="stronger_warning"), stream=stream)]


def _response_due(
    deadlines: Deadlines, limit: Limit, ladder: Ladder, number: int, programme: Programme, version: int
) -> Iterable[Change]:
    """The instant of the next rung, until which an answer is waited for."""
    if (following := next_rung_after(ladder, number)) is None:
        return
    at = shift(limit.at, following[1].offset, programme.calendar)
    respond_by = Limit(at=at, boundary="before", named=local_date(at).isoformat())
    yield Change(deadlines.schedule("warning_response_due", respond_by), policy_version=version)


def _delivered(request: Request[RecordDelivery], state: Warned, context: Context) -> Changes:
    only_system(request)
    data = request.data
    if data.level in state.delivered_levels or not state.is_open:
        return []
    return changes(WarningDelivered(level=data.level, notices=data.notices))


def _require_answerer(request: Request[Any], state: Warned, context: Context) -> None:
    if request.source in SYSTEM_SOURCES or request.actor.post in state.reached:
        return
    programme = programme_of(request, context)
    others = (*programme.roles.get("coordinating_office", ()), *programme.roles.get("director", ()))
    if request.actor.post not in others:
        raise NotRecipient(
            f"{request.subject} went to {', '.join(sorted(state.reached))}, not to '{request.actor.post}'",
            field="actorpost",
        )


def _acknowledge(request: Request[AcknowledgeWarning], state: Warned, context: Context) -> Changes:
    require_status(state, request, "delivered")
    if request.actor.post not in state.reached:
        raise NotRecipient(f"{request.subject} went to {', '.join(sorted(state.reached))}", field="actorpost")
    return changes(WarningAcknowledged(level=state.level))


def _respond(request: Request[RecordResponse], state: Warned | None, context: Context) -> Changes:
    if request.source in SYSTEM_SOURCES and (state is None or not state.is_open or state.status == "responded"):
        return []
    state, climbed = _climbed_unseen(request, _existing(request, state), context)
    if request.source not in SYSTEM_SOURCES:
        require_status(state, request, "delivered", "acknowledged")
    _require_answerer(request, state, context)
    answered = ResponseRecorded(response=request.data.response, note=request.data.note)
    return [*climbed, Change(answered), *state.deadlines.end("resolved")]


def _existing(request: Request[Any], state: Warned | None) -> Warned:
    if state is None:
        raise NoSuchStream(f"{request.subject} does not exist")
    return state


def _resolve(request: Request[ResolveWarning], state: Warned | None, context: Context) -> Changes:
    if request.source in SYSTEM_SOURCES and (state is None or state.status != "responded"):
        return []
    state = _existing(request, state)
    require_status(state, request, "responded")
    _require_answerer(request, state, context)
    return changes(WarningResolved(note=request.data.note))


def _escalate(request: Request[EscalateWarning], state: Warned, context: Context) -> Changes:
    only_system(request)
    due = state.deadlines.get("warning_response_due")
    if due is None or due.key != request.data.key or not due.passed or state.status in ("responded", *_CLOSED):
        return []
    return _climb(request, state, due, context)


def _climb(request: Request[Any], state: Warned, due: Deadline, context: Context) -> Changes:
    """One rung up, at the instant the answer was due; what that rung demands, and until when it waits for an answer."""
    programme = programme_of(request, context)
    subject: Subject | None = context.load(state.about)
    policy = programme.policies.get(state.policy_version)
    ladder = ladder_for(policy, state.key.kind, subject.category) if subject and policy else None
    following = next_rung_after(ladder, state.rung) if ladder else None
    if subject is None or ladder is None or following is None:
        return []
    number, rung = following
    posts = recipients(rung, subject, programme, organisation_of(request, context))
    top = next_rung_after(ladder, number) is None
    climbed = WarningEscalated(level=rung.level, rung=number, act=rung.act, recipients=posts, top=top)
    again = _response_due(state.deadlines, state.limit, ladder, number, programme, state.policy_version)
    step = _effective(due.limit.at, Change(climbed, policy_version=state.policy_version), *again)
    return [*step, *_explanation(request, rung, subject, state, context)]


def _climbed_unseen(request: Request[Any], state: Warned, context: Context) -> tuple[Warned, Changes]:
    """The rungs that fell due before the ground of a warning was gone, if nobody recorded them yet (R-131, R-353).

    Only for Sauro's own service: a person who answers a moment after the limit answers the level they were told of.
    """
    found: Changes = []
    while request.source in SYSTEM_SOURCES:
        due = state.deadlines.get("warning_response_due")
        if due is None or due.passed or due.limit.at > request.occurred_at:
            break
        passing = request._replace(data=RecordDeadlinePassed(key=due.key))
        step = record_passing(passing, state.deadlines, context.now)
        step += _climb(request, folded(state, step, request, context, evolve), due, context)
        state = folded(state, step, request, context, evolve)
        found += step
    return state, found


def _explanation(request: Request[Any], rung: Rung, subject: Subject, state: Warned, context: Context) -> Changes:
    """The explanation a rung after the limit demands, unless one covers the same lateness (R-157)."""
    about = state.about
    explains = isinstance(subject, Obligation) and subject.duty.kind == "explanation"
    if rung.act != "demand_explanation" or explains or about.split("/", 1)[0] not in _EXPLAINED:
        return []
    asked, reason = request._replace(subject=about), "the limit passed unanswered"
    return demand_explanation(asked, subject, context, reason, state.limit.at)[1]


_EXPLAINED = frozenset({"assignment", "obligation"})
_CLOSED: tuple[Status, ...] = ("resolved", "dismissed", "superseded")


def _dismiss(request: Request[DismissWarning], state: Warned, context: Context) -> Changes:
    require_status(state, request, *sorted(OPEN))
    require_role(request, context, "director", "coordinating_office")
    return changes(WarningDismissed(reason=request.data.reason), *state.deadlines.end("closed"))


def _supersede(request: Request[SupersedeWarning], state: Warned | None, context: Context) -> Changes:
    only_system(request)
    if state is None or not state.is_open:
        return []
    state, climbed = _climbed_unseen(request, state, context)
    return [*climbed, Change(WarningSuperseded(reason=request.data.reason)), *state.deadlines.end("superseded")]


def _passed(request: Request[RecordDeadlinePassed], state: Warned, context: Context) -> Changes:
    return record_passing(request, state.deadlines, context.now)


_OPENING: dict[Any, Any] = {
    RaiseWarning: _raise,
    SupersedeWarning: _supersede,
    RecordResponse: by_known_actor(_respond),
    ResolveWarning: by_known_actor(_resolve),
}
_LATER: dict[Any, Any] = {
    RecordDelivery: _delivered,
    AcknowledgeWarning: by_known_actor(_acknowledge),
    EscalateWarning: _escalate,
    DismissWarning: by_known_actor(_dismiss),
    RecordDeadlineApproached: lambda request, state, context: [],
    RecordDeadlinePassed: _passed,
}


def _reads(request: Request[Any]) -> tuple[str, ...]:
    data = request.data
    if not isinstance(data, RaiseWarning):
        return surroundings(request)
    if data.rung is None:
        return (*surroundings(request), data.about)  # and the early warning, if a rung before the limit was reached
    return (*surroundings(request), data.about, stream_of(request.programme, data.about, data.key, early=False))


DECIDER = Decider(CONTRACT, Warned, dispatch(CONTRACT.name, _OPENING, _LATER), evolve, reads=_reads)

"""Obligation: everything that is owed by a limit: reports, products, explanations (appendix 3.2, groups C and K).

Read with `obligation_opening` (how it comes into being) and `obligation_state` (state and evolve). That a report is
missed is derived from `DeadlinePassed`.
"""

from datetime import datetime, timedelta
from typing import Any

from contracts.deadlines import RecordDeadlineApproached, RecordDeadlinePassed
from contracts.obligation import (
    CONTRACT,
    AcceptObligation,
    ConfigureDue,
    ConsolidateObligation,
    CorrectObligation,
    DeclareNothingToReport,
    DeclareObligation,
    DemandExplanation,
    DueConfigured,
    ForwardObligation,
    NothingToReportDeclared,
    ObligationAccepted,
    ObligationConsolidated,
    ObligationCorrected,
    ObligationForwarded,
    ObligationOpened,
    ObligationReturned,
    ObligationSubmitted,
    ObligationWaived,
    OpenObligation,
    OwnerSet,
    ReturnObligation,
    SetOwner,
    SubmitObligation,
    WaiveObligation,
)
from domain.authority import (
    by_known_actor,
    organisation_of,
    programme_of,
    require_another,
    require_member,
    require_role,
    surroundings,
)
from domain.deadlines import record_approach, record_passing
from domain.due import limit_from
from domain.kernel import (
    Change,
    Changes,
    Context,
    Decider,
    NotNow,
    Refused,
    Request,
    changes,
    dispatch,
    require_status,
)
from domain.obligation_opening import (
    OPENING,
    declare,
    demand_explanation,
    due_scheduled,
    explanation_stream,
    opens,
    unit_of,
)
from domain.obligation_state import OWED, Obligation, Status, evolve
from domain.organisation import require_unit
from domain.punctual import punctual
from domain.timeliness import deciding_instant

__all__ = ["DECIDER", "Obligation", "declare", "demand_explanation", "explanation_stream"]

_IN_HAND: frozenset[Status] = frozenset({"submitted", "accepted", "consolidated", "forwarded"})


class OwnerOpen(Refused):
    """Nobody can hand in what has no owner yet (R-043)."""


class DocumentMissing(Refused):
    """A mandatory product is handed in with a document reference (R-043)."""


class NotAcceptor(Refused):
    """Acceptance belongs to the aggregator, the addressee, or a role of the programme."""


class SubmitterAccepts(Refused):
    """Who hands in does not accept, under whichever post (R-091)."""


def _configure_due(request: Request[ConfigureDue], state: Obligation, context: Context) -> Changes:
    require_status(state, request, *sorted(OWED))
    require_role(request, context, "coordinating_office", "director")
    limit = limit_from(request.data.due)
    open_now = state.status == "undated" and opens(state.opens_at, limit, context.now)
    return changes(
        DueConfigured(limit=limit, reason=request.data.reason),
        due_scheduled(state.deadlines, limit, programme_of(request, context), context.now),
        ObligationOpened() if open_now else None,
    )


def _open(request: Request[OpenObligation], state: Obligation, context: Context) -> Changes:
    require_status(state, request, "undated", "scheduled")
    require_role(request, context, "coordinating_office", "director", "assigner")
    return changes(ObligationOpened(), *state.deadlines.end("superseded", "obligation_opening"))


def _set_owner(request: Request[SetOwner], state: Obligation, context: Context) -> Changes:
    require_status(state, request, *sorted(OWED))
    roles = ("director",) if state.unit is not None else ("coordinating_office", "director")
    require_role(request, context, *roles)
    data, organisation = request.data, organisation_of(request, context)
    require_unit(organisation, data.unit, context.now, "data.unit")
    if data.post is not None:
        unit_of(organisation, data.post, data.unit, "data.post")
    return changes(OwnerSet(unit=data.unit, post=data.post, reason=data.reason))


def _require_owner(request: Request[Any], state: Obligation, act: str) -> None:
    if state.unit is None:
        raise OwnerOpen(f"{request.subject} has no owner; set one first (SetOwner)", field="duty.unit")
    require_member(request, state.unit, act)


def _decides(request: Request[Any], context: Context) -> tuple[datetime, bool]:
    hours = programme_of(request, context).settings.late_entry_tolerance_hours
    return deciding_instant(request.occurred_at, context.now, timedelta(hours=hours))


def _submit(request: Request[SubmitObligation], state: Obligation, context: Context) -> Changes:
    require_status(state, request, *sorted(OWED))
    _require_owner(request, state, "handing in")
    data = request.data
    if state.duty.kind == "mandatory_product" and data.document is None:
        raise DocumentMissing(f"{request.subject} is a mandatory product; name its document", field="data.document")
    decides_at, late_entry = _decides(request, context)
    submitted = ObligationSubmitted(
        submission=state.submissions + 1,
        document=data.document,
        channel=data.channel,
        note=data.note,
        decides_at=decides_at,
        late_entry=late_entry,
    )
    return changes(submitted, *_handed_in(state, decides_at))


def _nothing(request: Request[DeclareNothingToReport], state: Obligation, context: Context) -> Changes:
    require_status(state, request, *sorted(OWED))
    _require_owner(request, state, "declaring that there is nothing to report")
    decides_at, late_entry = _decides(request, context)
    declared = NothingToReportDeclared(
        submission=state.submissions + 1, note=request.data.note, decides_at=decides_at, late_entry=late_entry
    )
    return changes(declared, *_handed_in(state, decides_at))


def _handed_in(state: Obligation, decides_at: datetime) -> Changes:
    """The limit is met if this came in time; for what came early the window need not open any more (appendix 3.2)."""
    met = state.deadlines.meet("obligation_due", decides_at)
    return changes(met, *state.deadlines.end("superseded", "obligation_opening"))


def _require_acceptor(request: Request[Any], state: Obligation, context: Context) -> None:
    roles, programme = ("coordinating_office", "director", "reviewer"), programme_of(request, context)
    named = {state.duty.aggregator, state.duty.addressee} - {None}
    if request.actor.unit in named or any(request.actor.post in programme.roles.get(role, ()) for role in roles):
        return
    raise NotAcceptor(
        f"{type(request.data).__name__} belongs to unit {' or '.join(sorted(map(str, named))) or '(none named)'} or a "
        f"post that is {' or '.join(roles)}, not to '{request.actor.post}'",
        field="actorpost",
    )


def _accept(request: Request[AcceptObligation], state: Obligation, context: Context) -> Changes:
    require_status(state, request, "submitted")
    _require_acceptor(request, state, context)
    submission = state.submission
    if submission is None:
        raise NotNow(f"{request.subject} holds no submission to accept")
    require_another(request, context, submission.post, (submission.at, submission.decides_at), SubmitterAccepts)
    accepted = ObligationAccepted(
        submission=submission.number,
        submitter=submission.post,
        verdict=submission.verdict(state.original, state.current),
        first_submission_verdict=(state.first or submission).verdict(state.original, state.current),
        note=request.data.note,
    )
    return [Change(accepted), *state.deadlines.end("late_completion" if state.overdue else "completed")]


def _return(request: Request[ReturnObligation], state: Obligation, context: Context) -> Changes:
    require_status(state, request, "submitted")
    _require_acceptor(request, state, context)
    returned = ObligationReturned(submission=state.submissions, reason=request.data.reason)
    if state.current is None or state.deadlines.get("obligation_due") is not None:
        return changes(returned)
    # The limit was met only by what is now returned: it is owed again, and passes at its own instant if it is behind.
    again = due_scheduled(state.deadlines, state.current, programme_of(request, context), context.now)
    return changes(returned, again)


def _consolidate(request: Request[ConsolidateObligation], state: Obligation, context: Context) -> Changes:
    require_status(state, request, "accepted")
    _require_acceptor(request, state, context)
    target = context.load(f"obligation/{request.programme}/{request.data.consolidated_in}")
    issued = isinstance(target, Obligation) and target.status in _IN_HAND
    return changes(ObligationConsolidated(consolidated_in=request.data.consolidated_in, after_consolidation=issued))


def _forward(request: Request[ForwardObligation], state: Obligation, context: Context) -> Changes:
    require_status(state, request, "consolidated")
    _require_acceptor(request, state, context)
    require_unit(organisation_of(request, context), request.data.addressee, context.now, "data.addressee")
    return changes(ObligationForwarded(addressee=request.data.addressee))


def _correct(request: Request[CorrectObligation], state: Obligation, context: Context) -> Changes:
    require_status(state, request, "accepted", "consolidated", "forwarded")
    _require_owner(request, state, "correcting")
    data = request.data
    return changes(ObligationCorrected(correction=state.correction + 1, document=data.document, reason=data.reason))


def _waive(request: Request[WaiveObligation], state: Obligation, context: Context) -> Changes:
    require_status(state, request, *sorted(OWED), "submitted")
    require_role(request, context, "director", "coordinating_office")
    return [Change(ObligationWaived(reason=request.data.reason)), *state.deadlines.end("waived")]


def _approached(request: Request[RecordDeadlineApproached], state: Obligation, context: Context) -> Changes:
    return record_approach(request, state.deadlines, context.now)


def _passed(request: Request[RecordDeadlinePassed], state: Obligation, context: Context) -> Changes:
    found = record_passing(request, state.deadlines, context.now)
    if found and request.data.key.kind == "obligation_opening" and state.status in ("undated", "scheduled"):
        found.append(Change(ObligationOpened(), occurred_at=found[0].occurred_at))
    return found


def _reads(request: Request[Any]) -> tuple[str, ...]:
    if isinstance(request.data, DemandExplanation):
        return (*surroundings(request), request.data.about)
    if isinstance(request.data, DeclareObligation) and (phase := request.data.duty.phase):
        return (*surroundings(request), f"phase/{request.programme}/{phase}")
    return surroundings(request)


_LATER: dict[Any, Any] = {
    ConfigureDue: by_known_actor(_configure_due),
    OpenObligation: by_known_actor(_open),
    SetOwner: by_known_actor(_set_owner),
    SubmitObligation: by_known_actor(_submit),
    DeclareNothingToReport: by_known_actor(_nothing),
    AcceptObligation: by_known_actor(_accept),
    ReturnObligation: by_known_actor(_return),
    ConsolidateObligation: by_known_actor(_consolidate),
    ForwardObligation: by_known_actor(_forward),
    CorrectObligation: by_known_actor(_correct),
    WaiveObligation: by_known_actor(_waive),
    RecordDeadlineApproached: _approached,
    RecordDeadlinePassed: _passed,
}

DECIDER = Decider(
    CONTRACT, Obligation, punctual(dispatch(CONTRACT.name, OPENING, _LATER), evolve), evolve, reads=_reads
)

"""Phase: planned, opened, reviewed, closed, corrected; one stream a phase, two may be open on one day (appendix 3.5).

Its state needs no other phase, except that opening looks whether the review it builds on was signed (R-051).
"""

from datetime import datetime, timedelta
from typing import Any, Literal

from contracts.deadlines import DeadlineKind, RecordDeadlineApproached, RecordDeadlinePassed
from contracts.limits import Limit
from contracts.phase import (
    CONTRACT,
    AccountabilityListApproved,
    ApproveAccountabilityList,
    ApproveCommendationList,
    ClosedPhaseCorrected,
    ClosePhase,
    CommendationListApproved,
    CorrectClosedPhase,
    DeclareNilReturn,
    DeclareProductMissing,
    MandatoryProductDeclaredMissing,
    NilReturnDeclared,
    OpenPhase,
    PhaseClosed,
    PhaseFollowed,
    PhaseOpened,
    PhasePlanned,
    PhaseReviewSignedOff,
    PhaseReviewStarted,
    PlanPhase,
    ReviewedItem,
    ReviewLine,
    ReviewYear,
    SignOffPhaseReview,
    StartPhaseReview,
    YearReviewed,
)
from contracts.programme import PhaseAwaitsIssue
from domain.authority import by_known_actor, programme_of, require_role, surroundings
from domain.calendar import local_date
from domain.deadlines import Deadlines, record_approach, record_passing
from domain.escalation import leads
from domain.kernel import (
    AlreadyExists,
    Change,
    Changes,
    Context,
    Decider,
    Refused,
    Request,
    changes,
    dispatch,
    require_status,
    require_stream,
)
from domain.limits import before, by_end_of, limit_of
from domain.obligation_state import SETTLED, Obligation
from domain.organisation import PeriodInverted
from domain.phase_state import Phase, Status, evolve
from domain.programme_state import Programme
from domain.punctual import punctual
from domain.responsibility import require_head

__all__ = ["DECIDER", "REVIEW_DAYS", "Phase"]

_RUNNING: tuple[Status, ...] = ("open", "awaiting_review", "under_review", "reviewed")

REVIEW_DAYS = 30
"""Days to sign the review after a phase ends. Ours: no text gives them."""


class ReviewMissing(Refused):
    """The review this phase builds on is not signed; opening it formally needs a reason (R-051)."""


class UnknownProduct(Refused):
    """The phase requires no such product."""


class ProductsUndecided(Refused):
    """A mandatory product is neither delivered nor declared missing (R-047, R-049)."""


class ListNotNil(Refused):
    """A list with entries was approved; it cannot be declared empty (R-258)."""


class EndIsKnown(Refused):
    """Yearly reviews belong to phases without an end day."""


class YearAlreadyReviewed(Refused):
    """A year is reviewed once."""


def _scheduled(deadlines: Deadlines, kind: DeadlineKind, limit: Limit, programme: Programme, now: datetime) -> Change:
    event = deadlines.schedule(kind, limit, leads(programme, kind, limit, None, now))
    return Change(event, policy_version=programme.policy_version)


def _review_missing(needs: str | None, request: Request[Any], context: Context) -> bool:
    if needs is None:
        return False
    other = context.load(f"phase/{request.programme}/{needs}")
    return other is None or other.status not in ("reviewed", "closed")


def _plan(request: Request[PlanPhase], state: Phase | None, context: Context) -> Changes:
    if state is not None:
        raise AlreadyExists(f"{request.subject} is planned already")
    require_role(request, context, "coordinating_office", "director")
    data, programme = request.data, programme_of(request, context)
    if data.start is not None and data.end is not None and data.end < data.start:
        raise PeriodInverted(f"the phase ends on {data.end}, before it starts on {data.start}", field="data.end")
    end_limit = None if data.end is None else limit_of(data.end, data.end_boundary)
    stated = {name: value for name, value in data if name != "end_boundary"}
    planned = PhasePlanned(**stated, end_limit=end_limit)
    found = [Change(planned), *_start(request, programme, context)]
    if data.takes_over_from is not None:
        before_it = f"phase/{request.programme}/{data.takes_over_from}"
        require_stream(context, before_it, Phase)
        found.append(Change(PhaseFollowed(by=request.code), stream=before_it))
    if end_limit is not None:
        found.append(_scheduled(Deadlines(), "phase_end", end_limit, programme, context.now))
    return found


def _start(request: Request[PlanPhase], programme: Programme, context: Context) -> Changes:
    """How a planned phase begins: with the issue of the programme, on its day, or at once when that day has come."""
    data = request.data
    starts_on = data.start or programme.issued_on
    if starts_on is None:
        awaits = PhaseAwaitsIssue(phase=request.code)
        return [Change(awaits, stream=f"programme/{request.programme}")]
    if data.start is not None and (limit := before(data.start)).at > context.now:
        return [_scheduled(Deadlines(), "phase_start", limit, programme, context.now)]
    missing = _review_missing(data.needs_review_of, request, context)
    cause: Literal["date", "issuance"] = "date" if data.start is not None else "issuance"
    return changes(PhaseOpened(cause=cause, starts_on=starts_on, review_missing=missing))


def _open(request: Request[OpenPhase], state: Phase, context: Context) -> Changes:
    unexplained = state.status == "open" and state.review_missing and state.missing_review_reason is None
    if not unexplained:
        require_status(state, request, "planned")
    data = request.data
    require_role(request, context, "director", "coordinating_office")
    missing = _review_missing(state.needs_review_of, request, context)
    if missing and data.missing_review_reason is None:
        raise ReviewMissing(
            f"the review of phase '{state.needs_review_of}' is not signed; sign it first or say why it is missing",
            field="data.missing_review_reason",
        )
    opened = PhaseOpened(
        cause="decision",
        starts_on=state.opened_on or local_date(request.occurred_at),
        reason=data.reason,
        review_missing=missing,
        missing_review_reason=data.missing_review_reason if missing else None,
    )
    waiting = state.deadlines.end("superseded", "phase_start") if state.status == "planned" else []
    return changes(opened, *waiting)


def _start_review(request: Request[StartPhaseReview], state: Phase, context: Context) -> Changes:
    # A phase without an end day never reaches it; a person decides when it is reviewed.
    require_status(state, request, "awaiting_review", *(("open",) if state.end_limit is None else ()))
    require_role(request, context, "coordinating_office", "director", "reviewer")
    return changes(PhaseReviewStarted(note=request.data.note))


def _sign_off_review(request: Request[SignOffPhaseReview], state: Phase, context: Context) -> Changes:
    require_status(state, request, "under_review")
    require_role(request, context, "director")
    data = request.data
    for number, line in enumerate(data.lines):
        require_head(line.responsibility, f"data.lines.{number}.responsibility", line.item)
    signed = Change(PhaseReviewSignedOff(lines=tuple(map(_reviewed, data.lines)), summary=data.summary))
    due = state.deadlines.get("phase_review_due")
    late = due is not None and due.passed
    return [signed, *state.deadlines.end("late_completion" if late else "completed", "phase_review_due")]


def _reviewed(line: ReviewLine) -> ReviewedItem:
    return ReviewedItem(
        item=line.item, cause=line.cause, cause_text=line.cause_text, responsibility=line.responsibility
    )


def _declare_missing(request: Request[DeclareProductMissing], state: Phase, context: Context) -> Changes:
    require_status(state, request, *_RUNNING)
    require_role(request, context, "director", "coordinating_office")
    product = request.data.product
    if product.obligation not in state.products:
        known = ", ".join(sorted(state.products)) or "none"
        raise UnknownProduct(
            f"{product.obligation} is no product of {request.subject}; it requires {known}",
            field="data.product.obligation",
        )
    return changes(MandatoryProductDeclaredMissing(product=product))


def _commend(request: Request[ApproveCommendationList], state: Phase, context: Context) -> Changes:
    require_status(state, request, *_RUNNING)
    require_role(request, context, "director")
    return changes(CommendationListApproved(entries=request.data.entries))


def _hold_accountable(request: Request[ApproveAccountabilityList], state: Phase, context: Context) -> Changes:
    require_status(state, request, *_RUNNING)
    require_role(request, context, "director")
    return changes(AccountabilityListApproved(entries=request.data.entries))


def _nil_return(request: Request[DeclareNilReturn], state: Phase, context: Context) -> Changes:
    require_status(state, request, *_RUNNING)
    require_role(request, context, "director")
    if state.lists.get(request.data.list):
        raise ListNotNil(f"the {request.data.list} list of {request.subject} has entries", field="data.list")
    return changes(NilReturnDeclared(list=request.data.list))


def _undelivered(state: Phase, context: Context) -> list[str]:
    """The mandatory products nothing was accepted for (R-049)."""
    found = []
    for stream in (stream for stream, mandatory in state.products.items() if mandatory):
        product = context.load(stream)
        if not isinstance(product, Obligation) or product.status not in SETTLED:
            found.append(stream)
    return found


def _close(request: Request[ClosePhase], state: Phase, context: Context) -> Changes:
    require_status(state, request, "reviewed")
    require_role(request, context, "director")
    undelivered = _undelivered(state, context)
    if undecided := [stream for stream in undelivered if stream not in state.missing]:
        raise ProductsUndecided(
            f"{request.subject}: {', '.join(undecided)} neither accepted nor declared missing; accept them, or declare "
            "each missing with a reason and a follow-up (DeclareProductMissing)",
            field="products",
        )
    closed = PhaseClosed(missing=tuple(state.missing[stream] for stream in undelivered), note=request.data.note)
    return changes(closed, *state.deadlines.end("closed"))


def _correct(request: Request[CorrectClosedPhase], state: Phase, context: Context) -> Changes:
    require_status(state, request, "closed")
    require_role(request, context, "director", "coordinating_office")
    return changes(ClosedPhaseCorrected(**dict(request.data)))


def _review_year(request: Request[ReviewYear], state: Phase, context: Context) -> Changes:
    require_status(state, request, "open")
    require_role(request, context, "director", "coordinating_office")
    data = request.data
    if state.end_limit is not None:
        raise EndIsKnown(f"{request.subject} ends {state.end_limit.named}; its review comes then")
    if data.year in state.years:
        raise YearAlreadyReviewed(f"the year {data.year} of {request.subject} is reviewed", field="data.year")
    return changes(YearReviewed(year=data.year, summary=data.summary))


def _approached(request: Request[RecordDeadlineApproached], state: Phase, context: Context) -> Changes:
    return record_approach(request, state.deadlines, context.now)


def _passed(request: Request[RecordDeadlinePassed], state: Phase, context: Context) -> Changes:
    passed = record_passing(request, state.deadlines, context.now)
    if not passed or state.status not in ("planned", "open"):
        return passed
    at = passed[0].occurred_at or context.now
    if request.data.key.kind == "phase_start" and state.status == "planned" and state.start is not None:
        missing = _review_missing(state.needs_review_of, request, context)
        opened = PhaseOpened(cause="date", starts_on=state.start, review_missing=missing)
        return [*passed, Change(opened, occurred_at=at)]
    if request.data.key.kind == "phase_end":
        due = by_end_of(local_date(at) + timedelta(days=REVIEW_DAYS - 1))
        review = _scheduled(state.deadlines, "phase_review_due", due, programme_of(request, context), at)
        return [*passed, review._replace(occurred_at=at)]
    return passed


_OPENING: dict[Any, Any] = {PlanPhase: by_known_actor(_plan)}
_LATER: dict[Any, Any] = {
    OpenPhase: by_known_actor(_open),
    StartPhaseReview: by_known_actor(_start_review),
    SignOffPhaseReview: by_known_actor(_sign_off_review),
    DeclareProductMissing: by_known_actor(_declare_missing),
    ApproveCommendationList: by_known_actor(_commend),
    ApproveAccountabilityList: by_known_actor(_hold_accountable),
    DeclareNilReturn: by_known_actor(_nil_return),
    ClosePhase: by_known_actor(_close),
    CorrectClosedPhase: by_known_actor(_correct),
    ReviewYear: by_known_actor(_review_year),
    RecordDeadlineApproached: _approached,
    RecordDeadlinePassed: _passed,
}

DECIDER = Decider(
    CONTRACT, Phase, punctual(dispatch(CONTRACT.name, _OPENING, _LATER), evolve), evolve, reads=surroundings
)

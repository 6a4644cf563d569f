"""The state of a phase: what folds of its events know (appendix 3.5)."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any, Literal

from contracts.deadlines import DeadlinePassed
from contracts.limits import Limit
from contracts.phase import (
    AccountabilityListApproved,
    ClosedPhaseCorrected,
    CommendationListApproved,
    MandatoryProductDeclaredMissing,
    MissingProduct,
    NilReturnDeclared,
    PhaseClosed,
    PhaseFollowed,
    PhaseOpened,
    PhasePlanned,
    PhaseReviewSignedOff,
    PhaseReviewStarted,
    ProductRequired,
    YearReviewed,
)
from domain.deadlines import DEADLINE_FOLD, Deadlines, evolve_deadlines
from domain.kernel import Recorded, changed, folding
from domain.limits import last_on_time_day

Status = Literal["planned", "open", "awaiting_review", "under_review", "reviewed", "closed"]


@dataclass(frozen=True)
class Phase:
    """The state of one phase stream. `products` are streams of obligations, True when mandatory."""

    code: str
    status: Status = "planned"
    start: date | None = None
    end: date | None = None
    end_year: int | None = None
    end_limit: Limit | None = None
    needs_review_of: str | None = None
    followed_by: str | None = None
    opened_on: date | None = None
    review_missing: bool = False
    missing_review_reason: str | None = None
    ended: bool = False
    products: dict[str, bool] = field(default_factory=dict)
    missing: dict[str, MissingProduct] = field(default_factory=dict)
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    years: frozenset[int] = frozenset()
    corrections: int = 0
    deadlines: Deadlines = field(default_factory=Deadlines)

    @property
    def unit(self) -> str | None:
        """A phase belongs to the whole programme, not to a unit."""
        return None

    @property
    def accountable(self) -> str | None:
        """No post answers for a phase alone; roles do."""
        return None

    @property
    def category(self) -> str | None:
        """Phases have no category."""
        return None

    @property
    def phase(self) -> str | None:
        """The phase itself."""
        return self.code

    def covers(self, day: date) -> bool:
        """Whether the phase runs on a local day, by its own dates; two phases may (R-034, R-035)."""
        first = self.opened_on or self.start
        return (
            first is not None and first <= day and (self.end_limit is None or day <= last_on_time_day(self.end_limit))
        )


def _on_planned(state: Phase | None, recorded: Recorded[PhasePlanned]) -> Phase:
    data = recorded.data
    return Phase(
        code=recorded.code,
        start=data.start,
        end=data.end,
        end_year=data.end_year,
        end_limit=data.end_limit,
        needs_review_of=data.needs_review_of,
    )


def _on_followed(state: Phase, recorded: Recorded[PhaseFollowed]) -> Phase:
    return changed(state, followed_by=recorded.data.by)


def _on_opened(state: Phase, recorded: Recorded[PhaseOpened]) -> Phase:
    data = recorded.data
    opened: Status = "awaiting_review" if state.ended else "open"
    return changed(
        state,
        status=opened if state.status == "planned" else state.status,
        opened_on=data.starts_on,
        review_missing=data.review_missing,
        missing_review_reason=data.missing_review_reason,
    )


def _on_passed(state: Phase, recorded: Recorded[DeadlinePassed]) -> Phase:
    known = state.deadlines.get(recorded.data.key.kind, recorded.data.key.occurrence)
    after: Phase = evolve_deadlines(state, recorded)
    if recorded.data.key.kind != "phase_end" or known is None or known.key != recorded.data.key:
        return after
    # `PhaseEndReached` of appendix 3.5 is this event.
    return changed(after, ended=True, status="awaiting_review" if state.status == "open" else state.status)


def _on_review_started(state: Phase, recorded: Recorded[PhaseReviewStarted]) -> Phase:
    return changed(state, status="under_review")


def _on_review_signed(state: Phase, recorded: Recorded[PhaseReviewSignedOff]) -> Phase:
    return changed(state, status="reviewed")


def _on_product(state: Phase, recorded: Recorded[ProductRequired]) -> Phase:
    return changed(state, products={**state.products, recorded.data.obligation: recorded.data.mandatory})


def _on_missing(state: Phase, recorded: Recorded[MandatoryProductDeclaredMissing]) -> Phase:
    product = recorded.data.product
    return changed(state, missing={**state.missing, product.obligation: product})


def _on_commended(state: Phase, recorded: Recorded[CommendationListApproved]) -> Phase:
    return changed(state, lists={**state.lists, "commendation": recorded.data.entries})


def _on_accountable(state: Phase, recorded: Recorded[AccountabilityListApproved]) -> Phase:
    return changed(state, lists={**state.lists, "accountability": recorded.data.entries})


def _on_nil(state: Phase, recorded: Recorded[NilReturnDeclared]) -> Phase:
    return changed(state, lists={**state.lists, recorded.data.list: ()})


def _on_closed(state: Phase, recorded: Recorded[PhaseClosed]) -> Phase:
    return changed(state, status="closed")


def _on_corrected(state: Phase, recorded: Recorded[ClosedPhaseCorrected]) -> Phase:
    return changed(state, corrections=state.corrections + 1)


def _on_year(state: Phase, recorded: Recorded[YearReviewed]) -> Phase:
    return changed(state, years=state.years | {recorded.data.year})


_FOLD: dict[Any, Any] = {
    **DEADLINE_FOLD,
    DeadlinePassed: _on_passed,
    PhasePlanned: _on_planned,
    PhaseFollowed: _on_followed,
    PhaseOpened: _on_opened,
    PhaseReviewStarted: _on_review_started,
    PhaseReviewSignedOff: _on_review_signed,
    ProductRequired: _on_product,
    MandatoryProductDeclaredMissing: _on_missing,
    CommendationListApproved: _on_commended,
    AccountabilityListApproved: _on_accountable,
    NilReturnDeclared: _on_nil,
    PhaseClosed: _on_closed,
    ClosedPhaseCorrected: _on_corrected,
    YearReviewed: _on_year,
}
evolve = folding(_FOLD)

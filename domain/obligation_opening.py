"""How an obligation comes into being: declared, asked for ad hoc, or as an explanation (R-157, R-168; groups C, K)."""

import hashlib
from dataclasses import replace
from datetime import datetime
from typing import Any

from contracts.limits import Limit
from contracts.obligation import (
    DeclareObligation,
    DemandExplanation,
    Duty,
    ObligationDeclared,
    ObligationOpened,
    RequestAdHocReport,
)
from contracts.phase import ProductRequired
from domain.authority import (
    by_known_actor,
    organisation_of,
    programme_of,
    require_role,
)
from domain.calendar import local_date, local_midnight
from domain.deadlines import Deadlines
from domain.due import limit_from
from domain.escalation import Subject, demands_explanation, ladder_of, leads
from domain.kernel import (
    AlreadyExists,
    Change,
    Changes,
    Context,
    NoSuchStream,
    Refused,
    Request,
)
from domain.limits import by_end_of
from domain.obligation_state import Obligation
from domain.organisation import Organisation, require_post, require_unit
from domain.programme_state import Programme

_PRODUCTS = frozenset({"mandatory_product", "phase_milestone"})


class PostOutsideUnit(Refused):
    """The post that owes sits in the unit that owes."""


class NothingToExplain(Refused):
    """Explanations are owed for tasks and obligations, not for explanations or anything else (R-157)."""


class PhaseIsClosed(Refused):
    """A closed phase takes no new products; it is only corrected (R-064)."""


def fitting(code: str) -> str:
    """The code itself, or its first 33 characters and a digest when it is longer than 40."""
    if len(code) <= 40:
        return code
    return f"{code[:33]}-{hashlib.sha256(code.encode()).hexdigest()[:6].upper()}"


def declare(
    duty: Duty,
    limit: Limit | None,
    opens_at: datetime | None,
    programme: Programme,
    now: datetime,
    *,
    reason: str | None = None,
    stream: str | None = None,
    occurred_at: datetime | None = None,
) -> Changes:
    """The events that call an obligation into being: declared, its limit set, its window opened or timed to open.

    `opens_at` None opens a dated one at once and leaves an undated one as it is; later than `now` it is a deadline that
    opens the window. What is ready before is handed in before (appendix 3.2). `stream` None is the subject. UTC.
    """
    found: Changes = [Change(ObligationDeclared(duty=duty, limit=limit, opens_at=opens_at, reason=reason))]
    if limit is not None:
        found.append(due_scheduled(Deadlines(), limit, programme, now))
    if opens(opens_at, limit, now):
        found.append(Change(ObligationOpened()))
    elif opens_at is not None:
        found.append(Change(Deadlines().schedule("obligation_opening", _opening(opens_at))))
    return [change._replace(stream=stream, occurred_at=occurred_at) for change in found]


def _opening(at: datetime) -> Limit:
    return Limit(at=at, boundary="before", named=local_date(at).isoformat())


def explanation_stream(programme: str, about: str, occurrence: int = 1) -> str:
    """Where an explanation owed for a task or report lies: the first, or a later one with its number in the code."""
    aggregate, code = about.split("/", 1)[0], about.rsplit("/", 1)[-1]
    again = f"-{occurrence}" if occurrence > 1 else ""
    return f"obligation/{programme}/{fitting(f'EX{aggregate[0].upper()}-{code}{again}')}"


def demand_explanation(
    request: Request[Any], subject: Subject, context: Context, reason: str, late_since: datetime | None = None
) -> tuple[str, Changes]:
    """The stream of the explanation owed for the request's subject, and the events that open it (R-157).

    None open when one covers it already: one that is still owed or, for a limit that passed at `late_since` (UTC), one that
    was settled after it.
    """
    occurrence, about = 1, request.subject
    while True:
        stream = explanation_stream(request.programme, about, occurrence)
        known = context.load(stream)
        if known is None:
            return stream, _explanation(request, about, subject, context, reason, stream)
        if known.duty.about == about and _covers(known, late_since):
            return stream, []
        occurrence += 1


def _covers(explanation: Obligation, late_since: datetime | None) -> bool:
    settled = explanation.settled_at
    return settled is None or (late_since is not None and settled >= late_since)


def _explanation(
    request: Request[Any], about: str, subject: Subject, context: Context, reason: str, stream: str | None
) -> Changes:
    programme = programme_of(request, context)
    today = local_date(context.now)
    limit = by_end_of(programme.calendar.add_working_days(today, programme.settings.explanation_days))
    duty = Duty(
        kind="explanation",
        title=f"Báo cáo giải trình {about}",
        unit=subject.unit,
        post=organisation_of(request, context).head_of(subject.unit),
        phase=subject.phase,
        about=about,
    )
    return declare(duty, limit, None, programme, context.now, reason=reason, stream=stream)


def opens(opens_at: datetime | None, limit: Limit | None, now: datetime) -> bool:
    """Whether the window for submission opens at once; an undated obligation waits until it is told to open."""
    return limit is not None if opens_at is None else opens_at <= now


def due_scheduled(deadlines: Deadlines, limit: Limit, programme: Programme, now: datetime) -> Change:
    """The event that sets or moves the limit, with the rungs before it and the policy that named them."""
    warned = leads(programme, "obligation_due", limit, None, now)
    return Change(deadlines.schedule("obligation_due", limit, warned), policy_version=programme.policy_version)


def _require_new(request: Request[Any], state: Obligation | None) -> None:
    if state is not None:
        raise AlreadyExists(f"{request.subject} is declared already; configure its limit or owner instead")


def _known_duty(duty: Duty, organisation: Organisation, at: datetime) -> Duty:
    """The duty with its owner's unit filled in from the post; refused when it names what does not exist."""
    for name in ("unit", "addressee", "aggregator"):
        if (unit := getattr(duty, name)) is not None:
            require_unit(organisation, unit, at, f"data.duty.{name}")
    if duty.post is None:
        return duty
    unit = unit_of(organisation, duty.post, duty.unit, "data.duty.post")
    return replace(duty, unit=unit)


def unit_of(organisation: Organisation, post: str, unit: str | None, field: str) -> str:
    """The unit of a post; refused when the post does not exist or sits in another unit than the one given."""
    known = require_post(organisation, post, field)
    if unit is not None and known.unit != unit:
        raise PostOutsideUnit(f"post '{post}' sits in unit '{known.unit}', not '{unit}'", field=field)
    return known.unit


def _declare(request: Request[DeclareObligation], state: Obligation | None, context: Context) -> Changes:
    _require_new(request, state)
    require_role(request, context, "coordinating_office", "director", "assigner")
    data, programme = request.data, programme_of(request, context)
    duty = _known_duty(data.duty, organisation_of(request, context), context.now)
    opens_at = None if data.opens_on is None else local_midnight(data.opens_on)
    declared = declare(duty, limit_from(data.due), opens_at, programme, context.now)
    return [*declared, *_required_by_phase(request, duty, context)]


def _required_by_phase(request: Request[Any], duty: Duty, context: Context) -> Changes:
    """What the phase learns of a product or milestone it must deliver (R-043, R-049)."""
    if duty.phase is None or duty.kind not in _PRODUCTS:
        return []
    stream = f"phase/{request.programme}/{duty.phase}"
    phase = context.load(stream)
    if phase is None:
        return []
    if phase.status == "closed":
        raise PhaseIsClosed(f"{stream} is closed; declare the product in a later phase", field="data.duty.phase")
    mandatory = duty.mandatory or duty.kind == "mandatory_product"
    return [Change(ProductRequired(obligation=request.subject, mandatory=mandatory), stream=stream)]


def _request_ad_hoc(request: Request[RequestAdHocReport], state: Obligation | None, context: Context) -> Changes:
    _require_new(request, state)
    data, programme = request.data, programme_of(request, context)
    duty = _known_duty(data.duty, organisation_of(request, context), context.now)
    if duty.unit is None or duty.unit != request.actor.unit:
        require_role(request, context, "coordinating_office", "director", "assigner", "superior")
    duty = replace(duty, kind="ad_hoc_report")
    return declare(duty, limit_from(data.due), request.occurred_at, programme, context.now, reason=data.reason)


def _demand_explanation(request: Request[DemandExplanation], state: Obligation | None, context: Context) -> Changes:
    by_system = request.source == "warning"
    if not by_system:
        require_role(request, context, "director", "coordinating_office")
        _require_new(request, state)
    about = request.data.about
    aggregate = about.split("/", 1)[0]
    subject = context.load(about) if aggregate in ("assignment", "obligation") else None
    if subject is None and aggregate in ("assignment", "obligation"):
        raise NoSuchStream(f"{about} does not exist; name the task or report to be explained", field="data.about")
    if subject is None or (isinstance(subject, Obligation) and subject.duty.kind == "explanation"):
        if by_system:
            return []
        raise NothingToExplain(f"{about} needs no explanation; name a task or a report", field="data.about")
    if not by_system:
        return _explanation(request, about, subject, context, request.data.reason, None)
    passed = _policy_demands(request.data, subject, programme_of(request, context))
    if passed is None:
        return []
    return demand_explanation(request._replace(subject=about), subject, context, request.data.reason, passed.at)[1]


def _policy_demands(demand: DemandExplanation, subject: Subject, programme: Programme) -> Limit | None:
    """The limit that passed, if the policy it was scheduled under asks for an explanation (R-157).

    It may have ended since: that it passed is enough.
    """
    deadline = subject.deadlines.known(demand.key) if demand.key else None
    if deadline is None or not deadline.passed:
        return None
    ladder = ladder_of(programme, deadline, subject.category)
    return deadline.limit if ladder is not None and demands_explanation(ladder) else None


OPENING: dict[Any, Any] = {
    DeclareObligation: by_known_actor(_declare),
    RequestAdHocReport: by_known_actor(_request_ad_hoc),
    DemandExplanation: by_known_actor(_demand_explanation),
}

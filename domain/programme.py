"""Programme: registered, issued, defined in versions; its regimes call their reports into being (groups A, H, K).

A programme is registered by a post that holds GRANT-AUTHORITY; its director issues and closes it and names its roles;
director and coordinating office define and amend the rest.

A regime's timer is a deadline of the programme's stream (`report_period`): when it passes, the obligations of that period
are declared for every submitter and the next timer is set. So one mechanism, the deadline, drives reports too.
"""

from dataclasses import replace
from typing import Any

from contracts.deadlines import RecordDeadlineApproached, RecordDeadlinePassed
from contracts.phase import PhaseOpened
from contracts.programme import (
    CONTRACT,
    AdoptCalendar,
    AdoptEscalationPolicy,
    AmendCalendar,
    AssignRoles,
    BasisConflictResolved,
    CalendarAdopted,
    CalendarAmended,
    ChangeSettings,
    CloseProgramme,
    DefineIndicator,
    DefineRegime,
    EscalationPolicyAdopted,
    IndicatorDefined,
    IssueProgramme,
    PhaseAwaitsIssue,
    ProgrammeClosed,
    ProgrammeIssued,
    ProgrammeRegistered,
    RegimeDefined,
    RegisterProgramme,
    ResolveBasisConflict,
    RoleHolding,
    RolesAssigned,
    SettingsChanged,
)
from domain.authority import by_known_actor, organisation_of, require_administrator, require_role
from domain.deadlines import DEADLINE_FOLD, record_approach
from domain.escalation import rung_at_limit, sign
from domain.kernel import (
    AlreadyExists,
    Change,
    Changes,
    Context,
    Decider,
    Handler,
    Recorded,
    Refused,
    Request,
    changes,
    dispatch,
    folding,
)
from domain.organisation import Organisation, require_post, require_unit
from domain.programme_state import Programme, ProgrammeIsClosed, Regime
from domain.punctual import punctual
from domain.regimes import next_period_timer, report_period_passed


class PolicyVersionTaken(Refused):
    """A policy version is never changed; the next version follows it by one."""


class NoSuchConflict(Refused):
    """The programme cites no such act in two ways."""


class RungsOutOfOrder(Refused):
    """The rungs of a ladder run from the earliest offset to the latest."""


class RungUnreachable(Refused):
    """A rung after the limit climbs the warning of the limit; without that warning it would never fire (R-131)."""


class NobodyInCharge(Refused):
    """A programme has a coordinating office or a director, to whom everything falls that nobody else takes (R-146)."""


class AlreadyIssued(Refused):
    """The programme has its issue date."""


def _check_roles(roles: tuple[RoleHolding, ...], organisation: Organisation) -> None:
    for holding in roles:
        for post in holding.posts:
            require_post(organisation, post, f"data.roles.{holding.role}")


def _check_policy(policy: Any, expected: int) -> None:
    if policy.policy_version != expected:
        raise PolicyVersionTaken(
            f"the next policy version is {expected}, not {policy.policy_version}", field="data.policy.policy_version"
        )
    for ladder in policy.ladders:
        offsets = [(r.offset.days + r.offset.working_days, r.offset.hours) for r in ladder.rungs]
        if offsets != sorted(offsets):
            raise RungsOutOfOrder("order the rungs of each ladder by offset", field="data.policy.ladders")
        if any(sign(rung.offset) > 0 for rung in ladder.rungs) and rung_at_limit(ladder) is None:
            raise RungUnreachable(
                f"the ladder for {', '.join(ladder.kinds)} has rungs after the limit; give it one at the limit that warns",
                field="data.policy.ladders",
            )


def _register(request: Request[RegisterProgramme], state: Programme | None, context: Context) -> Changes:
    if state is not None:
        raise AlreadyExists(f"{request.subject} is registered already")
    require_administrator(request, context)
    data, organisation = request.data, organisation_of(request, context)
    _check_roles(data.roles, organisation)
    if not {"coordinating_office", "director"} & {holding.role for holding in data.roles}:
        raise NobodyInCharge("name the posts of role coordinating_office or director", field="data.roles")
    _check_policy(data.policy, 1)
    for participant in data.participants:
        require_unit(organisation, participant.unit, context.now, "data.participants")
    incomplete = () if data.legal_basis else ("legal_basis",)
    registered = data.model_dump(exclude={"roles", "settings", "policy", "calendar"})
    return changes(
        ProgrammeRegistered(**{**registered, **_models(data)}, incomplete=incomplete),
        RolesAssigned(roles=data.roles),
        SettingsChanged(settings=data.settings),
        EscalationPolicyAdopted(policy=data.policy),
        CalendarAdopted(days=data.calendar) if data.calendar else None,
    )


def _models(data: RegisterProgramme) -> dict[str, Any]:
    return {"legal_basis": data.legal_basis, "content_areas": data.content_areas, "participants": data.participants}


def _issue(request: Request[IssueProgramme], state: Programme, context: Context) -> Changes:
    if state.issued_on is not None:
        raise AlreadyIssued(f"{request.subject} was issued on {state.issued_on}", field="data.issued_on")
    require_role(request, context, "director")
    data = request.data
    waiting = [regime.definition for regime in state.regimes.values() if regime.definition.start is None]
    timers = [t for regime in waiting for t in next_period_timer(state, regime, request.occurred_at, data.issued_on)]
    opened = PhaseOpened(cause="issuance", starts_on=data.issued_on)
    return changes(
        ProgrammeIssued(number=data.number, issued_on=data.issued_on, sample=data.sample),
        *timers,
        *(Change(opened, stream=stream) for stream in _still_planned(state, request, context)),
    )


def _still_planned(state: Programme, request: Request[IssueProgramme], context: Context) -> list[str]:
    """The phases that start with the issue and were not opened by a decision meanwhile (R-033)."""
    streams = [f"phase/{request.programme}/{phase}" for phase in state.awaiting_issue]
    return [stream for stream in streams if getattr(context.load(stream), "status", None) == "planned"]


def _resolve_conflict(request: Request[ResolveBasisConflict], state: Programme, context: Context) -> Changes:
    require_role(request, context, "director", "coordinating_office")
    data = request.data
    if data.number not in state.basis_conflicts:
        raise NoSuchConflict(f"'{data.number}' is not cited in conflicting ways", field="data.number")
    return changes(BasisConflictResolved(number=data.number, chosen=data.chosen, reason=data.reason))


def _assign_roles(request: Request[AssignRoles], state: Programme, context: Context) -> Changes:
    if request.actor.post not in state.roles.get("director", ()):
        require_administrator(request, context)  # the office proposes who decides; it does not say so itself
    _check_roles(request.data.roles, organisation_of(request, context))
    return changes(RolesAssigned(roles=request.data.roles, reason=request.data.reason))


def _change_settings(request: Request[ChangeSettings], state: Programme, context: Context) -> Changes:
    require_role(request, context, "director", "coordinating_office")
    return changes(SettingsChanged(settings=request.data.settings, reason=request.data.reason))


def _adopt_policy(request: Request[AdoptEscalationPolicy], state: Programme, context: Context) -> Changes:
    require_role(request, context, "director", "coordinating_office")
    _check_policy(request.data.policy, state.policy_version + 1)
    return changes(EscalationPolicyAdopted(policy=request.data.policy, reason=request.data.reason))


def _adopt_calendar(request: Request[AdoptCalendar], state: Programme, context: Context) -> Changes:
    require_role(request, context, "director", "coordinating_office")
    return changes(CalendarAdopted(days=request.data.days))


def _amend_calendar(request: Request[AmendCalendar], state: Programme, context: Context) -> Changes:
    require_role(request, context, "director", "coordinating_office")
    return changes(CalendarAmended(days=request.data.days, reason=request.data.reason))


def _define_regime(request: Request[DefineRegime], state: Programme, context: Context) -> Changes:
    require_role(request, context, "director", "coordinating_office")
    regime, organisation = request.data.regime, organisation_of(request, context)
    for unit in (*regime.submitters, regime.aggregator, regime.addressee):
        if unit is not None:
            require_unit(organisation, unit, context.now, "data.regime.submitters")
    known = state.regimes.get(regime.code)
    version = known.version + 1 if known else 1
    defined = RegimeDefined(regime=regime, regime_version=version, reason=request.data.reason)
    return changes(defined, *next_period_timer(state, regime, request.occurred_at))


def _define_indicator(request: Request[DefineIndicator], state: Programme, context: Context) -> Changes:
    require_role(request, context, "director", "coordinating_office")
    return changes(IndicatorDefined(indicator=request.data.indicator))


def _close(request: Request[CloseProgramme], state: Programme, context: Context) -> Changes:
    require_role(request, context, "director")
    return changes(ProgrammeClosed(reason=request.data.reason), *state.deadlines.end("closed"))


def _while_running(handler: Handler) -> Handler:
    """By a known actor, and only before the programme is closed."""

    def checked(request: Request[Any], state: Programme, context: Context) -> Changes:
        if state.closed:
            raise ProgrammeIsClosed(f"{request.subject} is closed; {type(request.data).__name__} comes too late")
        return handler(request, state, context)

    return by_known_actor(checked)


def _approach(request: Request[RecordDeadlineApproached], state: Programme, context: Context) -> Changes:
    return record_approach(request, state.deadlines, context.now)


def _passed(request: Request[RecordDeadlinePassed], state: Programme, context: Context) -> Changes:
    return report_period_passed(request, state, context)


def _on_registered(state: Programme | None, recorded: Recorded[ProgrammeRegistered]) -> Programme:
    data = recorded.data
    return Programme(
        code=recorded.code,
        organisation=recorded.organisation,
        issued_on=data.issued_on,
        window_end=data.window_end,
        participants={part.unit: part.executes for part in data.participants},
        content_areas=frozenset(area.code for area in data.content_areas),
        basis_conflicts=frozenset(doc.number for doc in data.legal_basis if doc.variant),
    )


def _on_issued(state: Programme, recorded: Recorded[ProgrammeIssued]) -> Programme:
    return replace(state, issued_on=recorded.data.issued_on, awaiting_issue=())


def _on_awaits(state: Programme, recorded: Recorded[PhaseAwaitsIssue]) -> Programme:
    return replace(state, awaiting_issue=(*state.awaiting_issue, recorded.data.phase))


def _on_conflict_resolved(state: Programme, recorded: Recorded[BasisConflictResolved]) -> Programme:
    return replace(state, basis_conflicts=state.basis_conflicts - {recorded.data.number})


def _on_roles(state: Programme, recorded: Recorded[RolesAssigned]) -> Programme:
    given: dict[str, tuple[str, ...]] = {holding.role: holding.posts for holding in recorded.data.roles}
    return replace(state, roles={**state.roles, **given})


def _on_settings(state: Programme, recorded: Recorded[SettingsChanged]) -> Programme:
    return replace(state, settings=recorded.data.settings)


def _on_policy(state: Programme, recorded: Recorded[EscalationPolicyAdopted]) -> Programme:
    policy = recorded.data.policy
    policies = {**state.policies, policy.policy_version: policy}
    return replace(state, policies=policies, policy_version=policy.policy_version)


def _on_calendar(state: Programme, recorded: Recorded[CalendarAdopted]) -> Programme:
    return replace(state, calendar_days=recorded.data.days)


def _on_calendar_amended(state: Programme, recorded: Recorded[CalendarAmended]) -> Programme:
    return replace(state, calendar_days=(*state.calendar_days, *recorded.data.days))


def _on_regime(state: Programme, recorded: Recorded[RegimeDefined]) -> Programme:
    regime = Regime(recorded.data.regime, recorded.data.regime_version)
    return replace(state, regimes={**state.regimes, regime.definition.code: regime})


def _on_indicator(state: Programme, recorded: Recorded[IndicatorDefined]) -> Programme:
    return replace(state, indicators=state.indicators | {recorded.data.indicator.code})


def _on_closed(state: Programme, recorded: Recorded[ProgrammeClosed]) -> Programme:
    return replace(state, closed=True)


_OPENING: dict[Any, Any] = {RegisterProgramme: by_known_actor(_register)}
_LATER: dict[Any, Any] = {
    IssueProgramme: _while_running(_issue),
    ResolveBasisConflict: _while_running(_resolve_conflict),
    AssignRoles: _while_running(_assign_roles),
    ChangeSettings: _while_running(_change_settings),
    AdoptEscalationPolicy: _while_running(_adopt_policy),
    AdoptCalendar: _while_running(_adopt_calendar),
    AmendCalendar: _while_running(_amend_calendar),
    DefineRegime: _while_running(_define_regime),
    DefineIndicator: _while_running(_define_indicator),
    CloseProgramme: _while_running(_close),
    RecordDeadlineApproached: _approach,
    RecordDeadlinePassed: _passed,
}
_FOLD: dict[Any, Any] = {
    ProgrammeRegistered: _on_registered,
    ProgrammeIssued: _on_issued,
    PhaseAwaitsIssue: _on_awaits,
    BasisConflictResolved: _on_conflict_resolved,
    RolesAssigned: _on_roles,
    SettingsChanged: _on_settings,
    EscalationPolicyAdopted: _on_policy,
    CalendarAdopted: _on_calendar,
    CalendarAmended: _on_calendar_amended,
    RegimeDefined: _on_regime,
    IndicatorDefined: _on_indicator,
    ProgrammeClosed: _on_closed,
    **DEADLINE_FOLD,
}

_evolve = folding(_FOLD)
DECIDER = Decider(
    CONTRACT,
    Programme,
    punctual(dispatch(CONTRACT.name, _OPENING, _LATER), _evolve),
    _evolve,
    reads=lambda request: (f"organisation/{request.organisation}",),
)

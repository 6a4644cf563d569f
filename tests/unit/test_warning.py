"""Warning: every transition of appendix 3.6 and every refusal, from the limit to the answer (groups H and I)."""

from datetime import date
from typing import Any

import pytest

from contracts.assignment import (
    ApproveExtension,
    AssignTask,
    Due,
    Milestone,
    ReportProgress,
    RequestExtension,
    SuspendAssignment,
)
from contracts.base import Command
from contracts.limits import CalendarDay, DueRule, Offset
from contracts.obligation import DeclareObligation, Duty, SubmitObligation
from contracts.programme import (
    AdoptEscalationPolicy,
    AmendCalendar,
    EscalationPolicy,
    Ladder,
    RegisterProgramme,
    RoleHolding,
    Rung,
    Settings,
)
from contracts.warning import (
    AcknowledgeWarning,
    DismissWarning,
    EscalateWarning,
    Notice,
    RaiseWarning,
    RecordDelivery,
    RecordResponse,
    ResolveWarning,
    SupersedeWarning,
)
from domain.authority import RoleRequired
from domain.kernel import NoSuchStream, NotNow, Refused, ReservedForSauro
from domain.obligation_opening import explanation_stream
from domain.warning import NotRecipient
from domain.warning_state import stream_of
from tests.unit.spec import POLICY, PROG, ROLES, World, define_regime, local, names, text
from tests.unit.spec_chain import Chain
from tests.unit.spec_tasks import CLEAR, HANDED_IN, PROGRAMME, T, assigned, at_work, clear, day, office, sign_off

LIMIT, EARLY = local("2026-06-16T00:00"), local("2026-06-13T00:00")
PLUS_2, PLUS_5 = local("2026-06-18T00:00"), local("2026-06-21T00:00")


def warning(
    world: World, stream: str = T, kind: str = "assignment_due", version: int = 1, *, early: bool = False
) -> str:
    """The stream of a warning on a deadline; the deadline need not be in force any more."""
    key = next(
        event.data.key
        for event in world.events
        if event.stream == stream
        and names([event])[0] in ("DeadlineScheduled", "DeadlineRescheduled")
        and (event.data.key.kind, event.data.key.due_version) == (kind, version)
    )
    return stream_of(world.programme, stream, key, early=early)


def overdue(until: str = "2026-06-16T08:00", **options: Any) -> tuple[Chain, str]:
    chain = Chain(at_work(), **options).until(until)
    return chain, warning(chain.world)


def refused(rule: type[Refused], world: World, command: Command, stream: str, actor: str, **more: Any) -> None:
    before = len(world.events)
    with pytest.raises(rule) as found:
        world.do(command, stream, actor, **more)
    assert len(world.events) == before
    assert found.value.message


def service(world: World, command: Command, stream: str) -> list[str]:
    return names(world.do(command, stream, "SAURO", source="warning", unit="SAURO"))


# --- raised, delivered, acknowledged, answered, resolved --------------------------------------------------------------


def test_a_rung_before_the_limit_raises_an_early_warning_at_its_own_instant() -> None:
    chain = Chain(at_work()).until("2026-06-15T00:00")
    (raised,) = chain.of("WarningRaised")
    assert raised.stream == warning(chain.world, early=True)
    assert (raised.data.kind, raised.data.rung, raised.data.level, raised.data.act) == ("early", 0, 0, "remind")
    assert (raised.data.recipients, raised.data.unit, raised.data.about) == (("PBCXB-TP",), "PBCXB", T)
    assert raised.occurred_at == EARLY
    assert chain.world.state(raised.stream).status == "delivered"


def test_r131_the_limit_raises_one_overdue_warning_that_supersedes_the_early_one() -> None:
    chain, late = overdue()
    early, raised = chain.of("WarningRaised")
    assert (raised.stream, raised.data.kind, raised.data.rung) == (late, "overdue", 1)
    assert raised.data.recipients == ("PBCXB-TP",)
    assert (raised.occurred_at, raised.data.limit.at) == (LIMIT, LIMIT)
    assert chain.world.state(early.stream).status == "superseded"
    (gone,) = chain.of("WarningSuperseded")
    assert (gone.data.reason, gone.occurred_at) == ("stronger_warning", LIMIT)


def test_r131_a_timer_or_service_that_repeats_itself_raises_nothing_twice() -> None:
    chain, _ = overdue()
    before = len(chain.world.events)
    for event in list(chain.world.events):
        chain.answer(event)
    chain.settle()
    assert len(chain.world.events) == before
    (passed,) = [event for event in chain.of("DeadlinePassed") if event.stream == T]
    assert service(chain.world, RaiseWarning(about=T, key=passed.data.key), warning(chain.world)) == []


def test_delivery_is_recorded_once_a_level_and_not_by_raising() -> None:
    chain, late = overdue(deliver=False)
    assert chain.world.state(late).status == "raised"
    refused(NotNow, chain.world, AcknowledgeWarning(), late, "PBCXB-TP")
    chain.deliver, chain.handled = True, 0
    chain.settle()
    assert chain.world.state(late).status == "delivered"
    delivered = [event for event in chain.of("WarningDelivered") if event.stream == late]
    assert len(delivered) == 1
    assert [notice.recipient for notice in delivered[0].data.notices] == ["PBCXB-TP"]
    assert service(chain.world, RecordDelivery(level=1, notices=delivered[0].data.notices), late) == []


def test_r134_acknowledging_closes_nothing() -> None:
    chain, late = overdue()
    refused(NotRecipient, chain.world, AcknowledgeWarning(), late, "QLVH-TP")
    refused(NotNow, chain.world, ResolveWarning(), late, "PBCXB-TP")
    assert names(chain.world.do(AcknowledgeWarning(), late, "PBCXB-TP")) == ["WarningAcknowledged"]
    assert (chain.world.state(late).status, chain.world.state(late).is_open) == ("acknowledged", True)
    refused(NotNow, chain.world, AcknowledgeWarning(), late, "PBCXB-TP")
    refused(NotNow, chain.world, ResolveWarning(), late, "PBCXB-TP")
    chain.until("2026-06-18T00:00")
    assert [event.data.level for event in chain.of("WarningEscalated")] == [2]


@pytest.mark.parametrize("response", ["directive", "adjustment", "completion"])
def test_r134_an_action_answers_it_and_stops_the_ladder(response: Any) -> None:
    chain, late = overdue()
    answer = RecordResponse(response=response, note=text())
    refused(NotRecipient, chain.world, answer, late, "QLVH-TP")
    found = chain.world.do(answer, late, "PBCXB-TP")
    assert names(found) == ["ResponseRecorded", "DeadlineCancelled"]
    assert (found[0].data.response, chain.world.state(late).status) == (response, "responded")
    refused(NotNow, chain.world, answer, late, "PBCXB-TP")
    chain.until("2026-08-01T00:00")
    assert chain.of("WarningEscalated") == []
    refused(NotRecipient, chain.world, ResolveWarning(), late, "QLVH-TP")
    assert names(chain.world.do(ResolveWarning(note=text("xong")), late, "VPS-CVP")) == ["WarningResolved"]
    assert not chain.world.state(late).is_open
    refused(NotNow, chain.world, DismissWarning(reason=text()), late, "GD")


def test_r134_a_reasoned_dismissal_by_director_or_office_closes_it() -> None:
    chain, late = overdue()
    refused(RoleRequired, chain.world, DismissWarning(reason=text()), late, "PBCXB-TP")
    found = chain.world.do(DismissWarning(reason=text("nhập nhầm hạn")), late, "VPS-CVP")
    assert names(found) == ["WarningDismissed", "DeadlineCancelled"]
    refused(NotNow, chain.world, RecordResponse(response="directive"), late, "PBCXB-TP")
    chain.until("2026-08-01T00:00")
    assert chain.of("WarningEscalated") == []


def test_only_sauro_raises_delivers_escalates_and_supersedes() -> None:
    chain, late = overdue()
    key = chain.world.state(late).key
    for command in (
        RaiseWarning(about=T, key=key),
        RecordDelivery(level=1, notices=chain.of("WarningDelivered")[0].data.notices),
        EscalateWarning(key=chain.world.state(late).deadlines.get("warning_response_due").key),
        SupersedeWarning(reason="limit_moved"),
    ):
        refused(ReservedForSauro, chain.world, command, late, "GD")


def test_a_warning_that_does_not_exist_takes_no_answer() -> None:
    world = at_work()
    stream = warning(world)
    for command in (
        RecordResponse(response="directive"),
        ResolveWarning(),
        AcknowledgeWarning(),
        DismissWarning(reason=text()),
    ):
        refused(NoSuchStream, world, command, stream, "GD")
        assert world.state(stream) is None
    assert service(world, SupersedeWarning(reason="limit_moved"), stream) == []
    assert service(world, RecordResponse(response="completion"), stream) == []
    assert service(world, ResolveWarning(), stream) == []


# --- the ladder -------------------------------------------------------------------------------------------------------


def test_r146_unanswered_it_climbs_rung_by_rung_to_the_top() -> None:
    chain, late = overdue()
    chain.until("2026-06-25T00:00")
    climbed = [event for event in chain.of("WarningEscalated") if event.stream == late]
    assert [(e.data.level, e.data.recipients, e.data.act, e.data.top) for e in climbed] == [
        (2, ("VPS-CVP",), "demand_explanation", False),
        (3, ("GD",), "escalate", True),
    ]
    assert [event.occurred_at for event in climbed] == [PLUS_2, PLUS_5]
    state = chain.world.state(late)
    assert (state.status, state.level, state.reached) == ("delivered", 3, {"PBCXB-TP", "VPS-CVP", "GD"})
    assert {event.policy_version for event in climbed} == {1}
    answered = chain.world.do(RecordResponse(response="directive"), late, "GD")
    assert names(answered) == ["ResponseRecorded", "DeadlineCancelled"]


def test_r146_escalation_for_an_old_or_unpassed_response_limit_does_nothing() -> None:
    chain, late = overdue()
    key = chain.world.state(late).deadlines.get("warning_response_due").key
    assert service(chain.world, EscalateWarning(key=key), late) == []
    chain.until("2026-06-18T00:00")
    assert service(chain.world, EscalateWarning(key=key), late) == []


def test_r146_a_role_nobody_plays_falls_to_the_coordinating_office() -> None:
    rungs = (Rung(offset=Offset(), level=1, recipients=("superior", "unit_head"), act="warn"),)
    chain = Chain(at_work(world=adopted(Ladder(kinds=("assignment_due",), rungs=rungs)))).until("2026-06-16T00:00")
    assert chain.of("WarningRaised")[0].data.recipients == ("VPS-CVP", "PBCXB-TP")


def test_r146_without_a_coordinating_office_it_falls_to_the_director() -> None:
    world = office()
    world.programme = "SVHTTDL-B"
    rungs = (Rung(offset=Offset(), level=1, recipients=("superior",), act="warn"),)
    policy = EscalationPolicy(policy_version=1, ours=False, ladders=(Ladder(kinds=("assignment_due",), rungs=rungs),))
    directed = RegisterProgramme(
        title_vi="x", kind="X", roles=(RoleHolding(role="director", posts=("GD",)),), policy=policy
    )
    world.do(directed, "programme/SVHTTDL-B", "GD")
    world.do(AssignTask(content=CLEAR), "assignment/SVHTTDL-B/T-01", "GD", "2026-06-01T08:00")
    chain = Chain(world).until("2026-06-16T00:00")
    assert chain.of("WarningRaised")[0].data.recipients == ("GD",)


def adopted(*ladders: Ladder, version: int = 2) -> World:
    world = office(settings=Settings(categories=("LAND", "OTHER")))
    policy = EscalationPolicy(policy_version=version, ours=False, ladders=ladders)
    world.do(AdoptEscalationPolicy(policy=policy, reason="quy chế"), PROGRAMME, "GD")
    return world


def ladder(lead: int, *categories: str) -> Ladder:
    return Ladder(
        kinds=("assignment_due",),
        categories=categories,
        rungs=(
            Rung(offset=Offset(days=-lead), level=0, recipients=("accountable",), act="remind"),
            Rung(offset=Offset(), level=1, recipients=("accountable",), act="warn"),
        ),
    )


def test_r136_a_stricter_ladder_warns_of_land_earlier() -> None:
    found = {}
    for category in ("LAND", "OTHER"):
        world = at_work(clear(category=category), adopted(ladder(3), ladder(10, "LAND")))
        found[category] = Chain(world).until("2026-06-16T00:00").of("WarningRaised")[0].occurred_at
    assert found == {"LAND": local("2026-06-06T00:00"), "OTHER": EARLY}


def test_r133_the_version_a_limit_was_scheduled_under_decides_and_is_stored() -> None:
    world = at_work()
    policy = EscalationPolicy(policy_version=2, ours=False, ladders=(ladder(10),))
    world.do(AdoptEscalationPolicy(policy=policy, reason="quy chế"), PROGRAMME, "GD")
    other = f"assignment/{PROG}/T-02"
    world.do(AssignTask(content=CLEAR), other, "GD")
    chain = Chain(world).until("2026-06-19T00:00")
    versions = {
        (e.data.about, e.data.kind): e.policy_version for e in chain.of("WarningRaised") if "T-" in e.data.about
    }
    assert versions == {(T, "early"): 1, (T, "overdue"): 1, (other, "early"): 2, (other, "overdue"): 2}
    assert [e.occurred_at for e in chain.of("WarningRaised") if e.data.kind == "early"] == [
        local("2026-06-06T00:00"),
        EARLY,
    ]
    assert [e.stream for e in chain.of("WarningEscalated")] == [warning(world)]


def test_r132_rungs_before_the_limit_climb_the_early_warning() -> None:
    rungs = (
        Rung(offset=Offset(days=-5), level=0, recipients=("accountable",), act="remind"),
        Rung(offset=Offset(days=-2), level=1, recipients=("accountable", "coordinating_office"), act="warn"),
        Rung(offset=Offset(), level=2, recipients=("director",), act="warn"),
    )
    world = at_work(world=adopted(Ladder(kinds=("assignment_due",), rungs=rungs)))
    chain = Chain(world).until("2026-06-15T00:00")
    (raised,), (climbed,) = chain.of("WarningRaised"), chain.of("WarningEscalated")
    assert (raised.occurred_at, climbed.occurred_at) == (local("2026-06-11T00:00"), local("2026-06-14T00:00"))
    assert (climbed.stream, climbed.data.level, climbed.data.recipients) == (raised.stream, 1, ("PBCXB-TP", "VPS-CVP"))
    assert raised.data.rule == "assignment_due rung 0"
    key = chain.world.state(raised.stream).key
    assert service(world, RaiseWarning(about=T, key=key, rung=0), raised.stream) == []
    assert service(world, RaiseWarning(about=T, key=key, rung=2), raised.stream) == []


def test_a_policy_without_a_ladder_for_the_limit_warns_of_nothing() -> None:
    only_reports = Ladder(kinds=("obligation_due",), rungs=ladder(1).rungs)
    chain = Chain(at_work(world=adopted(only_reports))).until("2026-07-01T00:00")
    assert "DeadlinePassed" in names(chain.world.events)
    assert chain.warnings == {}


def test_r153_the_same_task_goes_to_other_roles_in_another_programme() -> None:
    found = {}
    for name, role, post in (("SVHTTDL-TD500", "director", "GD"), ("PHN-CTHD500", "steering_body", "QLVH-TP")):
        world = office()
        rungs = (
            Rung(offset=Offset(), level=1, recipients=("accountable",), act="warn"),
            Rung(offset=Offset(days=5), level=2, recipients=(role,), act="escalate"),  # type: ignore[arg-type]
        )
        world.programme = name if name != PROG else "SVHTTDL-B"
        register = RegisterProgramme(
            title_vi=name,
            kind="EMULATION-PLAN",
            issued_on=date(2026, 5, 30),
            roles=(*ROLES, RoleHolding(role=role, posts=(post,))),  # type: ignore[arg-type]
            policy=EscalationPolicy(
                policy_version=1, ours=False, ladders=(Ladder(kinds=("assignment_due",), rungs=rungs),)
            ),
        )
        world.do(register, f"programme/{world.programme}", "GD")
        stream = f"assignment/{world.programme}/T-01"
        world.do(AssignTask(content=CLEAR), stream, "GD", "2026-06-01T08:00")
        chain = Chain(world).until("2026-06-21T00:00")
        found[name] = [event.data.recipients for event in chain.of("WarningEscalated")]
    assert found == {"SVHTTDL-TD500": [("GD",)], "PHN-CTHD500": [("QLVH-TP",)]}


# --- what takes its ground away ---------------------------------------------------------------------------------------


def test_r141_a_moved_limit_supersedes_its_warnings_and_the_new_one_warns_anew() -> None:
    chain, late = overdue()
    world = chain.world
    world.do(RequestExtension(due=Due(day=day(6, 30)), reason=text()), T, "PBCXB-PP", "2026-06-17T08:00")
    world.do(ApproveExtension(), T, "GD")
    chain.settle()
    assert world.state(late).status == "superseded"
    assert world.state(late).deadlines.live == {}
    assert chain.of("WarningSuperseded")[-1].data.reason == "limit_moved"
    chain.until("2026-06-26T00:00")
    assert chain.of("WarningEscalated") == []
    (passed,) = chain.of("DeadlinePassed")
    assert service(world, RaiseWarning(about=T, key=passed.data.key), late) == []
    chain.until("2026-07-01T00:00")
    again = world.state(warning(world, version=2))
    assert (again.status, again.limit.at, again.key.due_version) == ("delivered", local("2026-07-01T00:00"), 2)
    assert world.state(late).status == "superseded"


def test_handed_in_before_the_limit_the_early_warning_is_superseded() -> None:
    chain = Chain(at_work()).until("2026-06-14T00:00")
    chain.world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-14T08:00")
    chain.until("2026-07-01T00:00")
    (gone,) = chain.of("WarningSuperseded")
    assert (gone.stream, gone.data.reason) == (warning(chain.world, early=True), "met_in_time")


def test_r347_a_result_on_time_entered_after_the_limit_supersedes_the_warning_that_was_wrong() -> None:
    chain, late = overdue()
    chain.world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-15T17:00", now="2026-06-16T09:00")
    chain.settle()
    assert chain.world.state(late).status == "superseded"
    assert chain.of("WarningSuperseded")[-1].data.reason == "met_in_time"
    assert chain.of("WarningRaised")[-1].stream == late


def test_late_completion_answers_and_resolves_the_warning() -> None:
    chain, late = overdue()
    chain.world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-17T08:00")
    sign_off(chain.world, "2026-06-17T09:00")
    chain.settle()
    (answered,), (resolved,) = chain.of("ResponseRecorded"), chain.of("WarningResolved")
    assert (answered.stream, answered.data.response, resolved.stream) == (late, "completion", late)
    assert chain.world.state(late).status == "resolved"


def test_a_suspended_task_stands_under_no_warning() -> None:
    chain, late = overdue()
    chain.world.do(SuspendAssignment(reason="chờ"), T, "GD", "2026-06-17T08:00")
    chain.until("2026-08-01T00:00")
    assert chain.world.state(late).status == "superseded"
    assert chain.of("WarningEscalated") == []


def test_a_rung_reached_before_the_limit_was_met_leaves_its_trace_however_slow_the_service() -> None:
    world = at_work()
    world.timekeeper("2026-06-13T00:00")
    world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-14T08:00")
    chain = Chain(world)
    chain.handled = 0
    chain.settle()
    (raised,), (gone,) = chain.of("WarningRaised"), chain.of("WarningSuperseded")
    assert (raised.stream, raised.occurred_at) == (warning(world, early=True), EARLY)
    assert (gone.stream, gone.data.reason) == (raised.stream, "met_in_time")


def test_a_delivery_recorded_after_the_next_rung_is_not_its_delivery() -> None:
    chain, late = overdue(until="2026-06-18T08:00", deliver=False)
    assert (chain.world.state(late).level, chain.world.state(late).status) == (2, "raised")
    notice = (Notice(recipient="PBCXB-TP", stream_sequence=1),)
    assert service(chain.world, RecordDelivery(level=1, notices=notice), late) == ["WarningDelivered"]
    assert chain.world.state(late).status == "raised"
    refused(NotNow, chain.world, AcknowledgeWarning(), late, "PBCXB-TP")
    assert service(chain.world, RecordDelivery(level=2, notices=notice), late) == ["WarningDelivered"]
    assert chain.world.state(late).status == "delivered"


# --- reports, data, milestones, explanations --------------------------------------------------------------------------


def test_r139_a_missing_report_warns_the_head_and_the_office() -> None:
    rungs = (Rung(offset=Offset(), level=1, recipients=("unit_head", "coordinating_office"), act="warn"),)
    world = adopted(Ladder(kinds=("obligation_due",), rungs=rungs))
    define_regime(
        world, "R-W", "weekly", DueRule(frequency="weekly", boundary="before", weekday=3), submitters=("QLVH",)
    )
    chain = Chain(world).until("2026-06-04T00:00")
    (raised,) = chain.of("WarningRaised")
    assert (raised.data.kind, raised.data.recipients) == ("missed_report", ("QLVH-TP", "VPS-CVP"))
    assert raised.data.about.startswith(f"obligation/{PROG}/R-W-")
    world.do(SubmitObligation(), raised.data.about, "QLVH-PP", "2026-06-03T16:00", now="2026-06-04T08:00")
    chain.settle()
    assert world.state(raised.stream).status == "superseded"


def test_r140_stale_data_warn_and_the_next_update_clears_it() -> None:
    chain = Chain(at_work(clear(update_every_days=3))).until("2026-06-05T00:00")
    (raised,) = chain.of("WarningRaised")
    assert (raised.data.kind, raised.data.recipients) == ("stale", ("VPS-CVP",))
    chain.world.do(ReportProgress(percent=20), T, "PBCXB-PP", "2026-06-05T08:00")
    chain.settle()
    assert chain.world.state(raised.stream).status == "superseded"


def test_r142_without_a_setting_a_limit_on_a_holiday_stays_as_written() -> None:
    rule = DueRule(frequency="weekly", boundary="by_end_of", weekday=3)
    holiday = CalendarDay(date=day(6, 4), name="Nghỉ", kind="holiday")
    for setting, at in (("as_written", "2026-06-05T00:00"), ("next_working_day", "2026-06-06T00:00")):
        world = office(settings=Settings(holiday_rule=setting))  # type: ignore[arg-type]
        world.do(AmendCalendar(days=(holiday,), reason="x"), PROGRAMME, "VPS-CVP")
        define_regime(world, "R-W", "weekly", rule, submitters=("QLVH",))
        chain = Chain(world).until("2026-06-06T00:00")
        raised = [e for e in chain.of("WarningRaised") if e.data.kind == "missed_report"]
        assert [e.occurred_at for e in raised] == [local(at)]


def test_r244_no_warning_by_average_but_one_for_a_missed_milestone() -> None:
    milestone = Milestone(code="M-1", what="Nghiệm thu", due=Due(day=day(6, 8)))
    bare = Ladder(
        kinds=("assignment_due", "assignment_milestone"),
        rungs=(Rung(offset=Offset(), level=1, recipients=("accountable",), act="warn"),),
    )
    world = at_work(clear(milestones=(milestone,)), adopted(bare))
    world.do(ReportProgress(percent=10), T, "PBCXB-PP", "2026-06-08T08:00")
    chain = Chain(world).until("2026-06-08T23:59:59")
    assert (chain.of("WarningRaised"), world.state(T).at_risk) == ([], None)
    chain.until("2026-06-15T23:59:59")
    (raised,) = chain.of("WarningRaised")
    assert (raised.data.kind, raised.occurred_at) == ("missed_milestone", local("2026-06-09T00:00"))
    assert world.state(T).at_risk == "missed_milestone"


def test_r244_ten_percent_near_the_end_alone_raises_nothing() -> None:
    bare = Ladder(kinds=("assignment_due",), rungs=(ladder(1).rungs[1],))
    world = at_work(world=adopted(bare))
    world.do(ReportProgress(percent=10), T, "PBCXB-PP", "2026-06-15T08:00")
    chain = Chain(world).until("2026-06-15T23:59:59")
    assert (chain.warnings, chain.of("AssignmentMarkedAtRisk")) == ({}, [])


def test_a_missed_phase_milestone_is_no_missed_report() -> None:
    world = office()
    owed = Duty(kind="phase_milestone", title="Mốc", unit="PBCXB")
    stream = f"obligation/{PROG}/OB-1"
    world.do(DeclareObligation(duty=owed, due=Due(day=day(6, 5))), stream, "GD")
    chain = Chain(world).until("2026-06-06T00:00")
    assert [e.data.kind for e in chain.of("WarningRaised")] == ["early", "missed_milestone"]


def explaining(offset: Offset) -> World:
    rungs = [
        Rung(offset=Offset(), level=1, recipients=("accountable",), act="warn"),
        Rung(offset=offset, level=1, recipients=("unit_head",), act="demand_explanation"),
    ]
    return at_work(world=adopted(Ladder(kinds=("assignment_due", "obligation_due"), rungs=tuple(rungs))))


@pytest.mark.parametrize(("days", "at"), [(0, "2026-06-16T00:00"), (2, "2026-06-18T00:00")])
def test_r157_a_rung_that_demands_an_explanation_opens_it_for_the_head(days: int, at: str) -> None:
    chain = Chain(explaining(Offset(days=days))).until(at)
    (declared,) = chain.of("ObligationDeclared")
    assert declared.stream == explanation_stream(PROG, T)
    state = chain.world.state(declared.stream)
    assert (state.duty.kind, state.unit, state.accountable, state.duty.about) == ("explanation", "PBCXB", "PBCXB-TP", T)
    chain.until("2026-09-01T00:00")
    assert len(chain.of("ObligationDeclared")) == 1


def test_r157_no_rung_that_demands_one_opens_none() -> None:
    chain = Chain(at_work(world=adopted(ladder(1)))).until("2026-08-01T00:00")
    assert chain.of("ObligationDeclared") == []


# --- determinism ------------------------------------------------------------------------------------------------------


def essence(chain: Chain) -> list[Any]:
    """All events but for when they were recorded, by whom, and what was promised from that day on (explanations)."""
    found = []
    for event in chain.world.events:
        if event.stream.startswith("obligation/") or "EXA-" in event.stream:
            continue
        delivered = names([event]) == ["WarningDelivered"]
        same = event._replace(recorded_at=LIMIT, position=0, id="", command_id="", correlation_id="", causation_id="")
        same = same._replace(data=event.data.level, occurred_at=LIMIT) if delivered else same
        found.append(same)
    return sorted(found, key=lambda event: (event.stream, event.version))


@pytest.mark.parametrize("late", ["2026-06-22T08:00", "2026-07-20T08:00"])
def test_r353_r354_after_downtime_the_same_events_at_the_same_instants(late: str) -> None:
    content = clear(update_every_days=5, milestones=(Milestone(code="M-1", what="x", due=Due(day=day(6, 8))),))
    end = "2026-06-21T00:00"
    awake = Chain(at_work(content)).until(end)
    asleep = Chain(at_work(content)).until(end, late=late)
    assert essence(asleep) == essence(awake)
    assert max(event.recorded_at for event in asleep.world.events) == local(late)
    of_the_system = [e for e in asleep.world.events if e.sender in ("timekeeper", "warning")]
    kinds = {"WarningRaised", "WarningEscalated", "DeadlinePassed", "DeadlineApproached", "AssignmentMarkedAtRisk"}
    judged = [e for e in of_the_system if names([e])[0] in kinds]
    assert all(e.occurred_at < local(end) or e.occurred_at == PLUS_5 for e in judged)


def test_r353_rungs_and_limit_found_in_one_batch_leave_the_same_warnings_as_ever() -> None:
    world = at_work()
    world.timekeeper("2026-06-21T00:00", late="2026-06-25T08:00")
    chain = Chain(world)
    chain.handled = 0
    chain.until("2026-06-25T08:00")
    early, raised = chain.of("WarningRaised")
    assert (early.data.kind, raised.data.kind, raised.occurred_at) == ("early", "overdue", LIMIT)
    assert [(e.stream, e.data.reason) for e in chain.of("WarningSuperseded")] == [(early.stream, "stronger_warning")]
    assert [e.occurred_at for e in chain.of("WarningEscalated") if e.stream == raised.stream] == [PLUS_2, PLUS_5]


def test_r354_twice_the_same_inputs_the_same_events() -> None:
    assert (
        Chain(at_work()).until("2026-07-01T00:00").world.events
        == Chain(at_work()).until("2026-07-01T00:00").world.events
    )


def test_stream_names_are_codes_of_at_most_40_characters() -> None:
    world = assigned(stream=f"assignment/{PROG}/{'T' * 40}")
    code = warning(world, f"assignment/{PROG}/{'T' * 40}").rsplit("/", 1)[-1]
    assert len(code) <= 40
    assert warning(world, f"assignment/{PROG}/{'T' * 40}", early=True).rsplit("/", 1)[-1] != code
    assert POLICY.policy_version == 1

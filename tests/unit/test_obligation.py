"""Obligation: every transition of appendix 3.2 and every refusal, by requirement."""

import datetime as dt
from typing import Any

import pytest

from contracts.assignment import Due, Evidence
from contracts.base import Command
from contracts.deadlines import DeadlineMet, DeadlinePassed, DeadlineRescheduled
from contracts.limits import Boundary
from contracts.obligation import (
    AcceptObligation,
    ConfigureDue,
    ConsolidateObligation,
    CorrectObligation,
    DeclareNothingToReport,
    DeclareObligation,
    DemandExplanation,
    Duty,
    ForwardObligation,
    OpenObligation,
    RequestAdHocReport,
    ReturnObligation,
    SetOwner,
    SubmitObligation,
    WaiveObligation,
)
from contracts.programme import Settings
from domain.authority import RoleRequired, WrongUnit
from domain.kernel import AlreadyExists, NoSuchStream, NotNow, Recorded, Refused
from domain.obligation import (
    DocumentMissing,
    NotAcceptor,
    OwnerOpen,
    SubmitterAccepts,
    explanation_stream,
)
from domain.obligation_opening import NothingToExplain, PostOutsideUnit
from domain.organisation import UnknownPost, UnknownUnit
from tests.unit.spec import PROG, World, local, names, sample_world, text

S = f"obligation/{PROG}/OB-1"
DOCUMENT = Evidence(system="QLVB", number="12/BC")
BY_5 = Due(day=dt.date(2026, 6, 5))


def due(day: int, boundary: Boundary = "by_end_of", month: int = 6) -> Due:
    return Due(day=dt.date(2026, month, day), boundary=boundary)


def duty(**more: Any) -> Duty:
    return Duty(**{"kind": "report", "title": "Báo cáo", "unit": "PBCXB", "aggregator": "VPS", **more})


def given(
    limit: Due | None = BY_5, opens_on: dt.date | None = None, settings: Settings | None = None, **more: Any
) -> World:
    world = sample_world(settings=settings)
    world.do(DeclareObligation(duty=duty(**more), due=limit, opens_on=opens_on), S, "GD", "2026-06-01T08:00")
    return world


def submitted(at: str = "2026-06-04T10:00", **more: Any) -> World:
    world = given(**more)
    world.do(SubmitObligation(document=DOCUMENT), S, "PBCXB-TP", at)
    return world


def last(recorded: list[Recorded[Any]]) -> Any:
    return recorded[-1].data


def accept(world: World, at: str, actor: str = "VPS-CVP") -> list[Recorded[Any]]:
    return world.do(AcceptObligation(), S, actor, at)


def test_declared_with_a_limit_is_open_at_once_with_its_rungs_and_policy() -> None:
    world = sample_world()
    found = world.do(DeclareObligation(duty=duty(), due=BY_5), S, "GD", "2026-06-01T08:00")
    assert names(found) == ["ObligationDeclared", "DeadlineScheduled", "ObligationOpened"]
    assert found[1].policy_version == 1
    assert [lead.at for lead in found[1].data.leads] == [local("2026-06-03T00:00")]
    state = world.state(S)
    assert (state.status, state.is_open, state.unit, state.accountable, state.category) == (
        "open",
        True,
        "PBCXB",
        None,
        None,
    )


def test_r041_by_the_end_of_05_6_counts_the_day_and_the_missing_item_is_late_on_06_6() -> None:
    world = given()
    assert world.timekeeper("2026-06-05T23:59:59")[-1].data.key.kind == "obligation_due"  # only the rung before it
    assert not world.state(S).missed
    passed = world.timekeeper("2026-06-06T00:00", late="2026-06-06T09:00")
    assert isinstance(last(passed), DeadlinePassed)
    assert passed[-1].occurred_at == local("2026-06-06T00:00")
    assert world.state(S).missed
    assert world.state(S).status == "open"


def test_r042_before_05_6_excludes_the_day_and_keeps_the_ambiguity() -> None:
    world = given(due(5, "before"), ambiguous="tiêu đề: hết ngày; danh mục: trước ngày")
    assert world.state(S).current.at == local("2026-06-05T00:00")
    assert world.state(S).duty.ambiguous


def test_r043_owner_open_until_set_then_a_product_needs_document_and_acceptance() -> None:
    world = given(unit=None, kind="mandatory_product")
    with pytest.raises(OwnerOpen):
        world.do(SubmitObligation(document=DOCUMENT), S, "PBCXB-TP", "2026-06-02T08:00")
    with pytest.raises(RoleRequired):
        world.do(SetOwner(unit="PBCXB", reason="giao"), S, "PBCXB-TP")
    with pytest.raises(PostOutsideUnit):
        world.do(SetOwner(unit="PBCXB", post="QLVH-TP", reason="giao"), S, "VPS-CVP")
    with pytest.raises(UnknownUnit):
        world.do(SetOwner(unit="NONE", reason="giao"), S, "VPS-CVP")
    assert names(world.do(SetOwner(unit="PBCXB", post="PBCXB-TP", reason="giao"), S, "VPS-CVP")) == ["OwnerSet"]
    assert (world.state(S).unit, world.state(S).accountable) == ("PBCXB", "PBCXB-TP")
    with pytest.raises(RoleRequired):
        world.do(SetOwner(unit="QLVH", reason="đổi"), S, "VPS-CVP")
    with pytest.raises(DocumentMissing):
        world.do(SubmitObligation(), S, "PBCXB-TP")
    world.do(SubmitObligation(document=DOCUMENT, note=text()), S, "PBCXB-TP")
    accept(world, "2026-06-03T08:00")
    assert world.state(S).status == "accepted"
    with pytest.raises(NotNow):
        world.do(SetOwner(unit="QLVH", reason="đổi"), S, "GD")


def test_r164_in_time_at_the_last_second_late_at_the_limit() -> None:
    world = given(due(19, "before"))
    met = world.do(SubmitObligation(), S, "PBCXB-TP", "2026-06-18T23:59:59")
    assert names(met) == ["DeadlineApproached", "ObligationSubmitted", "DeadlineMet"]
    accepted = accept(world, "2026-06-19T08:00")
    assert names(accepted) == ["ObligationAccepted"]
    assert accepted[0].data.verdict.against_current == "on_time"
    late = given(due(19, "before"))
    found = late.do(SubmitObligation(), S, "PBCXB-TP", "2026-06-19T00:00")
    assert names(found) == ["DeadlineApproached", "DeadlinePassed", "ObligationSubmitted"]


def test_r169_undated_until_configured_and_never_late_before() -> None:
    world = given(None)
    assert world.state(S).status == "undated"
    assert world.timekeeper("2027-01-01T00:00") == []
    with pytest.raises(RoleRequired):
        world.do(ConfigureDue(due=due(30), reason="đặt hạn"), S, "PBCXB-TP", "2026-06-10T08:00")
    found = world.do(ConfigureDue(due=due(30), reason="đặt hạn"), S, "VPS-CVP", "2026-06-10T08:00")
    assert names(found) == ["DueConfigured", "DeadlineScheduled", "ObligationOpened"]
    assert world.state(S).original == world.state(S).current


def test_r169_undated_submission_is_judged_undated() -> None:
    world = submitted(limit=None)
    verdict = accept(world, "2026-06-05T08:00")[0].data.verdict
    assert (verdict.against_original, verdict.against_current) == ("undated", "undated")


def test_r057_r171_opened_by_hand_it_stays_undated_until_set() -> None:
    world = given(None)
    with pytest.raises(RoleRequired):
        world.do(OpenObligation(), S, "PBCXB-TP")
    assert names(world.do(OpenObligation(), S, "VPS-CVP")) == ["ObligationOpened"]
    assert (world.state(S).status, world.state(S).current) == ("open", None)
    with pytest.raises(NotNow):
        world.do(OpenObligation(), S, "VPS-CVP")
    assert names(world.do(ConfigureDue(due=BY_5, reason="đặt hạn"), S, "GD")) == ["DueConfigured", "DeadlineScheduled"]


def test_window_in_the_future_is_scheduled_and_submission_is_allowed() -> None:
    world = given(opens_on=dt.date(2026, 6, 3))
    assert world.state(S).status == "scheduled"
    early = world.do(SubmitObligation(), S, "PBCXB-TP", "2026-06-02T08:00")
    assert names(early) == ["ObligationSubmitted", "DeadlineMet", "DeadlineCancelled"]
    assert world.timekeeper("2026-06-30T00:00") == []
    undated = given(None, opens_on=dt.date(2026, 7, 1))
    undated.do(ConfigureDue(due=due(5, month=7), reason="đặt hạn"), S, "GD")
    assert undated.state(S).status == "scheduled"
    assert names(undated.do(OpenObligation(), S, "GD", "2026-06-30T08:00")) == ["ObligationOpened", "DeadlineCancelled"]


def test_moved_limit_keeps_the_original_and_both_verdicts() -> None:
    world = given()
    moved = world.do(ConfigureDue(due=due(10), reason="dời"), S, "GD", "2026-06-02T08:00")
    assert isinstance(last(moved), DeadlineRescheduled)
    world.do(SubmitObligation(), S, "PBCXB-TP", "2026-06-08T08:00")
    with pytest.raises(NotNow):
        world.do(ConfigureDue(due=due(20), reason="dời"), S, "GD")
    verdict = accept(world, "2026-06-09T08:00")[0].data.verdict
    assert (verdict.against_original, verdict.against_current) == ("late", "early")


def test_missed_then_handed_in_late() -> None:
    world = given()
    world.timekeeper("2026-06-06T00:00")
    world.do(SubmitObligation(), S, "PBCXB-TP", "2026-06-07T08:00")
    assert (world.state(S).status, world.state(S).missed) == ("submitted", False)
    accepted = accept(world, "2026-06-08T08:00")
    assert names(accepted) == ["ObligationAccepted", "DeadlineCancelled"]
    assert accepted[1].data.reason == "late_completion"
    assert accepted[0].data.verdict.against_original == "late"


def test_a_slow_timekeeper_does_not_hide_that_the_limit_passed() -> None:
    world = submitted("2026-06-05T01:00", settings=Settings(late_entry_tolerance_hours=0))
    world.do(ReturnObligation(reason=text()), S, "VPS-CVP", "2026-06-05T02:00")
    found = world.do(ConfigureDue(due=due(20), reason="x"), S, "GD", "2026-06-06T02:00")
    assert names(found) == ["DeadlinePassed", "DueConfigured", "DeadlineRescheduled"]
    assert (found[0].occurred_at, found[0].policy_version) == (local("2026-06-06T00:00"), 1)
    assert (found[2].data.replaces, found[2].data.warned) == (found[0].data.key.due_version, True)


def test_what_is_accepted_late_ends_its_limit_as_warned_about_and_under_its_policy() -> None:
    world = submitted("2026-06-06T01:00")
    (accepted, ended) = accept(world, "2026-06-06T02:00")
    assert accepted.data.verdict.against_current == "late"
    assert (ended.data.reason, ended.data.warned, ended.policy_version) == ("late_completion", True, 1)


@pytest.mark.parametrize("dated", [True, False])
def test_the_window_opens_on_its_day_without_anybody(dated: bool) -> None:
    world = given(BY_5 if dated else None, opens_on=dt.date(2026, 6, 3))
    assert world.state(S).status == ("scheduled" if dated else "undated")
    fired = world.timekeeper("2026-06-03T00:00", late="2026-06-03T09:00")
    assert names(fired)[-2:] == ["DeadlinePassed", "ObligationOpened"]
    assert fired[-1].occurred_at == local("2026-06-03T00:00")
    assert world.state(S).status == "open"
    assert not world.state(S).missed


def test_r347_in_time_but_entered_late_within_tolerance_supersedes_the_passing() -> None:
    world = given()
    world.timekeeper("2026-06-06T00:00")
    found = world.do(SubmitObligation(), S, "PBCXB-TP", "2026-06-05T20:00", now="2026-06-06T10:00")
    assert isinstance(last(found), DeadlineMet)
    assert last(found).after_passing
    assert not found[0].data.late_entry
    late = given()
    late.timekeeper("2026-06-06T00:00")
    found = late.do(SubmitObligation(), S, "PBCXB-TP", "2026-06-05T20:00", now="2026-06-07T10:00")
    assert names(found) == ["ObligationSubmitted"]
    assert (found[0].data.late_entry, found[0].data.decides_at) == (True, local("2026-06-07T10:00"))


def test_r182_returned_then_accepted_shows_both_verdicts_and_sets_the_limit_again() -> None:
    world = submitted("2026-06-05T10:00")
    with pytest.raises(NotAcceptor):
        world.do(ReturnObligation(reason=text("thiếu")), S, "QLVH-TP", "2026-06-05T11:00")
    returned = world.do(ReturnObligation(reason=text("thiếu")), S, "VPS-PVP", "2026-06-07T11:00")
    assert names(returned) == ["ObligationReturned", "DeadlineScheduled"]
    assert returned[1].data.key.due_version == 2
    assert world.state(S).status == "open"
    passed = world.timekeeper("2026-06-07T12:00", late="2026-06-07T12:00")
    assert passed[-1].occurred_at == local("2026-06-06T00:00")
    world.do(SubmitObligation(), S, "PBCXB-TP", "2026-06-08T08:00")
    accepted = accept(world, "2026-06-08T09:00")[0].data
    assert (accepted.submission, accepted.submitter) == (2, "PBCXB-TP")
    assert (accepted.verdict.against_current, accepted.first_submission_verdict.against_current) == ("late", "on_time")


def test_return_of_an_undated_one_sets_no_limit() -> None:
    world = submitted(limit=None)
    assert names(world.do(ReturnObligation(reason=text("thiếu")), S, "VPS-CVP")) == ["ObligationReturned"]


def test_who_may_hand_in_and_who_may_accept() -> None:
    world = given(addressee="BGD")
    with pytest.raises(WrongUnit):
        world.do(SubmitObligation(), S, "QLVH-TP", "2026-06-02T08:00")
    with pytest.raises(NotNow):
        accept(world, "2026-06-02T08:00")
    world.do(SubmitObligation(), S, "PBCXB-PP")
    with pytest.raises(NotAcceptor):
        accept(world, "2026-06-02T09:00", "QLVH-TP")
    assert names(accept(world, "2026-06-02T09:00", "PGD"))[0] == "ObligationAccepted"
    own = given(unit="VPS")
    own.do(SubmitObligation(), S, "VPS-CVP", "2026-06-02T08:00")
    with pytest.raises(SubmitterAccepts):
        accept(own, "2026-06-02T09:00", "VPS-CVP")
    assert names(accept(own, "2026-06-02T09:00", "VPS-PVP"))[0] == "ObligationAccepted"


def test_r258_nothing_to_report_counts_as_handed_in() -> None:
    world = given()
    with pytest.raises(WrongUnit):
        world.do(DeclareNothingToReport(), S, "QLVH-TP", "2026-06-04T08:00")
    found = world.do(DeclareNothingToReport(note=text("không phát sinh")), S, "PBCXB-TP", "2026-06-04T08:00")
    assert names(found) == ["DeadlineApproached", "NothingToReportDeclared", "DeadlineMet"]
    assert accept(world, "2026-06-04T09:00")[0].data.verdict.against_current == "early"


def test_consolidated_forwarded_corrected_in_order() -> None:
    world = submitted()
    with pytest.raises(NotNow):
        world.do(ConsolidateObligation(consolidated_in="TH-1"), S, "VPS-CVP")
    with pytest.raises(NotNow):
        world.do(CorrectObligation(document=DOCUMENT, reason="sửa"), S, "PBCXB-TP")
    accept(world, "2026-06-05T08:00")
    with pytest.raises(NotNow):
        world.do(ForwardObligation(addressee="BGD"), S, "VPS-CVP")
    consolidated = world.do(ConsolidateObligation(consolidated_in="TH-1"), S, "VPS-CVP")
    assert not last(consolidated).after_consolidation
    assert names(world.do(ForwardObligation(addressee="BGD"), S, "VPS-CVP")) == ["ObligationForwarded"]
    with pytest.raises(WrongUnit):
        world.do(CorrectObligation(document=DOCUMENT, reason="sửa"), S, "QLVH-TP")
    for number in (2, 3):
        corrected = world.do(CorrectObligation(document=DOCUMENT, reason="sửa"), S, "PBCXB-TP")
        assert last(corrected).correction == number
    assert (world.state(S).status, world.state(S).is_open) == ("forwarded", False)


def test_r176_accepted_after_the_consolidated_report_was_handed_in_says_so() -> None:
    world = submitted()
    total = f"obligation/{PROG}/TH-1"
    world.do(DeclareObligation(duty=duty(unit="VPS"), due=BY_5), total, "GD")
    world.do(SubmitObligation(), total, "VPS-PVP")
    accept(world, "2026-06-05T08:00")
    assert last(world.do(ConsolidateObligation(consolidated_in="TH-1"), S, "VPS-CVP")).after_consolidation


def test_waived_by_the_director_or_the_office_with_a_reason() -> None:
    world = given()
    with pytest.raises(RoleRequired):
        world.do(WaiveObligation(reason="không cần"), S, "PBCXB-TP")
    waived = world.do(WaiveObligation(reason="không cần"), S, "GD")
    assert names(waived) == ["ObligationWaived", "DeadlineCancelled"]
    assert last(waived).reason == "waived"
    with pytest.raises(NotNow):
        world.do(WaiveObligation(reason="không cần"), S, "GD")
    with pytest.raises(NotNow):
        world.do(SubmitObligation(), S, "PBCXB-TP")


def test_r157_explanation_is_owed_by_the_head_within_five_working_days() -> None:
    world = given()
    world.timekeeper("2026-06-06T00:00")
    stream = explanation_stream(PROG, S)
    assert stream == f"obligation/{PROG}/EXO-OB-1"
    key = world.state(S).deadlines.get("obligation_due").key
    silent = DemandExplanation(about=S, key=key, reason="trễ hạn")
    assert world.do(silent, stream, "WARNING", source="warning", unit="SAURO") == []  # the policy calls for none
    demand = DemandExplanation(about=S, reason="trễ hạn")
    found = world.do(demand, stream, "GD", "2026-06-08T00:00")
    assert names(found) == ["ObligationDeclared", "DeadlineScheduled", "ObligationOpened"]
    state = world.state(stream)
    assert (state.duty.kind, state.unit, state.accountable, state.duty.about) == ("explanation", "PBCXB", "PBCXB-TP", S)
    assert state.current.at == local("2026-06-16T00:00")
    assert world.do(demand, stream, "WARNING", source="warning", unit="SAURO") == []
    with pytest.raises(AlreadyExists):
        world.do(demand, stream, "GD")
    chain = DemandExplanation(about=stream, reason="trễ hạn")
    with pytest.raises(NothingToExplain):
        world.do(chain, f"obligation/{PROG}/EX-2", "GD")
    assert world.do(chain, f"obligation/{PROG}/EX-2", "WARNING", source="warning", unit="SAURO") == []
    with pytest.raises(RoleRequired):
        world.do(demand, f"obligation/{PROG}/EX-2", "PBCXB-TP")
    with pytest.raises(NoSuchStream):
        world.do(DemandExplanation(about=f"obligation/{PROG}/NONE", reason="x"), f"obligation/{PROG}/EX-2", "GD")


def test_r157_days_to_explain_are_the_programmes() -> None:
    world = given(settings=Settings(explanation_days=2))
    stream = explanation_stream(PROG, S)
    world.do(DemandExplanation(about=S, reason="trễ"), stream, "GD", "2026-06-05T09:00")
    assert world.state(stream).current.at == local("2026-06-10T00:00")


def test_r168_ad_hoc_by_request_or_by_a_unit_for_itself() -> None:
    world = sample_world()
    own = RequestAdHocReport(duty=duty(), reason="vướng mắc")
    found = world.do(own, S, "PBCXB-TP", "2026-06-02T08:00")
    assert names(found) == ["ObligationDeclared", "ObligationOpened"]
    assert (world.state(S).duty.kind, found[0].data.reason) == ("ad_hoc_report", "vướng mắc")
    other = f"obligation/{PROG}/OB-2"
    with pytest.raises(RoleRequired):
        world.do(RequestAdHocReport(duty=duty(), due=BY_5, reason="cần"), other, "QLVH-TP")
    asked = world.do(RequestAdHocReport(duty=duty(), due=BY_5, reason="cần"), other, "GD")
    assert names(asked) == ["ObligationDeclared", "DeadlineScheduled", "ObligationOpened"]


@pytest.mark.parametrize(
    ("command", "actor", "refusal"),
    [
        (DeclareObligation(duty=duty()), "PBCXB-TP", RoleRequired),
        (DeclareObligation(duty=duty(unit="NONE")), "GD", UnknownUnit),
        (DeclareObligation(duty=duty(addressee="NONE")), "GD", UnknownUnit),
        (DeclareObligation(duty=duty(post="NONE")), "GD", UnknownPost),
        (DeclareObligation(duty=duty(post="QLVH-TP")), "GD", PostOutsideUnit),
        (DeclareObligation(duty=duty()), "NOBODY", UnknownPost),
        (SubmitObligation(), "PBCXB-TP", NoSuchStream),
    ],
)
def test_refused_before_it_exists(command: Command, actor: str, refusal: type[Refused]) -> None:
    with pytest.raises(refusal) as caught:
        sample_world().do(command, S, actor)
    assert caught.value.message
    assert caught.value.field


def test_post_alone_names_its_unit_and_declaring_twice_is_refused() -> None:
    world = given(unit=None, post="QLVH-PP", kind="personal_plan")
    assert (world.state(S).unit, world.state(S).accountable) == ("QLVH", "QLVH-PP")
    with pytest.raises(AlreadyExists):
        world.do(DeclareObligation(duty=duty()), S, "GD")

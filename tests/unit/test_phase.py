"""Phase: every transition of appendix 3.5 and every refusal, by requirement (group C)."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from contracts.assignment import (
    AssignTask,
    CarryOverAssignment,
    Due,
    Evidence,
    ResumeAssignment,
    StartWork,
    SuspendAssignment,
)
from contracts.obligation import AcceptObligation, DeclareObligation, Duty, SubmitObligation, WaiveObligation
from contracts.phase import (
    ApproveAccountabilityList,
    ApproveCommendationList,
    ClosePhase,
    CorrectClosedPhase,
    DeclareNilReturn,
    DeclareProductMissing,
    MissingProduct,
    OpenPhase,
    PhaseOpened,
    PlanPhase,
    Responsibility,
    ReviewLine,
    ReviewYear,
    SignOffPhaseReview,
    StartPhaseReview,
)
from contracts.programme import IssueProgramme, Settings
from domain.authority import RoleRequired
from domain.deadlines import TimerTooEarly
from domain.kernel import AlreadyExists, NoSuchStream, NotNow, ReservedForSauro
from domain.obligation_opening import PhaseIsClosed
from domain.organisation import PeriodInverted
from domain.phase import (
    EndIsKnown,
    ListNotNil,
    ProductsUndecided,
    ReviewMissing,
    UnknownProduct,
    YearAlreadyReviewed,
)
from domain.responsibility import HeadMissing
from tests.unit.spec import PROG, World, local, names, sample_world, text
from tests.unit.spec_tasks import T, clear, office

P1, P2, P3, P5 = (f"phase/{PROG}/P{number}" for number in (1, 2, 3, 5))
PRODUCT = f"obligation/{PROG}/OB-1"
LINE = ReviewLine(
    item=PRODUCT, cause="objective", cause_text=text("chậm vốn"), responsibility=Responsibility(head="PBCXB-TP")
)
MISSING = DeclareProductMissing(product=MissingProduct(obligation=PRODUCT, reason="chưa có", follow_up="giai đoạn 2"))


def plan(start: dt.date | None = None, end: dt.date | None = None, **more: Any) -> PlanPhase:
    return PlanPhase(name_vi="Giai đoạn", start=start, end=end, **more)


def day(month: int, number: int, year: int = 2026) -> dt.date:
    return dt.date(year, month, number)


def two_phases(**world_options: Any) -> World:
    """P1 from issuance to 05/6, P2 from 05/6 to 31/12, P3 from 01/01/2027, which needs the review of P2."""
    world = sample_world(**world_options)
    world.do(plan(end=day(6, 5)), P1, "VPS-CVP", "2026-05-30T08:00")
    world.do(plan(day(6, 5), day(12, 31)), P2, "VPS-CVP")
    world.do(plan(day(1, 1, 2027), day(3, 31, 2027), needs_review_of="P2"), P3, "VPS-CVP")
    return world


def product(world: World, kind: Any = "mandatory_product", stream: str = PRODUCT, **more: Any) -> None:
    owed = Duty(kind=kind, title="Sản phẩm", unit="PBCXB", phase="P1", **more)
    world.do(DeclareObligation(duty=owed, due=Due(day=day(6, 5))), stream, "GD")


def reviewed(*, with_product: bool = False) -> World:
    world = two_phases()
    if with_product:
        product(world)
    world.timekeeper("2026-06-06T00:00")
    world.do(StartPhaseReview(), P1, "VPS-CVP", "2026-06-08T08:00")
    world.do(SignOffPhaseReview(lines=(LINE,)), P1, "GD", "2026-06-09T08:00")
    return world


def status(world: World, stream: str) -> str:
    found: str = world.state(stream).status
    return found


def test_r032_phases_are_data_each_with_its_own_dates() -> None:
    world = two_phases()
    assert [(s.start, s.end) for s in map(world.state, (P1, P2))] == [
        (None, day(6, 5)),
        (day(6, 5), day(12, 31)),
    ]
    with pytest.raises(AlreadyExists):
        world.do(plan(), P1, "GD")
    with pytest.raises(PeriodInverted):
        world.do(plan(day(6, 5), day(6, 4)), P5, "GD")
    with pytest.raises(RoleRequired):
        world.do(plan(), P5, "PBCXB-TP")


def test_r033_phase_1_opens_with_the_issue_of_the_programme() -> None:
    world = sample_world()
    found = world.do(plan(end=day(6, 5)), P1, "VPS-CVP", "2026-06-01T08:00")
    assert names(found) == ["PhasePlanned", "PhaseOpened", "DeadlineScheduled"]
    assert (found[1].data.cause, found[1].data.starts_on) == ("issuance", day(5, 30))


def test_r033_without_an_issue_date_it_stays_planned() -> None:
    world = sample_world(issued_on=None)
    assert names(world.do(plan(), P1, "VPS-CVP")) == ["PhasePlanned", "PhaseAwaitsIssue"]
    assert (status(world, P1), world.state(P1).start) == ("planned", None)
    issued, opened = world.do(IssueProgramme(issued_on=day(6, 1)), f"programme/{PROG}", "GD", "2026-06-01T08:00")
    assert (names([issued]), opened.stream) == (["ProgrammeIssued"], P1)
    assert (opened.data.cause, opened.data.starts_on) == ("issuance", day(6, 1))
    assert status(world, P1) == "open"
    by_hand = sample_world(issued_on=None)
    by_hand.do(plan(), P1, "VPS-CVP")
    with pytest.raises(RoleRequired):
        by_hand.do(OpenPhase(reason="quyết định"), P1, "PBCXB-TP", "2026-06-02T08:00")
    (opened,) = by_hand.do(OpenPhase(reason="quyết định"), P1, "GD", "2026-06-02T08:00")
    assert (opened.data.cause, opened.data.starts_on) == ("decision", day(6, 2))


def test_r034_r035_two_phases_are_open_on_05_6_2026() -> None:
    world = two_phases()
    world.timekeeper("2026-06-05T12:00")
    assert (status(world, P1), status(world, P2)) == ("open", "open")
    assert [world.state(p).covers(day(6, 5)) for p in (P1, P2, P3)] == [True, True, False]
    world.timekeeper("2026-06-08T00:00")
    assert (status(world, P1), status(world, P2)) == ("awaiting_review", "open")
    assert [world.state(p).covers(day(6, 8)) for p in (P1, P2)] == [False, True]


def test_start_by_date_carries_its_own_instant_however_late() -> None:
    world = two_phases()
    fired = world.timekeeper("2026-06-05T00:00", late="2026-06-05T09:00")
    assert names(fired) == ["DeadlinePassed", "PhaseOpened"]
    assert {event.occurred_at for event in fired} == {local("2026-06-05T00:00")}
    past = sample_world(at="2026-06-10T08:00")
    found = past.do(plan(day(6, 5), day(12, 31)), P2, "VPS-CVP")
    assert names(found) == ["PhasePlanned", "PhaseOpened", "DeadlineScheduled"]


def test_r037_window_is_stored_as_dates() -> None:
    programme = sample_world().state(f"programme/{PROG}")
    assert (programme.window_end - programme.issued_on).days + 1 == 489


def test_r038_phase_5_has_a_year_and_no_limit_and_is_reviewed_yearly() -> None:
    world = sample_world()
    found = world.do(plan(day(10, 1, 2027), end_year=2030), P5, "VPS-CVP")
    assert [event.data.key.kind for event in found[1:]] == ["phase_start"]
    with pytest.raises(NotNow):
        world.do(ReviewYear(year=2027), P5, "GD")
    world.timekeeper("2027-10-01T00:00")
    assert world.timekeeper("2031-01-01T00:00") == []
    assert (world.state(P5).end_year, world.state(P5).end_limit) == (2030, None)
    assert names(world.do(ReviewYear(year=2027, summary=text()), P5, "GD")) == ["YearReviewed"]
    assert names(world.do(ReviewYear(year=2028), P5, "GD")) == ["YearReviewed"]
    with pytest.raises(YearAlreadyReviewed):
        world.do(ReviewYear(year=2028), P5, "GD")
    ended = two_phases()
    with pytest.raises(EndIsKnown):
        ended.do(ReviewYear(year=2026), P1, "GD")
    assert names(world.do(StartPhaseReview(), P5, "GD")) == ["PhaseReviewStarted"]


def test_r036_end_passes_to_awaiting_review_and_a_review_is_owed_in_30_days() -> None:
    world = two_phases()
    with pytest.raises(NotNow):
        world.do(StartPhaseReview(), P1, "VPS-CVP")
    fired = [event for event in world.timekeeper("2026-06-06T00:00") if event.stream == P1]
    assert names(fired) == ["DeadlinePassed", "DeadlineScheduled"]
    assert fired[1].data.limit.named == "2026-07-05"
    assert world.do(StartPhaseReview(), P1, "VPS-CVP")
    assert status(world, P1) == "under_review"
    signed = world.do(SignOffPhaseReview(), P1, "GD", "2026-07-06T00:00")
    assert names(signed) == ["DeadlinePassed", "PhaseReviewSignedOff", "DeadlineCancelled"]
    assert [event.policy_version for event in signed] == [1, None, 1]
    assert (signed[2].data.reason, signed[2].data.warned) == ("late_completion", True)


def test_boundary_of_the_end_is_data() -> None:
    world = sample_world()
    world.do(plan(end=day(6, 5), end_boundary="before"), P1, "VPS-CVP")
    assert world.state(P1).end_limit.at == local("2026-06-05T00:00")


def test_r051_calendar_start_does_not_hide_the_missing_review() -> None:
    world = two_phases()
    fired = world.timekeeper("2027-01-01T00:00")
    (opened,) = [e.data for e in fired if e.stream == P3 and isinstance(e.data, PhaseOpened)]
    assert opened.review_missing
    with pytest.raises(ReviewMissing):
        world.do(OpenPhase(reason="mở"), P3, "GD")
    (said,) = world.do(OpenPhase(reason="mở", missing_review_reason="sơ kết chậm"), P3, "GD")
    assert (said.data.starts_on, said.data.missing_review_reason) == (day(1, 1, 2027), "sơ kết chậm")
    with pytest.raises(NotNow):
        world.do(OpenPhase(reason="mở"), P3, "GD")


def test_r051_opened_by_hand_before_its_day_needs_the_review_or_a_reason() -> None:
    world = two_phases()
    with pytest.raises(ReviewMissing) as caught:
        world.do(OpenPhase(reason="mở sớm"), P3, "GD", "2026-12-20T08:00")
    assert caught.value.field == "data.missing_review_reason"
    found = world.do(OpenPhase(reason="mở sớm", missing_review_reason="đang sơ kết"), P3, "GD")
    assert names(found) == ["PhaseOpened", "DeadlineCancelled"]
    assert world.state(P3).opened_on == day(12, 20)


def test_r051_with_the_review_signed_nothing_is_missing() -> None:
    world = two_phases()
    world.do(plan(day(6, 20), needs_review_of="P1"), P5, "GD")
    world.timekeeper("2026-06-06T00:00")
    world.do(StartPhaseReview(), P1, "GD")
    world.do(SignOffPhaseReview(), P1, "GD")
    world.timekeeper("2026-06-20T00:00")
    assert (status(world, P5), world.state(P5).review_missing) == ("open", False)


def test_r063_review_lines_need_the_head_or_a_reason_and_the_director() -> None:
    world = two_phases()
    world.timekeeper("2026-06-06T00:00")
    with pytest.raises(NotNow):
        world.do(SignOffPhaseReview(), P1, "GD")
    world.do(StartPhaseReview(note=text("bắt đầu")), P1, "VPS-CVP")
    headless = replace(LINE, responsibility=Responsibility(collective="PBCXB"))
    with pytest.raises(HeadMissing) as caught:
        world.do(SignOffPhaseReview(lines=(LINE, headless)), P1, "GD")
    assert caught.value.field == "data.lines.1.responsibility.head"
    with pytest.raises(RoleRequired):
        world.do(SignOffPhaseReview(lines=(LINE,)), P1, "VPS-CVP")
    said = replace(LINE, responsibility=Responsibility(head_missing_reason="khuyết"))
    signed = world.do(SignOffPhaseReview(lines=(LINE, said)), P1, "GD")
    assert names(signed) == ["PhaseReviewSignedOff", "DeadlineCancelled"]
    assert signed[1].data.reason == "completed"
    assert status(world, P1) == "reviewed"


def test_r043_the_phase_knows_its_products() -> None:
    world = two_phases()
    product(world)
    product(world, "phase_milestone", f"obligation/{PROG}/OB-2")
    product(world, "report", f"obligation/{PROG}/OB-3")
    assert world.state(P1).products == {PRODUCT: True, f"obligation/{PROG}/OB-2": False}


def test_r047_r049_closing_names_the_products_nobody_decided_on() -> None:
    world = reviewed(with_product=True)
    with pytest.raises(RoleRequired):
        world.do(ClosePhase(), P1, "VPS-CVP")
    with pytest.raises(ProductsUndecided, match="OB-1"):
        world.do(ClosePhase(), P1, "GD")
    with pytest.raises(RoleRequired):
        world.do(MISSING, P1, "PBCXB-TP")
    world.do(MISSING, P1, "GD")
    closed, *_ = world.do(ClosePhase(note=text("đóng")), P1, "GD")
    assert closed.data.missing == (MISSING.product,)
    with pytest.raises(PhaseIsClosed):
        product(world, stream=f"obligation/{PROG}/OB-9")


@pytest.mark.parametrize("how", ["accepted", "waived"])
def test_r049_delivered_or_waived_products_do_not_hold_the_phase(how: str) -> None:
    world = reviewed(with_product=True)
    world.do(MISSING, P1, "VPS-CVP")
    if how == "waived":
        world.do(WaiveObligation(reason="không còn cần"), PRODUCT, "GD")
    else:
        world.do(SubmitObligation(document=Evidence(system="QLVB", number="1")), PRODUCT, "PBCXB-TP")
        world.do(AcceptObligation(), PRODUCT, "VPS-CVP")
    closed, *_ = world.do(ClosePhase(), P1, "GD")
    assert closed.data.missing == ()


def test_unknown_products_cannot_be_missing_nor_before_the_phase_opens() -> None:
    world = two_phases()
    with pytest.raises(UnknownProduct):
        world.do(MISSING, P1, "GD")
    with pytest.raises(NotNow):
        world.do(MISSING, P2, "GD")


def test_r064_after_closing_only_corrections() -> None:
    world = reviewed()
    correct = CorrectClosedPhase(figure="tỷ lệ", was="97%", now="98%", reason="nhập sai")
    with pytest.raises(NotNow):
        world.do(correct, P1, "GD")
    world.do(ClosePhase(), P1, "GD")
    nil = DeclareNilReturn(list="commendation")
    entries = ("PBCXB",)
    for command in (
        StartPhaseReview(),
        SignOffPhaseReview(),
        ClosePhase(),
        nil,
        MISSING,
        OpenPhase(reason="mở"),
        ReviewYear(year=2026),
        ApproveCommendationList(entries=entries),
        ApproveAccountabilityList(entries=entries),
    ):
        with pytest.raises(NotNow):
            world.do(command, P1, "GD")
    assert names(world.do(correct, P1, "VPS-CVP")) == ["ClosedPhaseCorrected"]
    assert (status(world, P1), world.state(P1).corrections) == ("closed", 1)


def test_closing_needs_the_review() -> None:
    with pytest.raises(NotNow):
        two_phases().do(ClosePhase(), P1, "GD")


def test_r258_an_empty_list_is_declared_and_one_with_entries_is_not_empty() -> None:
    world = two_phases()
    with pytest.raises(RoleRequired):
        world.do(DeclareNilReturn(list="accountability"), P1, "VPS-CVP")
    assert names(world.do(DeclareNilReturn(list="accountability"), P1, "GD")) == ["NilReturnDeclared"]
    assert world.state(P1).lists == {"accountability": ()}
    assert names(world.do(ApproveAccountabilityList(entries=("PBCXB-TP",)), P1, "GD")) == ["AccountabilityListApproved"]
    with pytest.raises(ListNotNil):
        world.do(DeclareNilReturn(list="accountability"), P1, "GD")
    assert names(world.do(ApproveCommendationList(entries=("QLVH",)), P1, "GD")) == ["CommendationListApproved"]
    with pytest.raises(RoleRequired):
        world.do(ApproveCommendationList(entries=("QLVH",)), P1, "VPS-CVP")


def test_timers_belong_to_the_timekeeper_and_fire_once() -> None:
    from contracts.deadlines import RecordDeadlinePassed

    world = two_phases()
    command = RecordDeadlinePassed(key=world.state(P1).deadlines.get("phase_end").key)
    with pytest.raises(ReservedForSauro):
        world.do(command, P1, "GD")
    with pytest.raises(TimerTooEarly):
        world.do(command, P1, "TK", source="timekeeper", unit="SAURO")
    world.timekeeper("2026-06-06T00:00")
    assert world.do(command, P1, "TK", source="timekeeper", unit="SAURO") == []
    with pytest.raises(NoSuchStream):
        world.do(OpenPhase(reason="mở"), P5, "GD")


# --- what nobody has begun goes on (R-036) ----------------------------------------------------------------------------


def handed_on(**settings: Any) -> World:
    """Two tasks of phase 1, which phase 2 takes over from; one was begun."""
    world = office(settings=Settings(start_within_days=2, **settings))
    world.do(PlanPhase(name_vi="P1", end=dt.date(2026, 6, 5)), P1, "VPS-CVP", "2026-05-30T08:00")
    second = PlanPhase(name_vi="P2", start=dt.date(2026, 6, 5), end=dt.date(2026, 12, 31), takes_over_from="P1")
    world.do(second, P2, "VPS-CVP")
    for stream in (T, f"{T}-B"):
        world.do(AssignTask(content=clear(phase="P1")), stream, "GD", "2026-06-01T08:00")
    world.do(StartWork(), f"{T}-B", "PBCXB-PP", "2026-06-02T08:00")
    return world


def test_r036_when_phase_1_ends_its_tasks_are_to_be_started_in_phase_2() -> None:
    world = handed_on()
    fired = [event for event in world.timekeeper("2026-06-06T00:00", late="2026-06-08T07:00") if event.stream == T]
    assert names(fired) == ["DeadlinePassed", "AssignmentCarriedOver", "DeadlineScheduled"]
    assert {event.occurred_at for event in fired} == {local("2026-06-06T00:00")}
    assert (fired[1].data.from_phase, fired[1].data.to_phase, fired[1].data.was_overdue) == ("P1", "P2", False)
    assert (world.state(T).phase, world.state(T).status) == ("P2", "assigned")
    assert fired[2].data.limit.named == "2026-06-09"  # two working days after the Saturday
    begun = world.state(f"{T}-B")
    assert (begun.phase, begun.status, begun.deadlines.get("phase_handover")) == ("P1", "in_progress", None)


def test_r036_begun_in_time_nothing_is_listed_and_begun_late_it_is() -> None:
    for at, late in (("2026-06-09T08:00", False), ("2026-06-10T08:00", True)):
        world = handed_on()
        world.timekeeper("2026-06-06T00:00")
        found = world.do(StartWork(), T, "PBCXB-PP", at)
        assert ("DeadlinePassed" in names(found), "DeadlineMet" in names(found)) == (late, not late)
        assert world.state(T).deadlines.get("work_start_due") is None


def test_r036_a_suspended_task_goes_on_when_it_is_resumed() -> None:
    world = handed_on()
    world.do(SuspendAssignment(reason="x"), T, "GD", "2026-06-03T08:00")
    assert not [event for event in world.timekeeper("2026-06-07T00:00") if event.stream == T]
    world.do(ResumeAssignment(reason="x"), T, "GD", "2026-06-08T08:00")
    world.timekeeper("2026-06-08T08:00", late="2026-06-08T08:00")
    assert world.state(T).phase == "P2"


def test_r036_carried_over_by_hand_is_not_handed_on_again_and_an_unknown_phase_hands_nothing_on() -> None:
    world = handed_on()
    world.do(CarryOverAssignment(to_phase="P2", reason="x"), T, "GD", "2026-06-03T08:00")
    assert world.state(T).deadlines.get("phase_handover") is None
    with pytest.raises(NoSuchStream):
        world.do(PlanPhase(name_vi="P3", takes_over_from="P9"), P3, "VPS-CVP")

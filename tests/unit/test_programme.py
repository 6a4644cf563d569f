"""Programme: registered, issued, defined in versions, closed; every refusal, by requirement (groups A, H, K)."""

from typing import Any

import pytest

from contracts.assignment import AssignTask
from contracts.base import Command
from contracts.limits import CalendarDay, DueRule, Offset
from contracts.organisation import GrantAuthority
from contracts.phase import PlanPhase
from contracts.programme import (
    AdoptCalendar,
    AdoptEscalationPolicy,
    AmendCalendar,
    AssignRoles,
    BasisDocument,
    ChangeSettings,
    CloseProgramme,
    ContentArea,
    DefineIndicator,
    DefineRegime,
    EscalationPolicy,
    IndicatorDefinition,
    IssueProgramme,
    Ladder,
    Participation,
    RegimeDefinition,
    RegisterProgramme,
    ResolveBasisConflict,
    RoleHolding,
    Rung,
    Settings,
)
from domain.authority import AuthorityNotHeld, RoleRequired
from domain.kernel import AlreadyExists, NoSuchStream, Refused
from domain.organisation import UnknownPost, UnknownUnit
from domain.programme import (
    AlreadyIssued,
    NobodyInCharge,
    NoSuchConflict,
    PolicyVersionTaken,
    RungsOutOfOrder,
    RungUnreachable,
)
from domain.programme_state import Programme, ProgrammeIsClosed
from tests.unit.spec import POLICY, PROG, ROLES, World, define_regime, local, names, sample_world
from tests.unit.spec_tasks import CLEAR, HANDED_IN, ORGANISATION, PROGRAMME, T, at_work, clear, day, office, sign_off

CITED = "02/CTr-UBND"
REGISTER = RegisterProgramme(title_vi="Chương trình", kind="YEARLY-PLAN", roles=ROLES, policy=POLICY)
OTHER = "programme/SVHTTDL-B"
WEEKLY = DueRule(frequency="weekly", boundary="before", weekday=3)


def state(world: World, stream: str = PROGRAMME) -> Programme:
    found: Programme = world.state(stream)
    return found


def refused(rule: type[Refused], world: World, command: Command, actor: str = "GD", stream: str = PROGRAMME) -> Refused:
    before = len(world.events)
    with pytest.raises(rule) as found:
        world.do(command, stream, actor)
    assert len(world.events) == before
    assert found.value.message
    return found.value


def registered(**changes: Any) -> World:
    world = sample_world()
    world.programme = "SVHTTDL-B"
    world.do(REGISTER.model_copy(update=changes), OTHER, "GD")
    return world


def policy(version: int, *rungs: Rung) -> EscalationPolicy:
    return EscalationPolicy(
        policy_version=version, ours=False, ladders=(Ladder(kinds=("assignment_due",), rungs=rungs),)
    )


def rung(days: int, act: Any = "warn") -> Rung:
    return Rung(offset=Offset(days=days), level=1, recipients=("accountable",), act=act)


def test_r001_number_and_issue_date_are_filled_by_a_later_event() -> None:
    world = sample_world(issued_on=None)
    assert state(world).issued_on is None
    issue = IssueProgramme(number="725/KH-SVHTTDL", issued_on=day(5, 30))
    refused(RoleRequired, world, issue, "VPS-CVP")
    (issued,) = world.do(issue, PROGRAMME, "GD")
    assert (issued.data.number, issued.data.issued_on, issued.data.sample) == ("725/KH-SVHTTDL", day(5, 30), False)
    assert state(world).issued_on == day(5, 30)
    first = next(event for event in world.events if names([event]) == ["ProgrammeRegistered"])
    assert (first.data.number, first.data.issued_on) == (None, None)
    refused(AlreadyIssued, world, issue)


def test_r001_r033_issuing_starts_the_regimes_that_waited_for_it() -> None:
    world = sample_world(issued_on=None)
    assert names(define_regime(world, "R-W", "weekly", WEEKLY)) == ["RegimeDefined"]
    found = world.do(IssueProgramme(issued_on=day(5, 30)), PROGRAMME, "GD", "2026-05-30T08:00")
    assert names(found) == ["ProgrammeIssued", "DeadlineScheduled"]
    planned = world.do(PlanPhase(name_vi="1", end=day(6, 5)), f"phase/{PROG}/P1", "VPS-CVP", "2026-05-30T09:00")
    assert names(planned)[:2] == ["PhasePlanned", "PhaseOpened"]


def test_r002_basis_documents_are_listed_and_their_absence_is_flagged() -> None:
    world = registered()
    (event,) = [e for e in world.events if e.stream == OTHER and names([e]) == ["ProgrammeRegistered"]]
    assert event.data.incomplete == ("legal_basis",)
    basis = BasisDocument(number="05-NQ/TU", issued_on=day(5, 1), issuer="Thành ủy", kind="RESOLUTION")
    world = registered(legal_basis=(basis,))
    (event,) = [e for e in world.events if e.stream == OTHER and names([e]) == ["ProgrammeRegistered"]]
    assert (event.data.legal_basis, event.data.incomplete) == ((basis,), ())


def test_r003_conflicting_citations_stand_side_by_side_until_one_is_chosen() -> None:
    cited = BasisDocument(number=CITED, issuer="UBND", kind="PROGRAMME", variant="01/CTr-UBND", place="L11")
    world = registered(legal_basis=(cited,))
    assert state(world, OTHER).basis_conflicts == {CITED}
    choose = ResolveBasisConflict(number=CITED, chosen="01/CTr-UBND", reason="bản gốc")
    refused(RoleRequired, world, choose, "PBCXB-TP", OTHER)
    refused(NoSuchConflict, world, choose.model_copy(update={"number": "9/X"}), "GD", OTHER)
    (resolved,) = world.do(choose, OTHER, "VPS-CVP")
    assert (names([resolved]), resolved.data.chosen) == (["BasisConflictResolved"], "01/CTr-UBND")
    assert state(world, OTHER).basis_conflicts == frozenset()
    refused(NoSuchConflict, world, choose, "GD", OTHER)
    assert any(getattr(e.data, "legal_basis", None) == (cited,) for e in world.events)


def test_registering_checks_posts_units_and_policy() -> None:
    world = sample_world()
    refused(AlreadyExists, world, REGISTER)
    refused(NoSuchStream, World(), REGISTER)
    refused(UnknownPost, world, REGISTER, "NOBODY", OTHER)
    for rule, changes in (
        (UnknownPost, {"roles": (RoleHolding(role="director", posts=("NOBODY",)),)}),
        (NobodyInCharge, {"roles": (RoleHolding(role="assigner", posts=("GD",)),)}),
        (UnknownUnit, {"participants": (Participation(unit="NOWHERE", role="x"),)}),
        (PolicyVersionTaken, {"policy": policy(2, rung(0))}),
        (RungsOutOfOrder, {"policy": policy(1, rung(2), rung(0))}),
        (RungUnreachable, {"policy": policy(1, rung(-3), rung(2))}),
    ):
        refused(rule, world, REGISTER.model_copy(update=changes), "GD", OTHER)
    full = registered(calendar=(CalendarDay(date=day(9, 2), name="Quốc khánh", kind="holiday"),))
    found = names([event for event in full.events if event.stream == OTHER])
    assert found == [
        "ProgrammeRegistered", "RolesAssigned", "SettingsChanged", "EscalationPolicyAdopted", "CalendarAdopted",
    ]  # fmt: skip
    area = registered(content_areas=(ContentArea(code="A", name_vi="a"),))
    assert state(area, OTHER).content_areas == {"A"}


def test_a_later_act_on_a_programme_that_does_not_exist() -> None:
    refused(NoSuchStream, sample_world(), IssueProgramme(issued_on=day(5, 30)), "GD", OTHER)


def test_r009_a_programme_without_phases_is_assigned_reported_on_and_closed() -> None:
    world = at_work()
    assert not [stream for stream in world.states if stream.startswith("phase/")]
    define_regime(world, "R-Q", "quarterly", DueRule(frequency="quarterly", boundary="within"))
    world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-10T08:00")
    sign_off(world)
    refused(RoleRequired, world, CloseProgramme(reason="x"), "VPS-CVP")
    found = world.do(CloseProgramme(reason="hết năm"), PROGRAMME, "GD", "2026-12-31T08:00")
    assert names(found)[-2:] == ["ProgrammeClosed", "DeadlineCancelled"]
    assert names(found).count("ObligationDeclared") == 6  # two units, three quarters: owed whether seen in time or not
    assert (state(world).closed, state(world).deadlines.live) == (True, {})
    later = world.timekeeper("2027-12-31T00:00")
    assert {event.stream.split("/")[0] for event in later} == {"obligation"}
    assert "ObligationDeclared" not in names(later)


_ACTS: tuple[Command, ...] = (
    ChangeSettings(settings=Settings(explanation_days=3), reason="x"),
    AdoptEscalationPolicy(policy=policy(2, rung(0)), reason="x"),
    AdoptCalendar(days=()),
    AmendCalendar(days=(CalendarDay(date=day(9, 2), name="x", kind="holiday"),), reason="x"),
    DefineRegime(regime=RegimeDefinition(code="R-1", name_vi="x", frequency="weekly")),
    DefineIndicator(indicator=IndicatorDefinition(code="I-1", name_vi="x")),
)


@pytest.mark.parametrize("act", _ACTS, ids=lambda act: type(act).__name__)
def test_definitions_are_for_the_director_or_the_office_and_only_while_it_runs(act: Command) -> None:
    world = sample_world()
    refused(RoleRequired, world, act, "PBCXB-TP")
    refused(UnknownPost, world, act, "NOBODY")
    assert world.do(act, PROGRAMME, "VPS-CVP")
    world.do(CloseProgramme(reason="x"), PROGRAMME, "GD")
    refused(ProgrammeIsClosed, world, act)


def test_r091_the_director_or_an_administrator_names_roles_and_the_office_does_not() -> None:
    world = sample_world()
    act = AssignRoles(roles=(RoleHolding(role="director", posts=("VPS-CVP",)),), reason="x")
    refused(AuthorityNotHeld, world, act, "VPS-CVP")
    refused(AuthorityNotHeld, world, act, "PBCXB-TP")
    narrow = GrantAuthority(
        grant="G-9", post="PBCXB-TP", authority="GRANT-AUTHORITY", within_programme=PROG, valid_from=day(1, 1)
    )
    world.do(narrow, ORGANISATION, "GD")
    assert world.do(act, PROGRAMME, "PBCXB-TP")
    refused(RoleRequired, world, CloseProgramme(reason="x"), "GD")
    assert world.do(CloseProgramme(reason="x"), PROGRAMME, "VPS-CVP")


def test_r288_a_programme_is_registered_by_who_may_grant_authority() -> None:
    world = sample_world()
    before = RegisterProgramme(title_vi="x", kind="X", roles=ROLES, policy=POLICY)
    for post in ("VPS-CVP", "PBCXB-TP"):
        with pytest.raises(AuthorityNotHeld):
            world.do(before, f"programme/{PROG}-2", post)
    with pytest.raises(UnknownPost):
        world.do(before, f"programme/{PROG}-2", "GD", unit="VPS")
    world.programme = f"{PROG}-2"
    assert world.do(before, f"programme/{PROG}-2", "GD")


@pytest.mark.parametrize("act", [CloseProgramme(reason="x"), IssueProgramme(issued_on=day(6, 1))])
def test_r009_a_closed_programme_is_not_closed_or_issued_again(act: Command) -> None:
    world = sample_world(issued_on=None)
    world.do(CloseProgramme(reason="x"), PROGRAMME, "GD")
    refused(ProgrammeIsClosed, world, act)


def test_roles_change_from_now_on_and_others_stay() -> None:
    world = sample_world()
    refused(UnknownPost, world, AssignRoles(roles=(RoleHolding(role="director", posts=("NOBODY",)),), reason="x"))
    given = AssignRoles(roles=(RoleHolding(role="assigner", posts=("QLVH-TP",)),), reason="phân công")
    assert names(world.do(given, PROGRAMME, "GD")) == ["RolesAssigned"]
    assert (state(world).roles["assigner"], state(world).roles["director"]) == (("QLVH-TP",), ("GD",))
    assert world.do(AssignTask(content=CLEAR), T, "QLVH-TP")


def test_settings_change_from_now_on() -> None:
    world = sample_world()
    settings = Settings(late_entry_tolerance_hours=0, categories=("LAND",))
    assert names(world.do(ChangeSettings(settings=settings, reason="x"), PROGRAMME, "GD")) == ["SettingsChanged"]
    assert state(world).settings == settings
    world = at_work(world=office(settings=settings))
    (submitted, *_) = world.do(HANDED_IN, T, "PBCXB-PP", "2026-06-10T08:00", now="2026-06-10T08:00:01")
    assert submitted.data.late_entry is True


def test_r133_policy_versions_follow_each_other_and_none_is_changed() -> None:
    world = sample_world()
    for version in (1, 3):
        refused(PolicyVersionTaken, world, AdoptEscalationPolicy(policy=policy(version, rung(0)), reason="x"))
    refused(RungsOutOfOrder, world, AdoptEscalationPolicy(policy=policy(2, rung(1), rung(0)), reason="x"))
    explained = policy(2, rung(0, "demand_explanation"), rung(2))
    refused(RungUnreachable, world, AdoptEscalationPolicy(policy=explained, reason="x"))
    second = policy(2, rung(-3), rung(0), rung(2))
    assert names(world.do(AdoptEscalationPolicy(policy=second, reason="x"), PROGRAMME, "GD")) == [
        "EscalationPolicyAdopted"
    ]
    assert (state(world).policies, state(world).policy) == ({1: POLICY, 2: second}, second)


def test_r142_the_calendar_is_kept_in_the_log_and_amended() -> None:
    world = sample_world()
    holiday = CalendarDay(date=day(9, 2), name="Quốc khánh", kind="holiday")
    swap = CalendarDay(date=day(9, 5), name="Làm bù", kind="swap_workday")
    assert names(world.do(AdoptCalendar(days=(holiday,)), PROGRAMME, "VPS-CVP")) == ["CalendarAdopted"]
    assert names(world.do(AmendCalendar(days=(swap,), reason="hoán đổi"), PROGRAMME, "VPS-CVP")) == ["CalendarAmended"]
    calendar = state(world).calendar
    assert [calendar.is_working(d) for d in (day(9, 1), day(9, 2), day(9, 5), day(9, 6))] == [True, False, True, False]


def test_r162_a_regime_is_versioned_and_names_known_units() -> None:
    world = sample_world()
    (defined, *_) = define_regime(world, "R-W", "weekly", WEEKLY, submitters=("QLVH",))
    assert (defined.data.regime_version, state(world).regimes["R-W"].version) == (1, 1)
    world.timekeeper(world.now)
    (again, *_) = define_regime(world, "R-W", "weekly", WEEKLY, submitters=("PBCXB",))
    assert (again.data.regime_version, state(world).regimes["R-W"].definition.submitters) == (2, ("PBCXB",))
    for field in ("aggregator", "addressee", "submitters"):
        named: dict[str, Any] = {field: ("NOWHERE",) if field == "submitters" else "NOWHERE"}
        unknown = RegimeDefinition(code="R-X", name_vi="x", frequency="weekly", **named)
        refused(UnknownUnit, world, DefineRegime(regime=unknown))


def test_r172_a_declared_regime_is_scheduled_only_when_switched_on() -> None:
    world = sample_world()
    off = define_regime(world, "R-W", "weekly", WEEKLY, active=False, note="mâu thuẫn với mục VII")
    assert names(off) == ["RegimeDefined"]
    assert state(world).regimes["R-W"].definition.note == "mâu thuẫn với mục VII"
    assert world.timekeeper("2026-07-01T00:00") == []
    on = define_regime(world, "R-W", "weekly", WEEKLY)
    assert names(on) == ["RegimeDefined", "DeadlineScheduled"]


def test_r188_indicators_are_taken_over_as_stated() -> None:
    world = sample_world()
    indicator = IndicatorDefinition(code="I-1", name_vi="Tỷ lệ đúng hạn", comparator=">=", target=98.0)
    (defined,) = world.do(DefineIndicator(indicator=indicator), PROGRAMME, "VPS-CVP")
    assert defined.data.indicator == indicator
    assert state(world).indicators == {"I-1"}
    assert defined.data.indicator.divisible is None


def test_content_of_a_programme_without_areas_or_categories_is_free() -> None:
    world = registered()
    world.do(AssignTask(content=clear(content_area="ANY", category="ANY")), "assignment/SVHTTDL-B/T-01", "GD")
    assert world.state("assignment/SVHTTDL-B/T-01").category == "ANY"
    assert state(world, OTHER).calendar.is_working(local("2026-06-01T08:00").date())

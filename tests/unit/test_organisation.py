"""Organisation: units, posts, holders and grants over time, and every refusal, by requirement (group D)."""

from typing import Any

import pytest
from pydantic import ValidationError

from contracts.assignment import ApproveExtension, AssignTask, Due, RequestExtension, SignOffCompletion
from contracts.base import Command
from contracts.obligation import AcceptObligation, DeclareObligation, Duty, SubmitObligation
from contracts.organisation import (
    AbolishPost,
    AppointHolder,
    DissolveUnit,
    EstablishPost,
    EstablishUnit,
    GrantAuthority,
    HolderAppointed,
    RegisterOrganisation,
    ReleaseHolder,
    RevokeAuthority,
)
from domain.assignment import SignerIsSubmitter
from domain.assignment_changes import ApproverIsRequester
from domain.authority import AuthorityNotHeld
from domain.kernel import AlreadyExists, NoSuchStream, Refused
from domain.obligation import SubmitterAccepts
from domain.organisation import (
    GRANT_AUTHORITY,
    LastAdministrator,
    NotAdministrator,
    Organisation,
    PeriodInverted,
    PostOccupied,
    PostVacant,
    UnitHasHead,
    UnknownGrant,
    UnknownPost,
    UnknownUnit,
    require_unit,
)
from tests.unit.spec import PROG, World, local, names, sample_world, text
from tests.unit.spec_tasks import CLEAR, ORGANISATION, T, at_work, clear, day, office, sign_off, under_review

NEW_UNIT = EstablishUnit(unit="PVH", name_vi="Phòng Văn hóa", kind="division", parent="BGD", valid_from=day(7, 1))
MERGE = DissolveUnit(unit="QLVH", valid_to=day(7, 1), successors=("PBCXB",), reason="sáp nhập")
APPOINT = AppointHolder(post="PBCXB-TP", person="P-ABC123", valid_from=day(1, 1))


def do(world: World, command: Command, at: str = "2026-06-01T08:00") -> Any:
    return world.do(command, ORGANISATION, "GD", at)


def refused(rule: type[Refused], world: World, command: Command, at: str = "2026-06-01T08:00") -> Refused:
    before = len(world.events)
    with pytest.raises(rule) as found:
        do(world, command, at)
    assert len(world.events) == before
    assert found.value.message
    return found.value


def organisation(world: World) -> Organisation:
    found: Organisation = world.state(ORGANISATION)
    return found


def test_registered_once_and_before_anything_else() -> None:
    world = World()
    refused(NoSuchStream, world, NEW_UNIT)
    register = RegisterOrganisation(name_vi="Sở", kind="department")
    assert names(do(world, register)) == ["OrganisationRegistered"]
    refused(AlreadyExists, world, register)


def test_r089_units_have_periods_and_successors() -> None:
    world = sample_world()
    assert names(do(world, NEW_UNIT)) == ["UnitEstablished"]
    refused(AlreadyExists, world, NEW_UNIT)
    refused(UnknownUnit, world, NEW_UNIT.model_copy(update={"unit": "X", "parent": "NOWHERE"}))
    unit = organisation(world).units["PVH"]
    assert [unit.valid_on(day(6, 30)), unit.valid_on(day(7, 1))] == [False, True]
    assert names(do(world, MERGE)) == ["UnitDissolved"]
    merged = organisation(world).units["QLVH"]
    assert (merged.successors, merged.valid_on(day(6, 30)), merged.valid_on(day(7, 1))) == (("PBCXB",), True, False)


def test_r089_a_dissolved_unit_is_not_assigned_to_and_the_refusal_names_its_successor() -> None:
    world = office()
    do(world, MERGE)
    state = organisation(world)
    assert require_unit(state, "QLVH", local("2026-06-30T23:59"), "x").code == "QLVH"
    with pytest.raises(UnknownUnit, match="its work goes on in PBCXB"):
        require_unit(state, "QLVH", local("2026-07-01T00:00"), "x")
    with pytest.raises(UnknownUnit):
        world.do(AssignTask(content=clear(lead_unit="QLVH", person="QLVH-TP")), T, "GD", "2026-07-01T08:00")


def test_r089_dissolving_needs_a_unit_a_period_and_known_successors() -> None:
    world = sample_world()
    refused(UnknownUnit, world, DissolveUnit(unit="NOWHERE", valid_to=day(7, 1), reason="x"))
    refused(PeriodInverted, world, DissolveUnit(unit="QLVH", valid_to=day(1, 1, 2025), reason="x"))
    for successor in ("NOWHERE", "QLVH"):
        refused(UnknownUnit, world, MERGE.model_copy(update={"successors": (successor,)}))
    do(world, MERGE)
    refused(UnknownUnit, world, MERGE)


def test_r090_a_unit_has_one_head() -> None:
    world = sample_world()
    second = EstablishPost(post="PBCXB-2", unit="PBCXB", title_vi="Trưởng phòng", head=True)
    assert "PBCXB-TP" in refused(UnitHasHead, world, second).message
    refused(AlreadyExists, world, EstablishPost(post="PBCXB-TP", unit="PBCXB", title_vi="x"))
    refused(UnknownUnit, world, EstablishPost(post="X-1", unit="NOWHERE", title_vi="x"))
    do(world, NEW_UNIT)
    refused(UnknownUnit, world, EstablishPost(post="PVH-TP", unit="PVH", title_vi="x"), "2026-06-30T08:00")
    do(world, EstablishPost(post="PVH-TP", unit="PVH", title_vi="x", head=True), "2026-07-01T08:00")
    do(world, AbolishPost(post="PBCXB-TP", reason="sắp xếp"), "2026-07-02T08:00")
    assert organisation(world).head_of("PBCXB") is None
    do(world, second, "2026-07-02T09:00")
    assert [organisation(world).head_of(unit) for unit in ("PBCXB", "PVH", None)] == ["PBCXB-2", "PVH-TP", None]


def test_r090_a_change_of_head_splits_the_holding_at_the_handover() -> None:
    world = sample_world()
    do(world, APPOINT)
    refused(PostOccupied, world, AppointHolder(post="PBCXB-TP", person="P-DEF456", valid_from=day(7, 1)))
    do(world, ReleaseHolder(post="PBCXB-TP", valid_to=day(7, 1)))
    refused(PeriodInverted, world, AppointHolder(post="PBCXB-TP", person="P-DEF456", valid_from=day(6, 30)))
    do(world, AppointHolder(post="PBCXB-TP", person="P-DEF456", valid_from=day(7, 1)))
    post = organisation(world).posts["PBCXB-TP"]
    assert [(h.person, h.valid_from, h.valid_to) for h in post.holdings] == [
        ("P-ABC123", day(1, 1), day(7, 1)),
        ("P-DEF456", day(7, 1), None),
    ]
    assert post.holder == "P-DEF456"


def test_r262_a_holder_who_left_stays_in_the_record() -> None:
    world = sample_world()
    do(world, APPOINT)
    released = do(world, ReleaseHolder(post="PBCXB-TP", valid_to=day(7, 1)))
    assert (names(released), released[0].data.person) == (["HolderReleased"], "P-ABC123")
    refused(PostVacant, world, ReleaseHolder(post="PBCXB-TP", valid_to=day(7, 2)))
    post = organisation(world).posts["PBCXB-TP"]
    assert (post.holder, post.holdings[0].person) == (None, "P-ABC123")
    do(world, AppointHolder(post="QLVH-TP", person="P-ABC123", valid_from=day(1, 1)))
    do(world, AbolishPost(post="QLVH-TP", reason="x"), "2026-07-02T08:00")
    gone = organisation(world).posts["QLVH-TP"]
    assert (gone.holder, gone.holdings[0].person, gone.holdings[0].valid_to) == (None, "P-ABC123", day(7, 2))


def test_holders_of_posts_that_do_not_exist_or_left_before_they_came() -> None:
    world = sample_world()
    refused(UnknownPost, world, AppointHolder(post="NOBODY", person="P-ABC123", valid_from=day(1, 1)))
    refused(UnknownPost, world, ReleaseHolder(post="NOBODY", valid_to=day(1, 1)))
    refused(PostVacant, world, ReleaseHolder(post="PBCXB-TP", valid_to=day(1, 1)))
    do(world, APPOINT)
    refused(PeriodInverted, world, ReleaseHolder(post="PBCXB-TP", valid_to=day(12, 31, 2025)))
    do(world, AbolishPost(post="PBCXB-TP", reason="x"))
    for command in (
        AbolishPost(post="PBCXB-TP", reason="x"),
        APPOINT,
        ReleaseHolder(post="PBCXB-TP", valid_to=day(9, 1)),
    ):
        refused(UnknownPost, world, command)


@pytest.mark.parametrize("person", ["Nguyen Van A", "P-AB", "ABC123", "p-abc123", "P-ABC 123"])
def test_r359_a_person_is_a_pseudonym(person: str) -> None:
    with pytest.raises(ValidationError):
        AppointHolder(post="PBCXB-TP", person=person, valid_from=day(1, 1))
    with pytest.raises(ValidationError):
        HolderAppointed(post="PBCXB-TP", person=person, valid_from=day(1, 1))


def test_r288_authority_is_granted_from_to_for_a_matter_and_dates() -> None:
    world = sample_world()
    grant = GrantAuthority(
        grant="G-9", post="VPS-PVP", authority="KY", within_programme=PROG, valid_from=day(6, 1), valid_to=day(6, 30)
    )
    found = do(world, grant)
    assert (names(found), found[0].data.within_programme) == (["AuthorityGranted"], PROG)
    state = organisation(world)
    instants = ("2026-05-31T23:59", "2026-06-01T00:00", "2026-06-30T23:59", "2026-07-01T00:00")
    assert [state.holds("VPS-PVP", "KY", PROG, local(at)) for at in instants] == [False, True, True, False]
    assert not state.holds("VPS-PVP", "KY", "OTHER", local("2026-06-10T08:00"))
    assert not state.holds("VPS-PVP", "KHAC", PROG, local("2026-06-10T08:00"))
    assert not state.holds("VPS-CVP", "KY", PROG, local("2026-06-10T08:00"))
    refused(AlreadyExists, world, grant)
    refused(UnknownPost, world, GrantAuthority(grant="G-8", post="NOBODY", authority="KY", valid_from=day(6, 1)))
    inverted = GrantAuthority(grant="G-8", post="GD", authority="KY", valid_from=day(6, 2), valid_to=day(6, 1))
    refused(PeriodInverted, world, inverted)


def test_a_revoked_grant_covers_nothing_from_that_instant_on() -> None:
    world = under_review("2026-06-10T08:00")
    refused(UnknownGrant, world, RevokeAuthority(grant="G-9", reason="x"))
    found = do(world, RevokeAuthority(grant="G-1", reason="luân chuyển"), "2026-06-11T08:00")
    assert (names(found), found[0].data.post, found[0].data.authority) == (["AuthorityRevoked"], "GD", "KY")
    state = organisation(world)
    assert state.holds("GD", "KY", PROG, local("2026-06-11T07:59:59"))
    assert not state.holds("GD", "KY", PROG, local("2026-06-11T08:00"))
    refused(UnknownGrant, world, RevokeAuthority(grant="G-1", reason="x"))
    with pytest.raises(AuthorityNotHeld):
        sign_off(world, "2026-06-11T09:00")


def test_an_abolished_post_acts_no_more() -> None:
    world = under_review("2026-06-10T08:00")
    refused(LastAdministrator, world, AbolishPost(post="GD", reason="x"), "2026-06-11T08:00")
    more = GrantAuthority(grant="G-9", post="PGD", authority="GRANT-AUTHORITY", valid_from=day(6, 11))
    do(world, more, "2026-06-11T08:00")
    do(world, AbolishPost(post="GD", reason="x"), "2026-06-11T08:00")
    with pytest.raises(UnknownPost):
        sign_off(world, "2026-06-11T09:00")
    with pytest.raises(UnknownPost):
        world.do(AssignTask(content=CLEAR), f"{T}-B", "GD")


# --- who may change the organisation ----------------------------------------------------------------------------------


ENTITLE = GrantAuthority(grant="G-9", post="VPS-CVP", authority=GRANT_AUTHORITY, valid_from=day(1, 1))
CHANGES: tuple[Command, ...] = (
    NEW_UNIT,
    MERGE,
    EstablishPost(post="X", unit="QLVH", title_vi="x"),
    AbolishPost(post="QLVH-PP", reason="x"),
    APPOINT,
    ENTITLE,
    RevokeAuthority(grant="REGISTRATION-1", reason="x"),
)


@pytest.mark.parametrize("command", CHANGES, ids=lambda command: type(command).__name__)
def test_r288_only_a_post_that_holds_the_authority_changes_the_organisation(command: Command) -> None:
    world = sample_world()
    for rule, post, unit in (
        (UnknownPost, "NOBODY", "NOWHERE"),
        (UnknownPost, "GD", "VPS"),
        (NotAdministrator, "VPS-CVP", "VPS"),
    ):
        with pytest.raises(rule):
            world.do(command, ORGANISATION, post, "2026-06-01T08:00", unit=unit)
    do(world, ENTITLE.model_copy(update={"grant": "G-8"}))
    assert world.do(command, ORGANISATION, "VPS-CVP", "2026-06-01T08:00")


def test_r288_the_registration_names_who_sets_the_organisation_up() -> None:
    world = World()
    register = RegisterOrganisation(name_vi="Sở", kind="department", administrators=("CVP", "PCVP"))
    world.do(register, ORGANISATION, "GD", "2026-01-01T08:00")
    alone = World()
    alone.do(RegisterOrganisation(name_vi="Sở", kind="department"), ORGANISATION, "GD", "2026-01-01T08:00")
    refused(LastAdministrator, alone, RevokeAuthority(grant="REGISTRATION-1", reason="x"))
    office_unit = EstablishUnit(unit="VP", name_vi="Văn phòng", kind="office", valid_from=day(1, 1))
    with pytest.raises(NotAdministrator):
        world.do(office_unit, ORGANISATION, "GD")
    world.do(office_unit, ORGANISATION, "CVP", unit="VP")
    world.do(EstablishPost(post="CVP", unit="VP", title_vi="x", head=True), ORGANISATION, "PCVP", unit="VP")
    with pytest.raises(UnknownPost):  # from now on who acts exists
        world.do(NEW_UNIT.model_copy(update={"parent": None}), ORGANISATION, "PCVP", unit="VP")
    assert world.do(EstablishPost(post="PCVP", unit="VP", title_vi="x"), ORGANISATION, "CVP", unit="VP")


@pytest.mark.parametrize("lasting", [True, False])
def test_r288_somebody_always_holds_the_authority_to_grant(lasting: bool) -> None:
    world = sample_world()
    last_one = RevokeAuthority(grant="REGISTRATION-1", reason="x")
    dissolve = DissolveUnit(unit="BGD", valid_to=day(7, 1), reason="x")
    for command in (last_one, AbolishPost(post="GD", reason="x"), dissolve):
        refused(LastAdministrator, world, command)
    do(world, ENTITLE.model_copy(update={"valid_to": None if lasting else day(12, 31)}))
    if not lasting:
        refused(LastAdministrator, world, last_one)
        return
    do(world, last_one)
    refused(NotAdministrator, world, NEW_UNIT)
    assert world.do(NEW_UNIT, ORGANISATION, "VPS-CVP")


# --- one person, two posts --------------------------------------------------------------------------------------------


def both(world: World, other: str, until: Any = None) -> World:
    """One person is deputy head of the division and holds another post besides, the latter until a day."""
    for post in ("PBCXB-PP", other):
        do(world, AppointHolder(post=post, person="P-ABC123", valid_from=day(1, 1)))
    if until is not None:
        do(world, ReleaseHolder(post=other, valid_to=until))
        do(world, AppointHolder(post=other, person="P-ABC124", valid_from=until))
    return world


def test_r091_the_submitter_signs_nothing_off_under_another_post() -> None:
    world = both(under_review("2026-06-10T08:00"), "GD")
    with pytest.raises(SignerIsSubmitter):
        sign_off(world, "2026-06-12T08:00")
    assert sign_off(both(under_review("2026-06-10T08:00"), "GD", until=day(6, 11)), "2026-06-12T08:00")
    late = both(under_review("2026-06-10T08:00"), "GD", until=day(6, 12))
    with pytest.raises(SignerIsSubmitter):  # neither clock makes another person of the signer
        late.do(SignOffCompletion(), T, "GD", "2026-06-11T23:00", now="2026-06-12T01:00", authority="KY")


def test_r091_who_hands_a_report_in_does_not_accept_it_under_another_post() -> None:
    world = both(office(), "VPS-CVP")
    report = f"obligation/{PROG}/OB-1"
    duty = Duty(kind="report", title="x", unit="PBCXB")
    world.do(DeclareObligation(duty=duty, due=Due(day=day(6, 9))), report, "GD", "2026-06-02T08:00")
    world.do(SubmitObligation(), report, "PBCXB-PP", "2026-06-03T08:00")
    with pytest.raises(SubmitterAccepts):
        world.do(AcceptObligation(), report, "VPS-CVP", "2026-06-04T08:00")
    assert world.do(AcceptObligation(), report, "GD", "2026-06-04T08:00")


def test_r091_r324_nobody_approves_their_own_extension_under_another_post() -> None:
    for until, allowed in ((None, False), (day(6, 4), True)):
        world = both(at_work(), "GD", until)
        world.do(RequestExtension(due=Due(day=day(6, 20)), reason=text()), T, "PBCXB-PP", "2026-06-03T08:00")
        if allowed:
            assert world.do(ApproveExtension(), T, "GD", "2026-06-05T08:00")
            continue
        with pytest.raises(ApproverIsRequester):
            world.do(ApproveExtension(), T, "GD", "2026-06-05T08:00")

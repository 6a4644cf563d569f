"""The four programmes as data, their checks, and the commands they become."""

import datetime as dt
import json
import shutil
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from contracts.assignment import AssignTask, Deliverable, DraftTask, Due, TaskContent
from contracts.base import Command
from contracts.envelope import CommandEnvelope
from contracts.obligation import DeclareObligation
from contracts.organisation import AppointHolder, EstablishPost, EstablishUnit, GrantAuthority
from contracts.phase import PlanPhase
from contracts.programme import DefineIndicator, DefineRegime, RegisterProgramme
from domain.limits import limit_of, occurrences
from services.calendar_source import proposed_calendar
from services.programmes.check import Checked, check
from services.programmes.importer import Outgoing, import_commands, to_json

FILES = Path(__file__).parents[2] / "deploy" / "programmes"
CODES = ("SVHTTDL-TD500", "SVHTTDL-CCHC-2025", "SKHCN-TD500", "PHN-CTHD500")
CULTURE, REFORM, SCIENCE, WARD = CODES
AT = dt.datetime(2026, 5, 30, 1, tzinfo=dt.UTC)


@cache
def checked(code: str) -> Checked:
    return check(FILES / f"{code.lower()}.yaml")


def imported(code: str) -> tuple[Outgoing, ...]:
    files = checked(code)
    assert files.programme is not None
    assert files.roster is not None
    assert files.policy is not None
    return import_commands(files.programme, files.roster, files.policy, proposed_calendar((2026, 2027)), AT)


SENT = {code: imported(code) for code in CODES}


def of(code: str, kind: type[Command]) -> list[Any]:
    """The commands of one kind, without their addresses."""
    return [sent.command for sent in SENT[code] if isinstance(sent.command, kind)]


def owed(code: str) -> dict[str, DeclareObligation]:
    return {
        sent.subject.rpartition("/")[2]: sent.command
        for sent in SENT[code]
        if isinstance(sent.command, DeclareObligation)
    }


def tasks(code: str) -> dict[str, TaskContent]:
    found = [sent for sent in SENT[code] if isinstance(sent.command, AssignTask)]
    return {
        sent.subject.rpartition("/")[2]: sent.command.content
        for sent in found
        if isinstance(sent.command, AssignTask) and sent.command.content
    }


def members(code: str, group: str) -> tuple[str, ...]:
    roster = checked(code).roster
    assert roster is not None
    own = roster.organisation(code.partition("-")[0])
    assert own is not None
    return own.groups[group]


def due(day: str, boundary: Any) -> Due:
    return Due(day=dt.date.fromisoformat(day), boundary=boundary)


# --- the files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_the_files_check_clean(code: str) -> None:
    assert [str(problem) for problem in checked(code).problems] == []


@pytest.mark.parametrize("code", CODES)
def test_every_command_is_what_its_contract_reads(code: str) -> None:
    for sent in SENT[code]:
        model: Any = CommandEnvelope.__class_getitem__(type(sent.command))
        envelope = model.model_validate_json(to_json(sent, "PROGRAMME-IMPORT"))
        assert envelope.data == sent.command
        assert envelope.type == f"sauro.{sent.aggregate}.{type(sent.command).__name__}.v1"
        assert envelope.subject.split("/")[1] == envelope.programme
        assert (envelope.actorpost, envelope.actorunit) == (sent.actor.post, sent.actor.unit)
        assert envelope.time == sent.occurred_at
        assert sent.occurred_at == AT or (sent.aggregate == "organisation" and sent.occurred_at < AT)


@pytest.mark.parametrize("code", CODES)
def test_ids_are_unique_and_the_same_at_every_import(code: str) -> None:
    ids = [sent.id for sent in SENT[code]]
    assert len(set(ids)) == len(ids)
    assert imported(code) == SENT[code]


@pytest.mark.parametrize("code", CODES)
def test_no_code_has_an_underscore(code: str) -> None:
    for sent in SENT[code]:
        data = json.loads(to_json(sent, "PROGRAMME-IMPORT"))
        for name in ("unit", "post", "parent", "code", "authority", "submitters", "coordinating_units", "lead_unit"):
            assert "_" not in json.dumps(data["data"].get(name)), sent.id
        assert "_" not in data["subject"]


def test_two_programmes_of_one_organisation_send_the_same_organisation() -> None:
    first = {sent.id: to_json(sent, "S") for sent in SENT[CULTURE] if sent.aggregate == "organisation"}
    second = {sent.id: to_json(sent, "S") for sent in SENT[REFORM] if sent.aggregate == "organisation"}
    shared = first.keys() & second.keys()
    assert len(shared) > 80
    assert [id_ for id_ in shared if first[id_] != second[id_]] == []


@pytest.mark.parametrize("code", CODES)
def test_every_code_a_command_names_was_established_before(code: str) -> None:
    units = {command.unit for command in of(code, EstablishUnit)}
    posts = {command.post for command in of(code, EstablishPost)}
    seen: set[str] = set()
    for command in of(code, EstablishUnit):
        assert command.parent is None or command.parent in seen
        seen.add(command.unit)
    register: RegisterProgramme = of(code, RegisterProgramme)[0]
    assert {post for role in register.roles for post in role.posts} <= posts
    assert {part.unit for part in register.participants} <= units
    for command in of(code, DefineRegime):
        regime = command.regime
        assert {*regime.submitters, regime.aggregator, regime.addressee} - {None} <= units
    for obligation in owed(code).values():
        assert obligation.duty.unit is None or obligation.duty.unit in units
        assert obligation.duty.post is None or obligation.duty.post in posts
    grants = {(command.post, command.authority) for command in of(code, GrantAuthority)}
    for content in tasks(code).values():
        assert content.checking is not None
        assert {content.lead_unit, *content.coordinating_units} <= units
        assert {content.person, content.checking.checked_by} <= posts
        # Somebody besides the accountable person can sign.
        assert {post for post, authority in grants if authority == content.authority} - {content.person}
    assert {sent.actor.post for sent in SENT[code]} <= posts


@pytest.mark.parametrize("code", CODES)
def test_every_unit_has_a_head_and_every_post_a_holder(code: str) -> None:
    posts = of(code, EstablishPost)
    heads = Counter(post.unit for post in posts if post.head)
    assert heads == Counter({command.unit for command in of(code, EstablishUnit)})
    holders = [command.person for command in of(code, AppointHolder)]
    assert len(set(holders)) == len(posts)
    for unit in {content.lead_unit for content in tasks(code).values()}:
        assert len([post for post in posts if post.unit == unit]) >= 2, f"{unit} needs a deputy to submit"


# --- identity, phases, indicators -----------------------------------------------------------------


def test_numbers_and_issue_dates_r001() -> None:
    issued = {
        code: (register.number, str(register.issued_on), register.issued_on_sample)
        for code in CODES
        for register in of(code, RegisterProgramme)
    }
    assert issued == {
        CULTURE: ("725/KH-SVHTTDL", "2026-05-30", False),
        REFORM: (None, "2025-01-02", True),
        SCIENCE: (None, "2026-06-01", True),
        WARD: (None, "2026-06-01", True),
    }


def test_conflicting_citations_stand_side_by_side_r003() -> None:
    basis = {document.number: document for document in of(CULTURE, RegisterProgramme)[0].legal_basis}
    assert basis["01/CTr-UBND"].variant == "02/CTr-UBND"
    assert basis["01/CTr-UBND"].resolved is None
    assert all(register.legal_basis for code in CODES for register in of(code, RegisterProgramme))


def test_phases_are_data_r032_r033_r034_r035_r038() -> None:
    found = {
        code: [(str(phase.start), str(phase.end), phase.end_year) for phase in of(code, PlanPhase)] for code in CODES
    }
    later = [("2027-01-01", "2027-03-31", None), ("2027-04-01", "2027-09-30", None), ("2027-10-01", "None", 2030)]
    department = [("None", "2026-06-05", None), ("2026-06-05", "2026-12-31", None), *later]
    ward = [("None", "2026-06-10", None), ("2026-06-11", "2026-12-31", None), *later]
    assert found == {CULTURE: department, REFORM: [], SCIENCE: department, WARD: ward}
    assert {phase.end_boundary for code in CODES for phase in of(code, PlanPhase)} == {"by_end_of"}


def test_aims_duties_and_reviews_of_phases_r039_r051_r067() -> None:
    assert [phase.aim is None for phase in of(SCIENCE, PlanPhase)] == [True, True, True, True, False]
    assert [phase.duties_in_text for phase in of(SCIENCE, PlanPhase)] == [True, True, True, True, False]
    for code, review in ((CULTURE, "P2"), (SCIENCE, "P2"), (WARD, None)):
        assert [phase.needs_review_of for phase in of(code, PlanPhase)] == [None, None, review, None, None]


def test_the_window_is_stored_not_computed_r037() -> None:
    register: RegisterProgramme = of(CULTURE, RegisterProgramme)[0]
    assert register.window_start == dt.date(2026, 5, 30)
    assert register.window_end == dt.date(2027, 9, 30)
    assert (register.window_end - register.window_start).days + 1 == 489


@pytest.mark.parametrize("code", CODES)
def test_divisible_is_unknown_until_a_person_says_so_r242_r243(code: str) -> None:
    indicators = [command.indicator for command in of(code, DefineIndicator)]
    assert all(indicator.divisible is None for indicator in indicators)
    assert any(indicator.divisible_proposed for indicator in indicators)
    assert of(code, RegisterProgramme)[0].settings.nondivisible_rule is (True if code == CULTURE else None)


# --- products, milestones, commitments ------------------------------------------------------------


def test_phase_1_products_are_owed_by_each_unit_r041() -> None:
    units = (*members(CULTURE, "PHONG"), *members(CULTURE, "DVTT"))
    assert len(units) == 12
    products = {code: duty for code, duty in owed(CULTURE).items() if duty.duty.mandatory}
    for product in ("P1-PLAN", "P1-REG", "P1-LIST"):
        assert {code for code in products if code.startswith(product)} == {f"{product}-{unit}" for unit in units}
    assert {"P1-REPORTING", "P1-TRACK"} <= products.keys()
    heads = {code: duty.duty.post for code, duty in products.items() if code.startswith("C-HEAD-")}
    assert heads == {"C-HEAD-BGD": "GD"} | {f"C-HEAD-{unit}": f"TP-{unit}" for unit in units}
    assert {product.due for product in products.values()} == {due("2026-06-05", "by_end_of")}


def test_both_readings_of_phase_1_are_kept_r042() -> None:
    obligations = owed(SCIENCE)
    assert obligations["P1-M1"].due == due("2026-06-05", "by_end_of")
    assert obligations["P1-M1"].duty.ambiguous is None
    inner = [duty for code, duty in obligations.items() if code == "P1-M2" or duty.duty.mandatory]
    assert {duty.due for duty in inner} == {due("2026-06-05", "before")}
    assert all(duty.duty.ambiguous for duty in inner)
    assert obligations["P1-INDSET"].duty.unit is None


def test_owners_the_ward_leaves_open_stay_open_r043() -> None:
    products = {code: duty.duty.unit for code, duty in owed(WARD).items() if code.startswith("P1-")}
    plans = {f"P1-PLAN-{unit}": unit for unit in ("UBND", *members(WARD, "CHIBO"))}
    assert products == plans | {"P1-WORKS": None, "P1-BACKLOG": None, "P1-COMMIT": None}


def test_mandatory_products_of_the_ward_r045_r046_r047() -> None:
    by_phase = {
        phase: {duty.due for duty in owed(WARD).values() if duty.duty.mandatory and duty.duty.phase == phase}
        for phase in ("P2", "P3", "P4")
    }
    assert by_phase == {
        "P2": {None},
        "P3": {due("2027-03-31", "by_end_of")},
        "P4": {due("2027-09-30", "by_end_of")},
    }
    assert sum(duty.duty.phase == "P4" and duty.duty.mandatory for duty in owed(WARD).values()) == 5


def test_the_january_review_is_owed_by_each_unit_r052() -> None:
    for code, units in (
        (CULTURE, (*members(CULTURE, "PHONG"), *members(CULTURE, "DVTT"))),
        (SCIENCE, (*members(SCIENCE, "PHONG"), "TTKHCN")),
    ):
        reviews = {name: duty for name, duty in owed(code).items() if name.startswith("P3-M1")}
        assert reviews.keys() == {f"P3-M1-{unit}" for unit in units}
        assert {duty.due for duty in reviews.values()} == {due("2027-01-31", "within")}


def test_february_has_two_parts_in_science_only_r053() -> None:
    parts = {name: (duty.duty.unit, duty.due) for name, duty in owed(SCIENCE).items() if name.startswith("P3-M2")}
    limit = due("2027-02-28", "within")
    assert parts == {"P3-M2-SCENARIO": ("PKHTC", limit), "P3-M2-INDSET": (None, limit)}
    assert not [duty for code in (CULTURE, WARD) for duty in owed(code).values() if duty.due == limit]


def test_strict_limits_before_the_end_of_phases_r054_r056() -> None:
    for code, first_quarter in ((CULTURE, "P3-M2"), (SCIENCE, "P3-M3")):
        assert owed(code)[first_quarter].due == due("2027-03-31", "before")
        assert owed(code)["P4-M1"].due == due("2027-06-30", "within")
        assert owed(code)["P4-M2"].due == due("2027-09-30", "before")
    assert not [name for name, duty in owed(WARD).items() if duty.due and duty.due.boundary != "by_end_of"]


def test_the_campaign_review_is_undated_and_opens_after_phase_4_r057() -> None:
    for code in (CULTURE, SCIENCE):
        review = owed(code)["P4-M3"]
        assert (review.due, review.opens_on) == (None, dt.date(2027, 10, 1))
    assert "P4-M3" not in owed(WARD)


def test_standardising_is_due_in_culture_only_r058() -> None:
    limit = owed(CULTURE)["P5-M1"].due
    assert limit == due("2028-12-31", "within")
    local_end = limit_of(limit.day, limit.boundary).at
    assert local_end == dt.datetime(2028, 12, 31, 17, tzinfo=dt.UTC)
    assert not [duty for code in (SCIENCE, WARD) for duty in owed(code).values() if duty.due == limit]


def test_personal_plans_are_owed_by_head_post() -> None:
    plans = [duty for duty in owed(CULTURE).values() if duty.duty.kind == "personal_plan"]
    assert len(plans) == 13
    assert all(plan.duty.post and plan.due is None for plan in plans)


def test_reports_come_from_regimes_not_from_the_import_r162() -> None:
    assert not [duty for code in CODES for duty in owed(code).values() if duty.duty.kind == "report"]


# --- regimes --------------------------------------------------------------------------------------


def test_culture_reports_r163_r164_r165_r167() -> None:
    regimes = {command.regime.code: command.regime for command in of(CULTURE, DefineRegime)}

    def limits(code: str) -> list[dt.datetime]:
        regime = regimes[code]
        return [found.limit.at for found in occurrences(regime.due, regime.start, regime.end)]

    assert len(limits("R-W")) == 70
    assert limits("R-W")[0] == dt.datetime(2026, 6, 4, 8, tzinfo=dt.UTC)
    assert limits("R-M")[0] == dt.datetime(2026, 6, 18, 17, tzinfo=dt.UTC)
    assert set(limits("R-Q")) < set(limits("R-M"))
    assert limits("R-F") == [dt.datetime(2027, 12, 14, 17, tzinfo=dt.UTC)]


def test_undated_and_unscheduled_reports_r169_r172_r173_r175() -> None:
    regimes = {code: {each.regime.code: each.regime for each in of(code, DefineRegime)} for code in CODES}
    assert (regimes[SCIENCE]["R-M"].due, regimes[SCIENCE]["R-M"].active) == (None, True)
    assert not regimes[SCIENCE]["R-W"].active
    assert regimes[SCIENCE]["R-W"].note
    assert regimes[WARD]["R-W"].phases == ("P2",)
    assert regimes[WARD]["R-MB"].phases == ()
    assert "submitters are sample" in regimes[WARD]["R-W"].note
    assert {
        (each.frequency, str(each.end))
        for code, each in regimes[REFORM].items()
        if code in ("R-3", "R-6", "R-9", "R-12")
    } == {
        ("quarterly", "2025-03-31"),
        ("half_yearly", "2025-06-30"),
        ("nine_monthly", "2025-09-30"),
        ("yearly", "2025-12-31"),
    }


# --- standing tasks -------------------------------------------------------------------------------


def test_tasks_without_a_named_lead_stay_drafts_and_are_listed_r023() -> None:
    drafts = {
        code: {sent.subject.rpartition("/")[2] for sent in SENT[code] if isinstance(sent.command, DraftTask)}
        for code in CODES
    }
    assert drafts == {
        CULTURE: {"T-05", "T-19", "T-20"},
        REFORM: {"T-22", "T-23", "T-24", "T-25", "T-26", "T-27"},
        SCIENCE: {"T-14", "T-15", "T-19"},
        WARD: {"T-18"},
    }
    for code in CODES:
        listed = [point.message for point in checked(code).information if "R-023" in point.way_out]
        assert {message.split()[1] for message in listed} == drafts[code]
        assert all("person" in message for message in listed)
        assert not [command.content.sample_fields for command in of(code, DraftTask) if command.content.sample_fields]


def test_joint_leads_are_resolved_and_recorded_r083() -> None:
    resolved = {
        (code, name): content.lead_resolution
        for code in CODES
        for name, content in tasks(code).items()
        if content.lead_resolution
    }
    assert resolved.keys() == {(WARD, "T-11"), (WARD, "T-12")}
    for (_, name), resolution in resolved.items():
        assert resolution.named == ("MTTQ", "HDND")
        assert resolution.rule == "first_named"
        assert tasks(WARD)[name].lead_unit == "MTTQ"
        assert "HDND" in tasks(WARD)[name].coordinating_units
    listed = [point for point in checked(WARD).information if "R-083" in point.way_out]
    assert len(listed) == 2


def test_a_group_of_units_gets_a_task_each() -> None:
    units = (*members(SCIENCE, "PHONG"), "TTKHCN")
    split = {name: content for name, content in tasks(SCIENCE).items() if name.startswith("T-04")}
    assert split.keys() == {f"T-04-{unit}" for unit in units}
    assert all(content.lead_unit == name.removeprefix("T-04-") for name, content in split.items())


@pytest.mark.parametrize("code", CODES)
def test_assigned_tasks_are_six_clear_and_name_their_samples_r017_r019(code: str) -> None:
    for name, content in tasks(code).items():
        assert content.person, name
        assert content.work, name
        assert content.due or content.cadence, name
        assert content.responsibility, name
        assert content.authority, name
        assert content.deliverables, name
        assert content.measures, name
        assert {"person", "measures", "checking"} <= set(content.sample_fields), name
        assert content.lead_unit not in content.coordinating_units, name


def test_what_the_source_says_is_no_sample() -> None:
    content = tasks(CULTURE)["T-01"]
    assert content.due == due("2026-06-05", "by_end_of")
    assert content.deliverables == (Deliverable(code="D-1", what="tracking system"),)
    assert not {"due", "deliverables", "responsibility"} & set(content.sample_fields)
    assert tasks(CULTURE)["T-07"].authority == "DECIDE-GD"
    assert "authority" not in tasks(CULTURE)["T-07"].sample_fields


# --- policy ---------------------------------------------------------------------------------------


def test_the_default_policy_is_ours_and_in_order_r133_r136() -> None:
    policy = checked(WARD).policy
    assert policy is not None
    assert policy.ours
    for ladder in policy.ladders:
        offsets = [(rung.offset.days, rung.offset.working_days) for rung in ladder.rungs]
        assert offsets == sorted(offsets)
    strict = [ladder for ladder in policy.ladders if ladder.categories]
    assert [[rung.offset.days for rung in ladder.rungs[:2]] for ladder in strict] == [[-14, -7]]
    assert set(strict[0].categories) == set(of(WARD, RegisterProgramme)[0].settings.categories)
    assert tasks(WARD)["T-15"].category == "LAND"


# --- broken files ---------------------------------------------------------------------------------


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for file in FILES.glob("*.yaml"):
        shutil.copy(file, tmp_path)
    return tmp_path


def broken(folder: Path, old: str, new: str, file: str = "skhcn-td500.yaml") -> tuple[int, list[str]]:
    """The copy with one replacement: its line, and the problems as `line: message`."""
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) >= 1
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    line = text[: text.index(old)].count("\n") + 1
    found = check(folder / "skhcn-td500.yaml").problems
    assert {Path(problem.file).name for problem in found} == {file}
    assert all(problem.message and problem.way_out for problem in found)
    return line, [f"{problem.line}: {problem.message}" for problem in found]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{code: T-02,", "{code: T-02, wat: 1,", "field 'wat' is unknown"),
        ("aggregator: VP,", "aggregator: VP, aggregator: VP,", "field 'aggregator' is given twice"),
        ("owner: [VP]", "owner: [VPX]", "'VPX' is no unit, group or position"),
        ("day: 2027-02-28", "day: 2027-02-30", "input should be a valid date"),
        ("supplied: false", "supplied: 'no'", "input should be a valid boolean"),
        ("start: 2027-01-01", "start: 20270101", "input should be a valid date"),
        ("{code: T-03,", "{code: T-02,", "code 'T-02' is taken since line"),
        ("phase: P3", "phase: P9", "phase 'P9' is unknown"),
        ("start: 2027-04-01", "start: 2027-02-01", "phase P4 starts before the phase before it ends"),
        ("director: [GD]", "director: []", "the escalation policy warns 'director'"),
        ("heads_of: [PHONG", "heads_of: [TRUONG", "'TRUONG' holds no post of its own"),
        ("submitters: [PHONG", "submitters: [PHONG, PHONG", "value error, a code is named twice"),
    ],
)
def test_a_broken_file_names_the_line(copy: Path, old: str, new: str, message: str) -> None:
    line, problems = broken(copy, old, new)
    at = [problem for problem in problems if message in problem]
    assert at, problems
    if "director" not in old:
        assert at[0].startswith(f"{line}: ")


def test_a_missing_field_names_the_entry(copy: Path) -> None:
    line, problems = broken(copy, "lead: VP, ", "")
    assert problems == [f"{line}: field 'lead' is missing"]


def test_all_errors_are_reported_at_once(copy: Path) -> None:
    _, one = broken(copy, "{code: T-02,", "{code: T-02, wat: 1,")
    _, two = broken(copy, "day: 2027-02-28", "day: 2027-02-30")
    assert (len(one), len(two)) == (1, 2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[PKHTC, PQLKH, PQLCN", "[PKHTC, PQLKX, PQLCN", "member 'PQLKX' is no unit"),
        ("  - code: SKHCN\n", "  - code: SKHCNX\n", "organisation 'SKHCN' is missing"),
        ("T-05: {due: {day: 2026-06-05", "T-55: {due: {day: 2026-06-05", "'T-55' is unknown in SKHCN-TD500"),
        ("sample: true", "sample: false", "input should be True"),
    ],
)
def test_a_broken_roster_is_reported(copy: Path, old: str, new: str, message: str) -> None:
    path = copy / "roster.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    problems = check(copy / "skhcn-td500.yaml").problems
    assert [problem for problem in problems if message in problem.message and problem.file.endswith("roster.yaml")]


@pytest.mark.parametrize("depth", [90, 5_000, 100_000])
def test_nesting_without_end_is_a_problem_not_a_crash(copy: Path, depth: int) -> None:
    file = copy / "phn-cthd500.yaml"
    file.write_text("format:\n " + "[" * depth + "]" * depth, encoding="utf-8")
    (problem,) = (problem for problem in check(file).problems if "nested" in problem.message)
    assert problem.line == 2


@pytest.mark.parametrize("text", ["", "[1, 2", "&a [*a]", "- 1", "\x00", "format: &x {y: *x}", "{? {a: 1} : 2}"])
def test_any_other_text_is_a_problem_not_a_crash(copy: Path, text: str) -> None:
    file = copy / "phn-cthd500.yaml"
    file.write_text(text, encoding="utf-8")
    assert check(file).problems
    file.unlink()
    assert check(file).problems

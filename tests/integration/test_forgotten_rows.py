"""The requirements most easily forgotten (appendix 6): commands on real engines, and what the read models say of them."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from contracts.assignment import (
    ApproveExtension,
    AssignTask,
    CarryOverAssignment,
    CloseUnfinished,
    Due,
    Milestone,
    ReportProgress,
    RequestExtension,
    SignOffCompletion,
    StartWork,
    SubmitResult,
)
from contracts.limits import Offset
from contracts.obligation import DeclareObligation, Duty, WaiveObligation
from contracts.organisation import AppointHolder, ReleaseHolder
from contracts.phase import (
    ApproveAccountabilityList,
    CauseType,
    DeclareNilReturn,
    PlanPhase,
    Responsibility,
    ReviewLine,
    SignOffPhaseReview,
    StartPhaseReview,
)
from contracts.programme import (
    AdoptEscalationPolicy,
    DefineIndicator,
    EscalationPolicy,
    IndicatorDefinition,
    Ladder,
    Rung,
)
from contracts.warning import AcknowledgeWarning, DismissWarning, RecordResponse, ResolveWarning
from services.api.app import create_app
from services.bus import Bus
from services.settings import Settings
from services.store import Store
from tests.integration.support import (
    AUTHORITY,
    Sender,
    client_of,
    clock_at,
    founding,
    imported,
    names_in,
    publish,
    rows,
    spine_of,
    stream,
    task,
)
from tests.integration.test_deadlines_engine import EVIDENCE, Installation, passings
from tests.unit.spec import ORG, PROG, local, text

PROGRAMME, P1, P2 = f"programme/{PROG}", stream("P1", "phase"), stream("P2", "phase")
HEAD = "PBCXB-TP"
SCIENCE = "SKHCN-TD500"
NEWCOMER = f"obligation/{SCIENCE}/C-STAFF-NEW"


@pytest.fixture
async def empty(store: Store, bus: Bus) -> Installation:
    """All services, and nothing in the log."""
    clock = clock_at()
    return Installation(store, bus, clock, Sender(clock), await spine_of(store, bus, clock))


@pytest.fixture
async def own(empty: Installation) -> Installation:
    """Organisation, programme, and two phases that share 05/6/2026."""
    first = PlanPhase(name_vi="Giai đoạn 1", start=date(2026, 5, 30), end=date(2026, 6, 5))
    second = PlanPhase(name_vi="Giai đoạn 2", start=date(2026, 6, 5), end=date(2026, 12, 31))
    phases = [empty.sender.document(command, subject) for command, subject in ((first, P1), (second, P2))]
    await publish(empty.spine, empty.sender, *founding(empty.sender), *phases)
    return empty


async def assign(own: Installation, *codes: str, **content: Any) -> None:
    """Clear tasks of unit PBCXB, begun at once."""
    commands = ((AssignTask(content=task(**content)), "GD"), (StartWork(), HEAD))
    sent = [own.sender.document(command, stream(code), who) for code in codes for command, who in commands]
    await publish(own.spine, own.sender, *sent)


async def finish(own: Installation, code: str) -> None:
    """The result is handed in and signed off now."""
    await own.do(SubmitResult(evidence=EVIDENCE), stream(code), HEAD)
    await own.do(SignOffCompletion(), stream(code), authority=AUTHORITY)


async def asked(own: Installation, path: str, **past: str) -> Any:
    """What the API answers."""
    async with client_of(create_app(own.store, own.bus, own.clock, Settings())) as http:
        answer = await http.get(path, params=past)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def scorecard(own: Installation, phase: str, **past: str) -> dict[str, Any]:
    """A phase's scorecard over all units."""
    found = await asked(own, f"/v1/programmes/{PROG}/phases/{phase}/departments", **past)
    return dict(found["organisation"])


def refusals(own: Installation) -> list[tuple[str, str]]:
    """Rule and field of every refusal, in order."""
    found = rows(own.store, "SELECT refusal FROM log.receipts WHERE outcome = 2 ORDER BY receipt")
    return [(row["refusal"]["rule"], row["refusal"]["field"]) for row in found]


# ---------------------------------------------------------------- warnings


async def test_r134_a_warning_closes_with_an_action_and_not_with_an_acknowledgement(own: Installation) -> None:
    codes = ("SEEN", "DIRECTED", "ADJUSTED", "DONE", "UNFOUNDED")
    await assign(own, *codes, due=date(2026, 6, 10))
    await own.play("2026-06-11T08:00")
    found = rows(own.store, "SELECT about, code FROM read.warnings WHERE kind = 'overdue'")
    warning = {row["about"].split("/")[-1]: stream(row["code"], "warning") for row in found}
    assert warning.keys() == set(codes)
    for code in codes:
        await own.do(AcknowledgeWarning(), warning[code], HEAD)
    assert rows(own.store, "SELECT open FROM read.warnings WHERE status = 'acknowledged'") == [{"open": True}] * 5
    await own.do(RecordResponse(response="directive"), warning["DIRECTED"], HEAD)
    await own.do(RecordResponse(response="adjustment"), warning["ADJUSTED"], HEAD)
    await own.do(RecordResponse(response="completion"), warning["DONE"], HEAD)
    for code in ("SEEN", "DIRECTED", "ADJUSTED", "DONE"):
        await own.do(ResolveWarning(), warning[code], HEAD)
    await own.do(DismissWarning(reason=text()), warning["UNFOUNDED"], "VPS-CVP", texts={"reason": "nhập nhầm hạn"})
    assert refusals(own) == [("NotNow", "subject")]
    await own.play("2026-06-14T08:00")
    standing = rows(own.store, "SELECT about, status, open, level FROM read.warnings WHERE kind = 'overdue'")
    assert {row["about"].split("/")[-1]: (row["status"], row["open"], row["level"]) for row in standing} == {
        "SEEN": ("delivered", True, 2),  # a level up, and delivered there
        "DIRECTED": ("resolved", False, 1),
        "ADJUSTED": ("resolved", False, 1),
        "DONE": ("resolved", False, 1),
        "UNFOUNDED": ("dismissed", False, 1),
    }


async def test_r244_far_behind_average_warns_of_nothing_and_a_missed_milestone_does(own: Installation) -> None:
    """Rungs at the limits alone, so that nothing but a limit or an average could call for a warning."""
    rung = Rung(offset=Offset(), level=1, recipients=("accountable",), act="warn")
    ladder = Ladder(kinds=("assignment_due", "assignment_milestone"), rungs=(rung,))
    policy = EscalationPolicy(policy_version=2, ours=True, ladders=(ladder,))
    whole = IndicatorDefinition(code="I-01", name_vi="Khánh thành", target=100, divisible=False, due=date(2026, 6, 30))
    await own.do(AdoptEscalationPolicy(policy=policy, reason="chỉ cảnh báo khi quá hạn"), PROGRAMME)
    await own.do(DefineIndicator(indicator=whole), PROGRAMME)
    milestone = Milestone(code="M-1", what="Nghiệm thu bước một", due=Due(day=date(2026, 6, 27)))
    await assign(own, "STEPS", milestones=(milestone,))
    await assign(own, "WHOLE")
    await own.play("2026-06-27T12:00")
    for code in ("STEPS", "WHOLE"):  # 29 of 31 days are gone
        await own.do(ReportProgress(percent=5), stream(code), HEAD)
    await own.play("2026-06-27T23:59:59")
    assert rows(own.store, "SELECT * FROM read.warnings") == []
    await own.play("2026-06-30T23:59:59")
    own.accepted()
    (raised,) = rows(own.store, "SELECT about, kind, raised_at FROM read.warnings")
    assert raised == {"about": stream("STEPS"), "kind": "missed_milestone", "raised_at": local("2026-06-28T00:00")}


# ---------------------------------------------------------------- what was not done, and who answers for it


async def test_r159_unfinished_tasks_are_counted_by_cause_in_their_phase(own: Installation) -> None:
    causes: dict[str, CauseType] = {"T-1": "objective", "T-2": "subjective", "T-3": "subjective", "T-4": "both"}
    await assign(own, *causes, phase="P1")
    answer = Responsibility(collective="PBCXB", individual="PBCXB-PP", head=HEAD)
    for code, cause in causes.items():
        close = CloseUnfinished(cause=cause, cause_text=text(), responsibility=answer)
        await own.do(close, stream(code), texts={"cause_text": f"Nguyên nhân {code}"})
    own.accepted()
    counted = rows(
        own.store,
        "SELECT cause, count(*) AS n FROM read.assignments"
        " WHERE phase = 'P1' AND status = 'closed_unfinished' GROUP BY cause",
    )
    assert {row["cause"]: row["n"] for row in counted} == {"objective": 1, "subjective": 2, "both": 1}
    for code in causes:
        entries = (await asked(own, f"/v1/history/{stream(code)}"))["entries"]
        (closed,) = [entry for entry in entries if entry["event"] == "AssignmentClosedUnfinished"]
        assert f"nguyên nhân: “Nguyên nhân {code}”" in closed["sentence"]


async def test_r160_a_review_names_collective_individual_and_head_apart(own: Installation) -> None:
    """Without a head a line says why, or the review is not signed."""
    await own.play("2026-06-06T08:00")
    await own.do(StartPhaseReview(), P1)
    whole = Responsibility(collective="PBCXB", individual="PBCXB-PP", head=HEAD)
    headless = Responsibility(collective="QLVH", individual="QLVH-PP")
    vacant = Responsibility(collective="QLVH", individual="QLVH-PP", head_missing_reason="khuyết trưởng phòng")
    for second in (headless, vacant):
        answers = {"T-1": whole, "T-2": second}
        lines = [
            ReviewLine(item=stream(code), cause="both", cause_text=text(), responsibility=answer)
            for code, answer in answers.items()
        ]
        causes = {f"lines.{number}.cause_text": "Chậm hồ sơ" for number in range(len(lines))}
        await own.do(SignOffPhaseReview(lines=tuple(lines)), P1, texts=causes)
    assert refusals(own) == [("HeadMissing", "data.lines.1.responsibility.head")]
    (signed,) = [e for e in await asked(own, "/v1/events", stream=P1) if "PhaseReviewSignedOff" in e["type"]]
    assert [line["responsibility"] for line in signed["data"]["lines"]] == [
        {"collective": "PBCXB", "individual": "PBCXB-PP", "head": HEAD},
        {"collective": "QLVH", "individual": "QLVH-PP", "head_missing_reason": "khuyết trưởng phòng"},
    ]


async def test_r258_an_empty_list_is_there_once_somebody_declares_it(own: Installation) -> None:
    await own.play("2026-06-05T09:00")  # both phases are open
    await own.do(DeclareNilReturn(list="accountability"), P1)
    own.accepted()
    lists = {row["code"]: row["lists"] for row in await asked(own, f"/v1/programmes/{PROG}/phases")}
    assert lists == {"P1": ["accountability: none"], "P2": []}
    entries = (await asked(own, f"/v1/history/{P1}"))["entries"]
    assert [entry["who"] for entry in entries if entry["event"] == "NilReturnDeclared"] == ["GD, BGD"]


async def test_r262_who_left_a_post_stays_answerable_for_what_passed_in_their_time(own: Installation) -> None:
    organisation = f"organisation/{ORG}"
    await own.do(AppointHolder(post=HEAD, person="P-ABC123", valid_from=date(2026, 1, 1)), organisation)
    await assign(own, "T-1", due=date(2026, 6, 10))
    await own.play("2026-06-15T08:00")
    await own.do(ReleaseHolder(post=HEAD, valid_to=date(2026, 6, 15)), organisation)
    await own.do(AppointHolder(post=HEAD, person="P-DEF456", valid_from=date(2026, 6, 15)), organisation)
    await own.do(ApproveAccountabilityList(entries=(HEAD,)), P2)
    own.accepted()
    (late,) = await asked(own, "/v1/assignments", health="overdue")
    post = (await asked(own, f"/v1/organisations/{ORG}"))["state"]["posts"][late["person"]]
    assert [(held["person"], held["valid_from"], held["valid_to"]) for held in post["holdings"]] == [
        ("P-ABC123", "2026-01-01", "2026-06-15"),
        ("P-DEF456", "2026-06-15", None),
    ]
    assert post["holdings"][0]["valid_from"] <= late["passed_at"][:10] < post["holdings"][0]["valid_to"]


# ---------------------------------------------------------------- lateness that stays


async def test_r061_a_task_carried_over_keeps_its_limit_and_is_late_in_the_phase_it_left(own: Installation) -> None:
    await assign(own, "T-1", phase="P1", due=date(2026, 6, 4))
    await own.play("2026-06-05T09:00")
    carry = CarryOverAssignment(to_phase="P2", due=Due(day=date(2026, 6, 30)), reason="chưa hoàn thành")
    await own.do(carry, stream("T-1"))
    await own.play("2026-06-20T09:00")
    await finish(own, "T-1")
    own.accepted()
    row = await asked(own, f"/v1/assignments/{PROG}/T-1")
    assert (row["phase"], row["left_phases"]) == ("P2", [{"phase": "P1", "was_overdue": True}])
    assert (row["original_due"], row["due"]) == ("2026-06-04T17:00:00Z", "2026-06-30T17:00:00Z")
    assert names_in(own.store, stream("T-1")).count("TaskAssigned") == 1
    left, taken_up = await scorecard(own, "P1"), await scorecard(own, "P2")
    assert (left["carried_out"], left["carried_out_overdue"], float(left["on_time_rate"])) == (1, 1, 0)
    assert (taken_up["done"], taken_up["done_late"], taken_up["done_on_time_current"]) == (1, 1, 1)


async def test_r330_an_extension_after_the_limit_does_not_erase_the_lateness(own: Installation) -> None:
    await assign(own, "LATE", "IN-TIME", phase="P1", due=date(2026, 6, 4))
    await finish(own, "IN-TIME")
    await own.play("2026-06-05T08:00")
    extension = RequestExtension(due=Due(day=date(2026, 6, 30)), reason=text())
    await own.do(extension, stream("LATE"), HEAD, texts={"reason": "chờ số liệu"})
    await own.do(ApproveExtension(), stream("LATE"))
    await own.play("2026-06-20T08:00")
    await finish(own, "LATE")
    own.accepted()
    assert (stream("LATE"), "assignment_due", "1", 1, local("2026-06-05T00:00")) in passings(own.store)
    card = await scorecard(own, "P1")
    assert {name: card[name] for name in ("done", "done_late", "ever_overdue", "extended_after_limit")} == {
        "done": 2,
        "done_late": 1,
        "ever_overdue": 1,
        "extended_after_limit": 1,
    }
    assert (float(card["on_time_rate"]), float(card["on_time_rate_current"])) == (0.5, 1.0)
    assert (await scorecard(own, "P1", as_of="2026-06-05T07:00:00+07:00"))["overdue_open"] == 1


# ---------------------------------------------------------------- scopes are programme data


async def bring_in(own: Installation, *names: str) -> None:
    """Programmes imported from their files."""
    for name in names:
        await own.spine.publish("IMPORT", imported(own.clock.now(), name))
    await own.spine.settle()
    own.accepted()


async def test_r095_each_programme_says_who_signs_a_commitment(empty: Installation) -> None:
    """Heads in the culture department, all staff in the science department, leaders, key staff and collectives in the ward."""
    await bring_in(empty, "svhttdl-td500", "skhcn-td500", "phn-cthd500")
    found: dict[str, set[str]] = {}
    for row in rows(empty.store, "SELECT programme, code FROM read.obligations WHERE kind = 'commitment'"):
        found.setdefault(row["programme"], set()).add("-".join(row["code"].split("-")[:2]))
    assert found == {
        PROG: {"C-HEAD"},
        SCIENCE: {"C-STAFF", "C-HEAD"},
        "PHN-CTHD500": {"C-HEAD", "C-LEADER", "C-KEYSTAFF", "C-COLLECTIVE"},
    }


async def owed(own: Installation, **past: str) -> int:
    """The commitments owed in the science department."""
    found = await asked(own, f"/v1/programmes/{SCIENCE}/departments", **past)
    return int(found["organisation"]["commitments_owed"])


@pytest.fixture
async def joined(empty: Installation) -> Installation:
    """The science department's programme; on 10/6/2026 the deputy of the centre joins those who sign."""
    await bring_in(empty, "skhcn-td500")
    await empty.play("2026-06-10T08:00")
    empty.sender = Sender(empty.clock, programme=SCIENCE, organisation="SKHCN", units={"GD": "BGD"})
    duty = Duty(kind="commitment", title="Cam kết của viên chức mới", unit="TTKHCN", post="PP-TTKHCN", phase="P1")
    await empty.do(DeclareObligation(duty=duty, due=Due(day=date(2026, 6, 30))), NEWCOMER)
    empty.accepted()
    return empty


async def test_r095_the_denominator_grows_with_who_joins_as_of_the_day_asked(joined: Installation) -> None:
    assert await owed(joined) == await owed(joined, as_of="2026-06-10T07:59:59+07:00") + 1


async def test_r095_the_denominator_shrinks_with_who_leaves(joined: Installation) -> None:
    before = await owed(joined)
    await joined.play("2026-06-15T08:00")
    await joined.do(WaiveObligation(reason="chuyển công tác"), NEWCOMER)
    joined.accepted()
    assert await owed(joined) == before - 1

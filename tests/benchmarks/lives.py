"""What the mix is made of: the lives of tasks, reports and warnings, a programme's administration, and mistakes.

Data is JSON as senders write it. `@CODE@` stands for the code of a life, `@YESTERDAY@` and `@LAST-MONTH@` for days,
`@MONTH@` for the present month, `@OF-assignment@` and `@OF-obligation@` for the warning of the life's own limit.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from tests.benchmarks.commands import DUE, ORGANISATION, PROGRAMME

CODE = "@CODE@"
UNIT = "PKHTC"
HEAD, CLERK, OFFICE, DIRECTOR, ABOVE = "TP-PKHTC", "PP-PKHTC", "TP-VP", "GD", "TP-TP-UBND"
UNIT_OF = {HEAD: UNIT, CLERK: UNIT, OFFICE: "VP", DIRECTOR: "BGD", ABOVE: "TP-UBND", "TP-TTKHCN": "TTKHCN"}
NEW_UNIT_OF = {DIRECTOR: "BGD", OFFICE: "VP", "TP-PCM": "PCM"}
"""In the organisations that the administration founds."""
KEY = {"occurrence": "1", "due_version": 1}


class Step(NamedTuple):
    """One command: who sends what about which stream. `programme` is an organisation's code where that is the subject."""

    source: str
    aggregate: str
    type: str
    post: str
    data: Mapping[str, Any]
    authority: str | None = None
    code: str = CODE
    programme: str = PROGRAMME
    organisation: str = ORGANISATION
    unit: str | None = None


Life = tuple[Step, ...]


def act(type_: str, post: str, authority: str | None = None, **data: Any) -> Step:
    """About the life's task, from a document system or, under an authority, from a signing service."""
    return Step("SIGN-SKHCN" if authority else "DMS-SKHCN", "assignment", type_, post, data, authority)


def duty(type_: str, post: str, **data: Any) -> Step:
    """About the life's report, from a reporting system."""
    return Step("RPT-SKHCN", "obligation", type_, post, data)


def answer(type_: str, post: str, **data: Any) -> Step:
    """About the warning of the life's task, from a document system."""
    return Step("DMS-SKHCN", "warning", type_, post, data, code="@OF-assignment@")


def timer(type_: str, aggregate: str, kind: str, code: str = CODE, occurrence: str = "1", **data: Any) -> Step:
    """From the timekeeper."""
    key = {"kind": kind, **KEY, "occurrence": occurrence}
    return Step("timekeeper", aggregate, type_, "SAURO", {"key": key, **data}, code=code)


def warned(type_: str, subject: str = "assignment", **data: Any) -> Step:
    """From the warning service, about the warning of the life's task or report."""
    return Step("warning", "warning", type_, "SAURO", data, code=f"@OF-{subject}@")


def document(name: str) -> dict[str, Any]:
    """A document by reference and digest."""
    return {"system": "DMS", "number": name, "sha256": sha256(name.encode()).hexdigest()}


def due(day: str = DUE.isoformat()) -> dict[str, Any]:
    """A limit by the end of a day."""
    return {"day": day, "boundary": "by_end_of"}


def content(milestones: int = 0, day: str = DUE.isoformat()) -> dict[str, Any]:
    """A six-clear task."""
    return {
        "person": HEAD,
        "work": "Rà soát, cập nhật số liệu và báo cáo kết quả",
        "due": due(day),
        "responsibility": "Phòng chủ trì",
        "authority": "APPROVE-RESULT",
        "deliverables": [{"code": "D-1", "what": "Báo cáo"}],
        "measures": [{"what": "Mức độ hoàn thành", "target": "100 %"}],
        "checking": {"checked_by": OFFICE, "every": "monthly"},
        "lead_unit": UNIT,
        "milestones": [
            {"code": f"M-{n}", "what": "Mốc", "due": {"day": f"2029-0{n}-15", "boundary": "by_end_of"}}
            for n in range(1, milestones + 1)
        ],
    }


def told(percent: int, post: str = CLERK) -> Step:
    """A progress report."""
    return act("ReportProgress", post, percent=percent, judgement="on_track")


def asked(day: str, hour: str | None = None) -> Step:
    """An ad-hoc report asked for."""
    wanted = {
        "kind": "ad_hoc_report",
        "title": "Báo cáo đột xuất",
        "unit": UNIT,
        "aggregator": "VP",
        "mandatory": False,
    }
    limit = {"day": day, "boundary": "before", "hour": hour} if hour else due(day)
    return duty("RequestAdHocReport", OFFICE, duty=wanted, due=limit, reason="cần chỉ đạo")


def assigned(day: str, milestones: int = 0) -> Step:
    """A task assigned."""
    return act("AssignTask", DIRECTOR, content=content(milestones, day))


ASSIGNED = assigned(DUE.isoformat())
STARTED = act("StartWork", CLERK)
SUBMITTED = act("SubmitResult", CLERK, evidence=[document("KQ")])
SIGNED = act("SignOffCompletion", DIRECTOR, "APPROVE-RESULT")
SENT = duty("SubmitObligation", CLERK, document=document("BC"), channel="electronic")
ACCEPTED = duty("AcceptObligation", OFFICE)
ASKED = asked(DUE.isoformat())


def overdue(opened: Step) -> Life:
    """A task or report with a limit in the past, and what the timekeeper and the warning service send of it."""
    aggregate = opened.aggregate
    key = {"kind": f"{aggregate}_due", **KEY}
    notices = [{"recipient": HEAD, "stream_sequence": 1}, {"recipient": OFFICE, "stream_sequence": 2}]
    return (
        opened,
        timer("RecordDeadlinePassed", aggregate, f"{aggregate}_due"),
        warned("RaiseWarning", aggregate, about=f"{aggregate}/{PROGRAMME}/{CODE}", key=key),
        warned("RecordDelivery", aggregate, level=1, notices=notices),
    )


ORDERLY = (
    ASSIGNED, act("AcknowledgeAssignment", HEAD), STARTED, told(10), told(20), told(35), told(45),
    act("RaiseDifficulty", CLERK, field="PROGRESS", what="Chậm số liệu đầu vào", proposal="Đề nghị phối hợp"),
    told(60), told(70), told(85), told(95), told(100), SUBMITTED, SIGNED,
)  # fmt: skip
CORRECTED = (
    assigned(DUE.isoformat(), milestones=2), STARTED, told(30), told(50),
    act("ReachMilestone", CLERK, milestone="M-1"),
    act("RequestExtension", CLERK, due=due("2031-03-31"), reason="phụ thuộc tiến độ"),
    act("ApproveExtension", DIRECTOR), told(90), SUBMITTED, act("ReturnResult", OFFICE, reason="thiếu phụ lục"),
    SUBMITTED, SIGNED,
)  # fmt: skip
ABANDONED = (
    act("DraftTask", OFFICE, content={"work": "Nhiệm vụ dự thảo"}), ASSIGNED, STARTED, told(10),
    act("ReferMatterUp", CLERK, addressee=ABOVE, matter="Vướng mắc về quy định liên ngành"),
    act("RecordHigherDecision", ABOVE, decision="redirected", note="Thực hiện theo quy định"),
    act("SuspendAssignment", OFFICE, reason="chờ hướng dẫn"), act("ResumeAssignment", OFFICE, reason="đã có"),
    act("AmendAssignment", OFFICE, work="Phạm vi điều chỉnh", reason="thay đổi"),
    act("CancelAssignment", DIRECTOR, reason="không còn phù hợp"),
)  # fmt: skip
HANDED_ON = (
    ASSIGNED, STARTED, act("MarkAtRisk", OFFICE, rule="open_difficulty"), act("ClearRisk", OFFICE, reason="đã gỡ vướng"),
    act("RequestExtension", CLERK, due=due("2031-03-31"), reason="thiếu nhân lực"),
    act("RefuseExtension", DIRECTOR, reason="không đủ căn cứ"),
    act("ReassignAssignment", OFFICE, lead_unit="TTKHCN", reason="đúng chức năng hơn"), told(40, "TP-TTKHCN"),
    act("CarryOverAssignment", OFFICE, to_phase="P3", reason="chưa hoàn thành trong giai đoạn"),
    act(
        "CloseUnfinished", DIRECTOR, cause="objective", cause_text="Thay đổi quy định của cấp trên",
        responsibility={"collective": "TTKHCN", "head": "TP-TTKHCN"}, partly_done_percent=40,
    ),
)  # fmt: skip
LATE = (
    *overdue(assigned("@YESTERDAY@")), answer("AcknowledgeWarning", HEAD), STARTED, told(50),
    answer("RecordResponse", HEAD, response="adjustment", note="Bổ sung nhân lực"),
    answer("ResolveWarning", OFFICE, note="Đã khắc phục"), SUBMITTED, SIGNED,
)  # fmt: skip
UNANSWERED = (
    *overdue(assigned("@LAST-MONTH@")),
    timer("RecordDeadlineApproached", "assignment", "assignment_due", rung=0),
    timer("RecordDeadlinePassed", "warning", "warning_response_due", "@OF-assignment@"),
    timer("RecordDeadlineApproached", "warning", "warning_response_due", "@OF-assignment@", rung=0),
    warned("EscalateWarning", key={"kind": "warning_response_due", **KEY}),
    Step(
        "DMS-SKHCN", "obligation", "DemandExplanation", DIRECTOR, code="GT-@CODE@",
        data={"about": f"assignment/{PROGRAMME}/{CODE}", "reason": "quá hạn chưa báo cáo"},
    ),
    SENT._replace(code="GT-@CODE@"), answer("DismissWarning", DIRECTOR, reason="Đã giải trình"),
)  # fmt: skip
CALLED_OFF = (
    *overdue(assigned("@YESTERDAY@")), act("CancelAssignment", DIRECTOR, reason="không còn phù hợp"),
    warned("SupersedeWarning", reason="limit_cancelled"),
)  # fmt: skip
REPORTED = (ASKED, SENT, ACCEPTED)
RETURNED = (
    ASKED, SENT, duty("ReturnObligation", OFFICE, reason="chưa thống nhất"), SENT, ACCEPTED,
    duty("CorrectObligation", CLERK, document=document("BC-2"), reason="điều chỉnh"),
    duty("ConsolidateObligation", OFFICE, consolidated_in="C-1"), duty("ForwardObligation", OFFICE, addressee="TP-UBND"),
)  # fmt: skip
NOTHING = (ASKED, duty("DeclareNothingToReport", CLERK, note="không phát sinh"), ACCEPTED)
_COMMITTED = {"kind": "commitment", "title": "Cam kết trách nhiệm", "aggregator": "VP", "phase": "P2"}
UNDATED = (
    duty("DeclareObligation", OFFICE, duty=_COMMITTED), duty("SetOwner", OFFICE, unit=UNIT, reason="giao đầu mối"),
    duty("OpenObligation", OFFICE), duty("ConfigureDue", OFFICE, due=due(), reason="ấn định thời hạn"),
    SENT, ACCEPTED,
)  # fmt: skip
WAIVED = (
    duty("DeclareObligation", OFFICE, duty=_COMMITTED, due=due()),
    duty("WaiveObligation", DIRECTOR, reason="đã tổng hợp qua kênh khác"),
)
MISSED = (
    *overdue(asked("@YESTERDAY@")),
    timer("RecordDeadlineApproached", "obligation", "obligation_due", rung=0), SENT, ACCEPTED,
    warned("RecordResponse", "obligation", response="completion"), warned("ResolveWarning", "obligation"),
)  # fmt: skip
READ = (
    Step(
        "audit", "access", "RecordAccess", "SAURO", code="@MONTH@", programme=ORGANISATION,
        data={"act": "history", "door": "api", "about": f"assignment/{PROGRAMME}/{CODE}", "position": 1},
    ),
)  # fmt: skip

LIVES: tuple[tuple[Life, int], ...] = (
    (REPORTED, 36), (RETURNED, 7), (NOTHING, 4), (UNDATED, 3), (WAIVED, 2), (MISSED, 3), (ORDERLY, 16),
    (CORRECTED, 5), (ABANDONED, 3), (HANDED_ON, 3), (LATE, 3), (UNANSWERED, 3), (CALLED_OFF, 2), (READ, 10),
)  # fmt: skip
"""Lives of the programme that every world has, with their shares of a hundred."""

_ORG, _PROG = "O-@CODE@", "P-@CODE@"
_ROLES = [
    {"role": "director", "posts": [DIRECTOR]}, {"role": "coordinating_office", "posts": [OFFICE]},
    {"role": "reviewer", "posts": [OFFICE]},
]  # fmt: skip
_POLICY = {
    "policy_version": 1, "ours": True,
    "ladders": [
        {
            "kinds": ["assignment_due", "obligation_due", "phase_review_due"],
            "rungs": [
                {"offset": {"days": -3}, "level": 0, "recipients": ["unit_head"], "act": "remind"},
                {"offset": {"days": 0}, "level": 1, "recipients": ["coordinating_office"], "act": "warn"},
                {"offset": {"working_days": 3}, "level": 2, "recipients": ["director"], "act": "escalate"},
            ],
        }
    ],
}  # fmt: skip
_CALENDAR_DAY = {"date": "2027-01-01", "name": "Tết Dương lịch", "kind": "holiday"}
_CITED = {"number": "05-NQ/TU", "issuer": "Thành ủy", "kind": "RESOLUTION"}
_NAMED = {"head": DIRECTOR, "collective": "PCM"}


def _staff(type_: str, **data: Any) -> Step:
    return Step("HR-SKHCN", "organisation", type_, DIRECTOR, data, None, _ORG, _ORG, _ORG, NEW_UNIT_OF[DIRECTOR])


def _define(type_: str, **data: Any) -> Step:
    return Step("DMS-SKHCN", "programme", type_, DIRECTOR, data, None, _PROG, _PROG, _ORG, NEW_UNIT_OF[DIRECTOR])


def _phase(type_: str, code: str = "P1", **data: Any) -> Step:
    return Step("DMS-SKHCN", "phase", type_, DIRECTOR, data, None, code, _PROG, _ORG, NEW_UNIT_OF[DIRECTOR])


def _unit(code: str, kind: str) -> Step:
    return _staff("EstablishUnit", unit=code, name_vi=f"Đơn vị {code}", kind=kind, valid_from="2025-01-01")


def _post(code: str) -> Step:
    return _staff("EstablishPost", post=code, unit=NEW_UNIT_OF[code], title_vi=f"Chức danh {code}", head=True)


def _new(step: Step, code: str) -> Step:
    return step._replace(code=code, programme=_PROG, organisation=_ORG)


ADMINISTRATION: Life = (
    _staff("RegisterOrganisation", name_vi="Đơn vị mới", kind="department", administrators=[DIRECTOR]),
    _unit("BGD", "authority"), _unit("VP", "office"), _unit("PCM", "division"),
    _post(DIRECTOR), _post(OFFICE), _post("TP-PCM"),
    _staff("AppointHolder", post=DIRECTOR, person="P-AAAAAA", valid_from="2025-01-01"),
    _staff("AppointHolder", post="TP-PCM", person="P-BBBBBB", valid_from="2025-01-01"),
    _staff("GrantAuthority", grant="G-1", post=DIRECTOR, authority="APPROVE-RESULT", valid_from="2025-01-01"),
    _define(
        "RegisterProgramme", title_vi="Kế hoạch của đơn vị mới", kind="EMULATION-PLAN", roles=_ROLES, policy=_POLICY,
        legal_basis=[{**_CITED, "variant": "a"}, {**_CITED, "variant": "b"}],
        participants=[{"unit": "PCM", "role": "thực hiện", "executes": True}],
    ),
    _define("AssignRoles", roles=_ROLES[2:], reason="phân công lại"),
    _define("ChangeSettings", settings={"explanation_days": 3}, reason="rút ngắn giải trình"),
    _define("AdoptEscalationPolicy", policy={**_POLICY, "policy_version": 2}, reason="cập nhật"),
    _define("AdoptCalendar", days=[_CALENDAR_DAY]),
    _define("AmendCalendar", days=[{**_CALENDAR_DAY, "date": "2027-04-30"}], reason="bổ sung ngày nghỉ"),
    _define("ResolveBasisConflict", number="05-NQ/TU", chosen="a", reason="theo bản có dấu"),
    _define("DefineIndicator", indicator={"code": "I-1", "name_vi": "Nhiệm vụ đúng hạn", "target": 98}),
    _define(
        "DefineRegime",
        regime={"code": "R-M", "name_vi": "Báo cáo tháng", "frequency": "monthly", "start": "@LAST-MONTH@"},
    ),
    _new(timer("RecordDeadlinePassed", "programme", "report_period", occurrence="R-M"), _PROG),
    _new(timer("RecordDeadlineApproached", "programme", "report_period", occurrence="R-M", rung=0), _PROG),
    _phase("PlanPhase", name_vi="Giai đoạn 1", end="@LAST-MONTH@"),
    _define("IssueProgramme", number="01/KH", issued_on="@LAST-MONTH@"),
    Step(
        "RPT-SKHCN", "obligation", "DeclareObligation", OFFICE, unit="VP", code="SP-1", programme=_PROG, organisation=_ORG,
        data={"duty": {"kind": "mandatory_product", "title": "Kế hoạch đơn vị", "unit": "PCM", "phase": "P1"}},
    ),
    _new(timer("RecordDeadlinePassed", "phase", "phase_end"), "P1"),
    _new(timer("RecordDeadlineApproached", "phase", "phase_review_due", rung=0), "P1"),
    _phase("StartPhaseReview", note="Đủ số liệu"),
    _phase(
        "SignOffPhaseReview", summary="Đa số nhiệm vụ hoàn thành",
        lines=[{
            "item": f"obligation/{_PROG}/SP-1", "cause": "subjective", "cause_text": "Chậm tham mưu", "responsibility": _NAMED,
        }],
    ),
    _phase(
        "DeclareProductMissing",
        product={"obligation": f"obligation/{_PROG}/SP-1", "reason": "chưa ban hành", "follow_up": "bổ sung quý sau"},
    ),
    _phase("ApproveCommendationList", entries=["VP"]), _phase("ApproveAccountabilityList", entries=["PCM"]),
    _phase("ClosePhase", note="Đóng giai đoạn"),
    _phase("CorrectClosedPhase", figure="tỷ lệ đúng hạn", was="97 %", now="98 %", reason="nhập sót"),
    _phase("PlanPhase", "P2", name_vi="Giai đoạn 2", start="2030-01-01", end="2030-12-31", needs_review_of="P1"),
    _phase("OpenPhase", "P2", reason="mở sớm"), _phase("DeclareNilReturn", "P2", list="commendation"),
    _phase("PlanPhase", "P3", name_vi="Giai đoạn 3", start="@LAST-MONTH@", end_year=2030),
    _phase("ReviewYear", "P3", year=2026, summary="Duy trì kết quả"),
    _define("CloseProgramme", reason="kết thúc"),
    _staff("RevokeAuthority", grant="G-1", reason="hết nhiệm vụ"),
    _staff("ReleaseHolder", post="TP-PCM", valid_to="@YESTERDAY@"),
    _staff("AbolishPost", post="TP-PCM", reason="sắp xếp lại"),
    _staff("DissolveUnit", unit="PCM", valid_to="@YESTERDAY@", successors=["VP"], reason="sắp xếp lại"),
)  # fmt: skip
"""One department after the other is founded, given a programme with phases, and closed again."""

REFUSED: Life = (
    STARTED, told(50), act("AssignTask", DIRECTOR, content=content() | {"authority": None, "measures": []}),
    SENT, ACCEPTED, SIGNED, answer("AcknowledgeWarning", HEAD),
    Step(
        "HR-SKHCN", "organisation", "EstablishUnit", CLERK, code=ORGANISATION, programme=ORGANISATION,
        data={"unit": "@CODE@", "name_vi": "Phòng mới", "kind": "division", "valid_from": "2026-01-01"},
    ),
)  # fmt: skip
"""Single commands that a rule refuses: too early, not clear, of nothing there is, not by who may."""

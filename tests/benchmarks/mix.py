"""A realistic mix of what integrating systems send: whole lives of tasks and reports, interleaved, with mistakes and repeats.

Shares follow the demo's year and a half of four programmes: three in five commands speak of reports owed, the rest of tasks.
One in ten is refused by a rule, one in twenty is a repeat of a message that was sent before.
"""

import random
from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson

from domain.calendar import to_local
from tests.benchmarks.commands import DUE, ORGANISATION, PROGRAMME, Message, uuid7s

REFUSED, REPEATED = 0.10, 0.05
OPEN_LIVES = 400
Step = tuple[str, str, str, str | None, dict[str, Any]]
"""aggregate, type, acting post, authority, data."""
_UNIT = "PKHTC"
_HEAD, _CLERK, _OFFICE, _DIRECTOR = "TP-PKHTC", "PP-PKHTC", "TP-VP", "GD"
_UNIT_OF = {_HEAD: _UNIT, _CLERK: _UNIT, _OFFICE: "VP", _DIRECTOR: "BGD", "TP-TP-UBND": "TP-UBND"}


def _document(name: str) -> dict[str, Any]:
    return {"system": "DMS", "number": name, "sha256": sha256(name.encode()).hexdigest()}


def _content(milestones: int = 0) -> dict[str, Any]:
    return {
        "person": _HEAD,
        "work": "Rà soát, cập nhật số liệu và báo cáo kết quả",
        "due": {"day": DUE.isoformat(), "boundary": "by_end_of"},
        "responsibility": "Phòng chủ trì",
        "authority": "APPROVE-RESULT",
        "deliverables": [{"code": "D-1", "what": "Báo cáo"}],
        "measures": [{"what": "Mức độ hoàn thành", "target": "100 %"}],
        "checking": {"checked_by": _OFFICE, "every": "monthly"},
        "lead_unit": _UNIT,
        "milestones": [
            {"code": f"M-{n}", "what": "Mốc", "due": {"day": f"2029-0{n}-15", "boundary": "by_end_of"}}
            for n in range(1, milestones + 1)
        ],
    }


def _told(percent: int) -> Step:
    return "assignment", "ReportProgress", _CLERK, None, {"percent": percent, "judgement": "on_track"}


def _act(type_: str, post: str, authority: str | None = None, **data: Any) -> Step:
    return "assignment", type_, post, authority, data


def _duty(type_: str, post: str, **data: Any) -> Step:
    return "obligation", type_, post, None, data


_SIGNED = _act("SignOffCompletion", _DIRECTOR, "APPROVE-RESULT")
_SUBMITTED = _act("SubmitResult", _CLERK, evidence=[_document("KQ")])
_ORDERLY = (
    _act("AssignTask", _DIRECTOR, content=_content()), _act("AcknowledgeAssignment", _HEAD), _act("StartWork", _CLERK),
    _told(20), _told(45),
    _act("RaiseDifficulty", _CLERK, field="PROGRESS", what="Chậm số liệu đầu vào", proposal="Đề nghị phối hợp"),
    _told(70), _told(100), _SUBMITTED, _SIGNED,
)  # fmt: skip
_CORRECTED = (
    _act("AssignTask", _DIRECTOR, content=_content(2)), _act("StartWork", _CLERK), _told(30),
    _act("ReachMilestone", _CLERK, milestone="M-1"),
    _act("RequestExtension", _CLERK, due={"day": "2031-03-31", "boundary": "by_end_of"}, reason="phụ thuộc tiến độ"),
    _act("ApproveExtension", _DIRECTOR), _told(90), _SUBMITTED, _act("ReturnResult", _OFFICE, reason="thiếu phụ lục"),
    _SUBMITTED, _SIGNED,
)  # fmt: skip
_ABANDONED = (
    _act("DraftTask", _OFFICE, content={"work": "Nhiệm vụ dự thảo"}), _act("AssignTask", _DIRECTOR, content=_content()),
    _act("StartWork", _CLERK), _told(10),
    _act("ReferMatterUp", _CLERK, addressee="TP-TP-UBND", matter="Vướng mắc về quy định liên ngành"),
    _act("RecordHigherDecision", "TP-TP-UBND", decision="redirected", note="Thực hiện theo quy định"),
    _act("SuspendAssignment", _OFFICE, reason="chờ hướng dẫn"), _act("ResumeAssignment", _OFFICE, reason="đã có"),
    _act("AmendAssignment", _OFFICE, work="Phạm vi điều chỉnh", reason="thay đổi"),
    _act("CancelAssignment", _DIRECTOR, reason="không còn phù hợp"),
)  # fmt: skip


def _asked(day: str, hour: str | None = None) -> Step:
    duty = {"kind": "ad_hoc_report", "title": "Báo cáo đột xuất", "unit": _UNIT, "aggregator": "VP", "mandatory": False}
    due = {"day": day, "boundary": "before" if hour else "by_end_of"} | ({"hour": hour} if hour else {})
    return _duty("RequestAdHocReport", _OFFICE, duty=duty, due=due, reason="cần chỉ đạo")


_SENT = _duty("SubmitObligation", _CLERK, document=_document("BC"), channel="electronic")
_ACCEPTED = _duty("AcceptObligation", _OFFICE)
_REPORTED = (_asked(DUE.isoformat()), _SENT, _ACCEPTED)
_RETURNED = (
    _asked(DUE.isoformat()), _SENT, _duty("ReturnObligation", _OFFICE, reason="chưa thống nhất"), _SENT, _ACCEPTED,
    _duty("CorrectObligation", _CLERK, document=_document("BC-2"), reason="điều chỉnh"),
    _duty("ConsolidateObligation", _OFFICE, consolidated_in="C-1"),
)  # fmt: skip
_NOTHING = (_asked(DUE.isoformat()), _duty("DeclareNothingToReport", _CLERK, note="không phát sinh"), _ACCEPTED)
_LIVES = ((_REPORTED, 50), (_RETURNED, 8), (_NOTHING, 4), (_ORDERLY, 12), (_CORRECTED, 4), (_ABANDONED, 2))
_FORGOTTEN = 1
"""In a hundred lives: a report asked for within two minutes that never comes, so that limits pass and warnings are raised."""


class Mix:
    """An endless, reproducible sequence of messages; `at` is when all of it happened, before it is sent."""

    def __init__(self, at: datetime, seed: int = 1) -> None:
        self._at, self._rng = at, random.Random(seed)
        self._ids = uuid7s(int(at.timestamp() * 1000) + seed * 10**7)
        self._number, self._seed = 0, seed
        self._lives = [self._life() for _ in range(OPEN_LIVES)]
        self._sent: deque[Message] = deque(maxlen=2000)

    def take(self, count: int) -> list[Message]:
        """The next messages."""
        return [self._next() for _ in range(count)]

    def _next(self) -> Message:
        way = self._rng.random()
        if way < REPEATED and self._sent:
            return self._sent[self._rng.randrange(len(self._sent))]
        if way < REPEATED + REFUSED:
            return self._refused()
        place = self._rng.randrange(OPEN_LIVES)
        while (message := next(self._lives[place], None)) is None:
            self._lives[place] = self._life()
        self._sent.append(message)
        return message

    def _life(self) -> Iterator[Message]:
        self._number += 1
        steps: tuple[Step, ...]
        if self._rng.randrange(100) < _FORGOTTEN:
            limit = to_local(self._at + timedelta(minutes=2))
            steps = (_asked(limit.date().isoformat(), limit.strftime("%H:%M")),)
        else:
            (steps,) = self._rng.choices([life for life, _ in _LIVES], [share for _, share in _LIVES])
        code = f"X{self._seed}-{self._number:07}"
        return iter([self._message(step, code) for step in steps])

    def _refused(self) -> Message:
        self._number += 1
        code = f"X{self._seed}-{self._number:07}"
        unclear = _content() | {"authority": None, "measures": []}
        step = self._rng.choice(
            (
                _act("StartWork", _CLERK),
                _told(50),
                _act("AssignTask", _DIRECTOR, content=unclear),
                _SENT,
                _ACCEPTED,
                _SIGNED,
            )
        )
        return self._message(step, code)

    def _message(self, step: Step, code: str) -> Message:
        aggregate, type_, post, authority, data = step
        source = "SIGN-SKHCN" if authority else "RPT-SKHCN" if aggregate == "obligation" else "DMS-SKHCN"
        envelope = {
            "specversion": "1.0",
            "id": next(self._ids),
            "source": source,
            "type": f"sauro.{aggregate}.{type_}.v1",
            "subject": f"{aggregate}/{PROGRAMME}/{code}",
            "time": self._at.isoformat(),
            "datacontenttype": "application/json",
            "organisation": ORGANISATION,
            "programme": PROGRAMME,
            "actorpost": post,
            "actorunit": _UNIT_OF[post],
            **({"actorauthority": authority} if authority else {}),
            "data": data,
        }
        return source, PROGRAMME, orjson.dumps(envelope)

"""Commands that are wrong on purpose, so that every outcome of a receipt appears. Their ids end in `:wrong`."""

import datetime as dt
from dataclasses import dataclass

from contracts.assignment import (
    AssignTask,
    Due,
    RequestExtension,
    SignOffCompletion,
    StartWork,
    SubmitResult,
    TaskContent,
)
from contracts.base import Command
from contracts.envelope import Actor
from contracts.phase import ClosePhase
from domain.calendar import local_date
from services.outgoing import BESIDE, Outgoing, to_json
from services.simulation.desk import WRONG, Desk, Staff

_EVERY = 9
"""Half-days between two mistakes."""


@dataclass
class Mistakes:
    """Makes one mistake after the other, in turn."""

    desk: Desk
    programmes: tuple[str, ...]
    _number: int = 0

    def make(self) -> None:
        """One mistake, every few half-days."""
        if self.desk.slot % _EVERY != 4:
            return
        self._number += 1
        staff = Staff(self.desk.world, self.programmes[self._number % len(self.programmes)])
        kinds = (
            self._unclear,
            self._repeated,
            self._signed_by_submitter,
            self._unreadable,
            self._extension_not_later,
            self._id_used_again,
            self._by_another_unit,
            self._in_the_future,
            self._close_too_early,
        )
        kinds[(self._number - 1) % len(kinds)](staff)

    def _wrong(
        self,
        staff: Staff,
        stream: str,
        command: Command,
        actor: Actor,
        ago: dt.timedelta | None = None,
        texts: dict[str, str] | None = None,
    ) -> None:
        ago, organisation = ago or dt.timedelta(), staff.organisation
        self.desk.send("OSS", stream, command, actor, organisation=organisation, ago=ago, texts=texts, wrong=True)

    def _some(self, staff: Staff, *status: str) -> str | None:
        """A task in one of these states that nothing else touches in this half-day."""
        found = (
            stream
            for stream in self.desk.world.streams("assignment", staff.programme)
            if self.desk.world.assignment(stream).status in status and not self.desk.touched(stream)
        )
        return next(found, None)

    def _unclear(self, staff: Staff) -> None:
        """A task without authority, result, measure and check (R-017)."""
        content = TaskContent(work="Nhiệm vụ chưa rõ", due=Due(day=local_date(self.desk.now) + dt.timedelta(days=9)))
        stream = f"assignment/{staff.programme}/UNCLEAR-{self._number}"
        self._wrong(staff, stream, AssignTask(content=content), staff.director)

    def _signed_by_submitter(self, staff: Staff) -> None:
        """Who handed a result in signs it off (R-091)."""
        if (stream := self._some(staff, "under_review")) is None:
            return
        state = self.desk.world.assignment(stream)
        assert state.submission is not None
        actor = Actor(post=state.submission.post, unit=state.submission.unit, authority=state.content.authority)
        self._wrong(staff, stream, SignOffCompletion(), actor)

    def _extension_not_later(self, staff: Staff) -> None:
        """An extension to a day before the limit."""
        stream = self._some(staff, "in_progress", "acknowledged")
        state = self.desk.world.assignment(stream) if stream else None
        if stream is None or state is None or state.current is None or state.unit is None:
            return
        due = Due(day=local_date(state.current.at) - dt.timedelta(days=30))
        asked, texts = RequestExtension(due=due, reason=BESIDE), {"reason": "nhầm ngày"}
        self._wrong(staff, stream, asked, staff.clerk(state.unit), texts=texts)

    def _by_another_unit(self, staff: Staff) -> None:
        """Another unit starts the work (R-020)."""
        stream = self._some(staff, "acknowledged", "assigned")
        state = self.desk.world.assignment(stream) if stream else None
        if stream is None or state is None:
            return
        other = next(u for u in staff.executing_units(self.desk.now) if u != state.unit)
        self._wrong(staff, stream, StartWork(), staff.head(other))

    def _in_the_future(self, staff: Staff) -> None:
        """A result without evidence, dated tomorrow."""
        stream = self._some(staff, "in_progress")
        state = self.desk.world.assignment(stream) if stream else None
        if stream is not None and state is not None and state.unit is not None:
            self._wrong(staff, stream, SubmitResult(), staff.clerk(state.unit), dt.timedelta(days=-1))

    def _close_too_early(self, staff: Staff) -> None:
        """A phase is closed without a review (R-049)."""
        phases = self.desk.world.streams("phase", staff.programme)
        planned = [s for s in phases if self.desk.world.phase(s).status == "planned" and not self.desk.touched(s)]
        if planned:
            self._wrong(staff, planned[-1], ClosePhase(), staff.director)

    def _last(self) -> tuple[str, Outgoing] | None:
        good = [(source, out) for source, out in self.desk.outbox if not out.id.endswith(WRONG)]
        return good[-1] if good else None

    def _repeated(self, staff: Staff) -> None:
        """The same command twice: the second gets the first receipt again."""
        if (last := self._last()) is not None:
            self.desk.outbox.append(last)

    def _id_used_again(self, staff: Staff) -> None:
        """An id that was used for other content (R-356)."""
        if (last := self._last()) is None:
            return
        source, outgoing = last
        twisted = to_json(outgoing, source).replace(b'"specversion":"1.0",', b'"specversion":"1.0","traceparent":"00",')
        self.desk.raw.append((source, outgoing.programme, twisted))

    def _unreadable(self, staff: Staff) -> None:
        """Not JSON, an unknown type, a field that does not exist."""
        source, programme = f"OSS-{staff.organisation}", staff.programme
        stream = f"assignment/{programme}/NONE"
        odd = Outgoing(
            id=f"{source}:U{self._number}:{WRONG}",
            aggregate="assignment",
            command=StartWork(),
            subject=stream,
            programme=programme,
            organisation=staff.organisation,
            actor=staff.office,
            occurred_at=self.desk.now,
        )
        readable = to_json(odd, source)
        found = (
            b"{not json",
            readable.replace(b".StartWork.v1", b".StartWork.v9"),
            readable.replace(b'"data":{}', b'"data":{"speed":"fast"}').replace(b":U", b":V"),
        )
        self.desk.raw += [(source, programme, data) for data in found]

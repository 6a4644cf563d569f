"""From a programme's file to the commands that set it up: a pure function, the same commands at every import."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from contracts.assignment import AssignTask, DraftTask
from contracts.base import Command
from contracts.envelope import Actor
from contracts.limits import CalendarDay
from contracts.programme import EscalationPolicy
from domain.calendar import local_midnight
from services.outgoing import Outgoing, to_json
from services.programmes import definitions
from services.programmes.directory import Directory, directory
from services.programmes.model import ProgrammeFile
from services.programmes.obligations import planned_obligations
from services.programmes.roster import Roster
from services.programmes.staffing import staffing
from services.programmes.tasks import planned_tasks

__all__ = ["Outgoing", "import_commands", "to_json"]

_ID_LENGTH = 100


def import_commands(
    programme: ProgrammeFile,
    roster: Roster,
    policy: EscalationPolicy,
    calendar: tuple[CalendarDay, ...],
    at: datetime,
) -> tuple[Outgoing, ...]:
    """All commands in the order they must be accepted.

    That is organisation, programme, phases, regimes, indicators, obligations, tasks. `at` (aware) is when they happen; what
    concerns the organisation happens when its first unit begins, so that programmes of one organisation agree on it.
    The files must have passed `services.programmes.check`.
    """
    known = directory(programme, roster)
    return tuple(_Importer(programme, roster, known, at).commands(policy, calendar))


@dataclass(frozen=True)
class _Importer:
    programme: ProgrammeFile
    roster: Roster
    known: Directory
    at: datetime

    def commands(self, policy: EscalationPolicy, calendar: tuple[CalendarDay, ...]) -> Iterator[Outgoing]:
        own = self.programme
        for key, command in staffing(own, self.roster, self.known):
            yield self._about_organisation(key, command)
        registered = definitions.registration(own, self.known, policy, calendar)
        yield self._send("programme", None, registered, by=self._top)
        for phase in own.phases:
            yield self._send("phase", phase.code, definitions.plan(phase))
        for regime in own.regimes:
            command = definitions.regime(regime, own, self.roster, self.known)
            yield self._send("programme", None, command, regime.code)
        for indicator in own.indicators:
            yield self._send("programme", None, definitions.indicator(indicator), indicator.code)
        for obligation in planned_obligations(own, self.known):
            yield self._send("obligation", obligation.code, obligation.command)
        for task in planned_tasks(own, self.roster, self.known):
            content = task.content
            if task.missing:
                yield self._send("assignment", task.code, DraftTask(content=content))
            else:
                yield self._send("assignment", task.code, AssignTask(content=content), by=own.roles.director)

    @property
    def _top(self) -> tuple[str, ...]:
        """The unit above all others, whose head administers the organisation; none if the roster does not know it."""
        known = self.roster.organisation(self.programme.organisation.code)
        return () if known is None else (known.top,)

    def _about_organisation(self, key: str, command: Command) -> Outgoing:
        code = self.programme.organisation.code
        sent = self._outgoing("organisation", f"organisation/{code}", code, command, key, self._top)
        known = self.roster.organisation(code)
        return sent if known is None else sent._replace(occurred_at=local_midnight(known.valid_from))

    def _send(
        self, aggregate: str, code: str | None, command: Command, key: str = "", by: tuple[str, ...] = ()
    ) -> Outgoing:
        own = self.programme.code
        subject = f"{aggregate}/{own}/{code}" if code else f"{aggregate}/{own}"
        return self._outgoing(aggregate, subject, own, command, key, by)

    def _outgoing(
        self, aggregate: str, subject: str, programme: str, command: Command, key: str, by: tuple[str, ...] = ()
    ) -> Outgoing:
        """By the head of the coordinating office, unless others are named."""
        unit = self.known.units_of(*(by or self.programme.roles.coordinating_office))[0]
        return Outgoing(
            id=_id(subject, type(command).__name__, key),
            aggregate=aggregate,
            command=command,
            subject=subject,
            programme=programme,
            organisation=self.programme.organisation.code,
            actor=Actor(post=self.known.head(unit), unit=unit),
            occurred_at=self.at,
        )


def _id(subject: str, name: str, key: str) -> str:
    """Readable where it fits a message id, else a UUID of the same words."""
    readable = ":".join(part for part in ("import", subject, name, key) if part)
    return readable if len(readable) <= _ID_LENGTH else str(uuid.uuid5(uuid.NAMESPACE_URL, readable))

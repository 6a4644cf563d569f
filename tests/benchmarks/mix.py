"""A realistic mix of what integrating systems and Sauro's own services send: whole lives, interleaved, with mistakes and repeats.

It holds every command type. Most speak of tasks at work and reports owed, progress above all; one in eighty is
administration, one after the other. One in ten is refused by a rule, one in twenty is a repeat of a message that was sent
before. In life the timekeeper's and the warning service's commands follow from events: where they run as well, theirs come in
addition, and what comes second is accepted without effect.
"""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import orjson

from contracts.deadlines import DeadlineKey, DeadlineKind
from domain.calendar import local_date, to_local
from domain.warning_state import stream_of
from tests.benchmarks import lives
from tests.benchmarks.commands import PROGRAMME, Message, uuid7s
from tests.benchmarks.lives import ADMINISTRATION, CODE, LIVES, UNIT_OF, Life, Step, asked

REFUSED, REPEATED = 0.10, 0.05
OPEN_LIVES = 400
ADMINISTERED = 80
"""One message in so many is administration."""
WHOLE = 4_000
"""So many messages in a row hold every command type."""
_FORGOTTEN = 1
"""In a hundred lives: a report asked for within two minutes that never comes, so that limits pass and warnings are raised."""
Template = tuple[str, str, bytes, bool]
"""source, programme, bytes, and whether a warning is named in them; ids and codes left open."""


class Mix:
    """An endless, reproducible sequence of messages; `at` is when all of it happened, before it is sent."""

    def __init__(self, at: datetime, seed: int = 1) -> None:
        self._at, self._rng = at, random.Random(seed)
        self._ids = uuid7s(int(at.timestamp() * 1000) + seed * 10**7)
        self._number, self._seed, self._taken = 0, seed, 0
        today = local_date(at)
        self._days = {
            b"@YESTERDAY@": (today - timedelta(days=1)).isoformat().encode(),
            b"@LAST-MONTH@": (today - timedelta(days=30)).isoformat().encode(),
            b"@MONTH@": f"{today:%Y-%m}".encode(),
        }
        limit = to_local(at + timedelta(minutes=2))
        self._forgotten = self._templates((asked(limit.date().isoformat(), limit.strftime("%H:%M")),))
        self._kinds = [self._templates(life) for life, _ in LIVES]
        self._mistakes, self._administration = self._templates(lives.REFUSED), self._templates(ADMINISTRATION)
        self._lives = [self._life() for _ in range(OPEN_LIVES)]
        self._desk: Iterator[Message] = iter(())
        self._sent: deque[Message] = deque(maxlen=2000)

    def take(self, count: int) -> list[Message]:
        """The next messages."""
        return [self._next() for _ in range(count)]

    def _next(self) -> Message:
        self._taken += 1
        if self._taken % ADMINISTERED == 0:
            return self._administered()
        way = self._rng.random()
        if way < REPEATED and self._sent:
            return self._sent[self._rng.randrange(len(self._sent))]
        if way < REPEATED + REFUSED:
            return self._message(self._rng.choice(self._mistakes), self._code())
        place = self._rng.randrange(OPEN_LIVES)
        while (message := next(self._lives[place], None)) is None:
            self._lives[place] = self._life()
        self._sent.append(message)
        return message

    def _administered(self) -> Message:
        while (message := next(self._desk, None)) is None:
            self._desk = self._lived(self._administration)
        return message

    def _life(self) -> Iterator[Message]:
        if self._rng.randrange(100) < _FORGOTTEN:
            return self._lived(self._forgotten)
        (kind,) = self._rng.choices(self._kinds, [share for _, share in LIVES])
        return self._lived(kind)

    def _lived(self, templates: Sequence[Template]) -> Iterator[Message]:
        code = self._code()
        return iter([self._message(template, code) for template in templates])

    def _code(self) -> str:
        self._number += 1
        return f"X{self._seed}-{self._number:07}"

    def _templates(self, life: Life) -> list[Template]:
        return [self._template(step) for step in life]

    def _template(self, step: Step) -> Template:
        within = f"{step.programme}/" if step.code != step.programme else ""
        envelope = {
            "specversion": "1.0",
            "id": "@ID@",
            "source": step.source,
            "type": f"sauro.{step.aggregate}.{step.type}.v1",
            "subject": f"{step.aggregate}/{within}{step.code}",
            "time": self._at.isoformat(),
            "datacontenttype": "application/json",
            "organisation": step.organisation,
            "programme": step.programme,
            "actorpost": step.post,
            "actorunit": step.unit or UNIT_OF.get(step.post, step.post),
            **({"actorauthority": step.authority} if step.authority else {}),
            "data": step.data,
        }
        data = orjson.dumps(envelope)
        for name, day in self._days.items():
            data = data.replace(name, day)
        return step.source, step.programme, data, b"@OF-" in data

    def _message(self, template: Template, code: str) -> Message:
        source, programme, data, warns = template
        if warns:
            for about in ("assignment", "obligation"):
                data = data.replace(b"@OF-%b@" % about.encode(), _warning(about, code).encode())
        data = data.replace(b"@ID@", next(self._ids).encode()).replace(CODE.encode(), code.encode())
        return source, programme.replace(CODE, code), data


def types_of(messages: Sequence[Message]) -> set[str]:
    """The command types that messages hold."""
    return {orjson.loads(data)["type"] for _, _, data in messages}


def _warning(about: str, code: str) -> str:
    """The code of the warning that the passing of a life's own limit raises."""
    kind: DeadlineKind = "assignment_due" if about == "assignment" else "obligation_due"
    key = DeadlineKey(kind=kind, occurrence="1", due_version=1)
    return stream_of(PROGRAMME, f"{about}/{PROGRAMME}/{code}", key, early=False).rsplit("/", 1)[-1]

"""The departments' shared desk: who acts, what goes out in this half-day, and what is put off until later."""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from contracts.base import Command
from contracts.envelope import Actor
from services.outgoing import Outgoing
from services.simulation.characters import AVERAGE, Character, draw
from services.simulation.slots import Slots
from services.simulation.world import World

WRONG = "wrong"
"""Ends the id of a command that is wrong on purpose: its refusal is part of the play."""

Act = Callable[..., None]


@dataclass
class Desk:
    """One batch of commands a half-day, and an agenda. One act on a stream in a half-day: what comes second waits."""

    world: World
    rng: Random
    slots: Slots
    slot: int = 0
    now: datetime = field(init=False)
    outbox: list[tuple[str, Outgoing]] = field(default_factory=list)
    raw: list[tuple[str, str, bytes]] = field(default_factory=list)
    sent: list[tuple[str, str]] = field(default_factory=list)
    characters: dict[tuple[str, str], Character] = field(default_factory=dict)
    _agenda: list[tuple[int, int, str, Act, tuple[Any, ...]]] = field(default_factory=list)
    _count: int = 0
    _ids: dict[str, int] = field(default_factory=dict)
    _touched: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.now = self.slots.at[0]

    def put_off(self, half_days: float, stream: str, act: Act, *args: Any) -> None:
        """Do something about a stream so many half-days from now, at least one."""
        self.put_at(self.slot + max(1, round(half_days)), stream, act, *args)

    def put_at(self, slot: int, stream: str, act: Act, *args: Any) -> None:
        """Do something about a stream in a half-day to come."""
        self._count += 1
        heapq.heappush(self._agenda, (max(slot, self.slot), self._count, stream, act, args))

    def turn_to(self, slot: int) -> None:
        """Begin a half-day with nothing to send."""
        self.slot, self.now = slot, self.slots.at[slot]
        self.outbox, self.raw = [], []
        self._touched.clear()

    def work(self) -> None:
        """Everything due in this half-day, in the order it was put on the agenda."""
        slot = self.slot
        while self._agenda and self._agenda[0][0] <= slot:
            _, number, stream, act, args = heapq.heappop(self._agenda)
            if stream in self._touched:
                heapq.heappush(self._agenda, (slot + 1, number, stream, act, args))
            else:
                act(stream, *args)

    def send(
        self,
        system: str,
        stream: str,
        command: Command,
        actor: Actor,
        *,
        organisation: str,
        ago: timedelta = timedelta(),
        texts: Mapping[str, str] | None = None,
        wrong: bool = False,
    ) -> Outgoing:
        """A command of a department's system (`DMS`, `OSS`, `SIGN`, `RPT`), about something that happened `ago`."""
        source = f"{system}-{organisation}"
        number = self._ids[source] = self._ids.get(source, 0) + 1
        outgoing = Outgoing(
            id=f"{source}:{number}{f':{WRONG}' if wrong else ''}",
            aggregate=stream.split("/", 1)[0],
            command=command,
            subject=stream,
            programme=stream.split("/")[1],
            organisation=organisation,
            actor=actor,
            occurred_at=self.now - ago,
            texts=texts or {},
        )
        self._touched.add(stream)
        self.outbox.append((source, outgoing))
        self.sent.append((source, outgoing.id))
        return outgoing

    def touched(self, stream: str) -> bool:
        """Whether something was sent about a stream in this half-day."""
        return stream in self._touched

    def chance(self, probability: float) -> bool:
        """Whether something with this probability happens."""
        return self.rng.random() < probability

    def character(self, organisation: str, unit: str | None) -> Character:
        """A unit's character, drawn when it is first needed."""
        if unit is None:
            return AVERAGE
        key = (organisation, unit)
        if key not in self.characters:
            self.characters[key] = draw(self.rng)
        return self.characters[key]


@dataclass(frozen=True)
class Staff:
    """Who acts in a programme, read from the record: heads, deputies, roles, holders of an authority."""

    world: World
    programme: str

    @property
    def organisation(self) -> str:
        """The organisation's code."""
        return self.world.programme(self.programme).organisation

    def actor(self, post: str, authority: str | None = None) -> Actor:
        """A post in its unit."""
        unit = self.world.organisation(self.organisation).posts[post].unit
        return Actor(post=post, unit=unit, authority=authority)

    def head(self, unit: str) -> Actor:
        """The head of a unit."""
        post = self.world.organisation(self.organisation).head_of(unit)
        assert post is not None  # every imported unit has one
        return Actor(post=post, unit=unit)

    def clerk(self, unit: str) -> Actor:
        """Who hands things in for a unit: its deputy, or its head where there is none."""
        posts = self.world.organisation(self.organisation).posts.values()
        deputy = next((p.code for p in posts if p.unit == unit and not p.head and not p.abolished_at), None)
        return Actor(post=deputy, unit=unit) if deputy else self.head(unit)

    def role(self, name: str) -> Actor | None:
        """The first post that plays a role; None when nobody does."""
        posts = self.world.programme(self.programme).roles.get(name, ())
        return self.actor(posts[0]) if posts else None

    @property
    def office(self) -> Actor:
        """The coordinating office's head."""
        found = self.role("coordinating_office")
        assert found is not None  # every programme names one
        return found

    @property
    def director(self) -> Actor:
        """The director."""
        found = self.role("director")
        assert found is not None  # every programme names one
        return found

    def holder(self, authority: str, at: datetime, other_than: str, not_in: tuple[str, ...] = ()) -> Actor | None:
        """A post that holds an authority now, is not the given one and sits in none of the units."""
        organisation = self.world.organisation(self.organisation)
        for grant in organisation.grants.values():
            if grant.authority != authority or grant.programme not in (None, self.programme) or not grant.in_force(at):
                continue
            unit = organisation.posts[grant.post].unit
            if grant.post != other_than and unit not in not_in:
                return Actor(post=grant.post, unit=unit, authority=authority)
        return None

    def executing_units(self, at: datetime) -> list[str]:
        """The units that execute the programme and exist on the day."""
        units = self.world.organisation(self.organisation).units
        day = at.date()
        parts = self.world.programme(self.programme).participants
        return [unit for unit, executes in parts.items() if executes and units[unit].valid_on(day)]

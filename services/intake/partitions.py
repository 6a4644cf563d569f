"""Where an intake instance begins in COMMANDS, whatever the division into instances was before.

Every instance has a durable consumer over the subjects of its slots, and acknowledges only what PostgreSQL has committed. So
of each slot everything is done up to the highest acknowledgement floor among the consumers that cover it: whoever acknowledged
that far had been given every earlier command of the slot, or had begun where another ended. An instance begins after the lowest
of these over its slots: nothing is skipped, and what other slots have behind it is met again and answered as a duplicate,
since commands are known by (source, id) for ever. Consumers that no slot needs any more are deleted when there is time.

Two instances never work on one slot: each holds the leases of all its slots (`services.hosting.Lease`), and it reads and deletes
consumers only once it does.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import NotFoundError

from services.bus import Bus, Names, floor_of
from services.partition import SLOTS, Partition
from services.puller import Puller
from services.together import events_in

PAGE = 256


@dataclass(frozen=True, slots=True)
class Covering:
    """A consumer of COMMANDS: the slots it covers, the stream sequence up to which it has done them, and whether more wait."""

    name: str
    slots: frozenset[int]
    floor: int
    waits: bool = False


def seat(partition: Partition) -> tuple[str, tuple[str, ...]]:
    """An instance's name in heartbeats and logs, and the leases it holds: one a slot, so that any two divisions exclude."""
    name = "intake" if partition.whole else f"intake {partition}"
    return name, tuple(f"intake/{slot}" for slot in partition.slots)


def durable(names: Names, partition: Partition) -> str:
    """The name of an instance's consumer."""
    return names.stream("intake" if partition.whole else f"intake-{partition.number}-{partition.of}")


def filters(names: Names, partition: Partition) -> tuple[str, ...]:
    """The subjects of an instance; none stands for all.

    What was stored before COMMANDS had slots goes with slot 0.
    """
    if partition.whole:
        return ()
    unslotted = (names.command("*", "*"),) if 0 in partition.slots else ()
    return (*(names.slot(slot) for slot in partition.slots), *unslotted)


async def puller_for(bus: Bus, partition: Partition) -> Puller:
    """The instance's puller, started where its slots have been done to. The leases of its slots must be held."""
    stream, own = bus.names.stream("COMMANDS"), durable(bus.names, partition)
    known = await _consumers(bus)
    floor = done_to(known, partition.slots)
    if floor > max((found.floor for found in known if found.name == own), default=-1):
        await _delete(bus, own)  # others have come further, so its floor is not needed
        await bus.js.add_consumer(
            stream,
            ConsumerConfig(
                durable_name=own,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=floor + 1,
                ack_policy=AckPolicy.ALL,
                filter_subjects=list(filters(bus.names, partition)) or None,
            ),
        )
    puller = Puller(bus, stream, own, filters(bus.names, partition), cut=events_in)
    await puller.start()
    return puller


async def look_after(bus: Bus, partition: Partition, puller: Puller) -> None:
    """Delete superseded consumers, and begin anew when the instance's own is gone: a deleted one stalls a puller silently."""
    known, own = await _consumers(bus), durable(bus.names, partition)
    for name in superseded(known, own, partition.slots):
        await _delete(bus, name)
    if all(found.name != own for found in known):
        await puller.start()


def done_to(known: Iterable[Covering], slots: Iterable[int]) -> int:
    """The stream sequence up to which all of these slots are done; 0 when one was never begun."""
    found = tuple(known)
    return min(max((c.floor for c in found if slot in c.slots), default=0) for slot in slots)


async def first_unanswered(bus: Bus) -> int | None:
    """Before this sequence of COMMANDS every instance has answered all of its own; None when nothing waits.

    Consumers of an earlier division, which no slot needs any more, do not count.
    """
    known = await _consumers(bus)
    furthest = {slot: max(c.floor for c in known if slot in c.slots) for c in known for slot in c.slots}
    waiting = [c.floor for c in known if c.waits and any(c.floor == furthest[slot] for slot in c.slots)]
    return min(waiting) + 1 if waiting else None


def superseded(known: Iterable[Covering], own: str, slots: Iterable[int]) -> list[str]:
    """The consumers no slot needs: in each of theirs another one is at least as far.

    Only those that share a slot with this instance, whose lease it holds: others may be at work.
    """
    kept, found = list(known), []
    for candidate in kept.copy():
        as_far = [c for c in kept if c is not candidate and c.floor >= candidate.floor]
        covered = frozenset[int]().union(*(c.slots for c in as_far))
        if candidate.name != own and not candidate.slots.isdisjoint(slots) and candidate.slots <= covered:
            kept.remove(candidate)
            found.append(candidate.name)
    return found


async def _consumers(bus: Bus) -> list[Covering]:
    infos: list[ConsumerInfo] = []
    while len(infos) % PAGE == 0:
        page = await bus.js.consumers_info(bus.names.stream("COMMANDS"), offset=len(infos))
        if not page:
            break
        infos += page
    ours = re.compile(re.escape(bus.names.stream("intake")) + r"(-\d+-\d+)?(-floor)?")
    return [_covering(bus.names, info) for info in infos if ours.fullmatch(info.name)]


def _covering(names: Names, info: ConsumerInfo) -> Covering:
    subjects: Sequence[str] = info.config.filter_subjects or [s for s in (info.config.filter_subject,) if s]
    slots = frozenset(slot for slot in range(SLOTS) if not subjects or names.slot(slot) in subjects)
    return Covering(info.name, slots, floor_of(info), bool(info.num_pending or info.num_ack_pending))


async def _delete(bus: Bus, consumer: str) -> None:
    with suppress(NotFoundError):
        await bus.js.delete_consumer(bus.names.stream("COMMANDS"), consumer)

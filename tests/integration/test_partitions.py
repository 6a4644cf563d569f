"""Intake in partitions: programmes keep their order, whoever works on them, and a change of the division loses nothing."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from contracts.assignment import AcknowledgeAssignment, AssignTask, ReportProgress, StartWork
from contracts.base import Command
from services.bus import STREAMS, Bus, stream_config
from services.clock import SimulatedClock
from services.intake.partitions import Covering, done_to, superseded
from services.partition import SLOTS, Partition
from services.store import Store
from tests.integration.processes import Installation
from tests.integration.support import Desk, Sender, events, founding, receipts, rows, task

PROGRAMMES = tuple(f"PLAN-{letter}" for letter in "ABCDEFGH")
SENDERS = ("DMS-1", "DMS-2", "DMS-3")
TASKS, REPORTS, PATIENCE = 6, 9, 60.0
Message = tuple[str, bytes, dict[str, str] | None]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small transactions, so that a kill falls amid the work."""
    monkeypatch.setitem(os.environ, "SAURO_BATCH", "16")


def work(store: Store) -> list[list[dict[str, Any]]]:
    """Eight programmes are there; a list of commands for each of their tasks, to be sent in order, by several senders."""
    clock = SimulatedClock(datetime.now(UTC))
    desk = Desk.open(store, clock)
    *organisation, programme = founding(desk.sender)
    desk.accept(*organisation)
    for code in PROGRAMMES:
        desk.accept({**programme, "id": code, "subject": f"programme/{code}", "programme": code})
    steps: list[tuple[Command, str]] = [
        (AssignTask(content=task(due=(clock.now() + timedelta(days=60)).date())), "GD"),
        (AcknowledgeAssignment(), "PBCXB-TP"),
        (StartWork(), "PBCXB-TP"),
        *((ReportProgress(percent=percent), "PBCXB-TP") for percent in range(1, REPORTS + 1)),
    ]
    found = []
    for number, code in enumerate(code for code in PROGRAMMES for _ in range(TASKS)):
        sender = Sender(clock, SENDERS[number % len(SENDERS)])
        subject = f"assignment/{code}/T-{number:02}"
        found.append(
            [
                sender.document(command, subject, actor, id_=f"{code}-{number:02}-{step:02}")
                for step, (command, actor) in enumerate(steps)
            ]
        )
    return found


def messages(bus: Bus, documents: list[dict[str, Any]]) -> list[Message]:
    return [(bus.names.command(d["source"], d["programme"]), orjson.dumps(d), None) for d in documents]


def pieces(tasks: list[list[dict[str, Any]]], number: int) -> list[list[dict[str, Any]]]:
    """All tasks' commands, step by step, in so many pieces."""
    mixed = [task[step] for step in range(REPORTS + 3) for task in tasks]
    size = -(-len(mixed) // number)
    return [mixed[start : start + size] for start in range(0, len(mixed), size)]


async def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition; each look is work in itself, not a guess at how long things take."""
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(holds):
            pass


def answered(store: Store, sources: tuple[str, ...] = SENDERS) -> int:
    query = "SELECT count(*) AS n FROM log.receipts, pg_sleep(0.02) WHERE source = ANY(%s)"
    return int(rows(store, query, list(sources))[0]["n"])


async def test_partitions_keep_order_and_lose_nothing(
    small_batches: None, processes: Installation, store: Store, bus: Bus
) -> None:
    """Two partitions, one of them killed amid its work; then three; then one for all."""
    tasks = work(store)
    first, second, third, fourth = pieces(tasks, 4)
    processes.start("intake", "--partition", "1/2", name="1/2")
    processes.start("intake", "--partition", "2/2", name="2/2")
    await bus.publish_all(messages(bus, first))
    await until(lambda: answered(store) > 32)
    await bus.publish_all(messages(bus, second))
    processes.kill("1/2")
    processes.start("intake", "--partition", "1/2", name="1/2")
    await until(lambda: answered(store) > len(first))
    assert {"intake 1/2", "intake 2/2"} >= {row["name"] for row in rows(store, "SELECT name FROM read.followers")}

    processes.signal("2/2", signal.SIGSTOP)  # so that commands wait when the change comes
    await bus.publish_all(messages(bus, third))
    processes.end("1/2")
    processes.kill("2/2")
    assert answered(store) < len(first + second + third)
    for share in ("1/3", "2/3", "3/3"):
        processes.start("intake", "--partition", share, name=share)
    await until(lambda: answered(store) > len(first + second + third) - 50)

    await bus.publish_all(messages(bus, fourth))
    for share in ("1/3", "2/3", "3/3"):
        processes.kill(share)
    processes.start("intake")
    total = sum(map(len, tasks))
    await until(lambda: answered(store) >= total)
    await only_consumer(bus, "intake")

    _check_log(store, tasks)
    told: dict[str, list[dict[str, Any]]] = {}
    for _, batch in await receipts(bus):
        for receipt in batch:
            told.setdefault(receipt["id"], []).append(receipt)
    assert told.keys() == {document["id"] for task in tasks for document in task}
    assert all(len({r["receipt"] for r in found}) == 1 for found in told.values()), "one receipt a command"
    assert all(sum(not r.get("duplicate") for r in found) <= 1 for found in told.values()), "one first receipt"


def _check_log(store: Store, tasks: list[list[dict[str, Any]]]) -> None:
    """Each command has one accepted receipt, receipts, positions and versions are gapless, streams in the order sent."""
    kept = rows(store, "SELECT receipt, source, command_id, refusal FROM log.receipts ORDER BY receipt")
    assert [row["receipt"] for row in kept] == list(range(1, len(kept) + 1))
    sent = Counter((document["source"], document["id"]) for task in tasks for document in task)
    assert Counter((r["source"], r["command_id"]) for r in kept if r["source"] in SENDERS) == sent
    assert [row["refusal"] for row in kept if row["refusal"]] == []
    log = events(store)
    assert [event.position for event in log] == list(range(1, len(log) + 1))
    for commands in tasks:
        stream = [event for event in log if event.stream == commands[0]["subject"]]
        assert [event.version for event in stream] == list(range(1, len(stream) + 1))
        assert [e.data.percent for e in stream if type(e.data).__name__ == "ProgressReported"] == [
            *range(1, REPORTS + 1)
        ]


async def only_consumer(bus: Bus, name: str) -> None:
    """Until no superseded consumer is left."""
    async with asyncio.timeout(PATIENCE):
        while (found := {c.name for c in await bus.js.consumers_info(bus.names.stream("COMMANDS"))}) != {
            bus.names.stream(name)
        }:
            assert bus.names.stream(name) in found


async def test_any_two_divisions_exclude_each_other(processes: Installation, store: Store, bus: Bus) -> None:
    """1/2, 2/2 and one for all: the last stands by until both are gone, and then goes on where they ended."""
    tasks = work(store)
    processes.start("intake", "--partition", "1/2", name="1/2")
    processes.start("intake", "--partition", "2/2", name="2/2")
    await until(lambda: bool(processes.said("1/2", "working") and processes.said("2/2", "working")))
    processes.start("intake", name="all")
    await until(lambda: bool(processes.said("all", "standing by")))
    first, second = pieces(tasks, 2)
    await bus.publish_all(messages(bus, first))
    await until(lambda: answered(store) == len(first))
    assert not processes.said("all", "working")
    processes.kill("1/2")
    await bus.publish_all(messages(bus, second))
    await until(lambda: answered(store) > len(first))
    assert not processes.said("all", "working"), "half of its share is not enough"
    processes.kill("2/2")
    await until(lambda: answered(store) == sum(map(len, tasks)))
    assert processes.said("all", "working")
    _check_log(store, tasks)


async def test_commands_stored_before_there_were_slots_are_taken(
    processes: Installation, store: Store, bus: Bus
) -> None:
    """The stream of an older installation gets its mapping in place."""
    old = stream_config(bus.names, STREAMS[0], 1)
    old.subject_transform = None
    await bus.js.update_stream(old)
    tasks = work(store)
    first, second = pieces(tasks, 2)
    await bus.publish_all(messages(bus, first))
    await bus.ensure_streams()
    processes.start("intake", "--partition", "1/2", name="1/2")
    await until(lambda: answered(store) == len(first))
    await bus.publish_all(messages(bus, second))
    processes.start("intake", "--partition", "2/2", name="2/2")
    await until(lambda: answered(store) == sum(map(len, tasks)))
    _check_log(store, tasks)


async def test_senders_see_nothing_of_slots(bus: Bus) -> None:
    """Subjects, acknowledgements and message ids stay as they are; a programme has one slot whoever sends."""
    sent = [(bus.names.command(source, code), b"{}", None) for source in SENDERS for code in PROGRAMMES]
    assert await bus.publish_all(sent) == list(range(1, len(sent) + 1))
    again = {"Nats-Msg-Id": "once"}
    first, second = [await bus.js.publish(bus.names.command("DMS-1", "PLAN-A"), b"", headers=again) for _ in range(2)]
    assert (first.seq, second.duplicate) == (second.seq, True)
    info = await bus.js.stream_info(bus.names.stream("COMMANDS"), subjects_filter=">")
    slots: dict[str, set[int]] = {}
    for subject in info.state.subjects or ():
        *_, slot, source, programme = subject.split(".")
        assert source in SENDERS
        slots.setdefault(programme, set()).add(int(slot))
    assert all(len(found) == 1 for found in slots.values())
    assert {slot % 2 for found in slots.values() for slot in found} == {0, 1}, (
        "the programmes of these tests go to both"
    )


@pytest.mark.parametrize("of", range(1, SLOTS + 1))
def test_every_slot_has_one_partition(of: int) -> None:
    shares = [Partition(number, of).slots for number in range(1, of + 1)]
    assert sorted(slot for share in shares for slot in share) == list(range(SLOTS))
    assert all(shares)


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/13", "-1/2", "a/b", "1/2/3"])
def test_what_is_no_partition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no partition"):
        Partition.parse(text)


def covering(name: str, text: str, floor: int) -> Covering:
    return Covering(name, frozenset(Partition.parse(text).slots), floor)


def test_where_an_instance_begins() -> None:
    """After the lowest, over its slots, of the highest floor among the consumers that cover a slot."""
    known = [covering("all", "1/1", 100), covering("odd", "1/2", 300), covering("even", "2/2", 200)]
    assert done_to(known, Partition(1, 1).slots) == 200
    assert done_to(known, Partition(1, 2).slots) == 300
    assert done_to(known, Partition(2, 4).slots) == 200
    assert done_to(known[:1], Partition(2, 3).slots) == 100
    assert done_to(known[1:2], Partition(1, 3).slots) == 0, "slot 3 was never begun"


def test_which_consumers_are_superseded() -> None:
    old, odd, even = covering("all", "1/1", 100), covering("odd", "1/2", 100), covering("even", "2/2", 90)
    assert superseded([old, odd, even], "even", even.slots) == [], "it alone has done the even slots to 100"
    later = covering("even", "2/2", 100)
    assert superseded([old, odd, later], "even", later.slots) == ["all"]
    assert superseded([odd, later], "even", later.slots) == []
    assert superseded([old, covering("all-floor", "1/1", 100)], "all", old.slots) == ["all-floor"]

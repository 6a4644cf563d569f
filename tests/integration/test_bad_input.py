"""Every bad form of every command through intake on the real engines: answered or dead-lettered, the log unchanged.

Issue 2, section 8. What each refusal must name is tested in tests/contract; here stands what becomes of the messages.
"""

import json
from collections import Counter
from datetime import UTC, datetime

import pytest

from services.bus import Bus
from services.clock import SimulatedClock
from services.intake.reading import Incoming
from services.intake.service import IntakeService
from services.registry import REGISTRY
from services.spine import command_puller, intake_for
from services.store import Store
from tests.contract.mutations import CLASSES, mutations
from tests.contract.samples import command
from tests.contract.test_commands import NOT_JSON

NOW = datetime(2026, 6, 1, 1, tzinfo=UTC)
COMMANDS = tuple(REGISTRY.contracts.commands.values())


def _named(payload: bytes, number: int, valid: dict[str, object]) -> bytes:
    """The payload under an id of its own."""
    return payload.replace(json.dumps(valid["id"]).encode(), json.dumps(f"bad-{number}").encode(), 1)


def test_every_bad_form_is_answered_and_nothing_is_stored(store: Store) -> None:
    intake = intake_for(store, SimulatedClock(NOW))
    sent: Counter[str] = Counter()
    answered = dead = number = 0
    for known in COMMANDS:
        valid = command(known)
        batch = []
        for mutation in mutations(known):
            number += 1
            sent[mutation.kind] += 1
            payload = _named(mutation.payload, number, valid)
            batch.append(Incoming(str(valid["source"]), str(valid["programme"]), payload, number))
        for start in range(0, len(batch), 500):
            result = intake.process(batch[start : start + 500])
            answered += len(result.receipts)
            dead += len(result.dead_letters)
            assert all(receipt.refusal and receipt.outcome == "unreadable" for receipt in result.receipts)
            assert all(letter.refusal.rule and letter.refusal.field for letter in result.dead_letters)
    assert set(sent) == set(CLASSES)
    assert dead == sum(sent.values())
    assert answered >= sum(sent.values()) - sent["duplicate key"]  # a key sent twice may be the id itself
    head = store.recorder.head()
    assert head.position == 0
    assert head.receipt == answered


@pytest.mark.parametrize("name", sorted(NOT_JSON))
async def test_no_message_stops_the_service(name: str, store: Store, bus: Bus) -> None:
    puller = command_puller(bus)
    await puller.start()
    service = IntakeService(intake_for(store, SimulatedClock(NOW)), bus, puller)
    good = COMMANDS[0]
    valid = command(good)
    subject = bus.names.command(str(valid["source"]), str(valid["programme"]))
    sequences = await bus.publish_all([(subject, NOT_JSON[name], None), (subject, json.dumps(valid).encode(), None)])
    while service.sequence < sequences[-1]:
        assert await service.step(10)
    letters = await bus.js.stream_info(bus.names.stream("DEADLETTERS"))
    assert letters.state.messages == 1
    kept = await bus.js.get_msg(bus.names.stream("DEADLETTERS"), seq=1)
    assert kept.data == (NOT_JSON[name] or None) or kept.data == NOT_JSON[name]
    assert kept.headers is not None
    assert kept.headers["Sauro-Rule"]
    assert sum(service.outcomes.values()) >= 1
    await puller.stop()

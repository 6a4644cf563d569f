"""Every bad form of every command through intake on the real engines: answered or dead-lettered, the log unchanged.

Issue 2, section 8. What each refusal must name is tested in tests/contract; here stands what becomes of the messages.
"""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from services.bus import Bus
from services.clock import SimulatedClock
from services.intake.reading import MAX_COMMAND_BYTES, Incoming
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


BAD_ENVELOPES = {"malformed": 7, "oversized": 2, "misaddressed": 2, "contradictory": 3}
"""Forms of a bad envelope a command, by class."""


def _bad_envelopes(valid: dict[str, Any], aggregate: str) -> Iterator[tuple[str, Incoming]]:
    """A command whose envelope is bad as a whole, in every form, with its class; `data` is as it should be."""
    source, programme, payload = valid["source"], valid["programme"], json.dumps(valid).encode()
    malformed = (b"", payload[:-1], payload + b"}", b"[" + payload + b"]", b"\xef\xbb\xbf" + payload, b"\xff" + payload)
    for form in (*malformed, payload[:-1] + b', "expectedversion": NaN}'):
        yield "malformed", Incoming(source, programme, form, 0)
    for form in (payload.ljust(MAX_COMMAND_BYTES + 100), _changed(valid, traceparent="x" * MAX_COMMAND_BYTES)):
        yield "oversized", Incoming(source, programme, form, 0)
    yield "misaddressed", Incoming("OTHER", programme, payload, 0)
    yield "misaddressed", Incoming(source, "OTHER", payload, 0)
    whose, *code = valid["subject"].split("/")[1:]
    other = next(name for name in REGISTRY.contracts.contracts if name != aggregate)
    longer_or_shorter = [aggregate, whose] if code else [aggregate, whose, "X"]
    for parts in ([aggregate, "OTHER", *code], [other, whose, *code], longer_or_shorter):
        yield "contradictory", Incoming(source, programme, _changed(valid, subject="/".join(parts)), 0)


def _changed(valid: dict[str, Any], **changes: str) -> bytes:
    return json.dumps(valid | changes).encode()


def test_every_bad_envelope_is_answered_or_dead_lettered_and_nothing_is_stored(store: Store) -> None:
    """Answered is whoever is surely known: the sender of the subject, under a message id that could be read."""
    intake = intake_for(store, SimulatedClock(NOW))
    sent: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    rules: dict[str, Counter[str]] = {kind: Counter() for kind in BAD_ENVELOPES}
    batches: dict[str, list[Incoming]] = {kind: [] for kind in BAD_ENVELOPES}
    for known in COMMANDS:
        valid = command(known)
        for kind, bad in _bad_envelopes(valid, known.aggregate):
            sent[kind] += 1
            number = sent.total()
            batches[kind].append(bad._replace(payload=_named(bad.payload, number, valid), sequence=number))
    for kind, batch in batches.items():
        for start in range(0, len(batch), 500):
            result = intake.process(batch[start : start + 500])
            answered[kind] += len(result.receipts)
            assert {receipt.outcome for receipt in result.receipts} <= {"unreadable"}
            rules[kind].update(letter.refusal.rule for letter in result.dead_letters)
    each = len(COMMANDS)
    assert sent == {kind: forms * each for kind, forms in BAD_ENVELOPES.items()}
    assert rules == {
        "malformed": {"not_json": 5 * each, "not_an_envelope": each, "not_utf8": each},
        "oversized": {"too_large": 2 * each},
        "misaddressed": {"source_mismatch": each, "programme_mismatch": each},
        "contradictory": {"subject_mismatch": 3 * each},
    }
    assert answered == {"malformed": 0, "oversized": 0, "misaddressed": each, "contradictory": 3 * each}
    head = store.recorder.head()
    assert (head.position, head.receipt) == (0, answered.total())


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

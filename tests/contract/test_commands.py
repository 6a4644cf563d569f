"""Bad input: every command × every field × every class, and envelopes that are wrong as a whole (R-355, R-356)."""

import json
import sys
from collections import Counter
from typing import Any

import orjson
import pytest

from contracts.registry import MessageType
from contracts.types import _CONTROL
from services.intake.reading import MAX_COMMAND_BYTES, CommandReader, Incoming, Readable, Unreadable
from services.registry import REGISTRY
from tests.contract.mutations import CLASSES, Mutation, day_fields, mutations, optional_left_out, with_value
from tests.contract.samples import PROGRAMME, SOURCE, command

COMMANDS = list(REGISTRY.contracts.commands.values())
READER = CommandReader(REGISTRY.contracts)
VALID = command(REGISTRY.contracts.commands["sauro.assignment.RaiseDifficulty.v1"])


def read(payload: bytes, programme: str = PROGRAMME, source: str = SOURCE) -> Readable | Unreadable:
    return READER.read(Incoming(source, programme, payload, 1))


def refused(payload: bytes, **sent_on: str) -> Unreadable:
    """The reading of a bad message, fit to be stored and published."""
    found = read(payload, **sent_on)
    assert isinstance(found, Unreadable), f"accepted: {payload[:300]!r}"
    refusal = found.refusal
    assert refusal.rule
    assert refusal.field
    assert refusal.message
    orjson.dumps(refusal.model_dump())  # a lone surrogate would raise
    assert "\x00" not in refusal.field + refusal.message  # PostgreSQL stores no NUL
    return found


def wire(**changes: Any) -> bytes:
    """The valid envelope with other attributes; None leaves one out."""
    document = {name: value for name, value in (VALID | changes).items() if value is not None}
    return json.dumps(document).encode()


def named(found: Unreadable, mutation: Mutation) -> bool:
    """The refusal names the field by its path, or its object's path and the field in the message."""
    leaf, path = str(mutation.where[-1]), ".".join(map(str, mutation.where))
    field, message = found.refusal.field, found.refusal.message
    if mutation.kind == "duplicate key":
        return field == leaf
    return field == path or field.startswith(f"{path}.") or (path.startswith(field) and f"'{leaf}'" in message)


@pytest.mark.parametrize("known", COMMANDS, ids=lambda known: known.type)
def test_a_valid_sample_is_readable(known: MessageType[Any]) -> None:
    programme = command(known)["programme"]
    for payload in (json.dumps(command(known)).encode(), optional_left_out(known)):
        found = read(payload, programme)
        assert isinstance(found, Readable), found.refusal
        assert type(found.request.data) is known.model


@pytest.mark.parametrize("known", COMMANDS, ids=lambda known: known.type)
def test_every_field_in_every_bad_form_is_refused_by_name(known: MessageType[Any]) -> None:
    programme = command(known)["programme"]
    for mutation in mutations(known):
        found = refused(mutation.payload, programme=programme)
        assert named(found, mutation), f"{mutation}: {found.refusal}"
        assert (found.source is None) == (mutation.kind == "duplicate key"), str(mutation)


@pytest.mark.parametrize("known", COMMANDS, ids=lambda known: known.type)
def test_an_unknown_field_is_refused_by_name(known: MessageType[Any]) -> None:
    valid = command(known)
    for document, field in (
        (valid | {"data": valid["data"] | {"surplus": 1}}, "data.surplus"),
        (valid | {"surplus": 1}, "surplus"),
    ):
        found = refused(json.dumps(document).encode(), programme=valid["programme"])
        assert (found.refusal.rule, found.refusal.field) == ("extra_forbidden", field)


def test_a_part_of_a_message_is_refused_as_the_message_is() -> None:
    """Parts are dataclasses, messages are models; a sender sees one name for one rule."""
    known = next(known for known in COMMANDS if known.type == "sauro.assignment.AssignTask.v1")
    valid = command(known)
    content = valid["data"]["content"]
    for part, field, rule in (
        (content | {"surplus": 1}, "data.content.surplus", "extra_forbidden"),
        (content | {"due": content["due"] | {"surplus": 1}}, "data.content.due.surplus", "extra_forbidden"),
        (content | {"due": 5}, "data.content.due", "model_type"),
        (5, "data.content", "model_type"),
    ):
        document = valid | {"data": valid["data"] | {"content": part}}
        found = refused(json.dumps(document).encode(), programme=valid["programme"])
        assert (found.refusal.rule, found.refusal.field) == (rule, field)


def test_every_class_of_bad_input_occurs() -> None:
    counted = Counter(mutation.kind for known in COMMANDS for mutation in mutations(known))
    assert set(counted) == set(CLASSES)
    assert all(counted[kind] > 50 for kind in CLASSES), counted


def test_days_outside_our_time_are_refused() -> None:
    for known in COMMANDS:
        for path, valid in day_fields(known):
            for day in ("9999-12-31", "0001-01-01", "1780012800"):
                refused(with_value(valid, path, day), programme=valid["programme"])


def test_a_local_hour_with_an_offset_is_refused() -> None:
    known = REGISTRY.contracts.commands["sauro.assignment.RequestExtension.v1"]
    refused(with_value(command(known), ("data", "due", "hour"), "15:00:00+00:00"))


NOT_JSON = {
    "empty": b"",
    "no JSON": b"{",
    "NaN": wire(expectedversion=1).replace(b": 1,", b": NaN,"),
    "Infinity": wire(expectedversion=1).replace(b": 1,", b": -Infinity,"),
    "trailing text": wire() + b"}",
    "byte order mark": b"\xef\xbb\xbf" + wire(),
    "raw control character": wire(dataschema="MARK").replace(b"MARK", b"a\tb"),
    "integer of 5000 digits": wire(expectedversion=1).replace(b": 1,", b": " + b"9" * 5000 + b","),
}


@pytest.mark.parametrize("payload", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_unreadable(payload: bytes) -> None:
    found = refused(payload)
    assert (found.refusal.rule, found.source, found.id) == ("not_json", None, None)


@pytest.mark.parametrize("payload", [b"[]", b"null", b'"text"', b"5", b"[" + wire() + b"]"])
def test_what_is_no_object_is_no_envelope(payload: bytes) -> None:
    assert refused(payload).refusal.rule == "not_an_envelope"


@pytest.mark.parametrize("payload", [b"\xff\xfe", wire(dataschema="MARK").replace(b"MARK", b"\xc3\x28")])
def test_invalid_utf_8_is_unreadable(payload: bytes) -> None:
    assert refused(payload).refusal.rule == "not_utf8"


def test_an_oversized_message_is_unreadable_and_the_largest_is_read() -> None:
    assert refused(wire().ljust(MAX_COMMAND_BYTES + 1)).refusal.rule == "too_large"
    assert isinstance(read(wire().ljust(MAX_COMMAND_BYTES)), Readable)


@pytest.mark.parametrize("depth", [10, 199, 250, 500, 900, 960, 990, 1100, 5_000, 50_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_unreadable(depth: int, opening: bytes, closing: bytes) -> None:
    payload = wire()[:-1] + b', "deep": ' + opening * depth + b"1" + closing * depth + b"}"
    assert refused(payload[:MAX_COMMAND_BYTES]).refusal.rule in {
        "extra_forbidden", "json_invalid", "too_deep", "not_json", "too_large"
    }  # fmt: skip


SURROGATE = ("id", "source", "type", "subject", "organisation", "programme", "actorpost", "dataschema", "traceparent")


@pytest.mark.parametrize("name", SURROGATE)
def test_a_lone_surrogate_is_unreadable(name: str) -> None:
    refused(wire(**{name: "\ud800"}))


def test_a_lone_surrogate_or_nul_as_a_key_is_named_escaped() -> None:
    refused(wire(**{"\ud800": 1}))
    assert refused(wire(**{"a\x00": 1})).refusal.field == r"a\x00"
    twice = wire(MARK=1, KRAM=1).replace(b"MARK", b"\\ud800").replace(b"KRAM", b"\\ud800")
    assert refused(twice).refusal.field == r"\ud800"


MISADDRESSED = {
    "other source": ({"source": "OTHER"}, "source_mismatch", "source"),
    "other programme": ({"programme": "OTHER"}, "programme_mismatch", "programme"),
    "stream of another programme": ({"subject": "assignment/OTHER/T-01"}, "subject_mismatch", "subject"),
    "stream of another aggregate": ({"subject": f"phase/{PROGRAMME}/P1"}, "subject_mismatch", "subject"),
    "stream too short": ({"subject": f"assignment/{PROGRAMME}"}, "subject_mismatch", "subject"),
}


@pytest.mark.parametrize(("changes", "rule", "field"), MISADDRESSED.values(), ids=MISADDRESSED)
def test_contradictory_envelopes_are_unreadable(changes: dict[str, str], rule: str, field: str) -> None:
    found = refused(wire(**changes))
    assert (found.refusal.rule, found.refusal.field) == (rule, field)


def test_one_sender_cannot_use_up_the_ids_of_another() -> None:
    found = refused(wire(source="OTHER"))
    assert (found.source, found.id) == (None, None)


def test_an_organisation_answers_for_its_own_stream_alone() -> None:
    document = command(REGISTRY.contracts.commands["sauro.organisation.AbolishPost.v1"])
    found = refused(json.dumps(document | {"organisation": "OTHER"}).encode(), programme=document["programme"])
    assert found.refusal.rule == "organisation_mismatch"
    longer = document | {"subject": document["subject"] + "/X"}
    assert refused(json.dumps(longer).encode(), programme=document["programme"]).refusal.rule == "subject_mismatch"


BAD_ATTRIBUTES: list[tuple[str, Any, str]] = [
    ("specversion", "0.3", "literal_error"),
    ("specversion", 1.0, "literal_error"),
    ("datacontenttype", "text/xml", "literal_error"),
    ("type", "sauro.assignment.NoSuchCommand.v1", "unknown_type"),
    ("type", "sauro.assignment.RaiseDifficulty.v99", "unknown_type"),
    ("type", "sauro.assignment.RaiseDifficulty.v1\n", "unknown_type"),
    ("type", 7, "unknown_type"),
    ("id", "", "string_pattern_mismatch"),
    ("id", "x" * 101, "string_pattern_mismatch"),
    ("id", "a b", "string_pattern_mismatch"),
    ("id", "a\n", "string_pattern_mismatch"),
    ("id", "a\x00", "string_pattern_mismatch"),
    ("id", 7, "string_type"),
    ("source", "a.b", "string_pattern_mismatch"),
    ("subject", f"assignment/{PROGRAMME}/T-01\n", "string_pattern_mismatch"),
    ("subject", f"assignment/{PROGRAMME}/T.01", "string_pattern_mismatch"),
    ("subject", f"assignment/{PROGRAMME}/A/B", "string_pattern_mismatch"),
    ("time", "2026-06-04T10:15:00", "timezone_aware"),
    ("time", "2026-06-04 10:15:00+07:00", "instant_format"),
    ("time", "1780000000", "instant_format"),
    ("time", 1_780_000_000, "instant_format"),
    ("time", "1970-01-01T00:00:00Z", "instant_out_of_range"),
    ("time", "9999-12-31T23:59:59-12:00", "instant_out_of_range"),
    ("time", "2026-02-30T00:00:00Z", "datetime_from_date_parsing"),
    ("organisation", "svhttdl", "string_pattern_mismatch"),
    ("actorpost", "A\x00", "string_pattern_mismatch"),
    ("actorunit", "A" * 41, "string_pattern_mismatch"),
    ("actoronbehalf", "Sở", "string_pattern_mismatch"),
    ("correlationid", "ố", "string_pattern_mismatch"),
    ("dataschema", "x" * 301, "string_too_long"),
    ("traceparent", "x" * 101, "string_too_long"),
    ("expectedversion", -1, "greater_than_equal"),
    ("expectedversion", -(10**400), "greater_than_equal"),
    ("expectedversion", 1.5, "int_type"),
    ("expectedversion", True, "int_type"),
    ("expectedversion", "3", "int_type"),
    ("data", [], "model_type"),
    ("data", "text", "model_type"),
]


@pytest.mark.parametrize(("name", "value", "rule"), BAD_ATTRIBUTES)
def test_bad_attributes_are_refused_by_name(name: str, value: Any, rule: str) -> None:
    found = refused(wire(**{name: value}))
    assert found.refusal.field == name
    assert found.refusal.rule == rule or rule in {"timezone_aware", "datetime_from_date_parsing"}, found.refusal


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject", "time", "organisation", "programme",
                                  "actorpost", "actorunit", "data"])  # fmt: skip
def test_a_missing_attribute_is_refused_by_name(name: str) -> None:
    found = refused(wire(**{name: None}))
    assert found.refusal.field == name
    assert found.refusal.rule == ("unknown_type" if name == "type" else "missing")


@pytest.mark.parametrize("name", [name for name in VALID if name != "data"])
def test_a_duplicate_attribute_is_refused_by_name(name: str) -> None:
    found = refused(wire(MARK=VALID[name]).replace(b"MARK", name.encode()))
    assert (found.refusal.rule, found.refusal.field) == ("duplicate_key", name)


def test_huge_numbers_neither_crash_nor_pass_for_others() -> None:
    found = read(wire(expectedversion=10**4000))
    assert isinstance(found, Readable)
    assert found.request.expected_version == 10**4000
    assert refused(wire(MARK=1).replace(b'"MARK": 1', b'"x": 1e999')).refusal.field == "x"


def test_erasable_texts_are_sealed_and_never_taken_as_references() -> None:
    found = read(wire())
    assert isinstance(found, Readable)
    assert [text.words for text in found.texts] == [VALID["data"]["what"], VALID["data"]["proposal"]]
    reference = {"ref": "0" * 36, "digest": "0" * 64}
    assert refused(wire(data=VALID["data"] | {"what": reference})).refusal.field == "data.what"


def test_texts_within_a_list_are_sealed_one_by_one() -> None:
    valid = command(REGISTRY.contracts.commands["sauro.phase.SignOffPhaseReview.v1"])
    (line,) = valid["data"]["lines"]
    lines = [line | {"cause_text": words} for words in ("Chậm hồ sơ", "chuyên viên phụ trách\nnghỉ ốm")]
    found = read(json.dumps(valid | {"data": {"lines": lines}}).encode())
    assert isinstance(found, Readable)
    assert [text.words for text in found.texts] == [each["cause_text"] for each in lines]
    assert len({each.cause_text.ref for each in found.request.data.lines}) == 2


def test_spacing_and_key_order_make_no_other_content() -> None:
    one, other = read(wire()), read(json.dumps(dict(reversed(VALID.items())), indent=3).encode())
    assert one.digest == other.digest
    assert read(wire(expectedversion=4)).digest != one.digest


def test_no_printable_character_is_a_control_character() -> None:
    """Texts are searched for control characters only when `str.isprintable` says that there may be one."""
    assert [code for code in range(sys.maxunicode + 1) if _CONTROL.search(chr(code)) and chr(code).isprintable()] == []

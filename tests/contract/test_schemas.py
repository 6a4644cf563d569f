"""The generated documents: fresh, deterministic, every reference resolved, in agreement with bus and samples."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from services.bus import STREAMS, Names
from services.contracts_export import FOLDER, documents, export, main_check, main_export, stale
from services.registry import REGISTRY
from tests.contract.samples import GOLDEN, command

DOCUMENTS = documents(REGISTRY)
ASYNCAPI = DOCUMENTS["asyncapi.json"]


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def resolve(document: Any, reference: str) -> Any:
    assert reference.startswith("#/"), reference
    for step in reference[2:].split("/"):
        document = document[step.replace("~1", "/").replace("~0", "~")]
    return document


KINDS: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float),
    "null": type(None),
}  # fmt: skip


def fits(document: dict[str, Any], schema: dict[str, Any], value: Any) -> bool:
    """Enough of JSON Schema to tell whether a sample fits: types, fields, patterns, choices, lengths, references."""
    if "$ref" in schema:
        return fits(document, resolve(document, schema["$ref"]), value)
    if "anyOf" in schema and not any(fits(document, one, value) for one in schema["anyOf"]):
        return False
    if not all(fits(document, one, value) for one in schema.get("allOf", ())):
        return False
    if value != schema.get("const", value) or value not in schema.get("enum", [value]):
        return False
    return isinstance(value, KINDS.get(schema.get("type", ""), object)) and _content_fits(document, schema, value)


def _content_fits(document: dict[str, Any], schema: dict[str, Any], value: Any) -> bool:
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties", True) is not False
        return set(schema.get("required", ())) <= value.keys() and all(
            fits(document, properties[name], item) if name in properties else others for name, item in value.items()
        )
    if isinstance(value, list):
        return schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**6) and all(
            fits(document, schema.get("items", {}), item) for item in value
        )
    if isinstance(value, str):
        right_length = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**6)
        return right_length and re.search(schema.get("pattern", ""), value) is not None
    return True


def test_the_committed_documents_are_fresh() -> None:
    assert stale(REGISTRY, FOLDER) == [], "run sauro contracts export contracts/schemas"


def test_every_message_has_a_schema_of_its_whole_envelope() -> None:
    for kind, known in (("commands", REGISTRY.contracts.commands), ("events", REGISTRY.contracts.events)):
        for type_ in known:
            schema = DOCUMENTS[f"json-schema/{kind}/{type_}.json"]
            assert schema["$id"] == f"urn:sauro:schema:{type_}"
            assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
            assert schema["properties"]["type"]["const"] == type_
            assert "data" in schema["required"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_reference_resolves(name: str) -> None:
    for reference in references(DOCUMENTS[name]):
        if reference.startswith("#"):
            resolve(DOCUMENTS[name], reference)
        else:  # the schema of an older version, which is kept as it was
            assert (FOLDER / reference).is_file(), reference


@pytest.mark.parametrize("type_", REGISTRY.contracts.commands)
def test_a_valid_command_fits_its_schemas(type_: str) -> None:
    valid = command(REGISTRY.contracts.commands[type_])
    for document, schema in schemas_of("commands", type_):
        assert fits(document, schema, valid)
        assert not fits(document, schema, valid | {"type": "sauro.other.Other.v1"})
        assert not fits(document, schema, {name: valid[name] for name in valid if name != "id"})


@pytest.mark.parametrize("type_", REGISTRY.contracts.events)
def test_the_golden_sample_fits_its_schemas(type_: str) -> None:
    sample = orjson.loads((GOLDEN / f"{type_}.json").read_bytes())
    for document, schema in schemas_of("events", type_):
        assert fits(document, schema, sample)
        assert not fits(document, schema, sample | {"position": "1"})


def older_schema(type_: str) -> str:
    return f"json-schema/events/{type_}.json"


@pytest.mark.parametrize("type_", sorted(REGISTRY.contracts.older_events))
def test_the_golden_sample_of_an_older_event_version_fits_the_schema_it_was_released_with(type_: str) -> None:
    schema = json.loads((FOLDER / older_schema(type_)).read_bytes())
    assert fits(schema, schema, orjson.loads((GOLDEN / f"{type_}.json").read_bytes()))


def test_the_schemas_of_older_event_versions_stay_as_they_were(tmp_path: Path) -> None:
    released = {name: (FOLDER / name).read_bytes() for name in map(older_schema, REGISTRY.contracts.older_events)}
    (tmp_path / "json-schema" / "events").mkdir(parents=True)
    for name, content in released.items():
        (tmp_path / name).write_bytes(content)
    export(REGISTRY, tmp_path)
    assert released
    assert {name: (tmp_path / name).read_bytes() for name in released} == released
    assert stale(REGISTRY, tmp_path) == []


def schemas_of(kind: str, type_: str) -> tuple[tuple[dict[str, Any], dict[str, Any]], ...]:
    own = DOCUMENTS[f"json-schema/{kind}/{type_}.json"]
    return (own, own), (ASYNCAPI, ASYNCAPI["components"]["schemas"][type_])


def test_erasable_texts_are_strings_in_commands_and_references_in_events() -> None:
    asked = DOCUMENTS["json-schema/commands/sauro.assignment.RaiseDifficulty.v1.json"]
    told = DOCUMENTS["json-schema/events/sauro.assignment.DifficultyRaised.v1.json"]
    assert asked["$defs"]["RaiseDifficulty"]["properties"]["what"]["x-erasable"] is True
    assert asked["$defs"]["RaiseDifficulty"]["properties"]["what"]["type"] == "string"
    assert told["$defs"]["DifficultyRaised"]["properties"]["what"] == {"$ref": "#/$defs/TextRef"}


def test_channels_are_the_streams_of_the_bus() -> None:
    names = Names()
    assert ASYNCAPI["asyncapi"] == "3.0.0"
    assert ASYNCAPI["channels"].keys() == {spec.name.lower() for spec in STREAMS}
    for spec in STREAMS:
        channel = ASYNCAPI["channels"][spec.name.lower()]
        wildcards = re.sub(r"\{\w+\}", "*", channel["address"])
        assert re.fullmatch(
            names.subject(*spec.tokens).replace(".", r"\.").replace("*", r"\*").replace(">", ".+"), wildcards
        )
        assert set(re.findall(r"\{(\w+)\}", channel["address"])) == channel["parameters"].keys()
    assert ASYNCAPI["channels"]["commands"]["address"] == names.command("{source}", "{programme}")
    assert ASYNCAPI["channels"]["receipts"]["address"] == names.receipt("{source}")
    assert ASYNCAPI["channels"]["events"]["address"] == names.event("{programme}", "{aggregate}", "{name}")
    assert ASYNCAPI["channels"]["notices"]["address"] == names.notice("{programme}", "{post}")
    assert ASYNCAPI["channels"]["deadletters"]["address"] == names.dead_letter("{source}")


def test_every_message_travels_on_its_channel_and_every_channel_is_used() -> None:
    channels = ASYNCAPI["channels"]
    assert channels["commands"]["messages"].keys() == {*REGISTRY.contracts.commands, "sauro.command.batch"}
    contracts = REGISTRY.contracts
    assert channels["events"]["messages"].keys() == contracts.events.keys() | contracts.older_events
    used = {operation["channel"]["$ref"] for operation in ASYNCAPI["operations"].values()}
    assert used == {f"#/channels/{name}" for name in channels}
    assert all("nats" in operation["bindings"] for operation in ASYNCAPI["operations"].values())
    key = re.compile(r"[A-Za-z0-9._-]+")
    assert all(key.fullmatch(name) for group in ASYNCAPI["components"].values() for name in group)


def test_export_is_deterministic_and_stale_names_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stale(REGISTRY, tmp_path) == sorted(DOCUMENTS)
    written = export(REGISTRY, tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in written] == sorted(DOCUMENTS)
    before = {path: path.read_bytes() for path in written}
    assert all(content.endswith(b"}\n") for content in before.values())
    (tmp_path / "asyncapi.json").write_text("{}\n")
    (tmp_path / "json-schema" / "receipt.json").unlink()
    (tmp_path / "json-schema" / "events" / "sauro.gone.Gone.v1.json").write_text("{}\n")
    differing = ["asyncapi.json", "json-schema/events/sauro.gone.Gone.v1.json", "json-schema/receipt.json"]
    assert stale(REGISTRY, tmp_path) == differing
    assert main_check(tmp_path) == 1
    told = capsys.readouterr().out
    assert all(name in told for name in differing)
    assert main_export(tmp_path) == 0
    assert main_check(tmp_path) == 0
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*.json"))} == dict(sorted(before.items()))


def test_documents_are_plain_json() -> None:
    for document in DOCUMENTS.values():
        assert json.loads(json.dumps(document, allow_nan=False)) == document

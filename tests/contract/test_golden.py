"""Golden samples: one stored event of every released version, readable for ever and never edited (R-360)."""

from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest

from contracts.base import Event
from contracts.registry import AggregateContract, ContractRegistry
from contracts.types import Line
from services.eventlog.codec import EventCodec
from services.registry import REGISTRY
from tests.contract.samples import GOLDEN, MANIFEST, event, stored, write_missing

CONTRACTS = REGISTRY.contracts
CODEC = EventCodec(CONTRACTS)
FILES = sorted(GOLDEN.glob("*.json"))


def manifest() -> dict[str, str]:
    lines = MANIFEST.read_text().splitlines()
    entries = [line.split("  ", 1) for line in lines]
    assert len({name for _, name in entries}) == len(lines), "a sample stands twice in the manifest"
    return {name: digest for digest, name in entries}


def test_every_event_version_has_a_sample() -> None:
    missing = {f"{type_}.json" for type_ in CONTRACTS.events} - {path.name for path in FILES}
    assert not missing, "run python -m tests.contract.samples write-missing"


def test_no_released_sample_was_changed_or_removed() -> None:
    assert manifest() == {path.name: sha256(path.read_bytes()).hexdigest() for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_sample_is_readable_and_its_bytes_are_the_only_form(path: Path) -> None:
    content = path.read_bytes()
    assert content.endswith(b"}\n")
    recorded = CODEC.decode(content)
    assert orjson.loads(content)["type"] == path.stem
    if path.stem in CONTRACTS.events:
        assert stored(CODEC, recorded) == content[:-1]
    else:  # an older version: an upcaster must lead to one that is known
        assert CODEC.type_of(recorded) in CONTRACTS.events


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_sample_fills_every_required_field(path: Path) -> None:
    if (known := CONTRACTS.events.get(path.stem)) is not None:
        recorded = CODEC.decode(path.read_bytes())
        # fields added later are optional and absent from samples of before
        assert recorded.data.model_fields_set <= known.model.model_fields.keys()
        assert {name for name, field in known.model.model_fields.items() if field.is_required()} <= (
            recorded.data.model_fields_set
        )


def test_writing_missing_samples_leaves_released_ones_alone(tmp_path: Path) -> None:
    first = next(iter(sorted(CONTRACTS.events)))
    kept = tmp_path / f"{first}.json"
    kept.write_bytes(b"released\n")
    written = list(write_missing(CONTRACTS, tmp_path))
    assert len(written) == len(CONTRACTS.events) - 1
    assert kept.read_bytes() == b"released\n"
    assert list(write_missing(CONTRACTS, tmp_path)) == []


@pytest.mark.parametrize("type_", sorted(CONTRACTS.older_events))
def test_an_older_version_has_a_sample_and_is_read_as_the_newest(type_: str) -> None:
    content = (GOLDEN / f"{type_}.json").read_bytes()
    read = CODEC.decode(content)
    assert CODEC.type_of(read) == type_.replace(".v1", ".v2")
    # a plain line of version 1 stays what it is
    assert orjson.loads(content)["data"] == read.data.model_dump(mode="json", exclude_none=True)


class ThingNamed(Event):
    version: ClassVar[int] = 3
    label: Line
    language: Line


def _v1_to_v2(data: dict[str, Any]) -> dict[str, Any]:
    return {"label": data["name"]}


def _v2_to_v3(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "language": "vi"}


def test_upcasters_read_every_older_version_as_the_newest() -> None:
    upcasters = {("ThingNamed", 1): _v1_to_v2, ("ThingNamed", 2): _v2_to_v3}
    contract = AggregateContract("thing", commands=(), events=(ThingNamed,), upcasters=upcasters)
    registry = ContractRegistry([contract])
    codec = EventCodec(registry)
    newest = event(registry.events["sauro.thing.ThingNamed.v3"])
    document = orjson.loads(stored(codec, newest))
    wanted = ThingNamed(label="Sáu rõ", language="vi")
    for version, data in ((1, {"name": "Sáu rõ"}), (2, {"label": "Sáu rõ"}), (3, wanted.model_dump())):
        older = orjson.dumps(document | {"type": f"sauro.thing.ThingNamed.v{version}", "data": data})
        assert codec.decode(older).data == wanted


def test_an_older_version_without_upcaster_is_not_guessed() -> None:
    registry = ContractRegistry([AggregateContract("thing", commands=(), events=(ThingNamed,))])
    codec = EventCodec(registry)
    content = stored(codec, event(registry.events["sauro.thing.ThingNamed.v3"]))
    with pytest.raises(KeyError):
        codec.decode(content.replace(b"ThingNamed.v3", b"ThingNamed.v2"))

"""Several CloudEvents in one message: put together and cut apart without a change of byte."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.together import MOST, batches, events_in

TEXT = st.text(max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)
EVENTS = st.lists(st.dictionaries(TEXT, JSON, max_size=3), min_size=1, max_size=6)


@given(EVENTS, st.sampled_from([None, 1, 4]), st.sampled_from([(",", ":"), (" ,\n", ": "), (",\n", ":")]))
def test_a_batch_is_cut_between_its_elements_however_it_is_written(
    events: list[object], indent: int | None, separators: tuple[str, str]
) -> None:
    sent = json.dumps(events, indent=indent, separators=separators, ensure_ascii=False).encode()
    assert [json.loads(part) for part in events_in(sent)] == events


@given(EVENTS, st.integers(10, 200), st.integers(1, 5))
def test_what_was_put_together_comes_apart_as_it_was(events: list[object], room: int, most: int) -> None:
    written = [json.dumps(event).encode() for event in events]
    found = list(batches(written, room, most))
    assert [part for batch in found for part in events_in(batch)] == written
    assert all(len(events_in(batch)) <= most for batch in found)
    assert all(len(batch) <= room or len(events_in(batch)) == 1 for batch in found)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b" [ ] ",
        b"[",
        b"]",
        b'{"a":1}',
        b'[{"a":1},]',
        b'[,{"a":1}]',
        b'[{"a":1} {"b":2}]',
        b'[{"a":1}',
        b'[{"a":1}]]',
        b'[{"a":1}][{"b":2}]',
        b'[{"a":1},\n{"b":2]',
        b"[\xff]",
        b"nonsense",
        b"[" * 100_000 + b"1" + b"]" * 100_000,
        b"[" + b",".join([b"{}"] * (MOST + 1)) + b"]",
        b"[" + b",\n".join([b"{}"] * (MOST + 1)) + b"]",
    ],
)
def test_what_is_no_batch_stays_whole(payload: bytes) -> None:
    assert list(events_in(payload)) == [payload]


def test_elements_keep_their_bytes() -> None:
    parts = [b'{"n": 1e400, "n": 98.60, "of":[{},\n{}]}', b'{"words":"],\\n["}', b'"a"']
    assert list(events_in(b"\n[" + b" ,\t".join(parts) + b"]\n")) == parts
    assert list(events_in(b"[" + b",\n".join(parts[1:]) + b"]")) == parts[1:]
    assert len(events_in(b"[" + b",".join([b"{}"] * MOST) + b"]")) == MOST

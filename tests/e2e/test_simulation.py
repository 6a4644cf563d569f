"""A short run of the demo on real engines, twice: the same seed gives the same bytes."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import orjson
import pytest

from services.engines import EmbeddedEngines
from services.simulation.demo import DemoOptions, run_demo
from services.simulation.result import DemoResult
from services.simulation.transitions import ROWS

SHORT = DemoOptions(seed=7, until=date(2026, 6, 5))


async def played(options: DemoOptions) -> DemoResult:
    """A run on engines of its own."""
    with EmbeddedEngines(relaxed=True) as engines:
        return await run_demo(options, engines.addresses)


@pytest.fixture(scope="module")
async def june() -> DemoResult:
    """A month with seed 7."""
    return await played(replace(SHORT, until=date(2026, 6, 30)))


async def test_the_same_seed_gives_the_same_log_and_another_seed_another() -> None:
    first, second = await played(SHORT), await played(SHORT)
    other = await played(replace(SHORT, seed=8))
    assert first.document["log"] == second.document["log"]
    assert first.document["departments"] == second.document["departments"]
    assert first.document["log"]["digest"] != other.document["log"]["digest"]


async def test_nothing_is_refused_but_what_is_wrong_on_purpose(june: DemoResult) -> None:
    assert june.document["refusals"]["unexpected"] == []
    assert june.document["commands"]["accepted"] > 3000
    assert june.document["commands"]["duplicate"] > 0
    assert june.document["commands"]["rejected"] > 0
    assert june.document["unreadable"] > 0


async def test_no_event_is_quarantined_and_a_second_build_is_equal(june: DemoResult) -> None:
    for projection in june.document["projections"]:
        assert projection["quarantined"] == 0
        assert projection["position"] == june.document["log"]["position"]
        assert projection["checksum"] == projection["rebuilt_checksum"], projection["name"]


async def test_the_json_has_every_part_and_every_row(june: DemoResult) -> None:
    document = orjson.loads(june.as_json())
    assert set(document) >= {
        "programmes",
        "virtual_days",
        "elapsed_s",
        "commands",
        "events",
        "deadlines",
        "warnings",
        "transitions",
        "departments",
        "phases",
        "log",
        "projections",
        "rounds",
    }
    assert document["virtual_days"] == 32
    assert set(document["transitions"]) == {row.name for row in ROWS}
    assert sum(count > 0 for count in document["transitions"].values()) > 50
    assert document["warnings"]["raised"] > 0
    assert document["warnings"]["escalated"] > 0

"""The demo as a new user runs it: four programmes over 489 days, whole, in processes of its own."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from tests.benchmarks.processors import family
from tests.benchmarks.starting import proportional_memory

LEAST_MEMORY, MOST_MEMORY = 100.0, 700.0
"""MB; less than the least was not measured at all."""


@dataclass(frozen=True)
class Run:
    """What `--json` wrote, and the most memory all processes held together, MB (PSS, looked at once a second)."""

    document: dict[str, Any]
    memory: float


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """`sauro demo --headless --json FILE`."""
    folder = tmp_path_factory.mktemp("demo")
    document, said = folder / "demo.json", folder / "said"
    command = (sys.executable, "-m", "services.cli.main", "demo", "--headless", "--json", str(document))
    memory = 0.0
    with said.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                memory = max(memory, _memory(process.pid))
                with suppress(subprocess.TimeoutExpired):
                    process.wait(1)
        finally:
            process.terminate()
    assert process.returncode == 0, said.read_text(encoding="utf-8")
    return Run(orjson.loads(document.read_bytes()), memory)


def _memory(pid: int) -> float:
    try:
        return sum(map(proportional_memory, family(pid)))
    except OSError:
        return 0.0  # a process ended while it was looked at; the next look sees those that are left


@pytest.mark.slow
def test_every_transition_of_the_appendices_happens(run: Run) -> None:
    """Each row of appendices 3.1, 3.2, 3.5 and 3.6."""
    assert [name for name, count in run.document["transitions"].items() if count == 0] == []


@pytest.mark.slow
def test_the_run_has_the_size_that_was_promised(run: Run) -> None:
    assert run.document["virtual_days"] == 489
    assert 30_000 <= run.document["events"] <= 50_000
    assert run.document["rounds"] <= 3_000
    assert LEAST_MEMORY <= run.memory <= MOST_MEMORY


@pytest.mark.slow
def test_nothing_goes_wrong_unless_on_purpose(run: Run) -> None:
    """R-352: no event in quarantine, and a second build is equal."""
    assert run.document["refusals"]["unexpected"] == []
    for projection in run.document["projections"]:
        assert projection["quarantined"] == 0
        assert projection["position"] == run.document["log"]["position"]
        assert projection["checksum"] == projection["rebuilt_checksum"], projection["name"]

"""What `make bench` rests on: functions that profiles name exist, and figures are kept."""

import functools
import json
import os
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from tests.benchmarks import report
from tests.benchmarks.figures import Figure
from tests.benchmarks.processors import family
from tests.benchmarks.profiling import INGEST, PROJECTOR, REBUILD, VERIFY, Stages


@pytest.mark.parametrize(
    "stages", [INGEST, PROJECTOR, REBUILD, VERIFY], ids=["ingest", "projector", "rebuild", "verify"]
)
def test_every_stage_of_a_profile_is_a_function(stages: Stages) -> None:
    """A renamed one would only be said to be gone, and its time would count elsewhere."""
    for _, places in stages:
        for place in places:
            module, path = place.split(":")
            assert callable(functools.reduce(getattr, path.split("."), import_module(module))), place


def test_a_process_that_has_ended_takes_none_of_the_others_along() -> None:
    with subprocess.Popen(["sleep", "60"]) as stays, subprocess.Popen(["true"]) as ends:
        ends.wait()
        assert list(family(ends.pid)) == [ends.pid]
        assert {os.getpid(), stays.pid} <= set(family(os.getpid()))
        stays.terminate()


def test_what_another_machine_gave_stays_beside_new_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "README.md"
    page.write_text(f"before\n{report.BEGIN}\n{report.END}\nafter\n")
    monkeypatch.setattr(report, "README", page)
    monkeypatch.setattr(report, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(report, "CHARTS", tmp_path / "charts")
    for cpu, rate in (("A", 9_000.0), ("B", 7_000.0), ("A", 11_000.0)):
        report.keep(
            {"ingest": [Figure("ingest", "commands/s", True, (rate,) * 5)]}, {"cpu": cpu, "system": "Linux"}, ["ingest"]
        )
    (runs,) = json.loads((tmp_path / "results.json").read_text()).values()
    assert [(run["on"]["cpu"], run["figures"][0]["median"]) for run in runs] == [("A", 11_000), ("B", 7_000)]
    written = page.read_text()
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert [row.split("|")[3].strip() for row in written.splitlines() if row.startswith("| ingest")] == [
        "11,000",
        "7,000",
    ]

"""`make bench` as a script runs it: parts of it, on real engines, with figures as JSON."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.floors import COPY, FETCH
from tests.benchmarks.profiling import INGEST

ROOT = Path(__file__).parents[2]


def bench(**settings: str) -> subprocess.CompletedProcess[str]:
    """What `make bench NAME=VALUE …` runs."""
    return subprocess.run(
        [sys.executable, "-m", "tests.benchmarks"],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
def test_a_part_of_the_benchmarks_writes_its_figures_as_json_and_where_time_goes_and_keeps_no_results_of_a_small_run(
    tmp_path: Path,
) -> None:
    kept, file = ROOT / "tests" / "benchmarks" / "results.json", tmp_path / "bench.json"
    before = kept.read_bytes()
    done = bench(ONLY="ingest-cold", SCALE="0.002", PROFILE="1", JSON=str(file))
    assert done.returncode == 0, done.stderr
    for stage, _ in INGEST:
        (calls,) = re.findall(rf"^│ {stage} .*│ ([\d,]+) +│$", done.stdout, re.MULTILINE)
        assert calls != "0", f"what stage '{stage}' watches is called"
    (figure,) = json.loads(file.read_text(encoding="utf-8"))
    assert (figure["name"], figure["unit"], figure["higher_is_better"]) == ("ingest-cold", "commands/s", True)
    assert figure["runs"] >= 5
    assert 0 < figure["min"] <= figure["median"] <= figure["max"]
    assert figure["beside"].keys() == figure["ratio"].keys() >= {COPY, FETCH}
    for name, theirs in figure["beside"].items():
        assert figure["ratio"][name] == pytest.approx(figure["median"] / theirs)
    assert kept.read_bytes() == before


def test_a_benchmark_that_is_none_is_named_with_those_there_are() -> None:
    done = bench(ONLY="ingest,sprint")
    assert done.returncode == 2
    assert done.stderr.startswith("no benchmark 'sprint'; there are ingest, ingest-cold, ")

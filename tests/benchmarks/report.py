"""Keeps the last figures in results.json, and writes the table of README.md and the charts from them.

A run of some benchmarks replaces their own rows only, and of those the ones from the same machine, as its processor and system
tell: what another one gave stays beside them. Each row says when and on what it was measured; the charts show the machine with
the most rows, of several the last.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.charts import draw
from tests.benchmarks.figures import Figure, beside_it, number, verdicts

HERE = Path(__file__).parent
RESULTS, README, CHARTS = HERE / "results.json", HERE / "README.md", HERE / "charts"
BEGIN, END = "<!-- results: written by make bench -->", "<!-- end of results -->"


def keep(found: Mapping[str, Sequence[Figure]], about: Mapping[str, str], order: Sequence[str]) -> None:
    """Replace the benchmarks that ran, then write README.md and the charts anew."""
    kept: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    today = datetime.now(UTC).date().isoformat()
    for name, figures in found.items():
        run = {"date": today, "on": dict(about), "figures": [figure.as_json() for figure in figures]}
        others = [other for other in kept.get(name, ()) if _machine(other["on"]) != _machine(about)]
        kept[name] = [run, *others]
    kept = {name: kept[name] for name in order if name in kept}
    RESULTS.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    CHARTS.mkdir(exist_ok=True)
    charts = draw(*_of_one_machine(kept))
    for name, svg in charts.items():
        (CHARTS / name).write_text(svg, encoding="utf-8")
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(
        before + BEGIN + "\n\n" + "\n".join(_lines(kept, charts)) + "\n\n" + END + after, encoding="utf-8"
    )


def _machine(on: Mapping[str, str]) -> str:
    return f"{on['cpu']}, {on['system']}"


def _of_one_machine(kept: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The rows by name that the machine with the most of them gave, and which it is and when: bars of one chart compare."""
    runs = sorted((run for runs in kept.values() for run in runs), key=lambda run: run["date"], reverse=True)
    machine, _ = Counter(_machine(run["on"]) for run in runs).most_common(1)[0]
    chosen = [run for run in runs if _machine(run["on"]) == machine]
    rows = {row["name"]: row for run in chosen for row in run["figures"]}
    return rows, f"{machine}, {' to '.join(dict.fromkeys((chosen[-1]['date'], chosen[0]['date'])))}"


def _lines(kept: Mapping[str, Any], charts: Mapping[str, str]) -> list[str]:
    lines = [f"![{name.removesuffix('.svg')}](charts/{name})\n" for name in charts]
    lines += [
        "| figure | unit | median | min – max | runs | beside it in the same run (ours ÷ theirs) | floor | on |",
        "|---|---|---:|---:|---:|---|---|---|",
    ]
    machines: dict[str, int] = {}
    for runs in kept.values():
        for run in runs:
            on = ", ".join(f"{name} {value}" for name, value in run["on"].items())
            mark = machines.setdefault(f"{run['date']}: {on}", len(machines) + 1)
            lines += [_line(row, mark) for row in run["figures"]]
    return [*lines, "", *(f"{mark}. {what}" for what, mark in machines.items())]


def _line(row: Mapping[str, Any], mark: int) -> str:
    beside = "; ".join(beside_it(row))
    floors = "; ".join(f"{what} {'reached' if reached else '**not reached**'}" for what, reached in verdicts(row))
    span = f"{number(row['min'])} – {number(row['max'])}"
    return f"| {row['name']} | {row['unit']} | {number(row['median'])} | {span} | {row['runs']} | {beside} | {floors} | {mark} |"

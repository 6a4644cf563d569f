"""A figure with its spread, what stood beside it, and whether its floor is reached."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.floors import FLOORS


@dataclass(frozen=True)
class Figure:
    """Runs of one measurement, with the medians of what stood beside it in the same run."""

    name: str
    unit: str
    higher_is_better: bool
    runs: tuple[float, ...]
    beside: Mapping[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.runs)

    @property
    def ratio(self) -> dict[str, float]:
        """Ours divided by theirs, where theirs is more than nothing."""
        return {name: self.median / theirs for name, theirs in self.beside.items() if theirs > 0}

    @property
    def spread(self) -> float:
        """Maximum less minimum, as a share of what the median is without its sign."""
        return (max(self.runs) - min(self.runs)) / abs(self.median) if self.median else 0.0

    def as_json(self) -> dict[str, Any]:
        """The figure as scripts read it."""
        return {
            "name": self.name,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "median": self.median,
            "min": min(self.runs),
            "max": max(self.runs),
            "runs": len(self.runs),
            "beside": dict(self.beside),
            "ratio": self.ratio,
        }


def median_of(runs: Sequence[float]) -> float:
    """The median of what stood beside."""
    return statistics.median(runs)


def verdicts(row: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """What a figure must reach, in words, and whether it does; empty without a floor."""
    floor = FLOORS.get(row["name"])
    if floor is None:
        return []
    up = row["higher_is_better"]
    found = [(f"{'≥' if up else '≤'} {number(floor.reach)}", _reached(row["median"], floor.reach, up=up))]
    for name, ratio in floor.ratios.items():
        if name in row["ratio"]:
            found.append((f"{'≥' if up else '≤'} {ratio:g} × {name}", _reached(row["ratio"][name], ratio, up=up)))
    return found


def _reached(value: float, floor: float, *, up: bool) -> bool:
    return value >= floor if up else value <= floor


def number(value: float) -> str:
    """A number with as many digits as it deserves."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def beside_it(row: Mapping[str, Any]) -> list[str]:
    """What stood beside a figure, in words, each with ours divided by theirs."""
    ratios = {name: f" (× {ratio:.2f})" for name, ratio in row["ratio"].items()}
    return [f"{name} {number(value)}{ratios.get(name, '')}" for name, value in row["beside"].items()]


def show(figures: Sequence[Figure], title: str) -> None:
    """Print the figures with spread, ratios, and beside each floor whether it is reached."""
    table = Table("benchmark", "unit", "median", "min", "max", "spread", "runs", "beside", "floor", title=title)
    for figure in figures:
        row = figure.as_json()
        beside = "\n".join(beside_it(row))
        floors = "\n".join(
            f"[green]reached[/] {what}" if reached else f"[red]not reached[/] {what}" for what, reached in verdicts(row)
        )
        numbers = (number(row[name]) for name in ("median", "min", "max"))
        spread = f"{100 * figure.spread:.0f} %"
        table.add_row(figure.name, figure.unit, *numbers, spread, str(len(figure.runs)), beside or "-", floors or "-")
    console = Console()
    Console(width=None if console.is_terminal else 170).print(table)


def write(figures: Sequence[Figure], file: Path) -> None:
    """Write the figures as JSON."""
    file.write_text(json.dumps([figure.as_json() for figure in figures], indent=2) + "\n", encoding="utf-8")

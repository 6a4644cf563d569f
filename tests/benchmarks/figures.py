"""A figure with its spread, and how it is printed and written."""

import json
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """Runs of one measurement, with what stood beside it in the same run."""

    name: str
    unit: str
    higher_is_better: bool
    runs: tuple[float, ...]
    beside: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The figure as scripts read it; `ratio` is ours divided by theirs."""
        median = statistics.median(self.runs)
        return {
            "name": self.name,
            "unit": self.unit,
            "higher_is_better": self.higher_is_better,
            "median": median,
            "min": min(self.runs),
            "max": max(self.runs),
            "runs": len(self.runs),
            "beside": dict(self.beside),
            "ratio": {name: median / theirs for name, theirs in self.beside.items() if theirs},
        }


def show(figures: Sequence[Figure]) -> None:
    """Print the figures with their spread and ratios."""
    table = Table(
        "benchmark",
        "unit",
        "median",
        "min",
        "max",
        "runs",
        "beside, ratio",
        title=f"{platform.machine()}, Python {platform.python_version()}",
    )
    for figure in figures:
        row = figure.as_json()
        beside = "\n".join(f"{name} {value:,.0f} (× {row['ratio'][name]:.2f})" for name, value in figure.beside.items())
        numbers = (f"{row[name]:,.1f}" for name in ("median", "min", "max"))
        table.add_row(figure.name, figure.unit, *numbers, str(row["runs"]), beside or "-")
    Console().print(table)


def write(figures: Sequence[Figure], file: Path) -> None:
    """Write the figures as JSON."""
    file.write_text(json.dumps([figure.as_json() for figure in figures], indent=2) + "\n", encoding="utf-8")

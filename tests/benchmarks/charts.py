"""Charts of the last figures as SVG, legible on light and on dark pages; made by hand so that no drawing library is needed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tests.benchmarks.figures import number
from tests.benchmarks.floors import FLOORS

Row = Mapping[str, Any]
WIDTH, LEFT, RIGHT, TOP, LINE = 860, 250, 110, 62, 20
_STYLE = """
  text { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 } .note { fill: #57606a } .end { text-anchor: end } .mid { text-anchor: middle }
  .grid { stroke: #d0d7de; stroke-width: 1 } .ours { fill: #1f6feb } .theirs { fill: #9aa4af } .second { fill: #bf8700 }
  .floor { stroke: #cf222e; stroke-width: 2 } .span { stroke: #1f6feb; stroke-width: 4; stroke-linecap: round }
  .line { fill: none; stroke-width: 2.5 } .a { stroke: #1f6feb } .b { stroke: #bf8700 } .card { fill: #ffffff; stroke: #d0d7de }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .note { fill: #9198a1 } .grid { stroke: #30363d } .ours { fill: #4493f8 } .theirs { fill: #656c76 }
    .second { fill: #d29922 } .floor { stroke: #f85149 } .span { stroke: #4493f8 } .a { stroke: #4493f8 } .b { stroke: #d29922 }
    .card { fill: #0d1117; stroke: #30363d }
  }"""


@dataclass(frozen=True)
class Bar:
    """One bar: its label, its value, whose it is, and the floor it is measured against."""

    label: str
    value: float
    ours: bool
    floor: float | None = None


@dataclass(frozen=True)
class Scale:
    """A logarithmic axis between two powers of ten."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Where a value lies."""
        clamped = min(max(value, self.low), self.high)
        share = math.log10(clamped / self.low) / math.log10(self.high / self.low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """The powers of ten."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        return [10.0**power for power in range(first, last + 1)]


def _scale(values: Sequence[float], start: float, end: float) -> Scale:
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values)))
    return Scale(low, max(high, low * 10), start, end)


def _text(x: float, y: float, what: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(what)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _page(title: str, note: str, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
        f' role="img" aria-label="{escape(title)}">\n<style>{_STYLE}\n</style>'
    )
    card = f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="6" class="card"/>'
    return "\n".join([head, card, _text(16, 26, title, "title"), _text(16, 45, note, "note"), *parts, "</svg>\n"])


def bars(title: str, note: str, found: Sequence[Bar]) -> str:
    """Horizontal bars on a logarithmic scale; a red tick marks the floor."""
    floors = [bar.floor for bar in found if bar.floor]
    scale = _scale([*(bar.value for bar in found), *floors], LEFT, WIDTH - RIGHT)
    bottom = TOP + LINE * len(found) + 6
    parts = []
    for tick in scale.ticks:
        parts += [_line(scale.at(tick), TOP - 4, scale.at(tick), bottom, "grid")]
        parts += [_text(scale.at(tick), bottom + 16, number(tick), "note mid")]
    for index, bar in enumerate(found):
        y = TOP + LINE * index
        width = max(scale.at(bar.value) - LEFT, 1)
        parts.append(_text(LEFT - 8, y + 13, bar.label, "end" if bar.ours else "end note"))
        kind = "ours" if bar.ours else "theirs"
        parts.append(f'<rect x="{LEFT}" y="{y + 2}" width="{width:.1f}" height="{LINE - 5}" rx="2" class="{kind}"/>')
        parts.append(_text(WIDTH - RIGHT + 10, y + 13, number(bar.value), "" if bar.ours else "note"))
        if bar.floor:
            parts.append(_line(scale.at(bar.floor), y, scale.at(bar.floor), y + LINE - 1, "floor"))
    return _page(title, note, bottom + 28, parts)


def spans(title: str, note: str, found: Sequence[tuple[str, float, float, float | None]]) -> str:
    """From p50 to p99 for each label, on a logarithmic scale of milliseconds; a red tick marks the floor of p99."""
    values = [value for _, half, tail, floor in found for value in (half, tail, floor or tail)]
    scale = _scale(values, LEFT, WIDTH - RIGHT)
    bottom = TOP + 26 * len(found) + 6
    parts = []
    for tick in scale.ticks:
        parts += [_line(scale.at(tick), TOP - 4, scale.at(tick), bottom, "grid")]
        parts += [_text(scale.at(tick), bottom + 16, f"{number(tick)} ms", "note mid")]
    for index, (label, half, tail, floor) in enumerate(found):
        y = TOP + 26 * index + 10
        parts += [_text(LEFT - 8, y + 4, label, "end"), _line(scale.at(half), y, scale.at(tail), y, "span")]
        parts += [f'<circle cx="{scale.at(half):.1f}" cy="{y}" r="5" class="ours"/>']
        if floor:
            parts.append(_line(scale.at(floor), y - 9, scale.at(floor), y + 9, "floor"))
        parts.append(_text(WIDTH - RIGHT + 10, y + 4, f"{number(half)} – {number(tail)}"))
    return _page(title, note, bottom + 28, parts)


def lines(title: str, note: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Rates over the size of the log, one line a kind of id."""
    left, right, bottom = 80, WIDTH - 130, 300
    points = [point for line in series.values() for point in line]
    across = _scale([x for x, _ in points], left, right)
    highest = max(y for _, y in points) * 1.15
    parts = []
    for tick in across.ticks:
        parts += [_line(across.at(tick), TOP, across.at(tick), bottom, "grid")]
        parts += [_text(across.at(tick), bottom + 18, number(tick), "note mid")]
    step = 10 ** math.floor(math.log10(highest)) / 2
    for index in range(int(highest / step) + 1):
        y = bottom - (bottom - TOP) * index * step / highest
        parts += [_line(left, y, right, y, "grid"), _text(left - 8, y + 4, number(index * step), "note end")]
    for (name, line), kind, dot in zip(series.items(), ("a", "b"), ("ours", "second"), strict=False):
        places = [(across.at(x), bottom - (bottom - TOP) * y / highest) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" class="line {kind}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" class="{dot}"/>' for x, y in places]
        x, y = places[-1]
        parts.append(_text(x + 10, y + (14 if kind == "b" else -4), name))
    return _page(title, note, bottom + 34, parts)


THROUGHPUT = ("ingest", "ingest-cold", "ingest-mixed", "sustained", "rebuild", "catch-up")
LATENCY = ("receipt", "visible", "history", "scorecards department", "scorecards phase", "scorecards 304")


def draw(rows: Mapping[str, Row], on: str) -> dict[str, str]:
    """The charts that the figures at hand allow, by file name; `on` says where and when they were measured."""
    charts = {}
    found: list[Bar] = []
    for name in THROUGHPUT:
        if row := rows.get(name):
            found.append(Bar(name, row["median"], ours=True, floor=FLOORS[name].reach))
            found += [Bar(what, value, ours=False) for what, value in row["beside"].items()]
    if found:
        note = f"a second, logarithmic; blue: Sauro, grey: beside it in the same run, red tick: floor; {on}"
        charts["throughput.svg"] = bars("Commands and events a second", note, found)
    times = [
        (name, rows[f"{name} p50"]["median"], rows[f"{name} p99"]["median"], FLOORS[f"{name} p99"].reach)
        for name in LATENCY
        if f"{name} p99" in rows
    ]
    if times:
        note = f"dot: p50, end of the line: p99, red tick: floor of p99; milliseconds, logarithmic; {on}"
        charts["latency.svg"] = spans("Latency from p50 to p99", note, times)
    series: dict[str, list[tuple[float, float]]] = {}
    for name, row in rows.items():
        match name.split():
            case ["growth", size, kind] if size != "loss":
                series.setdefault(f"{kind} ids", []).append((float(size.replace(",", "")), row["median"]))
    if series:
        note = f"commands a second over events in the log; {on}"
        charts["growth.svg"] = lines(
            "Ingest as the log grows", note, {kind: sorted(line) for kind, line in series.items()}
        )
    return charts

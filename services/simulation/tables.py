"""The end of a run on the terminal: departments, phases, warnings, totals, open points. Readable at 100 columns."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from services.simulation.result import DemoResult

WIDTH = 100


class ProgressBar:
    """A bar with the simulated date; a context manager, and the progress `run_demo` wants."""

    def __init__(self, console: Console, start: date) -> None:
        self._start = start
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=36),
            TextColumn("{task.fields[events]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task("…", total=1, events="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def day(self, today: date, until: date, events: int) -> None:
        """Show a simulated day."""
        total = (until - self._start).days + 1
        done = (today - self._start).days + 1
        text = f"{events:,} sự kiện".replace(",", ".")
        self._bar.update(self._task, description=f"{today:%d/%m/%Y}", total=total, completed=done, events=text)

    def says(self, what: str) -> None:
        """Show what is being done."""
        self._bar.update(self._task, description=what)


def show(result: DemoResult, console: Console | None = None, *, relaxed: bool = True, data: Path | None = None) -> None:
    """Print every table of a run, and a late task to follow; `data` is where the run can be read."""
    console = console or Console(width=WIDTH)
    document = result.document
    for code in document["programmes"]:
        console.print(_departments(result, code))
    console.print(_phases(document["phases"]))
    console.print(_warnings(document["departments"]))
    console.print(_totals(document["totals"]))
    _open_points(console, result)
    _summary(console, document, relaxed=relaxed)
    if result.late_task is not None:
        console.print("Một nhiệm vụ trễ hạn, có cảnh báo, giải trình và quyết định; lần theo bằng:")
        command = f"  sauro history {result.late_task} --data {data or 'DIR'}"
        console.print(command, highlight=False, markup=False, soft_wrap=True)


def _table(title: str, *columns: tuple[str, bool]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold", width=WIDTH)
    for name, is_number in columns:
        table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number, overflow="ellipsis")
    return table


def _rate(value: Any) -> str:
    return "–" if value is None else f"{float(value) * 100:.1f} %".replace(".", ",")


def _departments(result: DemoResult, code: str) -> Table:
    table = _table(
        f"\n{code}: {result.titles.get(code, '')}",
        ("Đơn vị     ", False),
        ("Giao", True),
        ("Mở", True),
        ("Quá hạn", True),
        ("Đúng hạn", True),
        ("Trễ", True),
        ("BC đúng", True),
        ("BC trễ", True),
        ("BC thiếu", True),
        ("Hoàn thành", True),
        ("Đúng hạn thực", True),
    )
    for row in result.document["departments"]:
        if row["programme"] != code or row["unit"] == "-":
            continue
        if not row["assigned"] and not row["reports_owed"]:
            continue
        table.add_row(
            row["unit"],
            *(str(row[name]) for name in ("assigned", "open", "overdue_open", "done_on_time_original", "done_late")),
            *(str(row[name]) for name in ("reports_on_time", "reports_late", "reports_missing")),
            _rate(row["completion_rate"]),
            _rate(row["on_time_rate"]),
        )
    return table


_PHASE_STATUS = {
    "planned": "chưa mở",
    "open": "đang mở",
    "awaiting_review": "chờ sơ kết",
    "under_review": "đang sơ kết",
    "reviewed": "đã sơ kết",
    "closed": "đã đóng",
}


def _phases(rows: Iterable[dict[str, Any]]) -> Table:
    table = _table(
        "\nTheo giai đoạn",
        ("Chương trình", False),
        ("GĐ", False),
        ("Trạng thái", False),
        ("Giao", True),
        ("Xong", True),
        ("Quá hạn", True),
        ("Chuyển GĐ", True),
        ("Sản phẩm", True),
        ("Hoàn thành", True),
        ("Đúng hạn thực", True),
    )
    for row in rows:
        table.add_row(
            row["programme"],
            row["phase"],
            _PHASE_STATUS.get(row["status"], "–"),
            *(str(row[name]) for name in ("assigned", "done", "overdue_open", "carried_out")),
            f"{row['products_accepted']}/{row['products_owed']}",
            _rate(row["completion_rate"]),
            _rate(row["on_time_rate"]),
        )
    return table


def _warnings(rows: list[dict[str, Any]]) -> Table:
    levels = [f"warnings_open_level_{level}" for level in range(5)]
    table = _table(
        "\nCảnh báo đang mở theo cấp",
        ("Chương trình", False),
        ("Đã phát", True),
        ("Đang mở", True),
        *((f"Cấp {level}{'+' if level == 4 else ''}", True) for level in range(5)),
    )
    for code in dict.fromkeys(row["programme"] for row in rows):
        own = [row for row in rows if row["programme"] == code]
        figures = (sum(row[name] for row in own) for name in ("warnings_raised", "warnings_open", *levels))
        table.add_row(code, *map(str, figures))
    return table


def _totals(rows: Iterable[dict[str, Any]]) -> Table:
    table = _table(
        "\nTổng hợp: tỷ lệ hoàn thành đơn thuần bên cạnh tỷ lệ đúng hạn thực",
        ("Chương trình", False),
        ("Giao", True),
        ("Xong", True),
        ("Gia hạn", True),
        ("Dở dang", True),
        ("Dự thảo", True),
        ("Hoàn thành", True),
        ("Đúng hạn gốc", True),
        ("Đúng hạn hiện", True),
    )
    for row in rows:
        table.add_row(
            row["programme"],
            *(str(row[name]) for name in ("assigned", "done", "extended", "unfinished", "drafts")),
            *(_rate(row[name]) for name in ("completion_rate", "on_time_rate", "on_time_rate_current")),
        )
    return table


_FIELDS = {
    "person": "người",
    "work": "việc",
    "time": "thời gian",
    "responsibility": "trách nhiệm",
    "authority": "thẩm quyền",
    "result": "kết quả",
    "measure": "thước đo",
    "checking": "cơ chế kiểm tra",
    "lead_unit": "đơn vị chủ trì",
}


def _open_points(console: Console, result: DemoResult) -> None:
    """Tasks that are still drafts, and joint leads that were resolved to one."""
    console.print(f"\n[bold]Dự thảo còn thiếu nội dung (R-023): {len(result.drafts)}[/bold]")
    for programme, code, missing in result.drafts:
        lacking = ", ".join(_FIELDS[name] for name in missing)
        console.print(f"  {programme} {code}: thiếu {lacking}", highlight=False, markup=False)
    console.print(f"\n[bold]Nhiều đơn vị chủ trì (R-083): {len(result.joint_leads)}[/bold]")
    for programme, code, named, lead in result.joint_leads:
        console.print(f"  {programme} {code}: {', '.join(named)}; nay {lead} chủ trì", highlight=False, markup=False)


def _summary(console: Console, document: dict[str, Any], *, relaxed: bool) -> None:
    commands, warnings = document["commands"], document["warnings"]
    equal = all(p["checksum"] == p["rebuilt_checksum"] for p in document["projections"])
    console.print(
        f"\n{document['virtual_days']} ngày trong {document['elapsed_s']:.0f} giây: {document['events']} sự kiện;"
        f" lệnh được nhận {commands['accepted']}, từ chối {commands['rejected']}, trùng {commands['duplicate']}; cảnh báo"
        f" {warnings['raised']}, lên cấp {warnings['escalated']}, đang mở {warnings['open']}.",
        highlight=False,
    )
    console.print(f"Mã băm của toàn bộ sự kiện: {document['log']['digest']}", highlight=False, soft_wrap=True)
    verdict = "khớp" if equal else "KHÁC NHAU"
    console.print(f"Mô hình đọc dựng lại từ đầu: {verdict} với bản đang dùng ({len(document['projections'])} mô hình).")
    if relaxed:
        console.print("Chế độ thử: fsync tắt trong PostgreSQL và NATS; vận hành thật luôn bật.")

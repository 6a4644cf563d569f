"""`sauro replay` and `sauro diff`: figures and tasks as of a past moment, and what changed between two."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from services.cli.common import CommandFailed, DataOption, JsonOption, opened_store
from services.cli.history import ByOption, ReasonOption, on_record
from services.cli.moments import TimeOption, check_known, instant, past

Code = Annotated[str | None, typer.Option(help="Only this programme.")]
_SHOWN = (
    "assigned",
    "open",
    "overdue_open",
    "done",
    "done_on_time_original",
    "done_late",
    "reports_missing",
    "warnings_open",
)
_MORE = {
    "at_risk": "Có nguy cơ",
    "milestone_late": "Chậm mốc",
    "extended_after_limit": "Gia hạn sau hạn",
    "carried_out": "Chuyển khỏi giai đoạn",
    "carried_out_overdue": "Chuyển đi khi quá hạn",
    "reports_owed": "Báo cáo phải nộp",
    "reports_on_time": "Báo cáo đúng hạn",
    "reports_late": "Báo cáo trễ",
    "reports_missing": "Báo cáo thiếu",
    "reports_undated": "Báo cáo chưa có hạn",
    "explanations_owed": "Giải trình phải nộp",
    "explanations_open": "Giải trình chưa nộp",
    "products_owed": "Sản phẩm phải có",
    "products_accepted": "Sản phẩm được chấp nhận",
    "milestones": "Mốc",
    "milestones_missed": "Mốc bị lỡ",
    "commitments_owed": "Cam kết phải ký",
    "commitments_signed": "Cam kết đã ký",
    "completion_rate": "Tỷ lệ hoàn thành",
    "on_time_rate": "Tỷ lệ đúng hạn",
    "on_time_rate_current": "Tỷ lệ đúng hạn (hạn hiện hành)",
}
_NAMED = 10
"""So many events are named beside a figure; JSON has all."""
_VIEWS = {"department_scorecard": "Theo đơn vị", "phase_scorecard": "Theo giai đoạn"}
_KEYS = {"programme": "Chương trình", "unit": "Đơn vị", "phase": "Giai đoạn"}


def replay(  # noqa: PLR0917 - each is an option
    as_of: Annotated[str, typer.Option("--as-of", help="The moment, RFC 3339 with offset: 2026-06-05T08:00:00+07:00")],
    time: TimeOption = "recorded",
    programme: Code = None,
    unit: Annotated[str | None, typer.Option(help="Only this unit.")] = None,
    assignment: Annotated[str | None, typer.Option(help="One task: PROGRAMME/CODE.")] = None,
    by: ByOption = None,
    reason: ReasonOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Scorecards, or one task, as of any past moment. Reading it is itself recorded."""
    from projections.queries_scorecards import view_rows
    from projections.queries_work import assignment as task_row
    from projections.scope import EVERYTHING

    at = instant(as_of, "--as-of")
    of, _, code = (assignment or "").partition("/")
    if assignment is not None and (programme or unit):
        raise CommandFailed("--assignment names one task; leave --programme and --unit out")
    if assignment is not None and not (of and code):
        raise CommandFailed(f"--assignment '{assignment}' is no task; write PROGRAMME/CODE, such as SVHTTDL-TD500/T-01")
    with opened_store(data) as store, past(store, at, time) as (cursor, moment):
        assert moment is not None
        found: dict[str, Any] = {"as_of": at, "time": time, "position": moment.position}
        check_known(cursor, of or programme, unit)
        if assignment is not None:
            row = task_row(cursor, EVERYTHING, of, code)
            if row is None:
                raise CommandFailed(
                    f"no assignment '{assignment}' was known then; when it began, says: sauro history {assignment}"
                )
            found["assignment"] = row
        else:
            views = store.registry.views
            found["scorecards"] = {view.name: view_rows(cursor, view, programme, unit) for view in views}
    about = assignment or unit or programme or "all scorecards"
    on_record(data, "replay", f"{about}, {time}", moment.position, by, reason, programme=programme, as_of=at)
    if as_json:
        typer.echo(_json(found))
    elif assignment is not None:
        _show_task(found)
    else:
        _show_cards(found)


def diff(
    start: Annotated[str, typer.Option("--from", help="The earlier moment, RFC 3339 with offset.")],
    end: Annotated[str, typer.Option("--to", help="The later moment, RFC 3339 with offset.")],
    time: TimeOption = "recorded",
    programme: Code = None,
    by: ByOption = None,
    reason: ReasonOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """What changed between two moments, figure by figure, with the events.

    Then what was reported at either moment and has moved since: both values.
    """
    from services.audit.diff import difference

    first, last = instant(start, "--from"), instant(end, "--to")
    if first > last:
        raise CommandFailed(f"--from {start} lies after --to {end}; give the earlier moment first")
    with opened_store(data) as store:
        with past(store, first, time):
            pass  # it must be one that can be asked for, too
        with past(store, last, time) as (cursor, moment), _shown() as progress:
            assert moment is not None
            check_known(cursor, programme)
            found = difference(store, cursor, first, last, programme, progress, axis=time)
    about = f"{programme or 'all scorecards'} from {start} to {end}, {time}"
    on_record(data, "diff", about, moment.position, by, reason, programme=programme, as_of=last)
    if as_json:
        typer.echo(_json(found.document()))
        return
    events = {at: f"{at} {row['type']} {row['stream']}" for at, row in found.events.items()}
    told = [(one, (_number(one.before), _number(one.after), _listed(one.events, events))) for one in found.changed]
    axis = "điều đã biết" if time == "recorded" else "điều đã xảy ra, theo mọi điều nay biết"
    _show_changes(f"Thay đổi từ {start} đến {end} ({axis})", ("Trước", "Sau", "Sự kiện"), told)
    for text, at in dict.fromkeys(((start, first), (end, last))):
        moved = [(one, (_number(one.reported), _number(one.now_known))) for one in found.moved if one.as_of == at]
        _show_changes(f"Đã báo cáo tại {text}, nay biết khác", ("Đã báo cáo", "Nay biết"), moved)


def _listed(positions: Sequence[int], events: Mapping[int, str]) -> str:
    """The first events by name, of the others how many there are."""
    more = len(positions) - _NAMED
    rest = [f"… và {more} sự kiện khác (--json có đủ)"] if more > 0 else []
    return "\n".join([*(events[at] for at in positions[:_NAMED]), *rest])


@contextmanager
def _shown() -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("so sánh"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, transient=True, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


def _json(found: Any) -> str:
    import orjson

    return orjson.dumps(found, default=float, option=orjson.OPT_UTC_Z).decode()  # numeric comes as Decimal


def _label(figure: str) -> str:
    from services.audit.dossier import LABELS

    return (LABELS | _MORE).get(figure, figure)


def _number(value: Any) -> str:
    from decimal import Decimal

    if value is None:
        return "–"
    return f"{value * 100:.1f} %".replace(".", ",") if isinstance(value, float | Decimal) else str(value)


def _show_cards(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for view, rows in found["scorecards"].items():
        title = f"{_VIEWS.get(view, view)}, tại {found['as_of'].isoformat()} ({_axis(found)})"
        keys = [name for name in _KEYS if rows and name in rows[0]]
        rates = ("completion_rate", "on_time_rate")
        table = Table(*(_KEYS[name] for name in keys), title=title)
        for figure in (*_SHOWN, *rates):
            table.add_column(_label(figure), justify="right")
        for row in rows:
            table.add_row(*(str(row[name]) for name in keys), *(_number(row.get(name)) for name in (*_SHOWN, *rates)))
        console.print(table)


def _axis(found: dict[str, Any]) -> str:
    known = found["time"] == "recorded"
    return (
        f"điều đã biết lúc đó, vị trí {found['position']}" if known else "điều đã xảy ra lúc đó, theo mọi điều nay biết"
    )


def _show_task(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from services.api.shapes import assignment

    row = assignment(found["assignment"])
    about = f"{row['programme']}/{row['code']}, tại {found['as_of'].isoformat()} ({_axis(found)})"
    table = Table(title=about, show_header=False)
    for label, value in (
        ("Việc", row["work"]),
        ("Đơn vị", row["unit"]),
        ("Người chịu trách nhiệm", row["person"]),
        ("Thẩm quyền", row["authority"]),
        ("Trạng thái", row["status_label_vi"]),
        ("Tình hình", row["health_label_vi"]),
        ("Hạn gốc", row["original_due"]),
        ("Hạn hiện hành", row["due"]),
        ("Tiến độ", f"{row['percent']} %"),
        ("Từng quá hạn", "có" if row["was_overdue"] else "không"),
        ("Số lần gia hạn", row["extensions"]),
        ("Phiên bản", row["version"]),
    ):
        table.add_row(label, "–" if value is None else str(value))
    Console().print(table)


def _show_changes(title: str, columns: Iterable[str], told: Iterable[tuple[Any, Iterable[str]]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("Bảng", "Của", "Chỉ tiêu", *columns, title=title)
    for one, values in told:
        of = " / ".join(str(value) for value in one.key.values())
        table.add_row(_VIEWS.get(one.view, one.view), of, _label(one.figure), *values)
    Console().print(table)

"""`sauro replay` and `sauro diff`: figures and tasks as of a past moment, and what changed between two."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.common import CommandFailed, DataOption, JsonOption, opened_store
from services.cli.history import ByOption, ReasonOption, on_record
from services.cli.moments import (
    MOMENT,
    LangOption,
    ProgrammeOption,
    TimeOption,
    check_known,
    instant,
    language,
    past,
)

if TYPE_CHECKING:
    from psycopg import Cursor


def replay(  # noqa: PLR0917 - each is an option
    as_of: Annotated[str, typer.Option("--as-of", help=f"The moment, {MOMENT}")],
    time: TimeOption = "recorded",
    programme: ProgrammeOption = None,
    unit: Annotated[str | None, typer.Option(help="Only this unit.")] = None,
    assignment: Annotated[str | None, typer.Option(help="One task: PROGRAMME/CODE.")] = None,
    lang: LangOption = "vi",
    by: ByOption = None,
    reason: ReasonOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Scorecards, or one task, as of any past moment. Reading it is itself recorded.

    Read models are as they are now: that they follow from the log, `sauro projections rebuild` checks.
    """
    from projections.queries_scorecards import view_rows
    from services.audit.printing import Printer

    show, at = Printer(language(lang), typer.echo), instant(as_of, "--as-of")
    of, _, code = (assignment or "").partition("/")
    if assignment is not None and (programme or unit):
        raise CommandFailed("--assignment names one task; leave --programme and --unit out")
    if assignment is not None and not (of and code):
        raise CommandFailed(f"--assignment '{assignment}' is no task; write PROGRAMME/CODE, such as SVHTTDL-TD500/T-01")
    programme = of or programme
    with opened_store(data) as store, past(store, at, time) as (cursor, moment):
        assert moment is not None
        views = store.registry.views
        found: dict[str, Any] = {"as_of": at, "time": time, "position": moment.position}
        check_known(cursor, programme, unit)
        if assignment is not None:
            found["assignment"] = _task(cursor, of, code)
        else:
            found["scorecards"] = {view.name: view_rows(cursor, view, programme, unit) for view in views}
    about = f"{assignment or unit or programme or 'all scorecards'}, {time}"
    on_record(data, "replay", about, moment.position, by, reason, programme=programme, as_of=at)
    if as_json:
        typer.echo(_json(found))
    elif assignment is not None:
        show.task(found)
    else:
        show.cards(found, views)


def diff(  # noqa: PLR0917 - each is an option
    start: Annotated[str, typer.Option("--from", help=f"The earlier moment, {MOMENT}")],
    end: Annotated[str, typer.Option("--to", help="The later moment.")],
    time: TimeOption = "recorded",
    programme: ProgrammeOption = None,
    lang: LangOption = "vi",
    by: ByOption = None,
    reason: ReasonOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """What changed between two moments, figure by figure, with the events.

    Then what was reported at either moment and has moved since: both values, and the events that moved it.
    """
    from services.audit.diff import difference
    from services.audit.printing import Printer, named_events
    from services.audit.telling import events_told

    tongue, first, last = language(lang), instant(start, "--from"), instant(end, "--to")
    if first > last:
        raise CommandFailed(f"--from {start} lies after --to {end}; give the earlier moment first")
    with opened_store(data) as store:
        with past(store, first, time):
            pass  # it must be one that can be asked for, too
        with past(store, last, time) as (cursor, moment), _shown() as progress:
            assert moment is not None
            check_known(cursor, programme)
            found = difference(store, cursor, first, last, programme, progress, axis=time)
            told = {} if as_json else events_told(cursor, store.registry, named_events(found), tongue)
    about = f"{programme or 'all scorecards'} from {start} to {end}, {time}"
    on_record(data, "diff", about, moment.position, by, reason, programme=programme, as_of=last)
    if as_json:
        typer.echo(_json(found.document()))
    else:
        Printer(tongue, typer.echo).difference(found, told)


def _task(cursor: "Cursor[Any]", programme: str, code: str) -> dict[str, Any]:
    from projections.queries_work import assignment
    from projections.scope import EVERYTHING

    row = assignment(cursor, EVERYTHING, programme, code)
    if row is None:
        raise CommandFailed(
            f"no assignment '{programme}/{code}' was known then; when it began, says: sauro history {programme}/{code}"
        )
    return row


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

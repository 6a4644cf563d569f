"""What commands over past moments are given: instants, programmes, units; what does not fit is said with the way out."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from services.cli.common import CommandFailed

if TYPE_CHECKING:
    from psycopg import Cursor

    from projections.past import Moment
    from services.audit.narrative import Language
    from services.store import Store

TimeOption = Annotated[
    Literal["recorded", "occurred"],
    typer.Option(help="recorded: what was known then; occurred: what was true then with all that is known now."),
]

MOMENT = "RFC 3339 with offset: 2026-06-05T08:00:00+07:00, or a day: 2026-06-05 is its end in Asia/Ho_Chi_Minh."
LangOption = Annotated[str, typer.Option("--lang", help="Language of the answer: vi or en.")]
ProgrammeOption = Annotated[str | None, typer.Option("--programme", help="Only this programme.")]


def instant(text: str, option: str) -> datetime:
    """An instant with its offset, UTC; for a day of Asia/Ho_Chi_Minh its end, or the present one if it is today's.

    Raises CommandFailed.
    """
    from domain.calendar import LOCAL
    from services.clock import SystemClock

    try:
        if len(text) == 10:
            end = datetime.combine(date.fromisoformat(text), time.max, LOCAL).astimezone(UTC)
            now = SystemClock().now()
            return now if date.fromisoformat(text) == now.astimezone(LOCAL).date() else end
        found = datetime.fromisoformat(text)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandFailed(
            f"{option} '{text}' is no moment; write day, time and offset, such as 2026-06-05T08:00:00+07:00, or a day"
        ) from None
    raise CommandFailed(
        f"{option} '{text}' has no time zone, so it is many instants; for Asia/Ho_Chi_Minh write {text}+07:00"
    )


@contextmanager
def past(
    store: "Store", at: datetime | None, axis: Literal["recorded", "occurred"], *, of_log: bool = False
) -> "Iterator[tuple[Cursor[Any], Moment | None]]":
    """One snapshot as of a moment. Raises CommandFailed for one that there is not."""
    from services.audit.replay import NoSuchMoment, reading_at
    from services.clock import SystemClock

    try:
        with reading_at(store, SystemClock(), at, axis, of_log=of_log) as found:
            yield found
    except NoSuchMoment as error:
        raise CommandFailed(str(error)) from None


def check_known(cursor: "Cursor[Any]", programme: str | None, unit: str | None = None) -> None:
    """Refuse programmes and units nobody knows at the moment that is read. Raises CommandFailed."""
    from services.audit.known import NotKnown, require_programme, require_unit

    try:
        require_programme(cursor, programme)
        require_unit(cursor, unit, programme)
    except NotKnown as error:
        raise CommandFailed(str(error)) from None


def language(lang: str) -> "Language":
    """The language of an answer. Raises typer.BadParameter."""
    if lang == "vi":
        return "vi"
    if lang == "en":
        return "en"
    raise typer.BadParameter(f"'{lang}' is no language here; there are vi and en", param_hint="--lang")

"""What commands over past moments are given: instants, programmes, units; what does not fit is said with the way out."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from services.cli.common import CommandFailed

if TYPE_CHECKING:
    from psycopg import Cursor

    from projections.past import Moment
    from services.store import Store

TimeOption = Annotated[
    Literal["recorded", "occurred"],
    typer.Option(help="recorded: what was known then; occurred: what was true then with all that is known now."),
]


def instant(text: str, option: str) -> datetime:
    """An instant with its offset. Raises CommandFailed."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise CommandFailed(
            f"{option} '{text}' is no instant; write day, time and offset, such as 2026-06-05T08:00:00+07:00"
        ) from None
    if found.tzinfo is None:
        day = text if "T" in text or " " in text else f"{text}T00:00:00"
        raise CommandFailed(
            f"{option} '{text}' has no time zone, so it is many instants; for Asia/Ho_Chi_Minh write {day}+07:00"
        )
    return found


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
    from projections.queries_scorecards import programme_codes, unit_codes

    if programme is not None:
        _check("programme", programme, programme_codes(cursor))
    if unit is not None and unit != "-":
        _check("unit", unit, unit_codes(cursor, programme))


def _check(what: str, code: str, known: Sequence[str]) -> None:
    if code not in known:
        raise CommandFailed(
            f"{what} '{code}' is not known; at the moment that is read there are: {', '.join(known) or 'none'}"
        )

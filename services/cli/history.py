"""`sauro history`: who did what, caused by what, entered when; and `sauro reconcile`: what should have happened.

Reading is recorded before anything is printed (R-358): without NATS nothing is shown.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.common import CommandFailed, DataOption, JsonOption, located, opened_store
from services.cli.moments import MOMENT, LangOption, ProgrammeOption, TimeOption, instant, language, past

if TYPE_CHECKING:
    from contracts.access import Act
    from projections.past import Axis
    from services.audit.access import Access
    from services.audit.readings import Read, Readings

ByOption = Annotated[str | None, typer.Option("--by", help="Code of the post that reads; it goes on record.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why; it goes on record.")]


def history(  # noqa: PLR0917 - each is an option
    subject: Annotated[
        str | None,
        typer.Argument(help="A stream, PROGRAMME/CODE or a code; or 'access': who read the audit history."),
    ] = None,
    causes: Annotated[
        str | None, typer.Option(help="Up from this event (position or id) to the first command.")
    ] = None,
    effects: Annotated[str | None, typer.Option(help="Down from this event to all that it led to.")] = None,
    late: Annotated[bool, typer.Option("--late", help="Late, back-dated and belatedly moved entries.")] = False,
    programme: ProgrammeOption = None,
    limit: Annotated[int, typer.Option(help="At most so many late entries or readings.", min=1)] = 1000,
    as_of: Annotated[str | None, typer.Option("--as-of", help=f"As of this moment, {MOMENT}")] = None,
    time: TimeOption = "recorded",
    lang: LangOption = "vi",
    by: ByOption = None,
    reason: ReasonOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """The history of a task, report, warning …, as sentences; or causes, effects, late entries, readings.

    Each event with who acted under which authority, when it happened, when it was recorded, the command it comes from with
    its receipt, and what it led to. Reading is itself recorded, with --by and --reason.
    """
    from services.audit.printing import Printer

    tongue = language(lang)
    asked = {"SUBJECT": subject, "--causes": causes, "--effects": effects, "--late": late or None}
    if sum(given is not None for given in asked.values()) != 1:
        raise typer.BadParameter(f"name one thing to read: {', '.join(asked)}")
    if programme is not None and not (late or subject == "access"):
        raise typer.BadParameter("--programme goes with --late and with 'access'", param_hint="--programme")
    show = Printer(tongue, typer.echo)

    def read(readings: "Readings") -> "tuple[Read, Callable[[Any], None]]":
        if late:
            return readings.late(programme, 0, limit, tongue), show.late
        if subject == "access":
            return readings.accesses(programme, None, limit), show.accesses
        if subject is not None:
            return readings.history(subject, tongue), show.history
        if causes is not None:
            return readings.causes(causes, tongue), show.chain
        return readings.effects(str(effects), tongue), show.tree

    at = None if as_of is None else instant(as_of, "--as-of")
    told, print_it = _answered(read, data, by, reason, at, time)
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        print_it(told)


def reconcile(
    programme: ProgrammeOption = None,
    until: Annotated[
        str | None,
        typer.Option(
            help=f"How far time has come, by default to the last receipt; limits up to then are due. {MOMENT}"
        ),
    ] = None,
    lang: LangOption = "vi",
    by: ByOption = None,
    reason: ReasonOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Re-run timekeeper and escalation policy over the log and compare with what was recorded.

    Rungs missed, fired twice, fired late or decided otherwise are listed with the reason the log itself shows. Exits with 1
    when one has none. The whole log is looked at, up to now.
    """
    from services.audit.printing import Printer

    show, end = Printer(language(lang), typer.echo), instant(until, "--until") if until else None
    found, print_it = _answered(
        lambda readings: (readings.reconciled(programme, end), show.reconciliation), data, by, reason
    )
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False, default=str))
    else:
        print_it(found)
    if found["unexplained"]:
        raise typer.Exit(1)


def _answered(
    read: "Callable[[Readings], tuple[Read, Callable[[Any], None]]]",
    data: Path | None,
    by: str | None,
    reason: str | None,
    as_of: datetime | None = None,
    time: "Axis" = "recorded",
) -> tuple[Any, Callable[[Any], None]]:
    """What was read from one snapshot, and how to print it, once it is on record."""
    from domain.calendar import to_local
    from projections.scope import EVERYTHING
    from services.audit.access import Access, NotRecorded, checked_reader, checked_reason
    from services.audit.known import NotKnown
    from services.audit.readings import Ambiguous, NothingThere, Readings

    try:
        by, reason = checked_reader(by), checked_reason(reason)
        with opened_store(data) as store, past(store, as_of, time, of_log=True) as (cursor, _):
            head = store.recorder.head().position
            found, print_it = read(Readings(cursor, EVERYTHING, store.registry))
        at, owner = datetime.now(UTC), (found.organisation, found.programme)
        asyncio.run(put_on_record(data, Access(found.act, "cli", found.about, head, at, *owner, by, reason, as_of)))
    except NothingThere as error:
        then = f" as of {to_local(as_of).isoformat()} (time={time})" if as_of else ""
        raise CommandFailed(
            f"{error} is not known{then}; a subject is a stream (assignment/PROGRAMME/CODE), PROGRAMME/CODE or a code,"
            " an event a position or an id"
        ) from None
    except (ValueError, Ambiguous, NotKnown, NotRecorded) as error:
        raise CommandFailed(str(error)) from None
    return found.answer, print_it


def on_record(
    data: Path | None,
    act: "Act",
    about: str,
    position: int,
    by: str | None,
    reason: str | None,
    *,
    programme: str | None = None,
    as_of: datetime | None = None,
) -> None:
    """Record a reading before it is shown, in the stream of its programme's organisation.

    Raises CommandFailed when it cannot be, and then nothing may be shown.
    """
    from services.audit.access import Access, NotRecorded, checked_reader, checked_reason
    from services.audit.known import Owners

    try:
        who = (checked_reader(by), checked_reason(reason))
        with opened_store(data) as store:
            owner = Owners(store).of(programme)
        access = Access(act, "cli", about, position, datetime.now(UTC), owner, programme, *who, as_of)
        asyncio.run(put_on_record(data, access))
    except (ValueError, NotRecorded) as error:
        raise CommandFailed(str(error)) from None


async def put_on_record(data: Path | None, access: "Access") -> None:
    """Record a reading of the command line; raises NotRecorded when NATS is away, and then nothing may be printed."""
    from services.audit.access import GRACE, NotRecorded, record
    from services.bus import Bus, Names

    settings = located(data)
    assert settings.nats is not None
    try:
        async with asyncio.timeout(GRACE):
            bus = await Bus.connect(settings.nats, Names(settings.subject_prefix), name="sauro-history")
    except Exception as error:
        raise NotRecorded(f"the reading cannot be recorded, so nothing is shown: NATS is away ({error!r})") from error
    try:
        await record(bus, access)
    finally:
        await bus.close()

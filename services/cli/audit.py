"""`sauro audit`: proof for a reviewer. Checkpoints, proofs, numbered exports, and the check of the live database."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from services.cli.common import CommandFailed, DataOption, JsonOption, located, opened_store
from services.cli.history import put_on_record

if TYPE_CHECKING:
    from services.audit.export import Exported, Request
    from services.audit.notes import Verifier
    from services.audit.verification import Progress, Published, Report

app = typer.Typer(
    help="Prove that the record was not changed: checkpoints, proofs, exports (checked offline by sauro-verify).",
    no_args_is_help=True,
)
key_app = typer.Typer(help="The key that signs checkpoints.", no_args_is_help=True)
app.add_typer(key_app, name="key")

LogOption = Annotated[str, typer.Option("--log", help="events or receipts.")]
KeyOption = Annotated[str | None, typer.Option("--key", help="Public keys you trust: a file, or one key as text.")]


@key_app.command("new")
def new_key(
    file: Annotated[Path, typer.Argument(help="Where to keep the private key; must not exist.")],
    name: Annotated[str, typer.Option(help="Name of this installation, such as sauro.example.vn.")] = "sauro.local",
) -> None:
    """Make a key that signs checkpoints and exports (mode 0600), and print its public keys: give those to reviewers."""
    from services.audit.notes import SIGNED, NoteInvalid, Signer

    try:
        signer = Signer.generate(name)
        signer.write(file)
    except FileExistsError:
        raise CommandFailed(f"{file} exists already; a key is never written over") from None
    except (NoteInvalid, OSError) as error:
        raise CommandFailed(str(error)) from None
    typer.echo("\n".join(signer.for_log(log).verifier().vkey for log in SIGNED))


@app.command()
def keys(data: DataOption = None) -> None:
    """Print the public keys that sign checkpoints and exports, one a line: what --key takes."""
    from services.eventlog import trees

    with opened_store(data) as opened, opened.recorder.reading() as cursor:
        typer.echo("\n".join(vkey for vkey, _, _ in trees.keys(cursor)))


@app.command()
def checkpoint(
    log: LogOption = "events",
    size: Annotated[int | None, typer.Option(help="The one of this size instead of the last.")] = None,
    data: DataOption = None,
) -> None:
    """Print the last signed checkpoint; keep it: whoever has it can tell later whether the log before it was changed."""
    from services.eventlog import trees

    with opened_store(data) as opened, opened.recorder.reading() as cursor:
        after = 0 if size is None else size - 1
        found = trees.checkpoints(cursor, _log(log), after=after, up_to=size, newest=1)
    if not found:
        raise CommandFailed(f"no checkpoint of the {log}{'' if size is None else f' of size {size}'}; does audit run?")
    typer.echo(found[0].note, nl=False)


@app.command()
def prove(
    position: Annotated[
        int | None, typer.Option(help="Prove that this position (receipt number) is in the log.")
    ] = None,
    from_size: Annotated[
        int | None, typer.Option("--from", help="Prove that the log of this size is a beginning …")
    ] = None,
    to_size: Annotated[int | None, typer.Option("--to", help="… of the log of this size; the last signed one.")] = None,
    log: LogOption = "events",
    data: DataOption = None,
) -> None:
    """Print an inclusion proof (--position) or a consistency proof (--from, --to) as JSON, hashes in base64."""
    from services.audit import proofs

    if (position is None) == (from_size is None):
        raise CommandFailed("name either --position, or --from and perhaps --to")
    with opened_store(data) as opened, opened.recorder.reading() as cursor:
        try:
            made = (
                proofs.inclusion(cursor, _log(log), position, to_size)
                if position is not None
                else proofs.consistency(cursor, _log(log), from_size or 0, to_size)
            )
        except LookupError as error:
            raise CommandFailed(str(error)) from None
    typer.echo(json.dumps(made, indent=2))


@app.command()
def export(  # noqa: PLR0917 - options of a command line
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle, a zip file.")],
    by: Annotated[str, typer.Option("--by", help="Post of the person who asks for it; it is recorded.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is recorded.")],
    programme: Annotated[str | None, typer.Option(help="All of a programme.")] = None,
    unit: Annotated[str | None, typer.Option(help="All that a unit answered for, in any programme.")] = None,
    assignment: Annotated[str | None, typer.Option(help="One task, as PROGRAMME/CODE.")] = None,
    since: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint you hold: prove that the log goes on from it.")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a numbered bundle: events as stored, receipts, proofs, keys, definitions, figures, a dossier. Check: sauro-verify.

    The manifest is signed with the installation's key: SAURO_AUDIT_KEY, or that of the data folder.
    """
    from services.audit.access import Access
    from services.audit.export import Exported
    from services.audit.sauro_verify import verify as check

    request = _request(by, reason, programme=programme, unit=unit, assignment=assignment)

    def record(made: Exported) -> None:
        about, position = f"export {made.number}: {request.scope.code}", made.sizes["events"]
        owner = (made.organisation, request.scope.programme)
        access = Access("export", "cli", about, position, request.at, *owner, request.by_post, request.reason)
        asyncio.run(put_on_record(data, access))

    made = _exported(request, output, data, since or (), record)
    found = check(output)
    if as_json:
        typer.echo(
            json.dumps({"number": made.number, "events": made.events, "receipts": made.receipts, "sizes": made.sizes})
        )
    else:
        typer.echo(f"export {made.number}: {made.events} events, {made.receipts} receipts, in {output}")
    if found.problems:
        raise CommandFailed(f"the bundle does not hold: {found.problems[0]['message']}; run sauro audit verify")


def _request(by: str, reason: str, **named: str | None) -> "Request":
    """What is asked for, by whom and why, as it can be recorded; raises CommandFailed."""
    from services.audit.access import checked_reader, checked_reason
    from services.audit.export import Request, Scope
    from services.clock import SystemClock

    kinds: dict[str, Literal["programme", "unit", "assignment"]] = {
        "programme": "programme",
        "unit": "unit",
        "assignment": "assignment",
    }
    given = {kind: code for kind, code in named.items() if code is not None}
    if len(given) != 1:
        raise CommandFailed("name one of --programme, --unit, --assignment")
    try:
        who, why = checked_reader(by.strip()), checked_reason(reason.strip())
        ((kind, code),) = given.items()
        return Request(Scope(kinds[kind], code), who or "", why or "", SystemClock().now())
    except ValueError as error:
        raise CommandFailed(f"{error}; exports are part of the record") from None


def _exported(
    request: "Request", output: Path, data: Path | None, since: Sequence[Path], record: "Callable[[Exported], None]"
) -> "Exported":
    from services.audit.access import NotRecorded
    from services.audit.export import NothingToExport, TooLarge, export
    from services.audit.notes import NoteInvalid
    from services.audit.settings import AuditKeyMissing, signer_of

    with opened_store(data) as opened:
        try:
            kept = [file.read_text(encoding="utf-8") for file in since]
            return export(opened, request, output, signer_of(data or located(data).data), kept, record)
        except (NothingToExport, TooLarge, NotRecorded, AuditKeyMissing, NoteInvalid, LookupError, OSError) as error:
            raise CommandFailed(str(error)) from None


@app.command()
def verify(
    data: DataOption = None,
    folder: Annotated[
        Path | None, typer.Option(help="Audit folder, or a copy of it kept elsewhere.", envvar="SAURO_AUDIT_DIR")
    ] = None,
    checkpoints: Annotated[
        list[Path] | None, typer.Option("--checkpoint", help="A checkpoint somebody kept; may be repeated.")
    ] = None,
    key: KeyOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that check a large log; by default one a core, at most four.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every row and column of the live logs against checkpoints kept outside the database; exit 1 if any differs."""
    from services.audit.collecting import folder_tiles, from_file, from_folder
    from services.audit.notes import NoteInvalid
    from services.audit.verification import verify as check

    settings = located(data)
    folder = _folder(folder, data or settings.data)
    try:
        published = [*(from_folder(folder) if folder else ()), *(p for f in checkpoints or () for p in from_file(f))]
        heard = asyncio.run(_from_stream(settings.nats or "", settings.subject_prefix))
        verifiers = _verifiers(key, folder, data)
    except (NoteInvalid, OSError) as error:
        raise CommandFailed(str(error)) from None
    assert settings.postgres is not None
    with _bar(shown=not as_json) as progress:
        tiles = folder_tiles(folder) if folder else None
        every = [*published, *(heard or ())]
        report = check(settings.postgres, every, verifiers, tiles=tiles, progress=progress, workers=workers)
    if heard is None:
        report.notes.append("stream CHECKPOINTS: not reached; its checkpoints were not held against the logs")
    if key is None:
        report.notes.append("the keys are the installation's own; give those you trust with --key")
    typer.echo(json.dumps(report.as_json(), indent=2) if as_json else _said(report))
    if not report.clean:
        raise typer.Exit(1)


def _log(name: str) -> str:
    if name not in ("events", "receipts"):
        raise CommandFailed(f"there is no log '{name}'; there are events and receipts")
    return name


def _folder(folder: Path | None, base: Path | None) -> Path | None:
    """The audit folder to read: the one named, which must be there, else that of the data folder."""
    if folder is None:
        own = base / "audit" if base is not None else None
        return own if own is not None and own.is_dir() else None
    if not folder.is_dir():
        raise CommandFailed(
            f"there is no audit folder {folder}; without it the log is held against less than you think"
        )
    return folder


async def _from_stream(nats: str, prefix: str) -> "list[Published] | None":
    """What stream CHECKPOINTS holds; None when NATS does not answer in time."""
    from nats.errors import Error

    from services.audit.access import GRACE
    from services.audit.collecting import from_stream
    from services.bus import Bus, Names

    try:
        async with asyncio.timeout(GRACE):
            bus = await Bus.connect(nats, Names(prefix), name="sauro-cli")
    except (Error, OSError, TimeoutError):
        return None
    try:
        return await from_stream(bus)
    except (Error, TimeoutError):
        return None
    finally:
        await bus.close()


def _verifiers(key: str | None, folder: Path | None, data: Path | None) -> "list[Verifier]":
    """The keys to trust: those given, else those of the folder, else (with nothing better) those of the database."""
    from services.audit.collecting import keys_from
    from services.audit.sauro_verify import key_text
    from services.eventlog import trees

    if key is not None:
        return keys_from(key_text(key))
    if folder is not None and (folder / "keys").exists():
        return keys_from((folder / "keys").read_text(encoding="utf-8"))
    with opened_store(data) as opened, opened.recorder.reading() as cursor:
        return keys_from("\n".join(vkey for vkey, _, _ in trees.keys(cursor)))


@contextmanager
def _bar(*, shown: bool) -> "Iterator[Progress]":
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), disable=not shown, transient=True) as bar:
        task = bar.add_task("rows", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _said(report: "Report") -> str:
    figures: dict[str, Any] = report.as_json()
    lines = [f"WRONG  {problem.log}: {problem.message}" for problem in report.problems]
    lines += [
        f"{log:8}  {rows} rows, {report.covered[log]} of them covered by {report.checkpoints[log]} checkpoints"
        for log, rows in report.rows.items()
    ]
    places = [f"{where} ({counts['held']} of {counts['found']})" for where, counts in sorted(report.sources.items())]
    lines.append(f"held against: {', '.join(places) or 'nothing outside the database: this proves little'}")
    lines.append(
        f"texts: {report.texts['sealed']} that events hold the digest of, {report.texts['erased']} of them erased"
    )
    lines += report.notes
    speed = f"{figures['rows_per_second']} rows/s ({figures['events_per_second']} events/s with their receipts)"
    lines.append(f"{speed}, {figures['seconds']} s")
    lines.append("all rows are as they were signed" if report.clean else f"first: {report.problems[0].message}")
    return "\n".join(lines)

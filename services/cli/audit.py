"""`sauro audit`: proof for a reviewer. Checkpoints, proofs, numbered exports, and the check of the live database."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.common import CommandFailed, DataOption, JsonOption, located, opened_store
from services.cli.history import on_record

if TYPE_CHECKING:
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
    from services.audit.export import Exported, NothingToExport, Request, Scope
    from services.audit.export import export as make
    from services.audit.notes import NoteInvalid
    from services.audit.sauro_verify import verify as check
    from services.audit.settings import AuditKeyMissing, signer_of
    from services.clock import SystemClock

    scopes = [Scope("programme", programme or ""), Scope("unit", unit or ""), Scope("assignment", assignment or "")]
    named = [scope for scope in scopes if scope.code]
    if len(named) != 1:
        raise CommandFailed("name one of --programme, --unit, --assignment")
    if not by.strip() or not reason.strip():
        raise CommandFailed("--by and --reason must say who asks and why: exports are part of the record")
    request = Request(named[0], by.strip(), reason.strip(), SystemClock().now())
    with opened_store(data) as opened:
        try:
            kept = [file.read_text(encoding="utf-8") for file in since or ()]
            made: Exported = make(opened, request, output, signer_of(data or located(data).data), kept)
        except (NothingToExport, AuditKeyMissing, NoteInvalid, LookupError, OSError) as error:
            raise CommandFailed(str(error)) from None
    try:
        on_record(data, "export", f"export {made.number}: {named[0].code}", made.sizes["events"], by, reason)
    except CommandFailed:
        output.unlink(missing_ok=True)  # what is not on record is not handed out
        raise
    found = check(output)
    if as_json:
        typer.echo(
            json.dumps({"number": made.number, "events": made.events, "receipts": made.receipts, "sizes": made.sizes})
        )
    else:
        typer.echo(f"export {made.number}: {made.events} events, {made.receipts} receipts, in {output}")
    if found.problems:
        raise CommandFailed(f"the bundle does not hold: {found.problems[0]['message']}; run sauro audit verify")


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
    base = data or settings.data
    if folder is None and base is not None and (base / "audit").is_dir():
        folder = base / "audit"
    try:
        published = [*(from_folder(folder) if folder else ()), *(p for f in checkpoints or () for p in from_file(f))]
        published += asyncio.run(_from_stream(settings.nats or "", settings.subject_prefix))
        verifiers = _verifiers(key, folder, data)
    except (NoteInvalid, OSError) as error:
        raise CommandFailed(str(error)) from None
    assert settings.postgres is not None
    with _bar(shown=not as_json) as progress:
        tiles = folder_tiles(folder) if folder else None
        report = check(settings.postgres, published, verifiers, tiles=tiles, progress=progress, workers=workers)
    typer.echo(json.dumps(report.as_json(), indent=2) if as_json else _said(report, published, pinned=key is not None))
    if not report.clean:
        raise typer.Exit(1)


def _log(name: str) -> str:
    if name not in ("events", "receipts"):
        raise CommandFailed(f"there is no log '{name}'; there are events and receipts")
    return name


async def _from_stream(nats: str, prefix: str) -> "list[Published]":
    from services.audit.collecting import from_stream
    from services.bus import Bus, Names

    bus = await Bus.connect(nats, Names(prefix), name="sauro-cli")
    try:
        return await from_stream(bus)
    finally:
        await bus.close()


def _verifiers(key: str | None, folder: Path | None, data: Path | None) -> "list[Verifier]":
    """The keys to trust: those given, else those of the folder, else (with nothing better) those of the database."""
    from services.audit.collecting import keys_from
    from services.eventlog import trees

    if key is not None:
        return keys_from(key if "+" in key else Path(key).read_text(encoding="utf-8"))
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


def _said(report: "Report", published: "Sequence[Published]", *, pinned: bool) -> str:
    figures: dict[str, Any] = report.as_json()
    lines = [f"WRONG  {problem.log}: {problem.message}" for problem in report.problems]
    lines += [
        f"{log:8}  {rows} rows, {report.covered[log]} of them covered by {report.checkpoints[log]} checkpoints"
        for log, rows in report.rows.items()
    ]
    places = sorted({one.where for one in published})
    lines.append(f"held against: {', '.join(places) or 'nothing outside the database: this proves little'}")
    if not pinned:
        lines.append("the keys are the installation's own; give those you trust with --key")
    speed = f"{figures['rows_per_second']} rows/s ({figures['events_per_second']} events/s with their receipts)"
    lines.append(f"{speed}, {figures['seconds']} s")
    lines.append("all rows are as they were signed" if report.clean else f"first: {report.problems[0].message}")
    return "\n".join(lines)

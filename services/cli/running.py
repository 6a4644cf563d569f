"""`sauro up`, `sauro serve`, `sauro migrate`: running the services."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from services.cli.common import ADDRESSES, CommandFailed, DataOption
from services.partition import Partition
from services.settings import Settings

if TYPE_CHECKING:
    from services.app import Host

log = structlog.get_logger("sauro.running")
AUDIT = "audit"
SERVICES = ("intake", "relay", "projector", "timekeeper", "warning", AUDIT, "api")


def _partition(text: str) -> Partition:
    try:
        return Partition.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@contextmanager
def engines(settings: Settings, data: Path | None) -> Iterator[Settings]:
    """The configured engines, or embedded ones for as long as the block lasts; migrated."""
    from services.audit.settings import prepare
    from services.engines import EmbeddedEngines
    from services.eventlog.migrations import migrate as apply

    with ExitStack() as stack:
        if settings.postgres is None or settings.nats is None:
            embedded = stack.enter_context(EmbeddedEngines(data or settings.data))
            addresses = embedded.addresses
            prepare(embedded.data)
            settings = settings.model_copy(update={"postgres": addresses.postgres, "nats": addresses.nats})
        assert settings.postgres is not None
        apply(settings.postgres)
        yield settings


def up(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option(help="Keep the data in this folder; without it, it is thrown away.")
    ] = None,
    addresses: Annotated[
        Path | None, typer.Option(help="Write the addresses of API, NATS and PostgreSQL as JSON once all is ready.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port of the HTTP API; a free one by default.")] = None,
) -> None:
    """Run all services on embedded or configured engines with the system clock, in processes of their own, until Ctrl-C.

    On configured engines the audit needs a key (SAURO_AUDIT_KEY); without one it is left out.
    """
    from services.cli.processes import started
    from services.cli.warming import warm_up

    settings = Settings()
    if data is not None:
        _require_folder(data)
    warm_up()
    if port is not None:
        settings = settings.model_copy(update={"api_port": port})
    files = [file for file in (addresses, data / ADDRESSES if data else None) if file is not None]
    with engines(settings, data) as located:
        try:
            with started(_services(), _environment(located, context.find_root().params["log_level"])) as processes:
                if (found := processes.ready()) is not None:
                    pids = {f"pid_{service}": str(pid) for service, pid in processes.pids.items()}
                    for file in files:
                        write_addresses(file, found | pids)
                    _say(found)
                    processes.wait()
        finally:
            for file in files:
                file.unlink(missing_ok=True)


def serve(
    service: Annotated[str, typer.Argument(help=f"One of {', '.join(SERVICES)}.")],
    addresses: Annotated[
        Path | None, typer.Option(help="Write the service's addresses as JSON once it is ready.")
    ] = None,
    partition: Annotated[
        Partition | None,
        typer.Option(
            parser=_partition, metavar="K/N", help="Intake only: take the k-th of n shares of the programmes' commands."
        ),
    ] = None,
) -> None:
    """Run one service on the engines named by SAURO_POSTGRES and SAURO_NATS: one process a service, for production."""
    if service not in SERVICES:
        raise typer.BadParameter(f"'{service}' is no service; there are {', '.join(SERVICES)}", param_hint="SERVICE")
    if partition is not None and service != "intake":
        raise typer.BadParameter(
            f"only intake has partitions; start one '{service}', and another to stand by", param_hint="--partition"
        )
    if service == AUDIT and (lacking := _lacking_key()):
        raise CommandFailed(lacking)
    settings = Settings()
    if partition is not None:
        settings = settings.model_copy(update={"partition": partition})
    asyncio.run(run(settings, (service,), [addresses] if addresses else [], quiet=True))


def migrate(data: DataOption = None) -> None:
    """Bring the database to the present schema; needs the owner's rights. `sauro up` does it by itself."""
    from services.cli.common import located
    from services.eventlog.migrations import migrate as apply

    settings = located(data)
    assert settings.postgres is not None
    applied = apply(settings.postgres)
    typer.echo("\n".join(f"applied {name}" for name in applied) or "nothing to apply")


def _environment(settings: Settings, log_level: str) -> dict[str, str]:
    """The environment, with what was found out or asked for since this process began."""
    return os.environ | {
        "SAURO_POSTGRES": settings.postgres or "",
        "SAURO_NATS": settings.nats or "",
        "SAURO_API_PORT": str(settings.api_port),
        "SAURO_LOG_LEVEL": log_level,
    }


def _services() -> tuple[str, ...]:
    """All services; all but the audit where it has no key to sign with, and that is said."""
    lacking = _lacking_key()
    if lacking is None:
        return SERVICES
    log.warning("running without the service 'audit': nothing is signed", reason=lacking)
    return tuple(service for service in SERVICES if service != AUDIT)


def _lacking_key() -> str | None:
    """What is said when no key is named; None when it can be used. Raises CommandFailed when the one named cannot."""
    from services.audit.notes import NoteInvalid
    from services.audit.settings import AuditKeyMissing, AuditSettings

    try:
        AuditSettings().signer()
    except AuditKeyMissing as missing:
        return str(missing)
    except NoteInvalid as invalid:
        raise CommandFailed(f"SAURO_AUDIT_KEY: {invalid}") from None
    return None


def _require_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(f"--data {folder} cannot be a data folder ({error.strerror}); name another") from None


async def run(settings: Settings, services: Sequence[str], files: Sequence[Path], *, quiet: bool = False) -> None:
    """Run services until a signal ends them; write the addresses once they are ready."""
    from services.app import Host, away

    delay = 0.5
    while True:
        host = Host(settings, services)
        try:
            await _run_once(host, settings, files, quiet=quiet)
        except (Exception, BaseExceptionGroup) as trouble:
            reason = away(trouble)
            if reason is None or (host.ready.is_set() and not host.closed):
                raise
            # An engine is away while we start (in which order things start must not matter), or it ended our connection.
            log.warning("cannot go on, beginning anew", services=services, trouble=reason, delay=delay)
            with suppress(TimeoutError):
                await asyncio.wait_for(host.app.asked_to_end.wait(), delay)
                return
            delay = min(delay * 2, 5.0)
        else:
            return


async def _run_once(host: "Host", settings: Settings, files: Sequence[Path], *, quiet: bool) -> None:
    from services.hosting import end

    announced = asyncio.create_task(_announce_ready(host.ready, lambda: host.api_address, settings, files, quiet=quiet))
    running, asked = asyncio.create_task(host.app.run()), asyncio.create_task(host.app.asked_to_end.wait())
    try:
        await asyncio.wait((running, asked), return_when=asyncio.FIRST_COMPLETED)
        if host.ready.is_set() or running.done():
            await running
    finally:
        await end((running, asked))  # one that still waits for an engine would wait for ever
        announced.cancel()
        with suppress(asyncio.CancelledError):
            await announced


async def _announce_ready(
    ready: asyncio.Event, api: Callable[[], str | None], settings: Settings, files: Sequence[Path], *, quiet: bool
) -> None:
    await ready.wait()
    found = {"api": api(), "nats": settings.nats, "postgres": settings.postgres}
    for file in files:
        write_addresses(file, found)
    if not quiet:
        _say(found)


def _say(found: Mapping[str, str | None]) -> None:
    typer.echo(f"API         {found['api']}/v1/programmes\nNATS        {_safe(found['nats'])}")
    typer.echo(f"PostgreSQL  {found['postgres']}\nReady. Stop with Ctrl-C.")


def _safe(url: str | None) -> str:
    """The NATS address without its password."""
    return (url or "").rsplit("@", 1)[-1]


def write_addresses(file: Path, addresses: Mapping[str, str | None]) -> None:
    """Write addresses whole or not at all, readable by the owner only: they hold the NATS password."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(addresses, indent=2) + "\n", encoding="utf-8")
    temporary.replace(file)

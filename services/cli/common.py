"""What the commands share: where the engines are, and how a failure is said."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.settings import Settings

if TYPE_CHECKING:
    from services.store import Store

ADDRESSES = "addresses.json"

DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Data folder of a running 'sauro up'; its addresses are used.", envvar="SAURO_DATA"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


class CommandFailed(Exception):
    """A command could not do its work; the message says why and what helps."""


def located(data: Path | None) -> Settings:
    """Settings with the engines' addresses: from the environment, or from a running instance's data folder."""
    settings = Settings()
    if settings.postgres is not None and settings.nats is not None:
        return settings
    folder = data or settings.data
    if folder is None:
        raise CommandFailed(
            "no engines given: set SAURO_POSTGRES and SAURO_NATS, or name a running instance with --data DIR"
        )
    file = folder / ADDRESSES
    if not file.exists():
        raise CommandFailed(
            f"nothing runs on {folder} ({ADDRESSES} is missing); start it with: sauro up --data {folder}"
        )
    addresses = json.loads(file.read_text(encoding="utf-8"))
    return settings.model_copy(update={"postgres": addresses["postgres"], "nats": addresses["nats"]})


@contextmanager
def opened_store(data: Path | None) -> Iterator["Store"]:
    """The store of a running instance."""
    from eventsourcing.persistence import PersistenceError

    from services.store import Store

    settings = located(data)
    assert settings.postgres is not None
    store = Store.open(settings.postgres, application="sauro-cli")
    try:
        yield store
    except PersistenceError as error:
        raise CommandFailed(f"PostgreSQL does not answer or is not migrated: {error}") from error
    finally:
        store.close()

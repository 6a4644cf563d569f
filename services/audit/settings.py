"""Settings of the audit, from the environment, all prefixed SAURO_AUDIT_."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.audit.notes import Signer

LOCAL = "sauro.local"
KEY, FOLDER = "audit.key", "audit"


class AuditKeyMissing(Exception):
    """No key to sign checkpoints with."""

    def __init__(self) -> None:
        super().__init__(
            "the audit has no key: make one with 'sauro audit key new FILE --name sauro.example.vn', keep it safe, and set "
            "SAURO_AUDIT_KEY=FILE"
        )


class AuditSettings(BaseSettings):
    """How the audit signs, and where it copies to."""

    model_config = SettingsConfigDict(env_prefix="SAURO_AUDIT_", env_file=None, env_ignore_empty=True)

    key: Path | None = Field(None, description="file with the private key that signs checkpoints (mode 0600)")
    dir: Path | None = Field(None, description="folder of tiles and checkpoints that an outside body copies")
    interval: Annotated[float, Field(ge=0, le=3600)] = Field(
        1.0, description="seconds between two checkpoints of a log, at least"
    )

    def signer(self) -> Signer:
        """The key; raises AuditKeyMissing or NoteInvalid."""
        if self.key is None:
            raise AuditKeyMissing
        return Signer.read(self.key)


def signer_of(data: Path | None) -> Signer:
    """The key in use, for a command: that of the environment, else of a data folder. Raises AuditKeyMissing or NoteInvalid."""
    settings = AuditSettings()
    if settings.key is None and data is not None and (data / KEY).exists():
        return Signer.read(data / KEY)
    return settings.signer()


def prepare(data: Path) -> None:
    """Give an installation on embedded engines a key and a folder of its own below its data, unless it has them.

    Through the environment, so that the processes of `sauro up` find the same.
    """
    if not os.environ.get("SAURO_AUDIT_KEY"):
        key = data / KEY
        if not key.exists():
            Signer.generate(LOCAL).write(key)
        os.environ["SAURO_AUDIT_KEY"] = str(key)
        os.environ.setdefault("SAURO_AUDIT_DIR", str(data / FOLDER))

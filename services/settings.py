"""Settings from the environment, all prefixed SAURO_."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from services.partition import Partition

KEPT = 120_000
"""A storm of 50,000 limits leaves as many assignments in memory, and as many warnings that ask for them again."""
BATCH = 1024
"""Enough that what a batch costs by itself no longer counts, where many wait; where few do, half as many answer them sooner."""


class MissingEngines(Exception):
    """Neither addresses nor embedded engines were given."""

    def __init__(self) -> None:
        super().__init__("set SAURO_POSTGRES and SAURO_NATS, or use 'sauro up', which can start embedded engines")


class Settings(BaseSettings):
    """Where the engines are and how the services behave. Without SAURO_POSTGRES and SAURO_NATS the embedded engines run."""

    model_config = SettingsConfigDict(env_prefix="SAURO_", env_file=None)

    postgres: str | None = Field(None, description="libpq URI of the database that holds the log and the read models")
    nats: str | None = Field(None, description="NATS URL(s), comma-separated, of a JetStream server 2.12 or newer")
    data: Path | None = Field(None, description="folder of the embedded engines; a temporary one when unset")
    api_host: str = Field("127.0.0.1", description="address the HTTP API listens on")
    api_port: Annotated[int, Field(ge=0, le=65535)] = Field(0, description="port of the HTTP API; 0 takes a free one")
    subject_prefix: str = Field("", description="put before every NATS subject and stream name, for shared servers")
    replicas: Annotated[int, Field(ge=1, le=5)] = Field(
        1, description="copies of each JetStream stream; 3 in production"
    )
    batch: Annotated[int, Field(ge=1, le=2000)] = Field(BATCH, description="most commands in one intake transaction")
    states: Annotated[int, Field(ge=5000)] = Field(
        KEPT, description="states of subjects intake keeps in memory, of 2 to 4 kB each"
    )
    partition: Annotated[Partition, NoDecode, BeforeValidator(Partition.parse)] = Field(
        Partition(), description="share of the commands an intake instance takes, as k/n; 1/1 takes all"
    )

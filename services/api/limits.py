"""What one API process gives to those who stay connected; from the environment, all prefixed SAURO_API_."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0)]


class Limits(BaseSettings):
    """Bounds of streams and of requests that wait for a receipt; times in seconds."""

    model_config = SettingsConfigDict(env_prefix="SAURO_API_", env_file=None)

    streams: Annotated[int, Field(ge=0)] = Field(64, description="most readers of /v1/stream at a time")
    stream_stall: Seconds = Field(10.0, description="a reader whose socket takes nothing for so long is dropped")
    stream_heartbeat: Seconds = Field(15.0, description="pause after which a stream without events sends a comment")
    waiters: Annotated[int, Field(ge=0)] = Field(256, description="most requests that wait for a receipt at a time")
    publishing: Annotated[int, Field(ge=1)] = Field(256, description="most commands being published at a time")
    wait: Seconds = Field(30.0, description="longest wait for a receipt")

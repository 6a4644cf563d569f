"""The envelopes: CloudEvents 1.0 in JSON structured mode, for commands and for events (R-346).

Extension attributes are lower-case and flat, as CloudEvents wants them. `time` is when it happened (occurred_at),
`recordedtime` when the log took it in.
"""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field

from contracts.base import Command, Event, Model, value
from contracts.types import Code, Instant, MessageId, SourceCode, StreamId, Version

C = TypeVar("C", bound=Command)
E = TypeVar("E", bound=Event)


@value
class Actor:
    """Who acts: the post, its unit, for whom, and under which authority."""

    post: Code
    unit: Code
    on_behalf: Code | None = None
    authority: Code | None = None


class CommandEnvelope(Model, Generic[C]):
    """A command as a sender publishes it on `sauro.command.<source>.<programme>`.

    `programme` is the programme's code; for commands about an organisation it is the organisation's code.
    `expectedversion` is the version of the subject the sender saw; another version refuses the command (R-357).
    """

    specversion: Literal["1.0"]
    id: MessageId
    source: SourceCode
    type: Annotated[str, Field(max_length=120)]
    subject: StreamId
    time: Instant
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: Annotated[str, Field(max_length=300)] | None = None
    organisation: Code
    programme: Code
    actorpost: Code
    actorunit: Code
    actoronbehalf: Code | None = None
    actorauthority: Code | None = None
    correlationid: MessageId | None = None
    causationid: MessageId | None = None
    expectedversion: Annotated[int, Field(ge=0)] | None = None
    traceparent: Annotated[str, Field(max_length=100)] | None = None
    data: C


class EventEnvelope(Model, Generic[E]):
    """An event as it is stored, published and hashed: one form, byte for byte."""

    position: Version
    recordedtime: Instant
    specversion: Literal["1.0"]
    id: MessageId
    source: Annotated[str, Field(pattern=r"^//sauro/[A-Z0-9-]{1,40}$")]
    type: str
    subject: StreamId
    time: Instant
    datacontenttype: Literal["application/json"]
    organisation: Code
    programme: Code
    streamversion: Version
    actorpost: Code
    actorunit: Code
    actoronbehalf: Code | None = None
    actorauthority: Code | None = None
    sender: SourceCode
    commandid: MessageId
    correlationid: MessageId
    causationid: MessageId
    policyversion: Version | None = None
    data: E

"""What every aggregate shares: a request, an event with what surrounds it, a decision, a refusal.

`decide(request, state, context)` returns the events a command leads to or raises `Refused`; `evolve(state, recorded)`
folds one event into the state and is total for any order of a stream's events. Both are pure: time is `context.now`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast

from contracts.base import Command, Event
from contracts.envelope import Actor
from contracts.registry import AggregateContract

C_co = TypeVar("C_co", bound=Command, covariant=True)
E_co = TypeVar("E_co", bound=Event, covariant=True)
S = TypeVar("S")

SYSTEM_SOURCES = frozenset({"timekeeper", "warning", "audit"})


class Refused(Exception):
    """A rule refuses the command. Subclasses are named after the rule; `field` says where, the message the way out."""

    def __init__(self, message: str, *, field: str = "subject") -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    @property
    def rule(self) -> str:
        """The rule's name, as receipts carry it."""
        return type(self).__name__


class NoSuchStream(Refused):
    """The subject does not exist yet."""


class AlreadyExists(Refused):
    """The subject exists already."""


class NotNow(Refused):
    """The subject's status does not allow this act; the message names the status and what is allowed."""


class ReservedForSauro(Refused):
    """Only Sauro's own service may send this command."""


class StreamNotLoaded(Exception):
    """A decision needs streams that were not loaded; the caller loads them and decides again."""

    def __init__(self, *streams: str) -> None:
        super().__init__(*streams)
        self.streams = streams


class Request(NamedTuple, Generic[C_co]):
    """A validated command with its envelope. Instants are UTC."""

    data: C_co
    subject: str
    occurred_at: datetime
    actor: Actor
    source: str
    id: str
    organisation: str
    programme: str
    correlation_id: str | None = None
    causation_id: str | None = None
    expected_version: int | None = None

    @property
    def code(self) -> str:
        """The last code of the subject."""
        return self.subject.rsplit("/", 1)[-1]


class Recorded(NamedTuple, Generic[E_co]):
    """An event with what surrounds it. `position` is 0 until the log has given one."""

    data: E_co
    stream: str
    version: int
    occurred_at: datetime
    recorded_at: datetime
    actor: Actor
    organisation: str
    programme: str
    sender: str
    command_id: str
    correlation_id: str
    causation_id: str
    id: str
    position: int = 0
    policy_version: int | None = None

    @property
    def aggregate(self) -> str:
        """The first part of the stream id."""
        return self.stream.split("/", 1)[0]

    @property
    def code(self) -> str:
        """The last part of the stream id."""
        return self.stream.rsplit("/", 1)[-1]


class Change(NamedTuple):
    """One event a decision leads to. `stream` None means the subject; `occurred_at` None the request's own time."""

    event: Event
    stream: str | None = None
    occurred_at: datetime | None = None
    policy_version: int | None = None


Changes = list[Change]


def recorded(change: Change, request: Request[Any], now: datetime, *, version: int = 0, id_: str = "") -> Recorded[Any]:
    """A change as the event it becomes, recorded at `now` (UTC), but for its position in the log.

    Version and id are intake's to give; a fold within a decision needs neither.
    """
    return Recorded(
        data=change.event,
        stream=change.stream or request.subject,
        version=version,
        occurred_at=change.occurred_at or request.occurred_at,
        recorded_at=now,
        actor=request.actor,
        organisation=request.organisation,
        programme=request.programme,
        sender=request.source,
        command_id=request.id,
        correlation_id=request.correlation_id or request.id,
        causation_id=request.causation_id or request.id,
        id=id_,
        policy_version=change.policy_version,
    )


class Context(Protocol):
    """What a decision may read besides its subject. Every stream read is part of the version check (R-357)."""

    @property
    def now(self) -> datetime:
        """The instant the decision's events will carry as recorded_at, UTC."""
        ...

    def load(self, stream: str) -> Any | None:
        """The state of another stream, None if it has no events; raises StreamNotLoaded to ask for it."""
        ...

    def load_all(self, streams: Sequence[str]) -> list[Any | None]:
        """The states of several streams in order; raises StreamNotLoaded to ask for all that are missing at once."""
        ...


@dataclass(frozen=True)
class Decider(Generic[S]):
    """An aggregate as intake sees it: its contract, its two functions, and the streams a request will surely need."""

    contract: AggregateContract
    state: type[S]
    decide: Callable[[Request[Any], S | None, Context], Changes]
    evolve: Callable[[S | None, Recorded[Any]], S]
    reads: Callable[[Request[Any]], Iterable[str]] = lambda request: ()

    @property
    def name(self) -> str:
        """The aggregate's name, the first part of its stream ids."""
        return self.contract.name


Handler = Callable[[Request[Any], Any, Context], Changes]


def dispatch(
    name: str, opening: Mapping[type[Command], Handler], later: Mapping[type[Command], Handler]
) -> Callable[[Request[Any], Any, Context], Changes]:
    """A `decide` from two tables: commands that may open the stream, and commands that need it to exist.

    Handlers in `opening` get the state or None; those in `later` never get None.
    """

    def decide(request: Request[Any], state: Any, context: Context) -> Changes:
        kind = type(request.data)
        if handler := opening.get(kind):
            return handler(request, state, context)
        if state is None:
            raise NoSuchStream(f"{request.subject} does not exist; send its opening command first")
        return later[kind](request, state, context)

    return decide


def folding(table: Mapping[type[Event], Callable[[Any, Recorded[Any]], Any]]) -> Callable[[Any, Recorded[Any]], Any]:
    """An `evolve` from a table of event class to function."""

    def evolve(state: Any, recorded: Recorded[Any]) -> Any:
        return table[type(recorded.data)](state, recorded)

    return evolve


def changed(state: S, **fields: Any) -> S:
    """A frozen dataclass with some fields new, as `dataclasses.replace` makes it; without slots in a sixth of the time.

    Raises TypeError for a name that is no field.
    """
    if not hasattr(state, "__dict__"):
        return replace(state, **fields)  # type: ignore[type-var]
    after = object.__new__(type(state))
    values = after.__dict__
    values.update(state.__dict__)
    known = len(values)
    values.update(fields)
    if len(values) != known:
        raise TypeError(f"{type(state).__name__} has not all of the fields {', '.join(fields)}")
    return after


class _HasStatus(Protocol):
    @property
    def status(self) -> str: ...


def require_status(state: _HasStatus, request: Request[Any], *allowed: str) -> None:
    """Refuse an act that the subject's status does not allow."""
    if state.status not in allowed:
        raise NotNow(
            f"{request.subject} is {state.status}; {type(request.data).__name__} needs it to be {' or '.join(allowed)}"
        )


def changes(*events: Event | Change | None) -> Changes:
    """A decision from plain events; None is left out."""
    return [event if isinstance(event, Change) else Change(event) for event in events if event is not None]


def only_system(request: Request[Any]) -> None:
    """Refuse senders other than Sauro's own services."""
    if request.source not in SYSTEM_SOURCES:
        raise ReservedForSauro(
            f"{type(request.data).__name__} is sent by Sauro's own services, not by '{request.source}'", field="source"
        )


def require_stream(context: Context, stream: str, kind: type[S]) -> S:
    """The state of a stream the decision cannot do without."""
    state = context.load(stream)
    if state is None:
        raise NoSuchStream(f"{stream} does not exist; it must be registered first")
    return cast(S, state)

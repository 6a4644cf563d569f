"""Checkpoints on JetStream: stream CHECKPOINTS, a subject a log, kept for good; nobody may delete from it."""

from collections.abc import Sequence
from dataclasses import replace

from nats.js.errors import NotFoundError

from services.audit.store import SignedCheckpoint
from services.bus import Bus, StreamSpec, stream_config

CHECKPOINTS = StreamSpec("CHECKPOINTS", ("checkpoint", "*"), "signed heads of the two logs, as C2SP tlog-checkpoint")


async def ensure_stream(bus: Bus, replicas: int = 1) -> None:
    """Create the stream if it is missing."""
    config = replace(stream_config(bus.names, CHECKPOINTS, replicas), deny_delete=True, deny_purge=True)
    try:
        await bus.js.stream_info(config.name or "")
    except NotFoundError:
        await bus.js.add_stream(config)


def subject(bus: Bus, log: str) -> str:
    """Where a log's checkpoints appear."""
    return bus.names.subject("checkpoint", log)


async def last_published(bus: Bus, log: str) -> str | None:
    """The last note published of a log, None before the first."""
    try:
        message = await bus.js.get_last_msg(bus.names.stream(CHECKPOINTS.name), subject(bus, log))
    except NotFoundError:
        return None
    return (message.data or b"").decode("utf-8", "replace")


async def publish(bus: Bus, log: str, origin: str, found: Sequence[SignedCheckpoint]) -> None:
    """Publish notes in order; one the stream heard a moment ago is not kept twice."""
    await bus.publish_all(
        [
            (subject(bus, log), checkpoint.note.encode(), {"Nats-Msg-Id": f"{origin}/{checkpoint.size}"})
            for checkpoint in found
        ]
    )


async def published(bus: Bus, logs: Sequence[str], most: int = 5_000) -> list[tuple[str, str]]:
    """The notes the stream holds, with their log, oldest first; of very many the newest ones."""
    name = bus.names.stream(CHECKPOINTS.name)
    try:
        state = (await bus.js.stream_info(name)).state
    except NotFoundError:
        return []
    subjects = {subject(bus, log): log for log in logs}
    found = []
    for sequence in range(max(state.first_seq, state.last_seq - most + 1), state.last_seq + 1):
        try:
            message = await bus.js.get_msg(name, sequence, direct=True)
        except NotFoundError:
            continue
        if message.subject in subjects:
            found.append((subjects[message.subject], (message.data or b"").decode("utf-8", "replace")))
    return found

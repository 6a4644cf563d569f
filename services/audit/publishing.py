"""Checkpoints on JetStream: stream CHECKPOINTS, a subject a log, kept for good; nobody may delete from it."""

from collections.abc import Sequence

from nats.js.errors import NotFoundError

from services.bus import Bus
from services.eventlog.trees import SignedCheckpoint

CHECKPOINTS = "CHECKPOINTS"


async def last_published(bus: Bus, log: str) -> str | None:
    """The last note published of a log, None before the first."""
    try:
        message = await bus.js.get_last_msg(bus.names.stream(CHECKPOINTS), bus.names.checkpoint(log))
    except NotFoundError:
        return None
    return (message.data or b"").decode("utf-8", "replace")


async def publish(bus: Bus, log: str, origin: str, found: Sequence[SignedCheckpoint]) -> None:
    """Publish notes in order; one the stream heard a moment ago is not kept twice."""
    await bus.publish_all(
        [
            (bus.names.checkpoint(log), checkpoint.note.encode(), {"Nats-Msg-Id": f"{origin}/{checkpoint.size}"})
            for checkpoint in found
        ]
    )


async def published(bus: Bus, logs: Sequence[str], most: int = 5_000) -> list[tuple[str, str]]:
    """The notes the stream holds, with their log, oldest first; of very many the newest ones."""
    name = bus.names.stream(CHECKPOINTS)
    try:
        state = (await bus.js.stream_info(name)).state
    except NotFoundError:
        return []
    subjects = {bus.names.checkpoint(log): log for log in logs}
    found = []
    for sequence in range(max(state.first_seq, state.last_seq - most + 1), state.last_seq + 1):
        try:
            message = await bus.js.get_msg(name, sequence, direct=True)
        except NotFoundError:
            continue
        if message.subject in subjects:
            found.append((subjects[message.subject], (message.data or b"").decode("utf-8", "replace")))
    return found

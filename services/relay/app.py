"""The relay at work: woken by every append."""

from services.eventlog.recorder import CHANNEL
from services.hosting import Bell, Runtime, Work, gathering
from services.relay.core import BATCH, Relay

NAME = "relay"
REST = 0.005


async def begin(runtime: Runtime) -> Work:
    """The relay from log to EVENTS."""
    relay = Relay(runtime.store, runtime.bus)
    bell = await Bell(runtime.store.dsn, CHANNEL).__aenter__()
    return Work(relay.step, bell.wait, lambda: relay.position, bell.__aexit__, lambda did: gathering(did, BATCH, REST))

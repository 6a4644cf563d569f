"""The audit at work: woken by every append."""

from datetime import timedelta

from services.audit.follower import BATCH, Follower
from services.audit.settings import AuditSettings
from services.eventlog.recorder import CHANNEL
from services.hosting import Bell, Runtime, Work, gathering

NAME = "audit"
REST = 0.1


async def begin(runtime: Runtime) -> Work:
    """The follower of both logs; raises AuditKeyMissing without a key."""
    settings = AuditSettings()
    follower = Follower(
        runtime.store,
        runtime.bus,
        runtime.clock,
        settings.signer(),
        folder=settings.dir,
        interval=timedelta(seconds=settings.interval),
    )
    bell = await Bell(runtime.store.dsn, CHANNEL).__aenter__()
    return Work(
        follower.step, bell.wait, lambda: follower.position, bell.__aexit__, lambda did: gathering(did, BATCH, REST)
    )

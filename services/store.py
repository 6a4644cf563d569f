"""What every service shares: the registry, the codec, the log, and a pool of connections."""

from dataclasses import dataclass

import orjson
from eventsourcing.postgres import PostgresDatastore
from psycopg.types.json import set_json_loads

from services.eventlog.codec import EventCodec
from services.eventlog.recorder import LogRecorder, datastore
from services.registry import REGISTRY, Registry


@dataclass(frozen=True)
class Store:
    """One process's access to PostgreSQL."""

    dsn: str
    registry: Registry
    codec: EventCodec
    datastore: PostgresDatastore
    recorder: LogRecorder

    @classmethod
    def open(
        cls,
        dsn: str,
        registry: Registry = REGISTRY,
        *,
        application: str = "sauro",
        pool_size: int = 1,
        idle_in_transaction: float = 0.0,
    ) -> "Store":
        """Connect as the application's role. Migrations must have run."""
        set_json_loads(orjson.loads)
        store = datastore(dsn, pool_size=pool_size, application=application, idle_in_transaction=idle_in_transaction)
        return cls(dsn, registry, EventCodec(registry.contracts), store, LogRecorder(store))

    def close(self) -> None:
        """Give the connections back."""
        self.datastore.close()

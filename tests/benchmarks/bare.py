"""Processes that do with nats-py, psycopg and the engines alone what the services do, without events, rules or an API.

`python -m tests.benchmarks.bare answer|wake DSN NATS PREFIX --addresses FILE` runs until it is interrupted.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import nats
import orjson
import psycopg
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig

from projections.status import CHANNEL
from services.bus import Bus, Names
from tests.benchmarks.bench import Installation, delete_streams
from tests.benchmarks.commands import PROGRAMME, SOURCE, code_of
from tests.benchmarks.ingest import connected
from tests.benchmarks.peers import copy_events, copy_receipts, raw_tables
from tests.benchmarks.running import started

WAKE, AWAKE = "raw.wake", "raw.awake"


@asynccontextmanager
async def bare(work: str, place: Installation) -> AsyncIterator[dict[str, Any]]:
    """One of the processes at work on an installation."""
    command = (sys.executable, "-m", "tests.benchmarks.bare", work, place.dsn, place.nats, place.names.prefix)
    async with started(command) as running:
        yield running


@asynccontextmanager
async def answering(place: Installation, assignments: int, version: int) -> AsyncIterator[Bus]:
    """A bus with streams of its own, configured as ours, whose commands the bare loop answers.

    Its table `raw_rows` holds so many assignments, all at one version.
    """
    apart = replace(place, names=Names(f"{place.names.prefix}RAW-"))
    store, bus = await connected(apart)
    store.close()
    with psycopg.connect(place.dsn) as connection:
        raw_tables(connection)
        connection.execute(
            "CREATE TABLE raw_rows (subject text PRIMARY KEY, version int NOT NULL) WITH (fillfactor = 50)"
        )
        rows = [(subject_of(number), version) for number in range(assignments)]
        connection.cursor().executemany("INSERT INTO raw_rows VALUES (%s, %s)", rows)
    try:
        async with bare("answer", apart):
            yield bus
    finally:
        await bus.close()
        await delete_streams(apart)


def subject_of(assignment: int) -> str:
    """The stream of a cloned assignment."""
    return f"assignment/{PROGRAMME}/{code_of(assignment)}"


async def answer(dsn: str, client: Client, names: Names, ready: Path) -> None:
    """Fetch what is there, COPY an event and a receipt a command, move its row on, commit, tell the sender, acknowledge."""
    js, stream = client.jetstream(), names.stream("COMMANDS")
    await js.add_consumer(
        stream, ConsumerConfig(durable_name="raw", ack_policy=AckPolicy.EXPLICIT, max_ack_pending=4096)
    )
    subscription = await js.pull_subscribe_bind("raw", stream)
    number = 0
    with psycopg.connect(dsn, autocommit=True) as connection:
        tell_ready(ready)
        while True:
            messages = await waiting(subscription)
            commands = [orjson.loads(message.data) for message in messages]
            store(connection, messages, commands, number)
            number += len(messages)
            receipts = [{"data": {"id": command["id"], "outcome": "accepted"}} for command in commands]
            await js.publish(names.receipt(SOURCE), orjson.dumps(receipts))
            for message in messages:
                await message.ack()


async def waiting(subscription: JetStreamContext.PullSubscription) -> list[Msg]:
    """The next message as soon as it comes, with those that are there as well: nats-py would wait for a batch to fill."""
    while True:
        try:
            (first,) = await subscription.fetch(1, timeout=5)
        except TimeoutError:
            continue
        more = min(first.metadata.num_pending, 255)
        return [first, *(await subscription.fetch(more, timeout=5) if more else ())]


def store(connection: psycopg.Connection[Any], messages: list[Msg], commands: list[Any], number: int) -> None:
    """One transaction a batch; positions and versions simply count on."""
    now = datetime.now(UTC)
    numbered = list(enumerate(zip(messages, commands, strict=True), number + 1))
    with connection.transaction(), connection.cursor() as cursor:
        copy_events(cursor, [(n, c["subject"], n, c["type"], now, message.data) for n, (message, c) in numbered])
        digests = [(n, c, sha256(message.data).digest()) for n, (message, c) in numbered]
        copy_receipts(cursor, [(n, SOURCE, c["id"], 1, digest, now, n, 1, n, None) for n, c, digest in digests])
        moved = [(command["subject"],) for command in commands]
        cursor.executemany("UPDATE raw_rows SET version = version + 1 WHERE subject = %s", moved)


async def wake(dsn: str, client: Client, names: Names, ready: Path) -> None:
    """Hold the timekeeper's connections; told an instant (seconds since 1970), sleep until then and publish."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANNEL}".encode())

        async def hear(message: Msg) -> None:
            await asyncio.sleep(float(message.data) - time.time())
            await client.publish(names.subject(AWAKE), b"")

        await client.subscribe(names.subject(WAKE), cb=hear)
        await client.flush()
        tell_ready(ready)
        await asyncio.Event().wait()


def tell_ready(file: Path) -> None:
    """As `sauro` tells: the file is there whole or not at all."""
    made = file.with_suffix(".new")
    made.write_text("{}")
    made.rename(file)


async def main(work: str, dsn: str, url: str, prefix: str, _: str, addresses: str) -> None:
    """Do the work until interrupted."""
    client = await nats.connect(url)
    await {"answer": answer, "wake": wake}[work](dsn, client, Names(prefix), Path(addresses))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

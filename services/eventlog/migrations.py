"""Brings a database to the present schema: numbered SQL files, each once, in one transaction each."""

from importlib.resources import files

import psycopg

_LOCK = 0x5A_55_52_4D


def migrate(dsn: str) -> list[str]:
    """Apply what is missing of deploy/migrations and return the names applied. Needs the owner's rights."""
    applied: list[str] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS sauro_migrations (name text PRIMARY KEY, at timestamptz DEFAULT now())"
        )
        done = {row[0] for row in connection.execute("SELECT name FROM sauro_migrations")}
        for script in sorted((files("deploy") / "migrations").iterdir(), key=lambda path: path.name):
            if script.name in done or not script.name.endswith(".sql"):
                continue
            with connection.transaction():
                connection.execute(script.read_text(encoding="utf-8").encode())
                connection.execute("INSERT INTO sauro_migrations (name) VALUES (%s)", (script.name,))
            applied.append(script.name)
    return applied

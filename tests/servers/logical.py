"""A PostgreSQL of its own whose log tells of every change: `wal_level = logical`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from hive.embedded import EmbeddedPostgres
from tests.servers import short_folder

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def logical_postgres() -> Iterator[EmbeddedPostgres]:
    with short_folder() as folder:
        server = EmbeddedPostgres(folder, fast=True)
        try:
            server.start()
            with psycopg.connect(server.url(), autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET wal_level = 'logical'")
                connection.execute("ALTER SYSTEM SET max_replication_slots = 60")
                connection.execute("ALTER SYSTEM SET max_wal_senders = 60")
                connection.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '2GB'")
            server.stop()
            server.start()
            yield server
        finally:
            server.destroy()

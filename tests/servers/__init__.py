"""Real servers for tests: one PostgreSQL and one Valkey a session, a database of its own for each test that asks.

Use them from a conftest.py:  from tests.servers import *  # noqa: F403
The servers are children of the test process and end with it, however it ends.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hive.embedded import EmbeddedPostgres, EmbeddedValkey

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "database_url",
    "empty_database_url",
    "migrated_template",
    "postgres",
    "redis_url",
    "servers_folder",
    "short_folder",
    "valkey",
]

_number = itertools.count(1)
_MEMORY = Path("/dev/shm")
_ROOMY = 8 << 30


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a short path that the servers' own account can pass through when the tests run as root.

    In memory where there is plenty: a first start takes a third of the time, and each database is made faster.
    """
    roomy = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOMY
    folder = Path(tempfile.mkdtemp(prefix="hive-", dir=_MEMORY if roomy else None)).resolve()
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def postgres(servers_folder: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(servers_folder, fast=True)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def valkey(servers_folder: Path) -> Iterator[EmbeddedValkey]:
    """Tests may kill it or wipe it; `redis_url` starts it again."""
    server = EmbeddedValkey(servers_folder, fast=True)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def migrated_template(postgres: EmbeddedPostgres) -> str | None:
    """The name of a database with our schema, to copy from; None in a tree that has no schema."""
    if importlib.util.find_spec("hive.ledger") is None or importlib.util.find_spec("hive.ledger.migrate") is None:
        return None
    from hive.ledger.migrate import migrate

    migrate(postgres.create_database("migrated"))
    return "migrated"


@pytest.fixture
def database_url(postgres: EmbeddedPostgres, migrated_template: str | None) -> Iterator[str]:
    """A database with our schema and no rows, for this test alone."""
    yield from _fresh_database(postgres, template=migrated_template)


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database without tables, for this test alone: a source to read from."""
    yield from _fresh_database(postgres, template=None)


def _fresh_database(server: EmbeddedPostgres, *, template: str | None) -> Iterator[str]:
    name = f"test_{next(_number)}"
    server.start()
    yield server.create_database(name, template=template)
    server.start()  # a test may have killed it
    server.drop_database(name)


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """A numbered database of the broker, emptied; a number comes round again after some fifty tests."""
    import redis

    valkey.start()
    url = valkey.url(next(_number) % 60 + 1)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url

"""The database and the broker of a hive that was given none: servers from wheels, on loopback, with passwords."""

from __future__ import annotations

from hive.embedded.places import ServerError
from hive.embedded.postgres import EmbeddedPostgres
from hive.embedded.server import FolderInUse
from hive.embedded.valkey import EmbeddedValkey

__all__ = ["EmbeddedPostgres", "EmbeddedValkey", "FolderInUse", "ServerError"]

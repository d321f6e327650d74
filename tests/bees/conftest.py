"""Servers that several test files of bees share: one of each a session."""

from __future__ import annotations

from tests.servers.mariadb import mariadb  # noqa: F401 - the fixture, by its name

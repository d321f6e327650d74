"""Fixtures that every test may ask for."""

from __future__ import annotations

from tests.servers import *  # noqa: F403 - the servers' fixtures, by name

"""The bees that a hive flies, as `hive config show` prints them: of its newest configuration, and registered ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from hive.config.model import BeeConfig, FleetConfig
from hive.settings import NotRunning, Settings

PATIENCE = 2
"""Seconds for a hive to answer. One that does not is not there."""

_BEES = """
SELECT b.name, b.config, b.origin, b.config_version, v.body ->> 'source'
  FROM hive.bee b LEFT JOIN hive.config_version v ON v.id = b.config_version
 WHERE b.origin IN ('file', 'registered') ORDER BY b.name
"""


@dataclass(frozen=True)
class Flown:
    """Bees, and where each came from: its file or `registered`, and the version that holds its block."""

    fleet: FleetConfig
    origins: Mapping[str, str]


def flown() -> Flown | None:
    """What the hive flies that the settings lead to; None where there is none, or it does not answer in time."""
    import psycopg
    from pydantic import ValidationError

    try:
        url = Settings().database()
    except (ValidationError, NotRunning, OSError, json.JSONDecodeError):
        return None  # the other commands say so
    address = f"postgresql://{url.partition('://')[2]}"
    try:
        with psycopg.connect(address, connect_timeout=PATIENCE, prepare_threshold=None) as connection:
            connection.execute("SELECT set_config('statement_timeout', %s, true)", [f"{PATIENCE}s"])
            rows = connection.execute(_BEES).fetchall()
    except psycopg.Error:
        return None
    bees: dict[str, BeeConfig] = {}
    origins: dict[str, str] = {}
    for name, block, origin, version, source in rows:
        bees[name] = BeeConfig.model_validate(block)
        told = origin if origin == "registered" else source or "file"
        origins[name] = f"{told}, version {version}"
    return Flown(FleetConfig.model_construct(bees=bees), origins)

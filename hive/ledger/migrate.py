"""Bring a database to the newest schema. Safe to run from many processes at once, and again."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from hive.ledger.db import make_engine
from hive.ledger.partitions import ensure_days

_LOCK = 7_245_811_903
"""Advisory lock of migrations: any number that nobody else takes."""


def migrate(url: str) -> None:
    """Create or upgrade the schema at `url` and make the partitions of the next days."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    logging.getLogger("alembic").setLevel(logging.WARNING)
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            connection.execute(sa.schema.CreateSchema("hive", if_not_exists=True))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            today = connection.execute(sa.text("SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date")).scalar_one()
            ensure_days(connection, today - dt.timedelta(days=1), days=9)
    finally:
        engine.dispose()

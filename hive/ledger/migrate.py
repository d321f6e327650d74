"""Bring a database to the newest schema. Safe to run from many processes at once, and again."""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path

import sqlalchemy as sa

from hive.ledger.db import make_engine
from hive.ledger.partitions import ensure_days

_LOCK = 7_245_811_903
"""Advisory lock of migrations: any number that nobody else takes."""


_MIGRATIONS = Path(__file__).parent / "migrations"


class NewerSchema(RuntimeError):
    """The database was made by a newer version than this one."""


def known_schemas() -> list[str]:
    """The versions of the schema that this installation knows, oldest first."""
    return [path.name.partition("_")[0] for path in sorted((_MIGRATIONS / "versions").glob("[0-9]*.py"))]


def ensure_migrated(engine: sa.Engine, url: str) -> None:
    """Migrate unless the schema is there already, which one query tells. Raises NewerSchema."""
    known = known_schemas()
    with engine.begin() as connection:
        there = connection.execute(sa.text("SELECT to_regclass('hive.alembic_version') IS NOT NULL")).scalar_one()
        named = sa.text("SELECT version_num FROM hive.alembic_version")
        version = connection.execute(named).scalar() if there else None
    if version == known[-1]:
        return
    if version is not None and version not in known:
        raise NewerSchema(
            f"the database is at schema {version}, and this version of the hive knows it up to {known[-1]}: "
            "upgrade this installation"
        )
    migrate(url)


def migrate(url: str) -> None:
    """Create or upgrade the schema at `url` and make the partitions of the next days."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
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

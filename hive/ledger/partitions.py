"""Partitions by day: made ahead, dropped when drained and old."""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa

from hive.ledger.tables import DAILY

_FILLFACTOR = {"task": 70, "batch": 70}
"""Rows of these change state: room on the page keeps the change there."""


def _name(table: str, day: dt.date) -> str:
    return f"{table}_{day:%Y%m%d}"


def existing(connection: sa.Connection, table: str) -> dict[dt.date, str]:
    """Day -> partition of a daily table."""
    found = connection.execute(
        sa.text(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = CAST(:parent AS regclass)"
        ),
        {"parent": f"hive.{table}"},
    ).scalars()
    return {dt.datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=dt.UTC).date(): name for name in found}


def ensure_days(connection: sa.Connection, first: dt.date, days: int) -> None:
    """Make the partitions of `days` days from `first` on; those that exist stay as they are.

    A table is made first and attached after: ATTACH takes a lock that landings do not wait for, CREATE ... PARTITION
    OF one that waits for every open landing.
    """
    for table in DAILY:
        have = existing(connection, table)
        for day in (first + dt.timedelta(days=n) for n in range(days)):
            if day in have:
                continue
            name, end = _name(table, day), day + dt.timedelta(days=1)
            options = f" WITH (fillfactor = {_FILLFACTOR[table]})" if table in _FILLFACTOR else ""
            connection.exec_driver_sql(f"CREATE TABLE hive.{name} (LIKE hive.{table} INCLUDING ALL){options}")
            connection.exec_driver_sql(
                f"ALTER TABLE hive.{table} ATTACH PARTITION hive.{name} FOR VALUES FROM ('{day}') TO ('{end}')"
            )


def drop_before(connection: sa.Connection, day: dt.date) -> list[str]:
    """Drop the partitions of days before `day` whose flights are all closed; their totals stay in `flight`."""
    open_day = connection.execute(
        # A sealed batch without a receipt is never forgotten, whatever became of its flight.
        sa.text(
            "SELECT least((SELECT min(day) FROM hive.flight WHERE state IN ('queued', 'running')),"
            " (SELECT min(day) FROM hive.batch WHERE state = 'sealed'))"
        )
    ).scalar()
    limit = min(day, open_day) if open_day else day
    dropped = []
    for table in DAILY:
        for have, name in existing(connection, table).items():
            if have < limit:
                connection.exec_driver_sql(f"DROP TABLE hive.{name}")
                dropped.append(name)
    return dropped

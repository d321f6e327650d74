"""How far a PostgreSQL server has come: the place in its log up to which its rows can be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bees.core.errors import GiveUp
from bees.core.sql.postgres.feed import lsn_number, lsn_text

if TYPE_CHECKING:
    from bees.core.sql.postgres.session import Stream
    from bees.core.sql.progress import Word

_PLACE = """'@', CASE WHEN pg_catalog.pg_is_in_recovery()
       THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END"""
_ASKED = f"SELECT pg_catalog.concat(c.system_identifier, {_PLACE}) FROM pg_catalog.pg_control_system() AS c"  # noqa: S608 - constants
_ASKED_PLACE = f"SELECT pg_catalog.concat({_PLACE})"


def reached(data: Stream, where: str) -> str | None:
    """Where the session's server stands. None where it does not say, as some services that are no PostgreSQL."""
    try:
        told = _asked(data, _ASKED, where)
    except GiveUp:
        return None
    return told if told.rpartition("@")[2] else None


def compared(data: Stream, seen: str, where: str) -> Word:
    """Whether the session's server has all that another one, or itself, had at `seen`."""
    system, _, place = seen.rpartition("@")
    now_system, _, now = _asked(data, _ASKED if system else _ASKED_PLACE, where).rpartition("@")
    if system != now_system:
        return "other"
    return "there" if now and lsn_number(now) >= lsn_number(place) else "behind"


def at(lsn: int) -> str:
    """A place in the log of whichever server was asked."""
    return f"@{lsn_text(lsn)}"


def _asked(data: Stream, statement: str, where: str) -> str:
    _, batches = data.read(statement, where)
    return "".join(str(value) for batch in batches for value in batch.columns[0].to_pylist())

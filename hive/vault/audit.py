"""What people did with keys and tokens, written down in the transaction's own time: who, when, how much, and why."""

from __future__ import annotations

import getpass
import os
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from hive.ledger.tables import audit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime


class Entry(NamedTuple):
    id: int
    at: datetime
    who: str
    action: str
    tenant: str
    body: Mapping[str, Any]


def note(engine: sa.Engine, action: str, tenant: str, body: Mapping[str, Any], who: str | None = None) -> None:
    """Write an entry and commit it, before what it tells of is done. `body` holds counts and names, never a value.

    `who`: the account of somebody who is logged in; None: the user of the operating system.
    """
    with engine.begin() as connection:
        connection.execute(sa.insert(audit).values(who=who or _who(), action=action, tenant=tenant, body=body))


def entries(engine: sa.Engine, limit: int = 100) -> Sequence[Entry]:
    """The newest entries of all tenants, newest first."""
    c = audit.c
    query = sa.select(c.id, c.at, c.who, c.action, c.tenant, c.body).order_by(c.id.desc()).limit(limit)
    with engine.connect() as connection:
        return [Entry(*row) for row in connection.execute(query)]


def _who() -> str:
    """The user that the kernel knows: environment variables may say anything."""
    try:
        import pwd

        user = pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        user = str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
    return f"{user}@{socket.gethostname()}"

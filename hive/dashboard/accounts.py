"""Who may log in: names, roles, and passwords as salted scrypt hashes."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import os
import re
import threading
from typing import Literal, NamedTuple, cast, get_args

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from hive.ledger.db import Database
from hive.ledger.tables import account

Role = Literal["viewer", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)

BUILT_IN = "operator"
"""The login that `hive up` prints; its name is no account's."""
SHORTEST = 10
"""Characters of a password."""
_LONGEST = 1024
_COST = (1 << 14, 8, 5)
"""scrypt's n, r and p: 16 MiB and a third of a second here. OWASP's Password Storage Cheat Sheet lists it as enough."""
_MEMORY = 64 << 20
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._@-]{0,62}[a-z0-9])?")
_one_at_a_time = threading.Lock()
"""Logins that arrive together take one processor, not all of them."""


class BadAccount(ValueError):
    """No such name or password is taken; the text says what is."""


class UnknownAccount(LookupError):
    """No account has this name."""


class Account(NamedTuple):
    name: str
    role: Role
    created_at: dt.datetime
    seen_at: dt.datetime | None


def put(db: Database, name: str, role: Role, password: str) -> bool:
    """Add an account, or give one a new role and password, which ends its sessions. False: it was there.

    Raises BadAccount.
    """
    if not _NAME.fullmatch(name) or name == BUILT_IN:
        taken = f"; {BUILT_IN!r} is the login that `hive up` prints" if name == BUILT_IN else ""
        raise BadAccount(f"the name is not taken: 1 to 64 of a-z, 0-9 and . _ @ - inside{taken}")
    if role not in ROLES:
        raise BadAccount(f"no role is named {role!r}; there are {' and '.join(ROLES)}")
    if not SHORTEST <= len(password) <= _LONGEST:
        raise BadAccount(f"the password has {len(password)} characters, and needs {SHORTEST} to {_LONGEST}")
    c = account.c
    made = {"role": role, "password": hashed(password)}
    with db.engine.begin() as connection:
        there = connection.execute(sa.select(c.name).where(c.name == name)).first() is not None
        query = insert(account).values(name=name, **made).on_conflict_do_update(index_elements=["name"], set_=made)
        connection.execute(query)
    return not there


def remove(db: Database, name: str) -> None:
    """Its sessions end with it. Raises UnknownAccount."""
    with db.engine.begin() as connection:
        if not connection.execute(sa.delete(account).where(account.c.name == name)).rowcount:
            raise UnknownAccount(f"no account is named {name!r}; `hive user list` names them")


def accounts(db: Database) -> list[Account]:
    """All accounts by name."""
    c = account.c
    query = sa.select(c.name, c.role, c.created_at, c.seen_at).order_by(c.name)
    with db.engine.connect() as connection:
        return [
            Account(row.name, cast("Role", row.role), row.created_at, row.seen_at) for row in connection.execute(query)
        ]


def hashed(password: str) -> str:
    """`scrypt$n$r$p$salt$hash`, the last two as base64."""
    salt = os.urandom(16)
    n, r, p = _COST
    parts = [base64.b64encode(part).decode() for part in (salt, _scrypt(password, salt, n, r, p))]
    return f"scrypt${n}${r}${p}${parts[0]}${parts[1]}"


def matches(password: str, stored: str | None) -> bool:
    """Whether it is the password of this hash. Takes as long where there is no hash, so that names cannot be tried."""
    known = stored or _NOBODY
    _, n, r, p, salt, expected = known.split("$")
    found = _scrypt(password[:_LONGEST], base64.b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(expected)) and stored is not None


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    with _one_at_a_time:
        word = password.encode("utf-8", "surrogatepass")
        return hashlib.scrypt(word, salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=32)


_NOBODY = "scrypt${}${}${}$AAAAAAAAAAAAAAAAAAAAAA==$AAAA".format(*_COST)

"""Who is logged in. The browser holds a random token, the ledger its hash: a log-out, a removed account and a new
password end a session at once, in every gateway.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass, field

import sqlalchemy as sa

from hive.dashboard.accounts import BUILT_IN, Role, matches
from hive.gateway.operator import operator_login
from hive.ledger.db import Database
from hive.ledger.tables import account, session
from hive.settings import Settings
from hive.vault import audit

LASTS = dt.timedelta(hours=12)
MOST_FAILURES = 10
"""Refused logins of one address within `WINDOW` seconds after which it has to wait."""
WINDOW = 60.0
_MOST_ADDRESSES = 10_000
SHOWN_LASTS = 300.0
"""Seconds for which a password that a program showed with a request is not looked at again."""
_MOST_SHOWN = 1000


@dataclass(frozen=True)
class Person:
    """Somebody who is logged in. `csrf` goes into each form of theirs."""

    name: str
    role: Role
    csrf: str = field(repr=False)

    @property
    def acts(self) -> bool:
        return self.role == "operator"


class Sessions:
    """Logins on one database."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings = settings
        self._db = db
        self._secret = secrets.token_bytes(32)
        self._shown: dict[bytes, float] = {}

    def log_in(self, name: str, password: str) -> str | None:
        """The token of a new session, or None. Both are written down; a name that is no account's is not: it may be a
        password that went into the wrong field.
        """
        known = self._credential(name)
        if known is None or not self._is_right(name, password, known[1]):
            who = f"account:{name}" if known is not None else "account:?"
            if known is None:
                matches(password, None)
            audit.note(self._db.engine, "login:refused", "default", {}, who)
            return None
        token = secrets.token_urlsafe(32)
        audit.note(self._db.engine, "login", "default", {"role": known[0]}, f"account:{name}")
        now = sa.func.clock_timestamp()
        row = {"id": _id(token), "account": name, "mark": _mark(token, known[1]), "expires_at": now + LASTS}
        with self._db.engine.begin() as connection:
            connection.execute(sa.delete(session).where(session.c.expires_at < now))
            connection.execute(sa.insert(session).values(row))
            connection.execute(sa.update(account).where(account.c.name == name).values(seen_at=now))
        return token

    def shows(self, name: str, password: str) -> bool:
        """Whether they belong together: programs show both with every request. Wrong ones are written down."""
        known = self._credential(name)
        if known is None or not self._is_right(name, password, known[1]):
            if known is None:
                matches(password, None)
            who = f"account:{name}" if known is not None else "account:?"
            audit.note(self._db.engine, "login:refused", "default", {}, who)
            return False
        if len(self._shown) >= _MOST_SHOWN:
            self._shown.clear()
        self._shown[self._proof(name, password, known[1])] = time.monotonic()
        return True

    def has_shown(self, name: str, password: str) -> bool:
        """Whether `shows` said so lately and the account is still the same: to look at a password takes long."""
        known = self._credential(name) if name else None
        at = self._shown.get(self._proof(name, password, known[1])) if known is not None else None
        return at is not None and at > time.monotonic() - SHOWN_LASTS

    def _proof(self, name: str, password: str, credential: str) -> bytes:
        return hmac.digest(self._secret, f"{name}\0{credential}\0{password}".encode("utf-8", "replace"), "sha256")

    def person(self, token: str) -> Person | None:
        """Whose session it is; None where it has ended."""
        if not token:
            return None
        c = session.c
        query = sa.select(c.account, c.mark).where(c.id == _id(token), c.expires_at > sa.func.clock_timestamp())
        with self._db.engine.connect() as connection:
            row = connection.execute(query).first()
        known = self._credential(row.account) if row is not None else None
        if row is None or known is None or not hmac.compare_digest(bytes(row.mark), _mark(token, known[1])):
            return None
        return Person(row.account, known[0], _csrf(token))

    def log_out(self, token: str) -> None:
        """End a session; that of somebody is written down."""
        c = session.c
        with self._db.engine.begin() as connection:
            query = sa.delete(session).where(c.id == _id(token)).returning(c.account)
            who = connection.execute(query).scalar()
        if who is not None:
            audit.note(self._db.engine, "logout", "default", {}, f"account:{who}")

    def _credential(self, name: str) -> tuple[Role, str] | None:
        """(role, the password or its hash) of a name; None where nobody has it."""
        login = operator_login(self._settings)
        user, _, password = (login or "").partition(":")
        if login and name == user:
            return "operator", password
        if name == BUILT_IN:
            return None
        with self._db.engine.connect() as connection:
            row = connection.execute(
                sa.select(account.c.role, account.c.password).where(account.c.name == name)
            ).first()
        return (row.role, row.password) if row is not None else None

    def _is_right(self, name: str, password: str, credential: str) -> bool:
        login = operator_login(self._settings) or ""
        if login.partition(":")[0] == name:
            return bool(credential) and hmac.compare_digest(password.encode("utf-8", "replace"), credential.encode())
        return matches(password, credential)


class Attempts:
    """Refused logins by address, in this process: whoever guesses has to wait."""

    def __init__(self) -> None:
        self._failed: dict[str, list[float]] = {}
        self._lock = threading.Lock()

    def begin(self, address: str) -> float:
        """Count a try, which may well be refused; else the seconds until this address may try again.

        It counts before its password is looked at: tries that arrive together are no more than those in a row.
        """
        with self._lock:
            recent = self._recent(address)
            if len(recent) >= MOST_FAILURES:
                return max(0.001, recent[0] + WINDOW - time.monotonic())
            if len(self._failed) >= _MOST_ADDRESSES:
                self._failed.clear()
            self._failed[address] = [*recent, time.monotonic()]
            return 0.0

    def succeeded(self, address: str) -> None:
        """The try that was counted last was right."""
        with self._lock:
            self._failed[address] = self._recent(address)[:-1]

    def _recent(self, address: str) -> list[float]:
        return [at for at in self._failed.get(address, []) if at > time.monotonic() - WINDOW]


def _id(token: str) -> bytes:
    return hashlib.sha256(b"session|" + token.encode("utf-8", "replace")).digest()


def _mark(token: str, credential: str) -> bytes:
    return hmac.digest(token.encode("utf-8", "replace"), b"credential|" + credential.encode(), "sha256")


def _csrf(token: str) -> str:
    return hmac.new(token.encode("utf-8", "replace"), b"form", hashlib.sha256).hexdigest()

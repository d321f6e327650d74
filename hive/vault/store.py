"""The vault: secrets by path, sealed in our PostgreSQL, each version with a data key of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on, insert

from hive.config.problems import did_you_mean
from hive.ledger.tables import vault_secret
from hive.vault.envelope import Unsealable, new_data_key, open_, seal, unwrap, wrap

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from hive.vault.key import HiveKey

RESERVED = "hive/"
"""Paths below belong to the hive itself: its keyring. Nobody reads or sets them by name."""

SHORTEST = 5
"""Logs are masked by value. A shorter value stands by chance in too many lines to be masked."""

_PATH = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_TENANT = re.compile(r"[A-Za-z0-9_.-]+")
_TEXT, _BYTES = b"t", b"b"
_ATTEMPTS = 20


class BadSecret(ValueError):
    """A path or value that the vault does not take. The message holds no value."""


class MissingSecret(LookupError):
    """There is no secret at this path. `hint` is the end of the message: what was perhaps meant, or nothing."""

    def __init__(self, path: str, choices: Sequence[str] = ()) -> None:
        self.path = path
        self.hint = did_you_mean(path, choices)
        super().__init__(f"there is no secret {path!r} in the vault: set it with `hive vault set {path}`{self.hint}")


class OwnSecret(NamedTuple):
    """One version of a secret of the hive itself."""

    path: str
    version: int
    value: bytes


class SecretInfo(NamedTuple):
    path: str
    version: int
    created_at: datetime


class Vault:
    """Secrets of one tenant. A row moved to another tenant, path or version does not open (Unsealable)."""

    def __init__(self, engine: sa.Engine, key: HiveKey, tenant: str = "default") -> None:
        if not _TENANT.fullmatch(tenant):
            raise BadSecret(f"{tenant!r} is no tenant: letters, digits, '.', '_' and '-' are allowed")
        self.tenant = tenant
        self._engine = engine
        self._key = key

    def set(self, path: str, value: str | bytes, *, shortest: int = SHORTEST) -> int:
        """Store a new version and return its number; the older ones stay until `delete`.

        Values shorter than `shortest` are refused, and so is a NUL in text.
        """
        check_path(path)
        _check_value(path, value, shortest)
        return self._store(path, value)

    def set_all(self, values: Mapping[str, str], *, shortest: int = SHORTEST) -> None:
        """`set` for many at once, in one transaction and two round trips."""
        for path, value in values.items():
            check_path(path)
            _check_value(path, value, shortest)
        with self._engine.begin() as connection:
            newest = {row.path: row.version for row in self._newest(connection, values)}
            rows = [self._row(path, newest.get(path, 0) + 1, value) for path, value in sorted(values.items())]
            stored = insert(vault_secret).on_conflict_do_nothing().returning(vault_secret.c.path)
            done = set(connection.scalars(stored, rows)) if rows else set()
        for path in values.keys() - done:  # another process set it at the same moment
            self.set(path, values[path], shortest=shortest)

    def texts(self, paths: Iterable[str]) -> dict[str, str]:
        """The newest text at each path, in one round trip; those that are missing or binary are left out."""
        wanted = set(paths)
        for path in wanted:
            check_path(path)
        with self._engine.connect() as connection:
            rows = self._newest(connection, wanted)
        found = {row.path: self._opened(row.path, row) for row in rows}
        return {path: value for path, value in found.items() if isinstance(value, str)}

    def get(self, path: str) -> str | bytes:
        """The newest version, as the type it was set with. Raises MissingSecret, or Unsealable."""
        check_path(path)
        value = self._read(path)
        if value is None:
            raise MissingSecret(path, [secret.path for secret in self.list()])
        return value

    def text(self, path: str) -> str:
        """The newest version of a secret that is text. Raises BadSecret for a binary one."""
        value = self.get(path)
        if isinstance(value, bytes):
            raise BadSecret(f"the secret {path!r} is binary, text was expected")
        return value

    def list(self) -> Sequence[SecretInfo]:
        """Newest version of each secret, by path; never a value, and nothing of the hive's own."""
        c = vault_secret.c
        query = (
            sa.select(c.path, c.version, c.created_at)
            .where(c.tenant == self.tenant, ~c.path.startswith(RESERVED, autoescape=True))
            .ext(distinct_on(c.path))
            .order_by(c.path, c.version.desc())
        )
        with self._engine.connect() as connection:
            return [SecretInfo(*row) for row in connection.execute(query)]

    def delete(self, path: str) -> int:
        """Remove all versions, and return how many there were. Raises MissingSecret where there was none."""
        check_path(path)
        with self._engine.begin() as connection:
            gone = connection.execute(sa.delete(vault_secret).where(*self._at(path))).rowcount
        if not gone:
            raise MissingSecret(path, [secret.path for secret in self.list()])
        return gone

    def obtain(self, path: str, first: bytes) -> bytes:
        """The secret at a reserved path; `first` becomes it if there is none yet.

        Whoever asks at the same moment, in whatever process, gets the same bytes.
        """
        if not path.startswith(RESERVED) or not _PATH.fullmatch(path):
            raise BadSecret(f"{path!r} is no path of the hive's own")
        found = self._read(path)
        if found is None:
            with self._engine.begin() as connection:
                self._insert(connection, path, 1, first)
            found = self._read(path)
        if not isinstance(found, bytes):
            raise Unsealable(f"the secret {path!r} is not what the hive put there", code="wrong_seal")
        return found

    def renew(self, path: str, value: bytes) -> int:
        """Store a new version at a reserved path and return its number; the older ones stay."""
        if not path.startswith(RESERVED) or not _PATH.fullmatch(path):
            raise BadSecret(f"{path!r} is no path of the hive's own")
        return self._store(path, value)

    def own(self, below: str) -> Sequence[OwnSecret]:
        """All versions of the hive's own secrets at paths that start so, the newest of each path first."""
        c = vault_secret.c
        query = (
            sa.select(c.path, c.version, c.key_id, c.wrapped_key, c.body)
            .where(c.tenant == self.tenant, c.path.startswith(RESERVED), c.path.startswith(below, autoescape=True))
            .order_by(c.path, c.version.desc())
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        found = ((row.path, row.version, self._opened(row.path, row)) for row in rows)
        return [OwnSecret(path, version, value) for path, version, value in found if isinstance(value, bytes)]

    def renewals(self, below: str) -> int:
        """How often secrets at reserved paths that start so were renewed."""
        c = vault_secret.c
        query = sa.select(sa.func.count()).where(
            c.tenant == self.tenant, c.path.startswith(below, autoescape=True), c.version > 1
        )
        with self._engine.connect() as connection:
            return connection.scalar(query) or 0

    def _at(self, path: str) -> tuple[sa.ColumnElement[bool], ...]:
        return vault_secret.c.tenant == self.tenant, vault_secret.c.path == path

    def _store(self, path: str, value: str | bytes) -> int:
        for _ in range(_ATTEMPTS):
            with self._engine.begin() as connection:
                newest = connection.scalar(sa.select(sa.func.max(vault_secret.c.version)).where(*self._at(path)))
                version = (newest or 0) + 1
                if self._insert(connection, path, version, value):
                    return version
        raise RuntimeError(f"the secret {path!r} is being set by others without end: try again")

    def _insert(self, connection: sa.Connection, path: str, version: int, value: str | bytes) -> bool:
        """False: another process has stored this version."""
        row = self._row(path, version, value)
        stored = insert(vault_secret).values(row).on_conflict_do_nothing().returning(vault_secret.c.version)
        return connection.scalar(stored) is not None

    def _row(self, path: str, version: int, value: str | bytes) -> dict[str, object]:
        data_key = new_data_key()
        plain = _BYTES + value if isinstance(value, bytes) else _TEXT + value.encode()
        return {
            "tenant": self.tenant,
            "path": path,
            "version": version,
            "key_id": self._key.key_id,
            "wrapped_key": wrap(self._key.key, data_key, self._place(path, version, self._key.key_id)),
            "body": seal(data_key, plain, self._place(path, version)),
        }

    def _newest(self, connection: sa.Connection, paths: Collection[str]) -> Sequence[Any]:
        """path, version, key_id, wrapped_key and body of the newest version of each."""
        c = vault_secret.c
        query = (
            sa.select(c.path, c.version, c.key_id, c.wrapped_key, c.body)
            .where(c.tenant == self.tenant, c.path == sa.any_(sa.literal(list(paths), sa.ARRAY(sa.Text))))
            .ext(distinct_on(c.path))
            .order_by(c.path, c.version.desc())
        )
        return connection.execute(query).all()

    def _read(self, path: str) -> str | bytes | None:
        with self._engine.connect() as connection:
            rows = self._newest(connection, [path])
        return self._opened(path, rows[0]) if rows else None

    def _opened(self, path: str, row: Any) -> str | bytes:
        """The value of a row of the vault. Raises Unsealable."""
        if row.key_id != self._key.key_id:
            raise Unsealable(
                f"the secret {path!r} is sealed with the hive key {row.key_id}, and this process has the hive key "
                f"{self._key.key_id}: give it the right one by HIVE_KEY or HIVE_KEY_FILE",
                code="wrong_hive_key",
            )
        data_key = unwrap(self._key.key, row.wrapped_key, self._place(path, row.version, row.key_id))
        plain = open_(data_key, row.body, self._place(path, row.version))
        return plain[1:] if plain[:1] == _BYTES else plain[1:].decode()

    def _place(self, *parts: str | int) -> bytes:
        # The body's place leaves the key id out: a new hive key wraps the data keys anew and touches no body.
        return "|".join(["vault", self.tenant, *map(str, parts)]).encode()

    def __repr__(self) -> str:
        return f"<Vault of {self.tenant}>"


def check_path(path: str) -> None:
    """Raises BadSecret for what is no path that people may use."""
    if not _PATH.fullmatch(path):
        raise BadSecret(
            f"{path!r} is no path of the vault: write segments of letters, digits, '.', '_' and '-', joined by '/', "
            "such as 'google/client_id'"
        )
    if path.startswith(RESERVED):
        raise BadSecret(f"paths that start with {RESERVED!r} belong to the hive itself")


def _check_value(path: str, value: str | bytes, shortest: int) -> None:
    if len(value) < shortest:
        raise BadSecret(
            f"the value for {path!r} has {len(value)} characters: a secret needs {shortest} or more, "
            "a shorter one cannot be masked in logs"
        )
    if isinstance(value, str) and "\0" in value:
        raise BadSecret(f"the value for {path!r} holds a NUL character: give binary values as bytes")

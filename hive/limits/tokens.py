"""Where the fleet keeps the tokens of one login: sealed in the vault, asked for by one process at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from bees.core.rest.tokens import Tokens, TokenStore, Turn
from hive.vault.store import RESERVED

if TYPE_CHECKING:
    from hive.ledger.db import Database
    from hive.vault.store import Vault

_LONGEST = 300.0
"""Seconds that a turn may take: others are waited for, and a token server may be slow."""


class LedgerTokens(TokenStore):
    """Of one login, which `name` tells apart: a print of the client and of the refresh token that people gave it."""

    def __init__(self, db: Database, vault: Vault, name: str) -> None:
        self._db = db
        self._vault = vault
        self._path = f"{RESERVED}login/{name}"

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """The lock is a transaction's, and goes with it, whatever becomes of the process.

        What is kept commits by itself: a token that was given must not be lost with a transaction that is.
        """
        with self._db.transaction(_LONGEST) as tx:
            mine = f"{self._vault.tenant} {self._path}"
            tx.psycopg.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [mine])
            yield _Turn(self._vault, self._path)
            tx.psycopg.execute(
                "DELETE FROM hive.vault_secret v WHERE tenant = %(tenant)s AND path = %(path)s AND version <"
                " (SELECT max(version) FROM hive.vault_secret WHERE tenant = %(tenant)s AND path = %(path)s)",
                {"tenant": self._vault.tenant, "path": self._path},
            )


class _Turn:
    def __init__(self, vault: Vault, path: str) -> None:
        self._vault = vault
        self._path = path

    @property
    def tokens(self) -> Tokens | None:
        found = self._vault.own(self._path)
        return Tokens(**json.loads(found[0].value)) if found else None

    def keep(self, tokens: Tokens) -> None:
        self._vault.renew(self._path, json.dumps(asdict(tokens)).encode())

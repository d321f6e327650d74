"""Puts a bee that was just opened under the limits of the fleet."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from psycopg.types.json import Jsonb
from pydantic import BaseModel, Secret, SecretStr

from bees.core.resilience.gate import BudgetGate, GatedBee
from hive.limits.breaker import LedgerBreaker
from hive.limits.budget import LedgerBudget
from hive.limits.policies import breaker_of, quota_of
from hive.limits.tokens import LedgerTokens

if TYPE_CHECKING:
    from bees.core.bee import WorkerBee
    from hive.ledger.db import Database
    from hive.vault.store import Vault

_WEB = re.compile(r"(?P<kind>[a-z0-9_]+)[ :](?P<address>https?://.*)", re.DOTALL)
_WHO = ("auth", "headers", "user", "username", "account", "email", "client_id", "access_key")
"""Options that say who asks. Those whose value is a secret do so, too, whatever they are called."""


class FleetLimits:
    """Of one process. `key` gives a tenant's key for prints: nobody who reads the ledger can guess at credentials."""

    def __init__(self, db: Database, key: Callable[[str], bytes], vault: Callable[[str], Vault] | None = None) -> None:
        """`vault`: of a tenant, where tokens are kept that all workers share; None: each process has its own."""
        self._db = db
        self._key = key
        self._vault = vault
        self._breakers: dict[tuple[str, Any], LedgerBreaker] = {}

    def attach(self, bee: int, tenant: str, made: WorkerBee, config: Mapping[str, Any]) -> LedgerBreaker | None:
        """Give it its gate, and the ledger its prints; gives the breaker of its source, if it has one.

        The ledger notes them only where `config` reads what the bee reads by now: see `note_bee`.
        """
        endpoint = endpoint_of(bee, made)
        credential = print_of(self._key(tenant), made, endpoint)
        source = Jsonb(config.get("source", {}))
        with self._db.single() as tx:
            tx.run("note_bee", bee=bee, credential=credential, endpoint=endpoint, source=source)
        if isinstance(made, GatedBee):
            quota = quota_of(config)
            budget = LedgerBudget(self._db, credential, quota) if quota else None
            made.through(BudgetGate(budget, tokens=self._tokens(tenant, made)))
        policy = breaker_of(config)
        if policy is None:
            return None
        return self._breakers.setdefault((endpoint, policy), LedgerBreaker(self._db, endpoint, policy))

    def _tokens(self, tenant: str, made: WorkerBee) -> LedgerTokens | None:
        """Where the tokens of the bee's refresh token are. Another one, or another client, has a place of its own."""
        auth = getattr(made.options, "auth", None)
        if self._vault is None or getattr(auth, "method", "") != "oauth2_refresh_token":
            return None
        told = _open(auth)
        # Not by a key: a token that was given once must be found for as long as the login lasts, whatever is rotated.
        # Nobody guesses at a refresh token.
        text = json.dumps([told["token_url"], told["client_id"], told["refresh_token"]]).encode()
        return LedgerTokens(self._db, self._vault(tenant), hashlib.sha256(text).hexdigest()[:32])


def endpoint_of(bee: int, made: WorkerBee) -> str:
    """The source, without credentials: of an address on the web scheme, host and port, whatever path is read.

    A connector that does not tell sources apart has one for each bee.
    """
    identity = made.source_identity()
    web = _WEB.fullmatch(identity)
    if web:
        found = urlsplit(web["address"])
        return f"{web['kind']} {found.scheme}://{found.netloc.rpartition('@')[2].lower()}"
    address = identity.partition(" ")[2]
    return identity if address else f"{identity} of bee {bee}"


def print_of(key: bytes, made: WorkerBee, endpoint: str) -> str:
    """A print of the source and of who asks it: the same for all bees that share a credential."""
    options = made.options
    values = {name: getattr(options, name) for name in getattr(type(options), "model_fields", ()) if name != "streams"}
    told = {name: _open(value) for name, value in values.items() if name in _WHO or _hides(value)}
    text = json.dumps([endpoint, told], sort_keys=True, default=str).encode()
    return hashlib.blake2b(text, key=key[:64], digest_size=16).hexdigest()


def _hides(value: Any) -> bool:
    """Whether an option holds a secret."""
    if isinstance(value, SecretStr | Secret):
        return True
    if isinstance(value, BaseModel):
        return any(_hides(getattr(value, name)) for name in type(value).model_fields)
    if isinstance(value, Mapping):
        return any(map(_hides, value.values()))
    return isinstance(value, list | tuple) and any(map(_hides, value))


def _open(value: Any) -> Any:
    """An option with its secrets in plain, to be printed and forgotten."""
    if isinstance(value, SecretStr | Secret):
        return _open(value.get_secret_value())
    if isinstance(value, BaseModel):
        return {name: _open(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(name): _open(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_open(one) for one in value]
    return value

"""One client of one MongoDB server, replica set or cluster: every address passes the guard, and nothing is written."""

from __future__ import annotations

import datetime as dt
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient, errors
from pymongo.synchronous.pool import Pool

from bees.core.address import AddressPolicy
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.mongo.values import CODEC
from bees.core.mongo.verdict import verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.synchronous.client_session import ClientSession
    from pymongo.synchronous.database import Database

WRITING = frozenset(
    {
        "anyAction", "applyOps", "bypassDocumentValidation", "collMod", "convertToCapped", "createCollection",
        "createIndex", "createRole", "createUser", "dropCollection", "dropDatabase", "dropIndex", "dropRole",
        "dropUser", "grantRole", "insert", "internal", "remove", "renameCollectionSameDB", "revokeRole", "shutdown",
        "update",
    }
)  # fmt: skip
"""Actions that no reader needs: https://www.mongodb.com/docs/manual/reference/privilege-actions/"""

_UNKNOWN_COMMAND = {59, 115, 13}


class _Pinned(tuple[Any, ...]):  # noqa: SLOT001 - a slot is not possible on a tuple
    """(host, port) for TLS and messages, which unpacks as (checked address, port) where the socket is opened."""

    dialled: str

    def __iter__(self) -> Iterator[Any]:
        return iter((self.dialled, self[1]))


def _guarded(policy: AddressPolicy) -> type[Pool]:
    """The driver's pool, whose every connection goes to an address that the guard has checked.

    A replica set names its own members: a server could name any address for one.
    """

    class GuardedPool(Pool):
        def connect(self, handler: Any = None) -> Any:
            host, port = self.address[0], self.address[1]
            failure: Exception | None = None
            for address in checked(policy, host, int(port or 27017)):
                pinned = _Pinned((host, port))
                pinned.dialled = address
                self.address = pinned
                try:
                    return super().connect(handler)
                except errors.AutoReconnect as error:
                    failure = error
                finally:
                    self.address = (host, port)
            raise failure or errors.AutoReconnect("no address")

    return GuardedPool


def checked(policy: AddressPolicy, host: str, port: int) -> list[str]:
    """The addresses that may be dialled for a host. Raises what the guard says, in the words of this bee's options."""
    try:
        return policy.addresses(host, port)
    except RetryLater:
        advice = "check `hosts`"
        raise RetryLater(
            f"the host {host!r} has no address", code="unknown_host", where="hosts", advice=advice
        ) from None
    except GiveUp as error:
        message = "a member of the replica set has a private address, and is not named"
        if error.code != "private_address":
            message = "the address of a server is link-local, metadata or reserved, and is never dialled"
        advice = "list every member under `hosts`, by the name that the replica set has for it"
        raise GiveUp(message, code=error.code, where="hosts", advice=advice) from None


@dataclass
class Server:
    """How to reach the source. Opened on first use."""

    hosts: tuple[tuple[str, int], ...]
    database: str
    settings: dict[str, Any] = field(repr=False)
    timeout: float
    policy: AddressPolicy
    _client: MongoClient[dict[str, Any]] | None = None

    @property
    def address(self) -> str:
        return ",".join(f"{host}:{port}" for host, port in self.hosts) + "/" + self.database

    def open(self) -> Database[dict[str, Any]]:
        if self._client is None:
            for host, port in self.hosts:
                checked(self.policy, host, port)
            try:
                self._client = MongoClient(
                    [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts],
                    _pool_class=_guarded(self.policy),
                    serverSelectionTimeoutMS=int(self.timeout * 1000),
                    connectTimeoutMS=int(self.timeout * 1000),
                    appname="worker-bees",
                    maxPoolSize=2,
                    **self.settings,
                )
            except (errors.PyMongoError, OSError, ValueError) as error:
                raise _unusable(error, self.address) from None
        return self._client.get_database(self.database, codec_options=CODEC)

    @contextmanager
    def judged(self, where: str) -> Iterator[None]:
        """Turn the driver's errors into verdicts that name `where`."""
        try:
            yield
        except errors.PyMongoError as error:
            raise self.verdict(error, where) from None

    def verdict(self, error: errors.PyMongoError, where: str) -> SourceError:
        met = None
        if isinstance(error, errors.ServerSelectionTimeoutError) and self._client is not None:
            servers = self._client.topology_description.server_descriptions().values()
            met = next((server.error for server in servers if server.error is not None), None)
        return verdict(error, where, met)

    @contextmanager
    def causal(self, seen: Any = None) -> Iterator[ClientSession | None]:
        """A session in which every read has what was read before it, or at `seen`, whichever member answers.

        None where the primary alone is asked, or the server knows no sessions.
        https://www.mongodb.com/docs/manual/core/causal-consistency-read-write-concerns/
        """
        client = self.open().client
        several = self.settings.get("readPreference", "primary") != "primary"
        if not several or client.topology_description.logical_session_timeout_minutes is None:
            yield None
            return
        with client.start_session(causal_consistency=True) as session:
            if seen is not None:
                session.advance_cluster_time(seen["cluster"])
                session.advance_operation_time(seen["operation"])
            yield session

    def now(self) -> dt.datetime:
        """The source's clock, in UTC without a zone; ours where the server does not tell it."""
        with self.judged(self.address):
            told = self._asked({"hello": 1}).get("localTime")
        return told if isinstance(told, dt.datetime) else dt.datetime.now(dt.UTC).replace(tzinfo=None)

    def writing_actions(self) -> list[str] | None:
        """What this login could do besides reading; None where the server does not say, or knows no logins."""
        try:
            told = self._asked({"connectionStatus": 1, "showPrivileges": True})
        except errors.OperationFailure as error:
            if error.code in _UNKNOWN_COMMAND:
                return None
            raise self.verdict(error, self.address) from None
        except errors.PyMongoError as error:
            raise self.verdict(error, self.address) from None
        about = told.get("authInfo", {})
        if not about.get("authenticatedUsers"):
            return None
        return sorted({a for p in about.get("authenticatedUserPrivileges", ()) for a in p["actions"]} & WRITING)

    def _asked(self, command: dict[str, Any]) -> dict[str, Any]:
        """The answer of whichever member is read: there may be no primary."""
        client = self.open().client
        return client.admin.command(command, read_preference=client.read_preference)

    def close(self) -> None:
        """Close the connections. The threads that watched the servers find out within a second, and end."""
        if self._client is not None:
            self._client.close()
            self._client = None


def _unusable(error: Exception, where: str) -> SourceError:
    if isinstance(error, errors.PyMongoError) and not isinstance(error, errors.ConfigurationError):
        return verdict(error, where)
    message = "the options of the connection do not fit together, or a TLS file cannot be read"
    return GiveUp(message, code="bad_options", where=where, advice="check `tls_ca`, `tls_certificate`, `replica_set`")

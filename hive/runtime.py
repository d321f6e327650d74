"""What one process of the hive holds: database, keys, open bees, and the way to the broker. Made after a fork."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bees.core.sandbox.documents import Extractor
from hive.flight.bees import OpenBees
from hive.flight.scrubbers import Scrubbers
from hive.inbox import LedgerInbox
from hive.ledger.backlog import Backlog
from hive.ledger.db import Database
from hive.ledger.hints import Hint, Send
from hive.ledger.migrate import ensure_migrated
from hive.limits.fleet import FleetLimits
from hive.limits.pool import PoolLimits
from hive.settings import Settings, settings
from hive.vault.key import HiveKey, hive_key
from hive.vault.keyring import Keyring
from hive.vault.store import Vault


def _nobody(hints: Sequence[Hint]) -> None:
    """No broker: the janitor finds the tasks in the ledger."""


@dataclass
class Runtime:
    """One process's ports to the outside. `owner` is its name in the ledger."""

    settings: Settings
    db: Database
    key: HiveKey
    send: Send = _nobody
    owner: str = ""
    stopping: threading.Event = field(default_factory=threading.Event)
    bees: OpenBees = field(init=False)
    limits: FleetLimits = field(init=False)
    pool: PoolLimits = field(init=False)
    backlog: Backlog = field(init=False)
    scrubbers: Scrubbers = field(default_factory=Scrubbers)
    extractor: Extractor = field(default_factory=Extractor)
    """Reads documents in a child of its own, which starts with the first one that needs it."""
    working: set[int] = field(default_factory=set)
    """Numbers of the tasks that this process has in hand."""
    begins: Callable[[], None] = lambda: None
    """Called when it has one more of them: what it then does may let no other thread of it tell anybody."""
    moved_at: float = 0.0
    """When the task in hand last got on: it began, read a batch, sealed one or came to land it. See hive/watch.py."""
    steps: int = 0
    """Of bees/core/progress.py, when that was looked at last."""
    learned: dict[int, dict[str, str]] = field(default_factory=dict)
    """Stream -> columns that this process has seen written down."""
    _keyrings: dict[str, Keyring] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.limits = FleetLimits(self.db, lambda tenant: self.keyring(tenant).key("limits")[1], self.vault)
        self.pool = PoolLimits(self.db)
        embedded = self.settings.database_url is None and self.settings.data_dir.is_dir()
        disk = self.settings.data_dir if embedded else None
        self.backlog = Backlog(self.db, self.settings.pending_bytes, disk, self.settings.disk_reserve)
        self.bees = OpenBees(self.vault, self.inbox, self.limits.attach)

    def vault(self, tenant: str = "default") -> Vault:
        return Vault(self.db.engine, self.key, tenant)

    def inbox(self, bee: int) -> LedgerInbox:
        """The messages that wait for a bee."""
        return LedgerInbox(self.db, self.key, bee)

    def keyring(self, tenant: str = "default") -> Keyring:
        """The keys of a tenant, as they are: after a rotation it is another ring, within seconds."""
        held = self._keyrings.get(tenant)
        if held is None or held.is_outdated():
            held = self._keyrings[tenant] = Keyring(self.vault(tenant))
        return held

    def moved(self, ahead: float = 0.0) -> float:
        """The task in hand got on; or it is about to do what somebody ends by himself in so many seconds. Gives now."""
        now = time.monotonic()
        self.moved_at = now + ahead
        return now

    def close(self) -> None:
        self.extractor.close()
        self.bees.close()
        self.db.close()


_current: tuple[int, Runtime] | None = None


def open_runtime(
    chosen: Settings | None = None,
    send: Send = _nobody,
    owner: str = "",
    *,
    answer_limit: float | None = None,
    kept_plans: bool = False,
) -> Runtime:
    """A runtime of its own; the caller closes it. An empty or older database gets the schema first.

    `answer_limit` and `kept_plans` are those of `Database`: for processes that nobody watches, and for workers.

    Raises NotRunning or MissingHiveKey with what to set, NewerSchema, or UNREACHABLE.
    """
    chosen = chosen or settings()
    url = chosen.database()  # first: where no hive runs, no key is made up
    key = hive_key(chosen)
    pooling = chosen.transaction_pooling
    database = Database(url, transaction_pooling=pooling, answer_limit=answer_limit, kept_plans=kept_plans)
    try:
        ensure_migrated(database.engine, url)
    except BaseException:
        database.close()
        raise
    return Runtime(settings=chosen, db=database, key=key, send=send, owner=owner)


def runtime(send: Send = _nobody, owner: str = "") -> Runtime:
    """The runtime of this worker. A child made by fork gets its own: no connection is shared across a fork."""
    global _current  # noqa: PLW0603 - one per process is the point
    if _current is None or _current[0] != os.getpid():
        limit = settings().answer_limit
        _current = (os.getpid(), open_runtime(send=send, owner=owner, answer_limit=limit, kept_plans=True))
    return _current[1]

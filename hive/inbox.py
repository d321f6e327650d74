"""The ledger's inbox: messages from the gateway, sealed until a bee has sealed their records in a batch.

What is sealed is one line of JSON, {"type", "event"} of the headers and what the hive itself knows of its version, and
the body as it was sent. It opens only as the
message of its bee and id.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from bees.core.errors import GiveUp
from bees.core.inbox import Message
from hive.ledger.db import Database
from hive.vault.envelope import Unsealable, unwrap, wrap
from hive.vault.key import HiveKey

_DIGEST = re.compile(r"body:[0-9a-f]{64}")


@dataclass(frozen=True)
class Received:
    """A message that was let in. `event_id` is `<kind>:<id>`, such as `delivery:7c1a` or `body:<digest>`."""

    event_id: str
    body: bytes = field(repr=False)
    type: str = ""
    event: str = ""
    version: int | str | None = None
    activates: bool = False


def seal_message(key: HiveKey, bee: int, message: Received) -> bytes:
    told: dict[str, Any] = {"type": message.type, "event": message.event}
    if message.version is not None:
        told |= {"version": message.version, "activates": message.activates}
    head = json.dumps(told).encode()
    return wrap(key.key, head + b"\n" + message.body, _place(bee, message.event_id))


class LedgerInbox:
    """One bee's messages. What the database raises goes to the caller."""

    def __init__(self, db: Database, key: HiveKey, bee: int) -> None:
        self._db = db
        self._key = key
        self._bee = bee

    def waiting(self, after: int, most: int, most_bytes: int) -> list[Message]:
        """See `Inbox`. Raises GiveUp for a message that does not open: the hive key is another."""
        with self._db.single() as tx:
            rows = tx.run("waiting_messages", bee=self._bee, after=after, most=most, bytes=most_bytes).fetchall()
        return [self._opened(row.number, row.event_id, row.received_at, row.body) for row in rows]

    def take(self, numbers: Collection[int]) -> None:
        with self._db.single() as tx:
            tx.run("take_messages", bee=self._bee, numbers=list(numbers))

    def _opened(self, number: int, event_id: str, received_at: dt.datetime, sealed: bytes) -> Message:
        try:
            head, _, body = unwrap(self._key.key, sealed, _place(self._bee, event_id)).partition(b"\n")
        except Unsealable:
            raise GiveUp(
                "a message of the inbox does not open",
                code="wrong_hive_key",
                where=f"message {number}",
                advice="start the workers with the hive key that the gateway has: HIVE_KEY or HIVE_KEY_FILE",
            ) from None
        told = json.loads(head)
        return Message(
            number, _name(event_id, number), received_at, body, told["type"], told["event"], told.get("version"),
            bool(told.get("activates")),
        )  # fmt: skip


def _place(bee: int, event_id: str) -> bytes:
    """A message that is known by its body alone may be renamed while it waits: see `step_aside`."""
    digest = _DIGEST.match(event_id)
    return f"inbox|{bee}|{digest[0] if digest else event_id}".encode()


def _name(event_id: str, number: int) -> str:
    """The id as its sender knows it. The same body at another time is another message, so its number belongs to it."""
    kind, _, told = event_id.partition(":")
    return f"body-{told[:16]}-{number}" if kind == "body" else told

"""Messages that were sent to us and wait to be read: what a bee of a push source gets its records from.

Whoever runs the bee gives it the inbox (`bee.inbox = ...`): the hive one of its ledger, a test or a prompt a
`ListInbox`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bees.core.bee import WorkerBee


@dataclass(frozen=True)
class Message:
    """One message as its sender sent it.

    number    its place in the inbox. A message with a lower number may show later than one with a higher one.
    id        what its sender calls it, or our name for it: the same for as long as it waits
    type      its Content-Type, empty where the sender said none
    event     what its sender says happened, of a header such as X-GitHub-Event; empty where there is none
    version   which version of everything its records belong to; None: the sender knows none
    activates from here on that version counts: what an earlier one left behind is gone. Such a message has no body
    """

    number: int
    id: str
    received_at: dt.datetime
    body: bytes = field(repr=False)
    type: str = ""
    event: str = ""
    version: int | str | None = None
    activates: bool = False


class Inbox(Protocol):
    """Messages for one bee. A method that cannot reach them raises; nothing was taken then."""

    def waiting(self, after: int, most: int, most_bytes: int) -> Sequence[Message]:
        """The next messages after a number, lowest first: at most so many, and so many bytes, but one at least."""

    def take(self, numbers: Collection[int]) -> None:
        """Their records are safe elsewhere: these messages do not wait any more. Those that are gone do no harm."""


class InboxBee(WorkerBee):
    """Reads an inbox."""

    inbox: Inbox | None = None


class ListInbox:
    """An inbox in memory."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self.messages = list(messages)

    def waiting(self, after: int, most: int, most_bytes: int) -> list[Message]:
        found: list[Message] = []
        for message in sorted(self.messages, key=lambda one: one.number):
            if message.number <= after:
                continue
            if len(found) == most or (found and sum(len(one.body) for one in found) >= most_bytes):
                break
            found.append(message)
        return found

    def take(self, numbers: Collection[int]) -> None:
        self.messages = [message for message in self.messages if message.number not in numbers]

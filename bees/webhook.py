"""Messages that others send to `POST /webhooks/<bee>`, each a record or several.

    type: webhook
    source: {key: id}                  # unset: each message is a record of its own
    on: {webhook: {secret: "${HOOK_SECRET}"}}
    debounce: 2s                       # a burst becomes one flight

The gateway keeps a message on disk before it answers; this bee reads those that wait, as they came. They are taken out
of the inbox when their batch is sealed. The cursor names the messages of the newest batches: whoever stopped between
the seal and the taking does not read them again.

Beside what was sent a record holds `webhook_event_id`, `webhook_item` (its place in the message, from 1),
`webhook_event` (of a header such as X-GitHub-Event, which no signature covers) and `webhook_received_at`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from bees.core.bee import BeeOptions, KeyColumns, Name, StreamName
from bees.core.deletes import is_gone, with_deletes
from bees.core.errors import GiveUp
from bees.core.inbox import InboxBee
from bees.core.messages import Format, document, format_of, lines
from bees.core.paths import MISSING, dig
from bees.core.singer.versions import Versions
from nectar.batch import Batch, Cursor, Reject
from nectar.errors import SkipRecord
from nectar.jsonrows import escape, sift, table
from nectar.pollen import Column, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from bees.core.inbox import Inbox, Message

EVENT_ID, ITEM, EVENT, RECEIVED = "webhook_event_id", "webhook_item", "webhook_event", "webhook_received_at"
_MOST_MESSAGES = 1000
_MOST_BYTES = 8 << 20
_MOST_ROWS = 10_000
_MOST_CELLS = 1_000_000
"""Of one batch. Messages that have no field in common make a table of their number squared."""


class WebhookOptions(BeeOptions):
    key: KeyColumns = Field(
        (), description="field or fields that identify a record: a later message replaces an earlier one; unset: its id"
    )
    records: Name | None = Field(None, description="dotted path to the list of records in a message; unset: its body")
    format: Format = Field(
        "auto", description="json, jsonl or form, whatever the sender calls it; auto: as its Content-Type says"
    )
    stream: StreamName = Field("messages", description="name of the stream that the records make")
    envelope: bool = Field(
        True, description="add what is known of the message to each record; without it `key` is needed"
    )
    deleted: Name | None = Field(
        None, description="field whose value, if it has one that is not false, says that the record was deleted"
    )
    versions: bool = Field(
        False, description="messages may be of a version of everything, as those of target-hive; one makes it count"
    )

    @model_validator(mode="after")
    def _has_key(self) -> WebhookOptions:
        if not self.envelope and not self.key:
            raise ValueError("without `envelope` a record is known by its `key`: name it")
        if self.deleted is not None and not self.key:
            raise ValueError("`deleted` tells of a record that is known by its `key`: name it")
        return self


class WebhookBee(InboxBee):
    """Reads the messages that wait in its inbox."""

    bee_type = "api"
    Options = WebhookOptions

    def __init__(self, options: WebhookOptions) -> None:
        super().__init__(options)
        self._options = options
        self._held: set[int] = set()
        """Numbers of messages that were given out and still wait."""
        self._versions = Versions()

    def validate_flight_path(self) -> None:
        """Look into the inbox."""
        self._reached().waiting(0, 1, 1)

    def get_pollen_schema(self) -> Sequence[Stream]:
        own: tuple[Column, ...] = (
            Column(EVENT_ID),
            Column(ITEM, "integer"),
            Column(EVENT),
            Column(RECEIVED, "timestamptz"),
        )
        key = tuple(map(escape, self._options.key)) or (EVENT_ID, ITEM)
        own = own if self._options.envelope else ()
        comment = "what was sent to the bee"
        return [Stream(self._options.stream, own, key=key, comment=comment, versions=self._options.versions)]

    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002, ARG002
        query: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> Iterator[Batch]:
        """All that waits, in the order of arrival. Whatever `cursor` names is sealed, and is not read again."""
        if stream != self._options.stream:
            advice = f"the only one is {self._options.stream}"
            raise GiveUp(f"no stream is named '{stream}'", code="unknown_stream", advice=advice)
        inbox, sealed = self._reached(), _numbers(cursor)
        self._held = set()
        self._versions = Versions.of(cursor)
        pile = _Pile()
        given = False
        for message in _all(inbox):
            if message.number in sealed:
                self._held.add(message.number)
                continue
            if self._turns(message):
                if pile.rows or pile.messages:
                    yield self._batch(pile)
                pile.begins = True
            if message.activates:
                self._held.add(message.number)
                pile.messages += 1
                if message.version is not None and self._versions.activate(message.version)[0]:
                    given = True
                    yield replace(self._batch(pile), complete=True)
                continue
            rows, rejects = self._read(message)
            pile.rejects += rejects
            for row in rows:
                if not pile.has_room(row):
                    given = True
                    yield self._batch(pile)
                pile.add(row)
            self._held.add(message.number)
            pile.messages += 1
            if pile.is_full():
                given = True
                yield self._batch(pile)
        if pile.messages or (self._held and not given):
            yield self._batch(pile)

    def sealed(self, cursor: Cursor) -> None:
        numbers = _numbers(cursor)
        if numbers:
            self._reached().take(numbers)
        self._held -= numbers

    def dance_instructions(self) -> dict[str, Any]:
        return {**super().dance_instructions(), "nectar_sources": [self._options.stream]}

    def source_identity(self) -> str:
        return "webhook"

    def _reached(self) -> Inbox:
        if self.inbox is None:
            advice = "start the hive: its gateway takes messages in, and its workers read them"
            raise GiveUp("nobody gave this bee an inbox to read", code="no_inbox", where="inbox", advice=advice)
        return self.inbox

    def _batch(self, pile: _Pile) -> Batch:
        """What lies on the pile, which is empty after."""
        rows, rejects = sift(pile.rows, "messages")
        rejects, begins = [*pile.rejects, *rejects], pile.begins
        pile.clear()
        cursor = {"read": _runs(self._held), **self._versions.cursor()}
        return Batch(self._options.stream, self._table(rows), cursor, None, False, tuple(rejects), begins)

    def _table(self, rows: list[dict[str, Any]]) -> pa.Table:
        field = self._options.deleted
        return table(rows) if field is None else with_deletes(table(rows), [is_gone(row.get(field)) for row in rows])

    def _turns(self, message: Message) -> bool:
        """Whether a new version of everything begins with this message."""
        new = message.version
        return self._options.versions and new is not None and self._versions.begins(new)

    def _read(self, message: Message) -> tuple[list[dict[str, Any]], list[Reject]]:
        """A message's records, and what of it is none."""
        place = f"message {message.number}"
        try:
            items, rejects = self._items(message, place)
        except SkipRecord as error:
            return [], [Reject(place, error.code, str(error), message.body)]
        rows = []
        for number, item in enumerate(items, 1):
            if isinstance(item, dict):
                rows.append(_record(item, message, number) if self._options.envelope else item)
            else:
                rejects += sift([item], place, number)[1]
        return rows, rejects

    def _items(self, message: Message, place: str) -> tuple[list[Any], list[Reject]]:
        form = format_of(message.type) if self._options.format == "auto" else self._options.format
        documents, rejects = lines(message.body, place) if form == "jsonl" else ([document(message.body, form)], [])
        items: list[Any] = []
        for one in documents:
            found = one if self._options.records is None else dig(one, self._options.records)
            if found is MISSING:
                raise SkipRecord(f"nothing stands at '{self._options.records}' (option records)", code="no_records")
            is_list = isinstance(found, list) and (form != "jsonl" or self._options.records is not None)
            items += found if is_list else [found]
        return items, rejects


class _Pile:
    """Records of the next batch."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.rejects: list[Reject] = []
        self.messages = 0
        self.begins = False
        self._names: set[str] = set()

    def has_room(self, row: Mapping[str, Any]) -> bool:
        if not self.rows:
            return True
        names = len(self._names | row.keys())
        return len(self.rows) < _MOST_ROWS and names * (len(self.rows) + 1) <= _MOST_CELLS

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self._names.update(row)

    def is_full(self) -> bool:
        return self.messages >= _MOST_MESSAGES


def _all(inbox: Inbox) -> Iterator[Message]:
    """What waits, a page at a time. What comes in behind the reader's back is for the next flight, which it causes."""
    after = 0
    while found := inbox.waiting(after, _MOST_MESSAGES, _MOST_BYTES):
        yield from found
        after = found[-1].number


def _record(item: Mapping[str, Any], message: Message, number: int) -> dict[str, Any]:
    """What was sent, with our own fields behind; one that is called like ours gets `sent_` in front."""
    own = {
        EVENT_ID: message.id,
        ITEM: number,
        EVENT: message.event or None,
        RECEIVED: message.received_at.isoformat(),
    }
    return {**{f"sent_{name}" if name in own else name: value for name, value in item.items()}, **own}


def _numbers(cursor: Cursor | None) -> set[int]:
    """The messages that a cursor names. Raises GiveUp for one that is not ours."""
    try:
        return {number for first, last in (cursor or {}).get("read", ()) for number in range(first, last + 1)}
    except (TypeError, ValueError):
        message = "the stored cursor is not one of this connector"
    raise GiveUp(message, code="bad_cursor", advice="read the stream anew with --full-refresh")


def _runs(numbers: set[int]) -> list[list[int]]:
    """As first and last of each unbroken row: messages of a burst have numbers side by side."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs

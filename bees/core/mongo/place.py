"""Where reading of one collection stands: what a cursor of the MongoDB bee says.

    by       what this place belongs to: ["_id"], ["updatedAt", "_id"] or ["changes"]; another order makes it void
    phase    "all" (everything, by `_id`), "odd" (documents whose cursor field has another type or is missing, by
             `_id`), "rows" (from `start` on, by cursor field and `_id`) or "changes" (the change stream)
    after    the last document's `_id`, and in "rows" its cursor value; none: nothing read yet in this phase
    start    where "rows" begins
    high     the greatest cursor value up to which the hive has everything; the next flight begins there
    mark     what `high` becomes when this flight is done
    token    the resume token of the change stream
    seen     what the members had come to when `mark` or `token` was taken: one that is behind waits before it answers.
             As a session tells it (operation time, cluster time); none where one member is asked alone
    made     which collection it is, whatever its name: its UUID. Another one of that name has other documents before
             this place. None: not told
    texts    whether texts that look like ObjectIds are plain in this epoch: see `values`
    done     the flight read everything

Values of the source are kept as BSON in base64: they come back bit for bit.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import bson

from bees.core.errors import GiveUp
from bees.core.mongo.values import CODEC

if TYPE_CHECKING:
    from nectar.batch import Cursor

Phase = Literal["all", "odd", "rows", "changes"]
_PHASES: tuple[Phase, ...] = ("all", "odd", "rows", "changes")


@dataclass(frozen=True)
class Value:
    """A value of the source; a box of its own, because None is a value too."""

    held: Any


@dataclass(frozen=True)
class Place:
    by: tuple[str, ...]
    phase: Phase = "all"
    id: Value | None = None
    value: Value | None = None
    start: Value | None = None
    high: Value | None = None
    mark: Value | None = None
    token: Any = None
    seen: Value | None = None
    texts: bool = False
    done: bool = False
    made: str | None = None

    def cursor(self) -> Cursor:
        boxes = {"id": self.id, "value": self.value, "start": self.start, "high": self.high, "mark": self.mark}
        boxes["seen"] = self.seen if self.phase == "all" else None
        boxes["token"] = None if self.token is None else Value(self.token)
        told = {name: pack(box) for name, box in boxes.items() if box is not None}
        told |= {} if self.made is None else {"made": self.made}
        return {"by": list(self.by), "phase": self.phase, "done": self.done, "texts": self.texts, **told}

    def at(self, phase: Phase) -> Place:
        return replace(self, phase=phase, id=None, value=None)

    def finished(self) -> Place:
        return Place(by=self.by, high=self.mark or self.high, texts=self.texts, done=True, made=self.made)


def place_of(cursor: Cursor | None, by: tuple[str, ...]) -> Place | None:
    """The place a cursor tells, or None: there is none yet, or it belongs to another order of reading."""
    if not cursor or cursor.get("by") != list(by):
        return None
    try:
        phase = _PHASES[_PHASES.index(cursor["phase"])]
        boxes = {
            name: unpack(cursor[name]) for name in ("id", "value", "start", "high", "mark", "seen") if name in cursor
        }
        token = unpack(cursor["token"]).held if "token" in cursor else None
    except (KeyError, ValueError, bson.errors.InvalidBSON):
        message = "the stored cursor is not one of this connector"
        raise GiveUp(message, code="bad_cursor", advice="read the stream anew with --full-refresh") from None
    texts, done = bool(cursor.get("texts")), bool(cursor.get("done"))
    return Place(by, phase, **boxes, token=token, texts=texts, done=done, made=cursor.get("made"))


def pack(value: Value) -> str:
    return base64.b64encode(bson.encode({"v": value.held}, codec_options=CODEC)).decode()


def unpack(text: str) -> Value:
    return Value(bson.decode(base64.b64decode(text), CODEC)["v"])

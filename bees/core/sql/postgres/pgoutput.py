"""The messages of PostgreSQL's output plugin `pgoutput`, protocol version 1, decoded. No network, no state.

Format: PostgreSQL documentation, "Logical Replication Message Formats". Numbers are big-endian, names end with NUL. A
value is the text that the server's session writes for it, as bytes; None for null; UNCHANGED for a large one that was
stored aside (TOAST) and that the update left as it was.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from typing import Literal

EPOCH = 946_684_800_000_000
"""Microseconds from 1970 to 2000, where the server's moments begin."""

_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")
_TRUNCATE = struct.Struct(">IB")
_UINT32 = struct.Struct(">I")
_UINT16 = struct.Struct(">H")
_COLUMN = struct.Struct(">Ii")


class MalformedError(ValueError):
    """The bytes are no message of pgoutput."""


class _Unchanged(Enum):
    UNCHANGED = "unchanged"


UNCHANGED = _Unchanged.UNCHANGED
Value = bytes | None | Literal[_Unchanged.UNCHANGED]
Values = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """`final` is where the transaction's commit stands in the log, `at` when it was, in microseconds since 1970."""

    final: int
    at: int
    xid: int


@dataclass(frozen=True, slots=True)
class Commit:
    """`end` is where the log goes on behind the transaction."""

    final: int
    end: int
    at: int


@dataclass(frozen=True, slots=True)
class RelationColumn:
    name: str
    type_oid: int
    modifier: int
    identity: bool
    """Part of what identifies a row in updates and deletes."""


@dataclass(frozen=True, slots=True)
class Relation:
    """What a table looks like from here on. `identity`: d(efault), n(othing), f(ull), i(ndex)."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    relation: int
    new: Values


@dataclass(frozen=True, slots=True)
class Update:
    """`old` is the former key with null for the rest, the whole former row if `whole`, or None: the key stayed."""

    relation: int
    old: Values | None
    whole: bool
    new: Values


@dataclass(frozen=True, slots=True)
class Delete:
    relation: int
    old: Values
    whole: bool


@dataclass(frozen=True, slots=True)
class Truncate:
    relations: tuple[int, ...]


Message = Begin | Commit | Relation | Insert | Update | Delete | Truncate


def decode(raw: bytes) -> Message | None:
    """The message, or None for one that says nothing of rows (origin, type, logical message). Raises MalformedError."""
    try:
        return _decode(raw)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise MalformedError(f"a message of {len(raw)} bytes ends early or is no text") from error


def _decode(raw: bytes) -> Message | None:
    kind = raw[:1]
    if kind == b"I":
        return Insert(_UINT32.unpack_from(raw, 1)[0], _values(raw, 6, b"N")[0])
    if kind == b"U":
        return _update(raw)
    if kind == b"D":
        mark = raw[5:6]
        return Delete(_UINT32.unpack_from(raw, 1)[0], _values(raw, 6, b"KO")[0], mark == b"O")
    if kind == b"B":
        final, at, xid = _BEGIN.unpack_from(raw, 1)
        return Begin(final, at + EPOCH, xid)
    if kind == b"C":
        _, final, end, at = _COMMIT.unpack_from(raw, 1)
        return Commit(final, end, at + EPOCH)
    if kind == b"R":
        return _relation(raw)
    if kind == b"T":
        count, _ = _TRUNCATE.unpack_from(raw, 1)
        return Truncate(struct.unpack_from(f">{count}I", raw, 6))
    if kind in (b"O", b"Y", b"M"):
        return None
    raise MalformedError(f"no message begins with {kind!r}")


def _update(raw: bytes) -> Update:
    relation = _UINT32.unpack_from(raw, 1)[0]
    mark, at, old = raw[5:6], 6, None
    if mark in (b"K", b"O"):
        old, at = _values(raw, at, b"KO")
        at += 1
    new, _ = _values(raw, at, b"N")
    return Update(relation, old, mark == b"O", new)


def _values(raw: bytes, at: int, marks: bytes) -> tuple[Values, int]:
    """The row whose values begin at `at`, right behind its mark; and where it ends."""
    if raw[at - 1] not in marks:
        raise MalformedError(f"a row is marked {raw[at - 1 : at]!r}")
    (count,) = _UINT16.unpack_from(raw, at)
    at += 2
    found: list[Value] = []
    for _ in range(count):
        kind = raw[at]
        at += 1
        if kind == 0x74:  # t, text
            end = at + 4 + _UINT32.unpack_from(raw, at)[0]
            if end > len(raw):
                raise MalformedError("a value ends behind its message")
            found.append(raw[at + 4 : end])
            at = end
        elif kind == 0x6E:  # n, null
            found.append(None)
        elif kind == 0x75:  # u, unchanged
            found.append(UNCHANGED)
        else:
            raise MalformedError(f"a value is marked {bytes([kind])!r}")
    return tuple(found), at


def _relation(raw: bytes) -> Relation:
    (oid,) = _UINT32.unpack_from(raw, 1)
    schema, at = _name(raw, 5)
    name, at = _name(raw, at)
    identity = raw[at : at + 1].decode("ascii")
    (count,) = _UINT16.unpack_from(raw, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        flags = raw[at]
        column, at = _name(raw, at + 1)
        type_oid, modifier = _COLUMN.unpack_from(raw, at)
        columns.append(RelationColumn(column, type_oid, modifier, bool(flags & 1)))
        at += 8
    # The server leaves the schema of its own catalog empty.
    return Relation(oid, schema or "pg_catalog", name, identity, tuple(columns))


def _name(raw: bytes, at: int) -> tuple[str, int]:
    end = raw.find(b"\0", at)
    if end < 0:
        raise MalformedError("a name has no end")
    return raw[at:end].decode(), end + 1

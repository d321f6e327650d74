"""Events of the binlog, read from their bytes. Nothing here talks to a server.

Only what a reader of rows needs: where a log begins and goes on, where transactions begin and end, what a table looks
like, and its rows. Layouts: https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html
and https://mariadb.com/docs/server/reference/clientserver-protocol/replication-protocol.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

QUERY, STOP, ROTATE, FORMAT, XID, TABLE_MAP = 2, 3, 4, 15, 16, 19
WRITES, UPDATES, DELETES = (23, 30), (24, 31), (25, 32)
INCIDENT, HEARTBEAT, GTID, ANONYMOUS, XA_PREPARE, PARTIAL_UPDATE, PAYLOAD, TAGGED = 26, 27, 33, 34, 38, 39, 40, 42
COMPRESSED = range(165, 172)  # MariaDB: a query, and rows, packed by zlib
MARIADB_GTID = 162
ROWS = (*WRITES, *UPDATES, *DELETES)
_HEADER = struct.Struct("<IBIIIH")
_STANDALONE = 1  # MariaDB: a GTID event whose statement ends without COMMIT
_FROM_SECOND_VERSION = 30
_NAMES = 4  # of a table's optional metadata


@dataclass(frozen=True, slots=True)
class Event:
    """`end` is where the log goes on behind it; 0 for what the server made up while it sent."""

    kind: int
    server: int
    end: int
    moment: int
    body: bytes


@dataclass(frozen=True)
class Table:
    """A table as the log describes it before its rows. `names` only where the server writes full metadata."""

    number: int
    schema: str
    name: str
    types: bytes
    meta: tuple[int, ...]
    names: tuple[str, ...]


def event_of(packet: bytes, *, summed: bool = False) -> Event:
    """An event from its packet, without the byte that says that all is well, and without its CRC if it is `summed`."""
    moment, kind, server, _, end, _ = _HEADER.unpack_from(packet, 1)
    return Event(kind, server, end, moment, packet[1 + _HEADER.size : -4 if summed else None])


def kind_of(packet: bytes) -> tuple[int, bool]:
    """(kind of the event in a packet, whether it stands in the log: the server makes some up while it sends)."""
    return packet[5], packet[14:18] != b"\0\0\0\0"


def is_summed(body: bytes) -> bool:
    """Whether the events of a file end with a CRC-32, as its first event says. That one always ends with five bytes."""
    return body[-5] == 1


def rotated(body: bytes) -> tuple[str, int]:
    """(file, position) where the log goes on."""
    return body[8:].split(b"\0")[0].decode(), struct.unpack_from("<Q", body)[0]


def mysql_gtid(body: bytes) -> tuple[str, int]:
    """(UUID of the server, number of the transaction)."""
    told = body[1:17].hex()
    uuid = "-".join((told[:8], told[8:12], told[12:16], told[16:20], told[20:]))
    return uuid, struct.unpack_from("<q", body, 17)[0]


def mariadb_gtid(body: bytes, server: int) -> tuple[int, int, int, bool]:
    """(domain, server, number, whether the transaction is one statement without an end of its own)."""
    number, domain, flags = struct.unpack_from("<QIB", body)
    return domain, server, number, bool(flags & _STANDALONE)


def query(body: bytes) -> tuple[str, str]:
    """(database, statement) of a statement."""
    length, status = body[8], struct.unpack_from("<H", body, 11)[0]
    start = 13 + status
    return body[start : start + length].decode("utf-8", "replace"), body[start + length + 1 :].decode(
        "utf-8", "replace"
    )


def table_of(body: bytes) -> Table:
    """A table from its map."""
    number = int.from_bytes(body[:6], "little")
    schema, place = _counted(body, 8)
    name, place = _counted(body, place + 1)
    count, place = lenenc(body, place + 1)
    types = body[place : place + count]
    size, place = lenenc(body, place + count)
    meta = _meta(types, body[place : place + size])
    place += size + (count + 7) // 8
    return Table(number, schema.decode(), name.decode(), types, meta, _column_names(body[place:]))


def _meta(types: bytes, raw: bytes) -> tuple[int, ...]:
    """What the types say beside their number: two bytes are read big-endian for decimals and fixed strings."""
    found, place = [], 0
    for kind in types:
        if kind in (246, 247, 248, 254):
            found.append(raw[place] << 8 | raw[place + 1])
            place += 2
        elif kind in (15, 16, 253, 141):
            found.append(raw[place] | raw[place + 1] << 8)
            place += 2
        elif kind in (4, 5, 17, 18, 19, 140, 242, 245, 249, 250, 251, 252, 255):
            found.append(raw[place])
            place += 1
        else:
            found.append(0)
    return tuple(found)


def _column_names(raw: bytes) -> tuple[str, ...]:
    place = 0
    while place + 2 <= len(raw):
        kind = raw[place]
        size, place = lenenc(raw, place + 1)
        if kind == _NAMES:
            found, at = [], place
            while at < place + size:
                name, at = _lenenc_text(raw, at)
                found.append(name.decode())
            return tuple(found)
        place += size
    return ()


def lenenc(raw: bytes, place: int) -> tuple[int, int]:
    """(number, place behind it)."""
    first = raw[place]
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first, 0)
    if not size:
        return first, place + 1
    return int.from_bytes(raw[place + 1 : place + 1 + size], "little"), place + 1 + size


def _lenenc_text(raw: bytes, place: int) -> tuple[bytes, int]:
    size, place = lenenc(raw, place)
    return raw[place : place + size], place + size


def _counted(raw: bytes, place: int) -> tuple[bytes, int]:
    size = raw[place]
    return raw[place + 1 : place + 1 + size], place + 1 + size


def table_number(body: bytes) -> int:
    """Of which table rows are."""
    return int.from_bytes(body[:6], "little")


def flags(body: bytes) -> int:
    """What an event of rows says of its statement."""
    return int(struct.unpack_from("<H", body, 6)[0])


@dataclass(frozen=True)
class Rows:
    """What rows look like, and where the first one begins. An update tells each row twice, before and after."""

    width: int
    whole: bool
    twice: bool
    deleted: bool
    start: int


def rows_of(event: Event) -> Rows:
    body = event.body
    place = 8
    if event.kind >= _FROM_SECOND_VERSION:
        place += struct.unpack_from("<H", body, place)[0]
    width, place = lenenc(body, place)
    size = (width + 7) // 8
    twice = event.kind in UPDATES
    bitmaps = body[place : place + size * (2 if twice else 1)]
    full = (1 << width) - 1  # MariaDB leaves the bits behind the last column unset, MySQL sets them
    told = (int.from_bytes(bitmaps[at : at + size], "little") for at in range(0, len(bitmaps), size))
    whole = all(bits & full == full for bits in told)
    return Rows(width, whole, twice, event.kind in DELETES, place + len(bitmaps))


def gtid_intervals(text: str) -> dict[str, list[tuple[int, int]]]:
    """A GTID set of MySQL: UUID -> (first, last) of each unbroken run."""
    found: dict[str, list[tuple[int, int]]] = {}
    for part in filter(None, (p.strip() for p in text.replace("\n", "").split(","))):
        uuid, *runs = part.split(":")
        for run in runs:
            first, _, last = run.partition("-")
            found.setdefault(uuid.lower(), []).append((int(first), int(last or first)))
    return {uuid: _merged(runs) for uuid, runs in found.items()}


def _merged(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def gtid_text(sets: dict[str, list[tuple[int, int]]]) -> str:
    """As MySQL writes a set."""
    return ",".join(
        ":".join([uuid, *(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)]) for uuid, runs in sorted(sets.items())
    )


def gtid_added(text: str, more: Iterable[tuple[str, int]]) -> str:
    """The set with some transactions more."""
    sets = gtid_intervals(text)
    for uuid, number in more:
        runs = sets.setdefault(uuid, [])
        if runs and runs[-1][1] + 1 == number:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return gtid_text({uuid: _merged(runs) for uuid, runs in sets.items()})


def gtid_bytes(text: str) -> bytes:
    """A set as COM_BINLOG_DUMP_GTID takes it; there the end of a run is the number behind it."""
    sets = gtid_intervals(text)
    parts = [struct.pack("<Q", len(sets))]
    for uuid, runs in sorted(sets.items()):
        parts += [bytes.fromhex(uuid.replace("-", "")), struct.pack("<Q", len(runs))]
        parts += [struct.pack("<QQ", first, last + 1) for first, last in runs]
    return b"".join(parts)


def unpacked(payload: bytes) -> Iterator[Event]:
    """The events of a transaction that MySQL 8 packed by zstd, or left as they are."""
    place, method = 0, 255
    while place < len(payload):
        kind, place = lenenc(payload, place)
        if kind == 0:  # the events follow
            break
        size, place = lenenc(payload, place)
        if kind == 2:
            method = lenenc(payload, place)[0]
        place += size
    body = payload[place:]
    if method == 0:
        import zstandard

        body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
    at = 0
    while at + _HEADER.size <= len(body):
        size = struct.unpack_from("<I", body, at + 9)[0]
        yield event_of(b"\0" + body[at : at + size])
        at += size

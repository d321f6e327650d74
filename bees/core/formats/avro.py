"""Avro files by fastavro, and what it does not read by itself: blocks packed with Snappy, and years beyond 9999."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa

_MOST = 32
"""Bytes that one byte of Snappy may give, about: a copy of 64 bytes takes 3."""
_UNITS = {"millis": "ms", "micros": "us"}


def records(file: BinaryIO) -> tuple[Iterator[Any], bool]:
    """The file's records, and whether its blocks can be unpacked here. Raises what fastavro raises of a bad head."""
    import fastavro
    import fastavro.read as known

    for name, unit in _UNITS.items():
        for kind in (f"long-timestamp-{name}", f"long-local-timestamp-{name}"):
            reader = known.LOGICAL_READERS.get(kind)
            if reader is not None and not isinstance(reader, _Instants):
                known.LOGICAL_READERS[kind] = _Instants(reader, unit, "Z" if "local" not in kind else "")
    days = known.LOGICAL_READERS.get("int-date")
    if days is not None and not isinstance(days, _Instants):
        known.LOGICAL_READERS["int-date"] = _Instants(days, "", "")
    if getattr(known.BLOCK_READERS.get("snappy"), "__name__", "") == "missing":  # a library that is not needed for it
        known.BLOCK_READERS["snappy"] = _snappy
    made = fastavro.reader(file)
    return made, getattr(known.BLOCK_READERS.get(made.codec), "__name__", "missing") != "missing"


class _Instants:
    """Reads a time or day as fastavro does; one that Python has no word for comes as text, as those of Parquet do."""

    def __init__(self, reader: Callable[..., Any], unit: str, zone: str) -> None:
        self._reader, self._unit, self._zone = reader, unit, zone

    def __call__(self, data: int, *schemas: Any) -> Any:
        try:
            return self._reader(data, *schemas)
        except (OverflowError, ValueError):
            kind = pa.timestamp(self._unit) if self._unit else pa.date32()
            told = pa.array([data], pa.int64() if self._unit else pa.int32()).view(kind).cast(pa.string())[0].as_py()
            return data if told.startswith("<") else told + self._zone  # beyond all years: the number itself


def _snappy(file: Any) -> io.BytesIO:
    """One block. Raises ValueError where it is damaged."""
    packed = file.read(_long(file) - 4)
    data = pa.decompress(packed, decompressed_size=_size(packed), codec="snappy", asbytes=True)
    if zlib.crc32(data) != int.from_bytes(file.read(4), "big"):
        raise ValueError("the block's sum is wrong")
    return io.BytesIO(data)


def _long(file: Any) -> int:
    """A number as Avro writes it, which cannot be negative here."""
    raw = _varint(iter(lambda: file.read(1), b""))
    return (raw >> 1) ^ -(raw & 1)


def _size(packed: bytes) -> int:
    """Bytes that the block says it holds."""
    size = _varint(bytes((byte,)) for byte in packed[:10])
    if size > _MOST * len(packed):
        raise ValueError("the block says that it holds more than it can")
    return size


def _varint(given: Iterator[bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = next(given, b"")
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("the block has no length")

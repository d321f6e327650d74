"""Parameters that are packed already, in the format in which PostgreSQL receives them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import psycopg

BYTEA = psycopg.postgres.types["bytea"]
_ARRAY = struct.Struct(">iiI")
"""Before an array: how many dimensions, whether an element is null, and their type."""
_DIMENSION = struct.Struct(">ii")
"""How many elements, and the number of the first one."""


@dataclass(frozen=True)
class ByteArrays:
    """A parameter of the type bytea[]."""

    packed: bytes


def byte_arrays(count: int, elements: bytes) -> ByteArrays:
    """`elements`: of each its length (int32, big endian) and its bytes, one behind the other; none is null."""
    head = _ARRAY.pack(1 if count else 0, 0, BYTEA.oid)
    return ByteArrays(head + _DIMENSION.pack(count, 1) + elements if count else head)


class _Dumper(psycopg.adapt.Dumper):
    format = psycopg.pq.Format.BINARY
    oid = BYTEA.array_oid

    def dump(self, obj: ByteArrays) -> bytes:
        return obj.packed


def register(connection: psycopg.Connection[Any]) -> None:
    """From now on the connection knows what to do with them."""
    connection.adapters.register_dumper(ByteArrays, _Dumper)

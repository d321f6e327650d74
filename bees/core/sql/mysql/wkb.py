"""Geometry as the server stores it (SRID and WKB, little-endian), as the text that ST_AsText writes."""

from __future__ import annotations

import struct

_POINT, _LINE, _POLYGON, _COLLECTION = 1, 2, 3, 7
_NAMES = {
    1: "POINT", 2: "LINESTRING", 3: "POLYGON", 4: "MULTIPOINT", 5: "MULTILINESTRING", 6: "MULTIPOLYGON",
    7: "GEOMETRYCOLLECTION",
}  # fmt: skip


def wkt(raw: bytes) -> str:
    """The text, with `SRID=n;` before it where there is one."""
    srid = int.from_bytes(raw[:4], "little")
    told, _ = _shape(raw, 4)
    return f"SRID={srid};{told}" if srid else told


def _shape(raw: bytes, at: int) -> tuple[str, int]:
    kind = struct.unpack_from("<I", raw, at + 1)[0]
    inner, end = _inner(raw, at + 5, kind)
    return f"{_NAMES[kind]}{inner}" if inner.startswith(" ") else f"{_NAMES[kind]}({inner})", end


def _inner(raw: bytes, at: int, kind: int) -> tuple[str, int]:
    """What stands between the brackets of a shape."""
    if kind == _POINT:
        return f"{_number(raw, at)} {_number(raw, at + 8)}", at + 16
    count = struct.unpack_from("<I", raw, at)[0]
    at += 4
    parts = []
    for _ in range(count):
        if kind == _LINE:
            told, at = _inner(raw, at, _POINT)
        elif kind == _POLYGON:
            told, at = _inner(raw, at, _LINE)
            told = f"({told})"
        else:
            told, at = _member(raw, at, kind)
        parts.append(told)
    if not parts and kind == _COLLECTION:
        return " EMPTY", at
    return ",".join(parts), at


def _member(raw: bytes, at: int, kind: int) -> tuple[str, int]:
    if kind == _COLLECTION:
        return _shape(raw, at)
    inner = struct.unpack_from("<I", raw, at + 1)[0]
    told, end = _inner(raw, at + 5, inner)
    return told if inner == _POINT else f"({told})", end


def _number(raw: bytes, at: int) -> str:
    told = repr(struct.unpack_from("<d", raw, at)[0]).replace("e+", "e")
    return told.removesuffix(".0")

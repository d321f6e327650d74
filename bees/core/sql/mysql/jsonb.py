"""MySQL's binary JSON, as text. https://dev.mysql.com/doc/dev/mysql-server/latest/json__binary_8h.html

Numbers keep their digits, decimals too; moments are written as MySQL writes them in JSON; what is opaque and no moment
or decimal comes as MySQL shows it, `base64:type253:...`.
"""

from __future__ import annotations

import base64
import json
import struct

from bees.core.sql.mysql.decimals import decimal_reader

_NUMBERS = {5: "<h", 6: "<H", 7: "<i", 8: "<I", 9: "<q", 10: "<Q", 11: "<d"}
_LITERALS = {0: "null", 1: "true", 2: "false"}
_INLINE = (4, 5, 6)


def json_text(raw: bytes) -> str:
    """The document. An empty value is the one that an old server left for a column that was added: null."""
    return _value(raw[0], raw, 1) if raw else "null"


def _value(kind: int, raw: bytes, at: int) -> str:
    if kind in (0, 1, 2, 3):
        return _container(raw, at, is_object=kind < 2, large=kind % 2 == 1)
    if kind == 4:
        return _LITERALS[raw[at]]
    if kind in _NUMBERS:
        return repr(struct.unpack_from(_NUMBERS[kind], raw, at)[0])
    if kind == 12:
        size, at = _length(raw, at)
        return json.dumps(raw[at : at + size].decode(), ensure_ascii=False)
    if kind == 15:
        field = raw[at]
        size, at = _length(raw, at + 1)
        return _opaque(field, raw[at : at + size])
    raise ValueError("a type of JSON that is not known")


def _container(raw: bytes, at: int, *, is_object: bool, large: bool) -> str:
    width = 4 if large else 2
    count = int.from_bytes(raw[at : at + width], "little")
    keys_at = at + 2 * width
    values_at = keys_at + (count * (width + 2) if is_object else 0)
    values = []
    for number in range(count):
        place = values_at + number * (1 + width)
        kind = raw[place]
        if kind in _INLINE or (large and kind in (7, 8)):
            values.append(_value(kind, raw, place + 1))
        else:
            values.append(_value(kind, raw, at + int.from_bytes(raw[place + 1 : place + 1 + width], "little")))
    if not is_object:
        return f"[{', '.join(values)}]"
    names = []
    for number in range(count):
        place = keys_at + number * (width + 2)
        start = at + int.from_bytes(raw[place : place + width], "little")
        size = int.from_bytes(raw[place + width : place + width + 2], "little")
        names.append(json.dumps(raw[start : start + size].decode(), ensure_ascii=False))
    return "{" + ", ".join(f"{n}: {v}" for n, v in zip(names, values, strict=True)) + "}"


def _length(raw: bytes, at: int) -> tuple[int, int]:
    """A length in groups of seven bits, the highest bit saying that more follow."""
    size = shift = 0
    while True:
        size |= (raw[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not raw[at - 1] & 0x80:
            return size, at


def _opaque(field: int, raw: bytes) -> str:
    if field == 246:
        return decimal_reader(raw[0], raw[1])(raw, 2)[0].decode()
    if field in (7, 10, 11, 12):
        return f'"{_moment(field, struct.unpack("<q", raw)[0])}"'
    return f'"base64:type{field}:{base64.b64encode(raw).decode()}"'


def _moment(field: int, packed: int) -> str:
    sign, packed = ("-", -packed) if packed < 0 else ("", packed)
    part, whole = packed & 0xFFFFFF, packed >> 24
    clock = f"{whole >> 6 & 63:02d}:{whole & 63:02d}.{part:06d}"
    if field == 11:
        return f"{sign}{whole >> 12 & 1023:02d}:{clock}"
    month, day = whole >> 22, whole >> 17 & 31
    date = f"{month // 13:04d}-{month % 13:02d}-{day:02d}"
    return date if field == 10 else f"{date} {whole >> 12 & 31:02d}:{clock}"

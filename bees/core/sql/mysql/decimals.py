"""Decimals as the server stores them."""

from __future__ import annotations

from collections.abc import Callable

_DIGITS = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)  # bytes that hold so many digits


def decimal_reader(precision: int, scale: int) -> Callable[[bytes, int], tuple[bytes, int]]:
    """Groups of nine digits in four bytes; a negative number has all bits turned over, the first bit says positive."""
    whole, part = precision - scale, scale
    before = [whole % 9] * (whole % 9 > 0) + [9] * (whole // 9)
    behind = [9] * (part // 9) + [part % 9] * (part % 9 > 0)
    size = sum(_DIGITS[n] for n in before + behind)

    def read(raw: bytes, at: int) -> tuple[bytes, int]:
        taken = bytearray(raw[at : at + size])
        negative = not taken[0] & 0x80
        taken[0] ^= 0x80
        if negative:
            taken = bytearray(byte ^ 0xFF for byte in taken)
        texts, place = [], 0
        for digits in before + behind:
            end = place + _DIGITS[digits]
            texts.append(f"{int.from_bytes(taken[place:end], 'big'):0{digits}d}")
            place = end
        first = "".join(texts[: len(before)]).lstrip("0") or "0"
        second = "".join(texts[len(before) :])
        told = f"{'-' if negative else ''}{first}{'.' + second if second else ''}"
        return told.encode(), at + size

    return read

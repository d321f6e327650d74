"""The dresses in which a value may lie where it must not be, and a search for many of them at once."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_from_bytes

import polars as pl

AT_ONCE = 8 << 20
"""Bytes of texts that are searched in one step."""


def forms(word: str | bytes) -> dict[str, set[bytes]]:
    """What to search for without regard to case, by kind. Of bytes only what bytes can be written as."""
    raw = word.encode() if isinstance(word, str) else word
    cores = set()
    for offset in range(3):  # wherever it may begin in what was encoded; the last digits depend on what follows
        inside = base64.b64encode(b"\0" * offset + raw)
        core = inside[(offset * 8 + 5) // 6 : (offset + len(raw)) * 8 // 6]
        cores |= {core, core.replace(b"+", b"-").replace(b"/", b"_")}
    found = {
        "plain": {raw},
        "percent": {quote_from_bytes(raw, safe="").encode(), "".join(f"%{byte:02x}" for byte in raw).encode()},
        "base64": cores,
        "hex": {raw.hex().encode(), "".join(f"\\x{byte:02x}" for byte in raw).encode(), raw.hex(" ").encode()},
    }
    if isinstance(word, bytes):
        found["hex"].add(repr(raw)[2:-1].encode())
        return found
    found["percent"] |= {quote(word).encode(), quote(word, safe="").replace("%20", "+").encode()}
    found["json"] = {json.dumps(word)[1:-1].encode(), "".join(f"\\u{ord(c):04x}" for c in word).encode()}
    found["html"] = {html.escape(word).encode(), html.escape(word).replace("&#x27;", "&#39;").encode()}
    found["html"] |= {"".join(form.format(ord(c)) for c in word).encode() for form in ("&#{};", "&#x{:x};")}
    if word.isdigit():
        groups = [word[at : at + 4] for at in range(0, len(word), 4)]
        found["plain"] |= {sign.join(groups).encode() for sign in (*" -./_+\u00a0", "%20", "&nbsp;")}
    return found


class Search:
    """For all dresses of some words."""

    def __init__(self, words: Iterable[str | bytes]) -> None:
        dressed = {form.lower() for word in words for some in forms(word).values() for form in some}
        self._forms = [form.decode("latin-1") for form in sorted(dressed)]
        self.longest = max(map(len, self._forms))

    def places(self, texts: Iterable[tuple[str, bytes]]) -> Iterator[str]:
        """The names of those texts in which there is one."""
        some, size = list[tuple[str, bytes]](), 0
        for name, text in texts:
            some.append((name, text))
            size += len(text)
            if size > AT_ONCE:
                yield from self._among(some)
                some, size = [], 0
        yield from self._among(some)

    def __contains__(self, text: bytes) -> bool:
        return bool(list(self._among([("it", text)])))

    def _among(self, texts: list[tuple[str, bytes]]) -> list[str]:
        """Bytes go as the characters of the same numbers, of which only ASCII's have a case here."""
        whole = pl.Series([text.decode("latin-1") for _, text in texts], dtype=pl.String)
        wrong = whole.str.contains_any(self._forms, ascii_case_insensitive=True)
        return [name for (name, _), hit in zip(texts, wrong, strict=True) if hit]

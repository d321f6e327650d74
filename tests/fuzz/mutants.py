"""Statements that nobody wrote: pieces of harmless and of harmful ones, put together by chance from a seed."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

_TOKEN = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\$\w*\$|/\*.*?\*/|--[^\n]*|\w+|\s+|::|\|\||->>?|[^\w\s]", re.DOTALL
)
_TRAPS = (
    ";", "--", "/*", "*/", "/*!", "/*M!", "U&'d\\0061'", 'U&"x"', "E'\\'", "\\", "\0", "$$", "$1", "%s", "@@version",
    "\u00a0", "\u2028", "FOR UPDATE", "INTO x", "INTO OUTFILE '/tmp/x'", "AS (DELETE FROM items RETURNING *)",
    "RETURNING *", "nextval('counter')", "pg_sleep(0)",
    "set_config('a.b', 'c', false)", "lo_create(0)", "SLEEP(0)", "@x := 1",
    "(SELECT 1)", "LATERAL", "TABLE orders", "VALUES (1)", "UNION ALL", "pg_catalog.", "public.",
)  # fmt: skip
_WRAPS = (
    "SELECT * FROM ({}) AS w", "WITH w AS ({}) SELECT * FROM w", "({})", "SELECT EXISTS ({})", "EXPLAIN {}",
    "EXPLAIN ANALYZE {}", "{} UNION ALL {}", "{}; {}", "/* {} */ SELECT 1", "WITH w AS MATERIALIZED ({}) TABLE w",
    "SELECT ({}) FROM orders", "DECLARE c CURSOR FOR {}", "PREPARE p AS {}", "COPY ({}) TO STDOUT",
    "CREATE TABLE x AS {}",
)  # fmt: skip


def tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


class Mutants:
    """`Mutants(reads, writes, seed).one()` is one statement; few are valid, and those are the ones that matter."""

    def __init__(self, reads: Sequence[str], writes: Sequence[str], seed: int) -> None:
        self.random = random.Random(seed)
        self._reads = [tokens(text) for text in reads]
        self._all = [*self._reads, *[tokens(text) for text in writes]]

    def one(self) -> str:
        found = list(self.random.choice(self._reads))
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            found = self._changed(found)
        text = "".join(found)
        if self.random.random() < 0.2:
            wrap = self.random.choice(_WRAPS)
            text = wrap.replace("{}", text)
        return text

    def _changed(self, found: list[str]) -> list[str]:
        pick = self.random
        at = pick.randrange(len(found) + 1)
        kind = pick.randrange(8)
        if kind == 0:
            return [*found[:at], " ", pick.choice(_TRAPS), " ", *found[at:]]
        if kind == 1:
            return [*found[:at], *found[at + pick.randint(1, 3) :]]
        if kind == 2 and found:
            return [*found[:at], *found[max(0, at - pick.randint(1, 4)) :]]
        if kind == 3:
            return [*found[:at], " ", *self._piece(), " ", *found[at:]]
        if kind == 4 and found:
            at = pick.randrange(len(found))
            return [*found[:at], pick.choice(pick.choice(self._all)), *found[at + 1 :]]
        if kind == 5:
            words = [n for n, token in enumerate(found) if re.fullmatch(r"\w+", token)]
            if words:
                at = pick.choice(words)
                found = list(found)
                found[at] = pick.choice((found[at].upper(), f'"{found[at]}"', f"public.{found[at]}", found[at].title()))
            return found
        if kind == 6:
            other = pick.choice(self._all)
            cut = pick.randrange(len(other) + 1)
            return [*found[:at], *other[cut:]]
        return ["(", "SELECT", " ", *self._piece(), ")", *found] if pick.random() < 0.1 else [*found, *self._piece()]

    def _piece(self) -> list[str]:
        """Some tokens in a row of any statement, harmful ones among them."""
        other = self.random.choice(self._all)
        start = self.random.randrange(len(other))
        return other[start : start + self.random.randint(1, 8)]

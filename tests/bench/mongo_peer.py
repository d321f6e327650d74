"""A peer that speaks MongoDB's protocol and serves one collection out of memory: `python mongo_peer.py URL TABLE`.

It is no MongoDB: it keeps the rows of a PostgreSQL table as documents, gives them in the order of `_id`, behind one
where it is asked to, in batches as large as a server's, and does nothing else. What it costs is small beside what reads
it, so that a figure is about the reader. It prints its port, and ends with its input.
"""

from __future__ import annotations

import bisect
import sys
from pathlib import Path
from typing import Any

import bson
import psycopg
from bson.raw_bson import RawBSONDocument
from psycopg import sql
from psycopg.rows import dict_row

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.servers.mongo import ScriptedMongo, page

LARGEST = 16_000_000
"""Bytes of an answer, as a server's."""
FIRST = 101
"""Documents of a first answer where no number is asked for, as a server's."""


class Collection:
    def __init__(self, name: str, rows: list[dict[str, Any]]) -> None:
        """`rows` with an integer `id`, in its order."""
        self.space = f"shop.{name}"
        self._name = name
        self._ids = [row["id"] for row in rows]
        made = (bson.encode({"_id": row["id"]} | {k: v for k, v in row.items() if k != "id"}) for row in rows)
        self._documents = [RawBSONDocument(raw) for raw in made]
        self._cursors: dict[int, int] = {}

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        name = next(iter(command))
        if name == "listCollections":
            return page("shop.$cmd.listCollections", [{"name": self._name, "type": "collection"}])
        if name == "listIndexes":
            return page(self.space, [{"name": "_id_", "key": {"_id": 1}}])
        if name == "find":
            return self._found(command)
        if name == "getMore":
            return self._given(int(command["getMore"]), command.get("batchSize"), first=False)
        return {"ok": 1.0, "n": len(self._documents)}

    def _found(self, command: dict[str, Any]) -> dict[str, Any]:
        at = bisect.bisect_right(self._ids, _behind(command.get("filter") or {}))
        if limit := command.get("limit"):
            return page(self.space, self._documents[at : at + limit])  # type: ignore[arg-type]
        number = len(self._cursors) + 1
        self._cursors[number] = at
        return self._given(number, command.get("batchSize") or FIRST, first=True)

    def _given(self, number: int, most: int | None, *, first: bool) -> dict[str, Any]:
        at, size = self._cursors[number], 0
        end = at
        while end < len(self._documents) and size < LARGEST and end - at < (most or sys.maxsize):
            size += len(self._documents[end].raw)
            end += 1
        self._cursors[number] = end
        more = number if end < len(self._documents) else 0
        return page(self.space, self._documents[at:end], more, first=first)  # type: ignore[arg-type]


def _behind(condition: Any) -> int:
    """The `_id` behind which documents are asked for; -1 where it is all of them."""
    if isinstance(condition, dict):
        asked = condition.get("$gt")
        return max([asked if isinstance(asked, int) else -1, *map(_behind, condition.values())])
    return max(map(_behind, condition), default=-1) if isinstance(condition, list) else -1


def main(url: str, table: str) -> None:
    with psycopg.connect(url, row_factory=dict_row) as source:
        rows = source.execute(sql.SQL("SELECT * FROM {} ORDER BY id").format(sql.Identifier(table))).fetchall()
    with ScriptedMongo(Collection(table, rows).answer) as peer:
        sys.stdout.write(f"{peer.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])

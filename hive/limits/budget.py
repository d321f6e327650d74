"""The requests that all workers together may send with one credential."""

from __future__ import annotations

from bees.core.resilience.quota import Back, Block, Quota, draw
from hive.ledger.db import Database


class LedgerBudget:
    """A `RateBudget` whose state is one row of hive.rate. Each draw is a short transaction of its own.

    Raises DatabaseAway: without the ledger nobody knows what the others send, so nothing is sent.
    """

    def __init__(self, db: Database, credential: str, quota: Quota) -> None:
        self._db = db
        self._credential = credential
        self._quota = quota

    @property
    def most(self) -> int:
        return self._quota.most

    def draw(self, wanted: int, back: Back | None = None) -> Block:
        which = {"credential": self._credential}
        with self._db.transaction() as tx:
            row = tx.run("rate_held", **which).fetchone()
            if row is None:
                tx.run("rate_begin", **which)
                row = tx.run("rate_held", **which).fetchone()
            assert row is not None
            held = dict(zip(row.ends, row.counts, strict=True))
            drawn = draw(self._quota, held, row.now, wanted, back)
            if drawn.held != held:
                tx.run(
                    "rate_keep", **which, ends=list(drawn.held), counts=list(drawn.held.values()),
                    most=self._quota.most, seconds=self._quota.seconds,
                )  # fmt: skip
        return Block(drawn.tokens, drawn.until, self._quota.lease, drawn.wait)

"""Ends a listing whose server tells the same pages again and again."""

from __future__ import annotations

from bees.core.errors import RetryLater


class Rounds:
    """The marks of a listing's next pages. A circle of any length is found by a few marks kept (R. P. Brent, 1980)."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._kept = ""
        self._passed, self._most = 0, 1

    def on(self, mark: str | None) -> None:
        """The next page is the one of this mark; none: there is no other. Raises RetryLater where it was met before."""
        if not mark:
            return
        if mark == self._kept:
            raise RetryLater("the listing goes round in a circle", code="bad_listing", where=self._where)
        self._passed += 1
        if self._passed == self._most:
            self._kept, self._passed, self._most = mark, 0, 2 * self._most

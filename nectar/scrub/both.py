"""Two scrubbers as one: nothing passes that either of them takes out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa

from nectar.scrub.scrubber import DataScrubber, Scrubbed
from nectar.scrub.shapes.columns import summed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nectar.deadline import Deadline


class Both:
    """What `first` leaves goes through `second`. A value that the first keeps is not kept from the second."""

    def __init__(self, first: DataScrubber, second: DataScrubber) -> None:
        self._first = first
        self._second = second

    @property
    def version(self) -> str:
        """Changes when the result of either may."""
        return hashlib.sha256(f"{self._first.version} {self._second.version}".encode()).hexdigest()[:32]

    def action_of(self, field: str, kind: str) -> str:
        """As `DataScrubber.action_of`: what is done with what both take out, the first does."""
        return self._first.action_of(field, kind) or self._second.action_of(field, kind)

    def scrub(self, table: pa.Table, deadline: Deadline | None = None) -> Scrubbed:
        """As `DataScrubber.scrub`, with what both removed and all that failed in one of them."""
        one = self._first.scrub(table, deadline)
        two = self._second.scrub(one.table, deadline)
        failed: Mapping[int, str] = {**two.failed, **one.failed}
        return Scrubbed(two.table, _sum(one.removed, two.removed), failed)


def _sum(one: pa.Table, two: pa.Table) -> pa.Table:
    """Lines of the same row, field and kind become one, in the order of the rows."""
    if not one.num_rows or not two.num_rows:
        return one if one.num_rows else two
    return summed(pa.concat_tables([one, two]))

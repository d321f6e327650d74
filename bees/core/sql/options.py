"""What may be asked of one stream of a database bee."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Protocol

from pydantic import Field, field_validator, model_validator

from bees.core.bee import BeeOptions, Columns, KeyColumns, Name
from bees.core.errors import GiveUp

if TYPE_CHECKING:
    from nectar.pollen import Kind

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LOOKBACK = re.compile(r"(\d+)\s*([smhdw])")


class StreamOptions(BeeOptions):
    """What to read as one stream."""

    table: Name | None = Field(None, description="table or view, `schema.table` elsewhere; the stream's name if unset")
    query: str | None = Field(None, max_length=65536, description="one SELECT statement, instead of a table")
    key: KeyColumns = Field((), description="columns that identify a record; the primary key if unset")
    cursor: Name | None = Field(None, description="column that grows with each change; unset: all rows in each flight")
    lookback: float | str | None = Field(
        None,
        description='how far back flights begin, for rows that commit late: seconds or "5m" for times (unset: 60), '
        "steps for numbers (unset: 1000); free of cost, because the hive knows unchanged rows by their hash; 0: none",
    )
    columns: Columns = Field((), description="columns to read, all if unset; key and cursor are always read")
    functions: Columns = Field(
        (), description="functions of the source that `query` may call besides the server's harmless ones"
    )

    @field_validator("query")
    @classmethod
    def _plain_text(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip() or re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", value)):
            raise ValueError("a query is text without control characters")
        return value

    @field_validator("lookback")
    @classmethod
    def _length(cls, value: float | str | None) -> float | str | None:
        fits = _LOOKBACK.fullmatch(value) if isinstance(value, str) else value is None or 0 <= value < math.inf
        if not fits:
            raise ValueError('a look-back is a number that is not negative, or a time such as "5m" or "2h"')
        return value

    @model_validator(mode="after")
    def _table_or_query(self) -> StreamOptions:
        if self.table and self.query:
            raise ValueError("a stream reads a `table` or a `query`, not both")
        return self


class Followed(Protocol):
    """The form of a column that is followed."""

    @property
    def moment(self) -> bool: ...

    @property
    def kind(self) -> Kind: ...


def lookback(asked: float | str | None, followed: Followed | None, where: str) -> float:
    """The look-back in seconds for a time, in steps for a number. Raises GiveUp for what does not fit the cursor."""
    moment = followed is not None and followed.moment
    number = followed is not None and followed.kind in ("integer", "number")
    if asked is None:
        return 60.0 if moment else 1000.0 if number else 0.0
    timed = _LOOKBACK.fullmatch(asked) if isinstance(asked, str) else None
    fits = moment or (number and timed is None)
    if asked and not fits:
        raise GiveUp(
            "this look-back does not fit the cursor",
            code="wrong_lookback",
            where=f"{where}.lookback",
            advice='give "5m" or seconds for a cursor of times, a number for one of numbers, nothing for others',
        )
    return float(timed[1]) * _SECONDS[timed[2]] if timed else float(asked)

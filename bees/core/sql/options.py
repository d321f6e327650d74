"""What may be asked of a database bee, and of one stream of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from bees.core.bee import BeeOptions, Columns, KeyColumns, Name, Seconds, StreamName
from bees.core.errors import GiveUp
from bees.core.sql.parameters import Value

if TYPE_CHECKING:
    from nectar.pollen import Kind

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LOOKBACK = re.compile(r"(\d+)\s*([smhdw])")


class StreamOptions(BeeOptions):
    """What to read as one stream."""

    table: Name | None = Field(None, description="table or view, `schema.table` elsewhere; the stream's name if unset")
    query: str | None = Field(None, max_length=65536, description="one SELECT statement, instead of a table")
    parameters: tuple[Value, ...] = Field(
        (), description="values for `query`, one for each of its places: `$1`, `$2` in PostgreSQL, `?` in MySQL"
    )
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

    @field_validator("parameters")
    @classmethod
    def _plain_values(cls, values: tuple[Value, ...]) -> tuple[Value, ...]:
        for value in values:
            if isinstance(value, str) and "\0" in value:
                raise ValueError("a value holds the character NUL, which no text of a server may")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError("a value is no finite number")
        return values

    @model_validator(mode="after")
    def _table_or_query(self) -> StreamOptions:
        if self.table and self.query:
            raise ValueError("a stream reads a `table` or a `query`, not both")
        if self.parameters and not self.query:
            raise ValueError("`parameters` are the values of a `query`, and there is none")
        return self


class ServerOptions(BeeOptions):
    """What every database server is told: how it is trusted, what may be read of it, and how much at once."""

    ssl_mode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        "prefer", description="encryption, in libpq's words; verify-full outside a trusted network"
    )
    ssl_root_cert: str | None = Field(None, description="file of trusted roots; unset: the system's")
    ssl_cert: str | None = Field(None, description="file of the client's certificate")
    ssl_key: str | None = Field(None, description="file of its key, which only its owner may read")
    ssl_key_password: SecretStr = Field(SecretStr(""), description="password of that key")
    connect_timeout: int = Field(10, ge=2, le=600, description="seconds to wait for a session")
    statement_timeout: Seconds = Field(
        300,
        description="seconds until the server ends a statement, and 15 more until one that is silent is given up on; "
        "with `consistent` it bounds each wait for rows alone",
    )
    row_filters: dict[Name, str | bool | None] | None = Field(
        None,
        description="the rows that may be read, by table: `orders: region = 'EU'`, true for all of them; "
        "what is not named may not be read",
    )
    row_level_security: bool = Field(
        False, description="read nothing that neither `row_filters` nor a policy of the source holds down"
    )
    allow_writable_role: bool = Field(
        False, description="accept a role that can do more than read; its sessions are read only all the same"
    )
    max_rows: int | None = Field(
        None, ge=1, description="most rows of a stream in one flight; the next one goes on behind them"
    )
    batch_bytes: int = Field(16 * 2**20, ge=1024, description="size at which a batch is closed")
    batch_rows: int = Field(20_000, ge=1, description="rows at which a batch is closed")
    consistent: bool = Field(
        False,
        description="read all streams as they were at one moment, one after the other in one transaction: "
        "no part is left for a later leg, and a crash begins all of them anew",
    )
    slices: int = Field(
        4,
        ge=1,
        le=64,
        description="parts, by ranges of its key, in which a large table is read by several workers; "
        "one with a `cursor` in its first reading",
    )
    slice_rows: int = Field(
        1_000_000, ge=1, description="rows, as the server estimates them, from which on a table is large"
    )
    streams: dict[StreamName, StreamOptions] = Field(
        default_factory=dict, description="what to read, by name; unset: each table with a primary key"
    )

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if bool(self.ssl_cert) != bool(self.ssl_key):
            raise ValueError("a client certificate needs both `ssl_cert` and `ssl_key`")
        return self

    @model_validator(mode="after")
    def _moment_or_changes(self) -> Self:
        if self.consistent and getattr(self, "cdc", None):
            raise ValueError("changes go on: `cdc` goes without `consistent`")
        if self.consistent and self.max_rows:
            raise ValueError("one moment does not last until the next flight: `max_rows` goes without `consistent`")
        return self

    @field_validator("streams", mode="before")
    @classmethod
    def _bare_names(cls, value: Any) -> Any:
        return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, Mapping) else value

    def chosen(self, stream: str) -> StreamOptions:
        """What was asked of a stream; of one that is not named, nothing."""
        return self.streams.get(stream) or StreamOptions.model_validate({})

    def may_cut(self, stream: str) -> bool:
        """Whether a stream is read in parts where its table is large."""
        whole = not (self.chosen(stream).query or self.max_rows or self.row_level_security)
        return self.slices > 1 and not self.consistent and whole and self.row_filters is None


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

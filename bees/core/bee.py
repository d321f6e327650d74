"""The contract: what a connector is.

    class Weather(WorkerBee):
        bee_type = "api"
        class Options(BeeOptions): ...

A connector is one file in `bees/`; the file's name is its name in configurations. It imports nothing of the hive and
runs in a bare Python prompt:

    bee = PostgreSQLWorkerBee.from_options({"host": ..., "streams": {...}})
    bee.validate_flight_path()
    for batch in bee.collect_nectar("customers", None): ...
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from bees.core.errors import GiveUp
from nectar.batch import Batch, Cursor
from nectar.pollen import Stream

BeeType = Literal["database", "file", "api", "stream", "directory"]


def _named(value: str) -> str:
    if not value.strip():
        raise ValueError("a name is missing: it is empty, or white space alone")
    if "\0" in value:
        raise ValueError("a name holds the character NUL, which no source takes")
    return value


def _stream_named(value: str) -> str:
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in _named(value)):
        raise ValueError("a stream's name is one line of text, without control characters")
    return value


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else () if value is None else value


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"named more than once: {', '.join(twice)}")
    return values


Name = Annotated[str, AfterValidator(_named)]
"""What a source calls something: a column, a table, a parameter. Not empty, without NUL."""

StreamName = Annotated[str, AfterValidator(_stream_named)]
"""A stream's name: one line of text, not empty, without control characters."""

Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""One text, or several."""

Columns = Annotated[tuple[Name, ...], BeforeValidator(_listed), AfterValidator(_distinct)]
"""One name of a column or field, or several; each once."""

KeyColumns = Columns
"""What identifies a record, in this order."""

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
"""A length of time: above zero, up to a day."""


class BeeOptions(BaseModel):
    """Base of every connector's options: frozen, unknown names refused, secrets typed `SecretStr` (hidden in repr).

    Each field carries its help: `Field(description=...)`. `streams`, where a connector has them, maps a stream's
    name to its own options. `extra_forbidden` errors are turned into "did you mean" by the hive.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class WorkerBee(ABC):
    """Reads one source. Not thread-safe; opened lazily, closed by `close` or as a context manager.

    Every method that talks to the source raises a `SourceError`; its class is the verdict (retry later, give up).
    """

    bee_type: ClassVar[BeeType]
    Options: ClassVar[type[BeeOptions]]
    version: ClassVar[int | str] = 1
    """Of the shape of `Options` and of the cursors. A connector that changes a shape raises it and migrates what was
    written before; its `source_identity` and `stream_identity` stay what they were, or everything is read anew.
    """

    def __init__(self, options: Any) -> None:
        self.options = options

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Check plain options against `Options` and make a bee. Raises pydantic's ValidationError."""
        return cls(cls.Options.model_validate(dict(options)))

    @classmethod
    def migrate_options(cls, options: Mapping[str, Any], from_version: int | str) -> Mapping[str, Any]:  # noqa: ARG003
        """Plain options that were written for `from_version`, as `Options` takes them now. Raises GiveUp.

        Secrets are references still: they are moved, not looked at.
        """
        raise GiveUp(
            f"the options were written for version {from_version} of {cls.__name__}, and this is version {cls.version}",
            code="connector_version",
            advice="install the version they were written for, or a newer one that reads them",
        )

    @classmethod
    def begin_flight(cls, cursor: Cursor) -> Cursor:
        """Where a new flight begins, if `cursor` is the place at which an earlier one stopped. By default just there.

        A connector that reads in a fixed order, and may have passed what came meanwhile, begins its order anew here.
        """
        return cursor

    @classmethod
    def begin_anew(cls, cursor: Cursor) -> Cursor:  # noqa: ARG003
        """Where a flight begins that reads everything again, if `cursor` is the place reached; empty: with nothing.

        A connector that knows what it gave may keep its names, so that it can tell what is gone.
        """
        return {}

    @classmethod
    def migrate_cursor(cls, cursor: Cursor, from_version: int | str) -> Cursor:  # noqa: ARG003
        """A cursor that `from_version` gave, as `collect_nectar` takes it now. Raises GiveUp."""
        raise GiveUp(
            f"the checkpoint is of version {from_version} of {cls.__name__}, and this is version {cls.version}",
            code="connector_version",
            advice="install that version or a newer one that reads it, or fly the bee with --full-refresh",
        )

    @abstractmethod
    def validate_flight_path(self) -> None:
        """Connect and prove that what the options ask can be read.

        Says nothing, or raises what is wrong and how to mend it.
        """

    @abstractmethod
    def get_pollen_schema(self) -> Sequence[Stream]:
        """The streams that the options choose, with columns, keys and cursors. May ask the source."""

    def slices(self, stream: str, cursor: Cursor | None) -> Sequence[str]:  # noqa: ARG002
        """Parts of a stream that may be read side by side, each with its own checkpoint. Empty: it is one part.

        A stream with a cursor is asked for them at its very beginning alone: `cursor` is None then.
        """
        return ()

    def after_slices(self, stream: str, slices: Sequence[str]) -> Cursor | None:  # noqa: ARG002
        """Where a stream with a cursor goes on, once each of these parts was read to its end. Asks the source nothing.

        None: at its beginning.
        """
        return None

    def one_moment(self) -> AbstractContextManager[None] | None:
        """Within it all streams are read as they were at one moment. None: each of them as it is when it is read."""
        return None

    @abstractmethod
    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:
        """Read from `cursor` on, oldest first. Each batch carries where to resume after it.

        The caller bounds the time: it may close the iterator after any batch, and later go on from that batch's
        cursor with a new bee in another process. Reading again from the same cursor gives the same records, or newer
        versions of them. A record may come twice, never not at all. An iterator that ends has read everything there
        is now; its last cursor is where the next flight starts.
        """

    def sealed(self, cursor: Cursor) -> None:  # noqa: B027
        """Everything up to `cursor` is safe with the hive: acknowledge the source here, nowhere else."""

    def dance_instructions(self) -> dict[str, Any]:
        """What others may know of this bee: no secret, and nothing that needs the source."""
        return {
            "bee_type": type(self).__name__,
            "flight_pattern": self.bee_type,
            "nectar_sources": [],
        }

    def source_identity(self) -> str:
        """Which source this is, without credentials: another identity means that cursors no longer hold."""
        return type(self).__name__

    def stream_identity(self, stream: str) -> str:  # noqa: ARG002
        """What of the source this stream reads, without credentials.

        Another identity means that its cursor no longer holds.
        """
        return ""

    def close(self) -> None:  # noqa: B027
        """Give back what was opened. May be called twice."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.source_identity()}>"

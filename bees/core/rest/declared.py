"""A connector that is a declaration: its few options become those of `rest`, which does the work."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from bees.core.resilience.gate import GatedBee
from bees.core.rest.client import HttpOptions
from bees.rest import RestBee

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bees.core.http import Gate
    from nectar.batch import Batch, Cursor
    from nectar.pollen import Stream


class DeclaredBee(GatedBee):
    """Base of such connectors; `declared` says what they are for `rest`."""

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._rest = RestBee(RestBee.Options.model_validate({**shared(options), **self.declared()}))

    @abstractmethod
    def declared(self) -> dict[str, Any]:
        """Options of `rest`, beyond those that every source over HTTP has."""

    def through(self, gate: Gate) -> None:
        self._rest.through(gate)

    def validate_flight_path(self) -> None:
        self._rest.validate_flight_path()

    def get_pollen_schema(self) -> Sequence[Stream]:
        return self._rest.get_pollen_schema()

    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:
        return self._rest.collect_nectar(stream, cursor, slice, query)

    def dance_instructions(self) -> dict[str, Any]:
        return {**super().dance_instructions(), "nectar_sources": self._rest.dance_instructions()["nectar_sources"]}

    def source_identity(self) -> str:
        return self._rest.source_identity()

    def stream_identity(self, stream: str) -> str:
        return self._rest.stream_identity(stream)

    def close(self) -> None:
        self._rest.close()


def shared(options: HttpOptions) -> dict[str, Any]:
    """What a connector's options say of HTTP, for the options of `rest`."""
    return {name: getattr(options, name) for name in HttpOptions.model_fields}

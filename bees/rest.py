"""Records of a REST API: JSON, JSON Lines, CSV or XML over HTTP, in pages.

    type: rest
    source:
      base_url: https://desk.example.com/api
      auth: {method: bearer, token: "${DESK_TOKEN}"}
    streams:
      tickets: {path: /tickets, key: id, cursor: updated_at, cursor_param: updated_since}
      comments: {path: "/tickets/{{ parent.id }}/comments", parent: {stream: tickets}, key: id}

Each page is one batch, a large one several. A flight that stops goes on at the next page; a page that the source calls
unchanged (ETag, Last-Modified) is not read again, but for the last one, which may have got a successor; with `cursor`
and `cursor_param` only what is newer is asked for, less `lookback`. With `step`, `lag` or `end_param` a pass is read in
windows of time that end before now, each where the next one begins.

Parts: `bees.core.rest` (options, login, templates, windows, formats, hooks, one listing, child streams),
`bees.core.paging` (pages and cursors), `bees.core.http` (the guarded way out).
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from bees.core.errors import GiveUp
from bees.core.paging import Reading, refuses_place
from bees.core.resilience.gate import GatedBee
from bees.core.rest import hooks, template
from bees.core.rest.children import Children
from bees.core.rest.client import named_stream, offered
from bees.core.rest.listing import Listing
from bees.core.rest.options import RestOptions, StreamOptions, shape
from bees.core.rest.source import Source, secret_name
from nectar.batch import Batch, Cursor
from nectar.jsonrows import table
from nectar.pollen import Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bees.core.http import Gate


class RestBee(GatedBee):
    """Reads the listings of one REST API."""

    bee_type = "api"
    Options = RestOptions

    def __init__(
        self,
        options: RestOptions,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
        gate: Gate | None = None,
    ) -> None:
        super().__init__(options)
        self._options = options
        self._source = Source(options, sleep=sleep, clock=clock, gate=gate)

    def through(self, gate: Gate) -> None:
        self._source.gate = gate

    def validate_flight_path(self) -> None:
        """Ask the health endpoint; without one, read each stream's first page, of one row where a size can be asked."""
        health = self._options.endpoints.health
        if health:
            self._source.ask(self._source.url(health, {}), "endpoints.health", {"Accept": "application/json"})
            return
        for name, listing in self._options.listings().items():
            where = f"stream {name}, page 1"
            if listing.parent:
                Children(self._source, name, listing).first(where)
            else:
                Listing(self._source, name, listing).first(where)

    def get_pollen_schema(self) -> Sequence[Stream]:
        """As the options say; an API cannot tell its columns before they are read."""
        return [
            offered(name, listing.key, listing.cursor, followed=listing.incremental)
            for name, listing in self._options.listings().items()
        ]

    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002, ARG002
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:
        """One batch a page. `query` holds query parameters of this read alone; they win over the stream's own."""
        listing = named_stream(self._options.listings(), stream)
        reading = Reading.of(cursor)
        if listing.parent:
            for page in Children(self._source, stream, listing).pages(reading, query or {}):
                complete = page.ended and page.told and not query
                yield Batch(stream, table(page.rows), reading.cursor(), None, complete, tuple(page.rejects))
            return
        yield from self._pages(Listing(self._source, stream, listing), reading, query or {}, dict(cursor or {}))

    def dance_instructions(self) -> dict[str, Any]:
        return {**super().dance_instructions(), "nectar_sources": list(self._options.listings())}

    def source_identity(self) -> str:
        return f"rest {self._options.base_url.rstrip('/')}"

    def stream_identity(self, stream: str) -> str:
        """Method, path, parameters and headers; of a header the hash alone, for it may hold an unmarked secret."""
        listing = named_stream(self._options.listings(), stream)
        headers = {
            name.lower(): hashlib.sha256(value.get_secret_value().encode()).hexdigest()[:16]
            for name, value in self._options.headers.items()
            if not secret_name(name)
        }
        path, params = listing.path, sorted(listing.params.items())
        if "{{" not in path:
            url = self._source.url(path, {})
            path, params = url.path, [*url.params.multi_items(), *params]
        plain = [(name, value) for name, value in params if not secret_name(name)]
        parts: list[Any] = ["GET", path, plain, None, headers, listing.records]
        return json.dumps([*parts, *self._beyond(listing)], sort_keys=True)

    def close(self) -> None:
        self._source.close()

    def _beyond(self, listing: StreamOptions) -> list[Any]:
        """What else makes other records of a listing; nothing for one that says nothing of it."""
        sent = [listing.path, listing.params, listing.headers, listing.body, listing.fields]
        asked = sorted(template.names(sent, "config"))
        values = [[name, self._options.variables.get(name)] for name in asked if not secret_name(name)]
        hooked = hooks.version([use for use in (listing.fetcher, listing.transformer) if use])
        parts = [
            *shape(listing),
            *([["variables", values]] if values else []),
            *([["hooks", hooked]] if hooked else []),
        ]
        if listing.parent:
            parts.append(self.stream_identity(listing.parent.stream))
        return parts

    def _pages(
        self, listing: Listing, reading: Reading, query: Mapping[str, Any], told: dict[str, Any]
    ) -> Iterator[Batch]:
        ended, resumed = False, reading.at is not None
        while not ended:
            pages = listing.turns(reading, query, conditional=self._options.conditional)
            try:
                for page in pages:
                    ended, resumed = page.ended, False
                    complete = page.ended and page.told and not query
                    if page.read and (page.rows or page.rejects or complete):
                        told = reading.cursor()
                        yield Batch(listing.name, table(page.rows), told, None, complete, tuple(page.rejects))
            except GiveUp as error:
                if resumed and refuses_place(error):
                    reading.begin_anew(listing.name)
                    resumed = False
                    continue
                if error.code == "pagination_loop":
                    # Whoever went on from here would come round again for ever, also once the source is mended.
                    yield Batch(listing.name, table([]), reading.beginning().cursor())
                raise
        if told != reading.cursor():
            yield Batch(listing.name, table([]), reading.cursor())

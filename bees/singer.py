"""Any Singer tap as a bee: its command is run for each stream, and its state is the cursor.

A tap is trusted as the program that it is; it gets a minimal environment, a private folder, and its configuration in a
file that is removed. Its network is its own: no guard stands before it. Reading goes on from the last STATE message
whose records are all safe; a tap that tells its state only at its end begins anew after a stop.

A whole read (FULL_TABLE) that ends well is complete, and so is a version of a table that the tap activates: what it did
not meet is deleted. So is a record with `_sdc_deleted_at`. Under a budget (`limits.rate`) the requests that the tap
tells of are counted, and it stands still while the budget is used up: `bees.core.singer.pace`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, Secret, field_validator

from bees.core.bee import BeeOptions, BeeType, Columns, KeyColumns, Name, Seconds, StreamName, Words
from bees.core.errors import GiveUp, RetryLater
from bees.core.resilience.gate import GatedBee
from bees.core.singer import catalog as catalogs
from bees.core.singer.pile import Bounds, Pile
from bees.core.singer.process import Tap, TooLong
from bees.core.singer.versions import Versions
from nectar import pollen
from nectar.batch import Batch, Cursor
from nectar.jsonrows import escape

if TYPE_CHECKING:
    from bees.core.http import Gate


class StreamOptions(BeeOptions):
    """What to read of a stream of the tap."""

    key: KeyColumns = Field((), description="fields that identify a record; those of the catalog if unset")
    fields: Columns = Field((), description="fields to select; what the tap selects by itself if unset")
    method: Literal["FULL_TABLE", "INCREMENTAL", "LOG_BASED"] | None = Field(
        None, description="replication method; the catalog's if unset"
    )
    replication_key: Name | None = Field(None, description="field that an incremental read follows")


class SingerWorkerBee(GatedBee):
    bee_type: ClassVar[BeeType] = "api"

    class Options(BeeOptions):
        command: Words = Field(description="the tap's command, such as /opt/tap-github/bin/tap-github, and arguments")
        config: Secret[dict[str, Any]] | None = Field(None, description="the tap's own configuration")
        environment: Secret[dict[str, str]] | None = Field(
            None, description="variables of the tap's environment, which has PATH, HOME, TMPDIR and LANG only"
        )
        catalog: str | None = Field(None, description="file with the catalog; unset: the tap is asked (--discover)")
        catalog_option: Literal["--catalog", "--properties"] = Field(
            "--catalog", description="the tap's option for its catalog; --properties with old taps"
        )
        state: dict[str, Any] = Field(default_factory=dict, description="state to begin with, in the tap's own words")
        silence: Seconds = Field(600, description="seconds without a line after which a tap hangs")
        line_limit: int = Field(16 << 20, ge=1024, le=1 << 30, description="bytes of one line at most")
        batch_bytes: int = Field(4 << 20, ge=1024, description="size at which a batch is closed")
        batch_rows: int = Field(10_000, ge=1, description="records at which a batch is closed")
        streams: dict[StreamName, StreamOptions] = Field(
            default_factory=dict, description="what to read, by the stream's id; unset: what the tap means to be read"
        )

        @field_validator("command")
        @classmethod
        def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
            if not value or not value[0].strip() or any("\0" in part for part in value):
                raise ValueError("a command has a program at least")
            return value

        @field_validator("streams", mode="before")
        @classmethod
        def _bare_names(cls, value: Any) -> Any:
            return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, Mapping) else value

    options: Options

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self._catalog: dict[str, Any] | None = None
        self._gate: Gate | None = None

    def through(self, gate: Gate) -> None:
        """The requests that the tap tells of count; see `bees.core.singer.pace`."""
        self._gate = gate

    def validate_flight_path(self) -> None:
        if not self._names():
            message = "the tap offers no stream"
            advice = "check its configuration, or name what to read in `streams`"
            raise GiveUp(message, code="nothing_to_read", where="streams", advice=advice)
        for name in self._names():
            self._selection(name)

    def get_pollen_schema(self) -> Sequence[pollen.Stream]:
        return [self._offered(name) for name in self._names()]

    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002, ARG002
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:
        """Run the tap from the state of `cursor` on. `query` may hold `limit`, the most records to read."""
        limit = _limit(query)
        selection = self._selection(stream)
        entry = catalogs.entries(selection)[stream]
        state = _state_of(cursor) if cursor else None
        if state is None and self.options.state:
            state = json.dumps(self.options.state)
        files: dict[str, Any] = {
            "--config": _told(self.options.config),
            self.options.catalog_option: selection,
        }
        if state is not None:
            files["--state"] = state
        anew = not cursor or bool(cursor.get("done"))  # a state from the middle may leave out what it has seen
        names = {stream, str(entry.get("stream", stream))}
        bounds = Bounds(self.options.batch_rows, self.options.batch_bytes, self.options.line_limit)
        whole = anew and catalogs.method_of(entry) == "FULL_TABLE"
        pile = Pile(stream, names, bounds, state, Versions.of(cursor), begins=whole)
        with self._tap(files) as tap:
            try:
                for block in tap.blocks():
                    yield from pile.take(block, limit)
                    if pile.is_over:
                        return
            except RetryLater:
                yield from pile.flush()  # or a small budget would never get beyond its first batch
                raise
            try:
                tap.finish()
            except Exception:
                yield from pile.flush()  # what came before it failed, up to the last state
                raise
        yield from pile.last()

    def dance_instructions(self) -> dict[str, Any]:
        return super().dance_instructions() | {"nectar_sources": sorted(self.options.streams)}

    def source_identity(self) -> str:
        return f"singer {Path(self.options.command[0]).name}"

    def stream_identity(self, stream: str) -> str:
        chosen = self._chosen(stream)
        return json.dumps([chosen.method, chosen.replication_key, list(chosen.fields)])

    def _tap(self, files: Mapping[str, Any], *flags: str) -> Tap:
        o = self.options
        environment = _told(o.environment)
        return Tap(
            o.command, files, flags=flags, environment=environment, silence=o.silence, line_limit=o.line_limit,
            gate=self._gate,
        )  # fmt: skip

    def _discovered(self) -> dict[str, Any]:
        """The tap's catalog: of the file, or asked once for each open bee."""
        if self._catalog is None:
            raw = self._of_file() if self.options.catalog is not None else self._asked()
            try:
                found = json.loads(raw)
            except ValueError:
                found = None
            catalogs.entries(found)
            self._catalog = found
        assert self._catalog is not None
        return self._catalog

    def _of_file(self) -> bytes:
        try:
            return Path(str(self.options.catalog)).read_bytes()
        except OSError as error:
            message = f"the file of the catalog cannot be read ({type(error).__name__})"
            raise GiveUp(message, code="no_catalog", where="catalog", advice="check `catalog`") from None

    def _asked(self) -> bytes:
        found, size = [], 0
        with self._tap({"--config": _told(self.options.config)}, "--discover") as tap:
            for line in tap.lines():
                size += 0 if isinstance(line, TooLong) else len(line)
                if isinstance(line, TooLong) or size > 4 * self.options.line_limit:
                    message = "the tap's catalog is longer than `line_limit` allows"
                    raise GiveUp(message, code="no_catalog", where="line_limit", advice="raise `line_limit`")
                found.append(line)
            tap.finish()
        return b"\n".join(found)

    def _names(self) -> list[str]:
        if self.options.streams:
            return list(self.options.streams)
        return [name for name, entry in catalogs.entries(self._discovered()).items() if catalogs.is_offered(entry)]

    def _chosen(self, name: str) -> StreamOptions:
        return self.options.streams.get(name) or StreamOptions.model_validate({})

    def _selection(self, stream: str) -> dict[str, Any]:
        known = catalogs.entries(self._discovered())
        if stream not in known or stream not in self._names():
            advice = f"the tap's catalog has: {', '.join(sorted(known)[:50])}"
            raise GiveUp(f"no stream is named {stream!r}", code="unknown_stream", where="streams", advice=advice)
        chosen = self._chosen(stream)
        return catalogs.selected(self._discovered(), stream, chosen.fields, chosen.method, chosen.replication_key)

    def _offered(self, name: str) -> pollen.Stream:
        entry = catalogs.entries(self._selection(name))[name]
        chosen = self._chosen(name)
        cursor = catalogs.cursor_of(entry)
        offered = catalogs.said(entry).get("valid-replication-keys") or ([cursor] if cursor else [])
        return pollen.Stream(
            name=name,
            columns=catalogs.columns(entry.get("schema")),
            key=tuple(map(escape, chosen.key or catalogs.key_of(entry))),
            cursors=tuple(map(str, offered)),
            cursor=cursor,
            resumes="none",
            versions=True,
        )


def _told(secret: Secret[dict[str, Any]] | Secret[dict[str, str]] | None) -> dict[str, Any]:
    return {} if secret is None else dict(secret.get_secret_value())


def _state_of(cursor: Cursor) -> str | None:
    """The tap's state as JSON text; None: it never told one."""
    state: str | None = cursor.get("state")
    if not isinstance(state, str | None):
        message = "the stored cursor is not one of this connector"
        raise GiveUp(message, code="bad_cursor", advice="read the stream anew with --full-refresh")
    return state


def _limit(query: Mapping[str, Any] | None) -> int | None:
    strange = set(query or {}) - {"limit"}
    limit = (query or {}).get("limit")
    if strange or (limit is not None and (type(limit) is not int or limit < 0)):
        raise GiveUp("the query is not understood", code="wrong_query", where="query", advice='give {"limit": 100}')
    return limit

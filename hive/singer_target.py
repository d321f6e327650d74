"""`target-hive`: what any Singer tap writes lands in a jar, through the hive's own ledger.

    tap-github --config github.json | target-hive --config target.json

Each stream is a bee of its own that reads an inbox. Records go into it sealed, some hundred kilobytes at a time; a
STATE message is passed on to standard output only when everything before it is committed there. Whoever dies in between
is started again from the last state by whoever runs the tap: what comes twice lands once, because records are known by
their key. A stream without a key gets one, `singer_row`, made of its place behind a state and its content.

A record with `_sdc_deleted_at` is deleted. So is what an activated version of a stream (ACTIVATE_VERSION) did not bring
again: at once where its records came before, else when the input has ended behind a STATE, since a tap that dies ends
its output, too.

Configuration (JSON): `name` (of the bees, in front of the stream; "singer"), `jar` (the name, if unset), `scrubbing`
(as in a bee's block), `tenant`. Where the hive is, says its environment: HIVE_DATABASE_URL, HIVE_KEY and so on.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import re
import sys
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import structlog

from bees.core.errors import SourceError
from bees.core.singer.messages import DELETED, batch_lines, read, stream_of
from bees.core.singer.versions import Version, version_of
from nectar.errors import SkipRecord
from nectar.jsonrows import text

if TYPE_CHECKING:
    from hive.runtime import Runtime

ROW = "singer_row"
_MESSAGE_BYTES = 512 << 10
_MESSAGE_ROWS = 5000
_HELD_BYTES = 4 << 20
_PATIENCE = 5.0
"""Seconds after which a state is not held back for the sake of larger messages."""
_LINE_LIMIT = 64 << 20
log = structlog.get_logger()


class BadInput(Exception):
    """The messages are not Singer's, or not in their order; the message holds no value."""


@dataclass
class _Stream:
    """Where the records of one stream go, and those that wait to be written."""

    bee: int
    keyless: bool
    rows: list[bytes] = field(default_factory=list)
    size: int = 0
    version: Version | None = None
    """Of the newest record."""
    told: Version | None = None
    fronted: Version | None = None
    """The newest version that was told before its records."""
    bare: bool = False
    """Records came that say no version: nothing tells that those of one are all there is."""
    """To be activated when the input has ended."""
    is_safe: bool = True
    """A state came behind its newest record."""


class Target:
    """Takes a tap's lines, one after another."""

    def __init__(self, rt: Runtime, config: Mapping[str, Any], out: IO[str]) -> None:
        self._rt = rt
        self._name = str(config.get("name") or "singer")
        self._jar = str(config.get("jar") or self._name)
        self._block = {k: config[k] for k in ("scrubbing", "tenant") if k in config}
        self._out = out
        self._run = uuid.uuid4().hex
        self._messages = 0
        self._streams: dict[str, _Stream] = {}
        self._known: dict[str, tuple[str, ...]] = {}
        self._state: str | None = None
        self._last_state = ""
        self._since_state = 0
        self._written_at = time.monotonic()
        self.records = 0

    def listen(self, lines: Iterable[bytes]) -> None:
        """Take everything, until the tap ends. Raises BadInput; what came before it is kept."""
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    self._take(line, number)
            for name, stream in self._streams.items():
                if stream.told is not None and stream.is_safe and not stream.bare:
                    self._activate(name, stream.told)
        finally:
            self.flush()

    def flush(self) -> None:
        """Write what waits, then say which state it is safe to begin at."""
        for name in self._streams:
            self._write(name)
        if self._state is not None:
            self._out.write(self._state + "\n")
            self._out.flush()
            self._state = None
        self._written_at = time.monotonic()

    def _take(self, line: bytes, number: int) -> None:
        try:
            message = read(line)
        except SkipRecord as error:
            raise BadInput(f"line {number}: {error}") from None
        kind = message["type"]
        if kind == "RECORD":
            self._keep(self._known_stream(message, number), message.get("record"), number, version_of(message))
        elif kind == "STATE":
            self._reach(text(message.get("value")))
        elif kind == "SCHEMA":
            self._learn(message, number)
        elif kind == "BATCH":
            name = self._known_stream(message, number)
            for row in batch_lines(message, _LINE_LIMIT):
                self._keep(name, read(b'{"type":"RECORD","record":' + row + b"}")["record"], number)
        elif kind == "ACTIVATE_VERSION":
            self._told(self._known_stream(message, number), version_of(message))

    def _known_stream(self, message: Mapping[str, Any], number: int) -> str:
        name = stream_of(message)
        if name not in self._streams:
            raise BadInput(f"line {number}: a record of a stream that no SCHEMA message has described")
        return name

    def _told(self, name: str, version: Version | None) -> None:
        """Behind its records it counts now. In front of them, once the input ended behind a state.

        A child stream of the Singer SDK tells it again in front of the records of each parent.
        """
        stream = self._streams[name]
        if version is not None and version == stream.version and version != stream.fronted and not stream.bare:
            self._activate(name, version)
            return
        if version != stream.version:
            stream.fronted = version
        stream.told = version

    def _activate(self, name: str, version: Version) -> None:
        self._write(name)
        self._streams[name].told = None
        self._send(self._streams[name].bee, version=version, activates=True)

    def _keep(self, name: str, record: Any, number: int, version: Version | None = None) -> None:
        stream = self._streams[name]
        if version is not None and version != stream.version:
            self._write(name)
            stream.version = version
        stream.is_safe, stream.bare = False, stream.bare or version is None
        if not isinstance(record, dict) or not record:
            raise BadInput(f"line {number}: a record is no object, or an empty one")
        if stream.keyless:
            place = f"{self._last_state}|{self._since_state}|{text(record)}"
            record = {ROW: hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()[:32], **record}
        elif any(record.get(key) is None for key in self._known[name]):
            raise BadInput(f"line {number}: a record lacks a field of its key")
        self._since_state += 1
        raw = text(record).encode("utf-8", "surrogatepass")
        stream.rows.append(raw)
        stream.size += len(raw)
        self.records += 1
        if stream.size >= _MESSAGE_BYTES or len(stream.rows) >= _MESSAGE_ROWS:
            self._write(name)

    def _reach(self, state: str) -> None:
        for stream in self._streams.values():
            stream.is_safe = True
        self._state = self._last_state = state
        self._since_state = 0
        waits = sum(stream.size for stream in self._streams.values())
        if waits == 0 or waits >= _HELD_BYTES or time.monotonic() - self._written_at >= _PATIENCE:
            self.flush()

    def _learn(self, message: Mapping[str, Any], number: int) -> None:
        """Make the stream's bee, or change its key."""
        name, keys = stream_of(message), message.get("key_properties") or ()
        schema = message.get("schema")
        if not name or not isinstance(keys, list | tuple) or not all(isinstance(k, str) for k in keys):
            raise BadInput(f"line {number}: a SCHEMA message has no `stream`, or `key_properties` is no list of names")
        if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
            raise BadInput(f"line {number}: the schema of a SCHEMA message describes no `properties`")
        if self._known.get(name) == tuple(keys):
            return
        if name in self._streams:
            self._write(name)
        source = {"stream": name, "format": "jsonl", "envelope": False, "key": list(keys) or [ROW], "versions": True}
        source |= {"deleted": DELETED} if keys else {}
        self._streams[name] = _Stream(self._bee(name, source), keyless=not keys)
        self._known[name] = tuple(keys)

    def _bee(self, stream: str, source: Mapping[str, Any]) -> int:
        """The number of the bee that reads the stream's messages; it is made, or changed, if need be."""
        from hive.manager import HiveManager

        name = f"{self._name}-{clean_bee_name(stream)}"
        manager = HiveManager(rt=self._rt)
        manager.register_worker("webhook", {"name": name, "source": source, "honey_jar": self._jar, **self._block})
        with self._rt.db.single() as tx:
            row = tx.psycopg.execute("SELECT id FROM hive.bee WHERE name = %s", [name]).fetchone()
        assert row is not None
        return int(row[0])

    def _write(self, name: str) -> None:
        """What waits of a stream: in one statement the message, sealed, and the event that makes its bee fly."""
        stream = self._streams[name]
        if stream.rows:
            self._send(stream.bee, b"\n".join(stream.rows), version=stream.version)
            stream.rows, stream.size = [], 0

    def _send(self, bee: int, body: bytes = b"", *, version: Version | None, activates: bool = False) -> None:
        from hive.inbox import Received, seal_message

        self._messages += 1
        name = f"singer:{self._run}-{self._messages}"
        message = Received(name, body, "application/jsonl", version=version, activates=activates)
        with self._rt.db.single() as tx:
            tx.run("receive", bee=bee, event_id=name, body=seal_message(self._rt.key, bee, message), window=None)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit code 0: everything is in the ledger; 1: it is not; 2: wrong use or configuration."""
    parser = argparse.ArgumentParser("target-hive", description="Land what a Singer tap writes in a jar of the hive.")
    parser.add_argument("--config", help="a file with name, jar, scrubbing and tenant, in JSON")
    parser.add_argument("--input", help="a file with the tap's messages, instead of standard input")
    chosen = parser.parse_args(arguments)
    try:
        config = json.loads(Path(chosen.config).read_bytes()) if chosen.config else {}
    except (OSError, ValueError):
        sys.stderr.write(f"target-hive: {chosen.config} cannot be read, or is no JSON\n")
        return 2
    from hive.config.problems import ConfigProblems
    from hive.logs import configure
    from hive.runtime import open_runtime

    configure()
    with contextlib.closing(open_runtime()) as rt, contextlib.ExitStack() as files:
        target = Target(rt, config, sys.stdout)
        try:
            lines = files.enter_context(Path(chosen.input).open("rb")) if chosen.input else sys.stdin.buffer
            target.listen(lines)
        except (BadInput, SourceError, OSError) as error:
            sys.stderr.write(f"target-hive: {error}\n")
            return 1
        except ConfigProblems as problems:
            sys.stderr.write(f"target-hive: {problems}\n")
            return 2
    log.info("target.done", records=target.records)
    return 0


def clean_bee_name(stream: str) -> str:
    """A stream's name as a part of a bee's: lower case letters, digits and hyphens; a hash tells changed ones apart."""
    plain = re.sub(r"[^a-z0-9]+", "-", stream.lower()).strip("-")[:30]
    if plain == stream:
        return plain
    return f"{plain}-{hashlib.sha256(stream.encode()).hexdigest()[:6]}".strip("-")


if __name__ == "__main__":
    sys.exit(main())

"""Singer's messages, a line of JSON each: https://hub.meltano.com/singer/spec, and the SDK's BATCH."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import orjson

from bees.core import exact_json
from bees.core.errors import GiveUp
from nectar.errors import SkipRecord

_GZIP = b"\x1f\x8b"
DELETED = "_sdc_deleted_at"
"""When a record was deleted at its source: what taps that read a database's log put beside its key."""


def read(line: bytes) -> dict[str, Any]:
    """A message. Raises SkipRecord for a line that is none."""
    value = exact_json.read(line)
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise SkipRecord("no Singer message: expected an object with a `type`", code="not_singer")
    return value


def several(lines: Sequence[bytes]) -> Iterator[dict[str, Any] | SkipRecord]:
    """The messages of many lines, each as `read` gives it, or why it is none."""
    doubtful = exact_json.is_doubtful(b"\n".join(lines))
    for line in lines:
        try:
            message = None if doubtful else orjson.loads(line)
        except orjson.JSONDecodeError:
            message = None
        if type(message) is dict and type(message.get("type")) is str:
            yield message
            continue
        try:
            yield read(line)
        except SkipRecord as error:
            yield error


def stream_of(message: Mapping[str, Any]) -> str:
    return str(message.get("stream", ""))


def batch_lines(message: Mapping[str, Any], limit: int) -> Iterator[bytes]:
    """The records of a BATCH message's files, as lines; each file is removed when it is read."""
    encoding = message.get("encoding") or {}
    form, compression = encoding.get("format", "jsonl"), encoding.get("compression", "none")
    if form != "jsonl" or compression not in ("gzip", "none", None):
        told = "another format or compression than jsonl, plain or with gzip"
        advice = "set the tap's batch_config to jsonl with gzip, or leave it out"
        raise GiveUp(f"the tap writes batches in {told}", code="batch_format", where="config", advice=advice)
    for address in message.get("manifest") or ():
        path = _path(str(address))
        with _opened(path) as file:
            while line := file.readline(limit + 1):
                if len(line) > limit:
                    message_ = "a record in a tap's batch file is longer than `line_limit`"
                    raise GiveUp(message_, code="line_too_long", where="line_limit", advice="raise it")
                if line.strip():
                    yield line.rstrip(b"\n")
        path.unlink(missing_ok=True)


def _path(address: str) -> Path:
    parts = urlsplit(address)
    if parts.scheme not in ("", "file") or parts.netloc not in ("", "localhost"):
        message = "the tap keeps its batches somewhere else than in files of this machine"
        advice = "set the root of its batch_config to a file:// address"
        raise GiveUp(message, code="batch_place", where="config", advice=advice)
    return Path(unquote(parts.path))


def _opened(path: Path) -> IO[bytes] | gzip.GzipFile:
    """By how it begins: the SDK compresses whatever its message says."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
        return gzip.open(path, "rb") if head == _GZIP else path.open("rb")
    except OSError:
        message = "a file of the tap's batch is not there"
        raise GiveUp(message, code="batch_missing", where="config", advice="check its batch_config") from None

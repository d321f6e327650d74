"""Shapes of options: a connector that renames an option says so by its version, and reads what the older one was told.

A bee's block carries `connector_version`, the version that its options were written for. A block without one is of
version 1 where the ledger holds it, and of the installed version in a file (the check writes it down, see check.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bees.core.bee import WorkerBee
from bees.core.errors import GiveUp, SourceError

Version = int | str
KEY = "connector_version"


def version_of(kind: type[WorkerBee]) -> Version:
    return getattr(kind, "version", 1)


def options_now(kind: type[WorkerBee], options: Mapping[str, Any], written: Version) -> dict[str, Any]:
    """Options of the version `written` in the shape that the installed connector reads. Raises GiveUp."""
    if written == version_of(kind):
        return dict(options)
    return _migrated(kind, "options", lambda: kind.migrate_options(dict(options), written), written)


def cursor_now(kind: type[WorkerBee], cursor: Mapping[str, Any], written: Version) -> dict[str, Any]:
    """A cursor of the version `written` as the installed connector reads it. Raises GiveUp."""
    if written == version_of(kind):
        return dict(cursor)
    return _migrated(kind, "checkpoints", lambda: kind.migrate_cursor(dict(cursor), written), written)


def block_now(kind: type[WorkerBee], block: Mapping[str, Any]) -> dict[str, Any]:
    """A bee's block with its options in the installed connector's shape. Raises GiveUp."""
    source, streams = block.get("source") or {}, block.get("streams")
    options = options_now(kind, {**source, **({"streams": streams} if streams else {})}, block.get(KEY, 1))
    moved = options.pop("streams", None)
    now = {name: value for name, value in block.items() if name not in ("source", "streams", KEY)}
    return now | {"source": options, **({"streams": moved} if moved else {}), KEY: version_of(kind)}


def kept_shape(kind: type[WorkerBee], before: Mapping[str, Any] | None, block: Mapping[str, Any]) -> dict[str, Any]:
    """`block`, with its options as they were written `before` if only their shape differs.

    Nothing has changed then: no stream is read anew because an option got another name.
    """
    if before is None or before.get("type") != block.get("type") or before.get(KEY, 1) == block.get(KEY, 1):
        return dict(block)
    try:
        moved = block_now(kind, before)
    except SourceError:
        return dict(block)
    parts = ("source", "streams", KEY)
    if any((moved.get(part) or {}) != (block.get(part) or {}) for part in parts):
        return dict(block)
    rest = {name: value for name, value in block.items() if name not in parts}
    return rest | {part: before[part] for part in parts if part in before}


def _migrated(kind: type[WorkerBee], what: str, migrate: Any, written: Version) -> dict[str, Any]:
    try:
        found: dict[str, Any] = dict(migrate())
    except SourceError:
        raise
    except Exception as error:
        raise GiveUp(
            f"{kind.__name__} {version_of(kind)} cannot read its {what} of version {written} ({type(error).__name__})",
            code="connector_version",
            advice="install a version of the connector that can, or write its options anew and use --full-refresh",
        ) from error
    return found

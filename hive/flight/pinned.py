"""The configuration that a flight began with, and what of a newer one holds for it all the same: the credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hive.config.references import references, secret_texts
from hive.ledger.db import Transaction
from hive.registry import BrokenConnector, MissingExtra, UnknownConnector, connector

_BLOCKS = """
SELECT b.connector, b.config AS newest,
       (SELECT v.body -> 'blocks' -> b.name FROM hive.config_version v WHERE v.id = %s AND v.id <> b.config_version)
       AS pinned
  FROM hive.bee b WHERE b.id = %s
"""
_WHO = ("user", "username")
"""Options beside the secret ones that belong to them."""


def pinned_config(tx: Transaction, bee: int, version: int) -> tuple[str, dict[str, Any]]:
    """(connector, native block) of a bee as `version` has it, with the newest credentials."""
    row = tx.psycopg.execute(_BLOCKS, [version, bee]).fetchone()
    assert row is not None
    kind, newest, pinned = row
    if pinned is None or pinned == newest:
        return kind, newest
    old, new = pinned.get("source") or {}, newest.get("source") or {}
    if pinned["type"] != kind or _elsewhere(old, new):
        return pinned["type"], pinned  # a new password is not shown to the old source
    return kind, {**pinned, "source": with_credentials(kind, old, new)}


def _elsewhere(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two sources may be two places: text that is no reference and no user differs, or the port does."""

    def place(source: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: value
            for name, value in source.items()
            if name == "port" or (isinstance(value, str) and name not in _WHO and not list(references(value)))
        }

    return place(old) != place(new)


def with_credentials(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The options `old` with the secret ones, and the user they belong to, of `new`."""
    source = dict(old)
    try:
        options = connector(kind).Options
    except (UnknownConnector, MissingExtra, BrokenConnector):
        return source
    secret = {place for place, _ in secret_texts(options, new)}
    for place in (*secret, *[(name,) for name in _WHO if isinstance(new.get(name), str)]):
        if _at(source, place) is not None:
            source = _put(source, place, _at(new, place))
    return source


def _at(value: Any, place: tuple[object, ...]) -> Any:
    for step in place:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _put(value: Any, place: tuple[object, ...], new: Any) -> Any:
    if not place:
        return new
    copied: Any = dict(value) if isinstance(value, Mapping) else list(value)
    copied[place[0]] = _put(copied[place[0]], place[1:], new)
    return copied

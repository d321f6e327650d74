"""What a form needs to know of a connector's options."""

from __future__ import annotations

import functools

from hive.config.fields import fields_of
from hive.registry import BrokenConnector, MissingExtra, UnknownConnector, connector


def timeout_option(kind: str) -> str:
    """The option that limits one request to the source, in seconds; empty where the connector has none."""
    return next((name for name in ("timeout", "statement_timeout") if has_option(kind, name)), "")


def has_option(kind: str, name: str) -> bool:
    return name in _names(kind)


@functools.lru_cache(maxsize=256)
def _names(kind: str) -> frozenset[str]:
    try:
        return frozenset(fields_of(connector(kind).Options))
    except (UnknownConnector, MissingExtra, BrokenConnector):
        return frozenset()

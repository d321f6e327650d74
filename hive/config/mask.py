"""A bee's block as people may see it."""

from __future__ import annotations

from typing import Any

from hive.config.model import BeeConfig
from hive.config.references import lift_secrets, strings
from hive.registry import connector

MASK = "********"


def masked(bee: BeeConfig) -> dict[str, Any]:
    """The native block with every literal secret replaced by MASK; references stay, they tell nothing."""
    lifted, secrets = lift_secrets("-", connector(bee.type).Options, bee.options)
    hidden = {place for place, text in strings(lifted) if any(f"vault:{path} " in text for path in secrets)}
    return bee.with_options(_masked(lifted, hidden, ())).block()


def _masked(value: Any, hidden: set[tuple[object, ...]], place: tuple[object, ...]) -> Any:
    if place in hidden:
        return MASK
    if isinstance(value, dict):
        return {key: _masked(item, hidden, (*place, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, hidden, (*place, n)) for n, item in enumerate(value)]
    return value

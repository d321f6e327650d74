"""A bee's block as people may see it, and where in it secrets stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hive.config.check import Unbuilt, options_of
from hive.config.model import BeeConfig
from hive.config.references import has_literal, secret_texts
from hive.config.secrets import secret_looking

MASK = "********"
Place = tuple[object, ...]


def masked(bee: BeeConfig) -> dict[str, Any]:
    """The native block with every literal secret replaced by MASK; references stay, they tell nothing."""
    block: dict[str, Any] = replaced(bee.block(), set(secret_places(bee)), lambda _: MASK)
    return block


def secret_places(bee: BeeConfig) -> Iterator[Place]:
    """Places of the block where a secret is written out.

    That is what the connector types as secret, and beyond its options what looks like one by its name: also a query
    parameter of an address or path, `/a?token=...`.
    """
    model = options_of(bee.type)
    typed = [] if isinstance(model, Unbuilt) else secret_texts(model, bee.options)
    found = {place if bee.streams and place[:1] == ("streams",) else ("source", *place): text for place, text in typed}
    for part in ("source", "extras"):
        found |= {(part, *place): text for place, text in secret_looking(getattr(bee, part))}
    found |= {("streams", *place): text for place, text in secret_looking(bee.streams, named=False)}
    yield from (place for place, text in found.items() if text and has_literal(text))


def replaced(value: Any, places: set[Place], by: Callable[[Place], str], place: Place = ()) -> Any:
    """A copy of `value` with what `by` gives at each of the places."""
    if place in places:
        return by(place)
    if isinstance(value, Mapping):
        return {key: replaced(item, places, by, (*place, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, places, by, (*place, n)) for n, item in enumerate(value)]
    return value

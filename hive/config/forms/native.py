"""The form of this project: `bees`, a map of native blocks by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hive.config.forms.draft import Draft, Place

if TYPE_CHECKING:
    from hive.config.document import Document


def native(document: Document, bees: Any, place: Place) -> list[Draft]:
    if not isinstance(bees, Mapping):
        document.report("`bees` must be a map: a name, then the bee's block", document.line(place))
        return []
    return [Draft(name, block, (*place, name)) for name, block in bees.items()]

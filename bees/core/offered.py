"""What a source offers where one stream of several cannot be read: the others all the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

from bees.core.errors import GiveUp
from nectar.pollen import Stream


def offered(names: Iterable[str], one: Callable[[str], Stream]) -> list[Stream]:
    """Each stream as `one` tells it, or with its `trouble`. Raises the first GiveUp where none can be read."""
    found = []
    for name in names:
        try:
            found.append(one(name))
        except GiveUp as error:
            # A copy has no traceback, which would keep the session that was asked.
            found.append(Stream(name, comment=str(error), trouble=copy.copy(error)))
    if found and found[0].trouble and all(stream.trouble for stream in found):
        raise found[0].trouble
    return found

"""Personal data out, before anything readable is stored.

    DataScrubber({"profile_id": "gdpr_compliant"}, keys).process(data)     text, objects, frames, Arrow tables
    detect(["call 202-555-0143"])                                          what stands where

Importing this imports no recogniser: presidio comes with the first detection, or with `warm`. Nor does it import Arrow,
which who only names a profile does without.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nectar.scrub.find.engine import detect, warm
    from nectar.scrub.find.findings import Finding
    from nectar.scrub.scrubber import DataScrubber, Scrubbed

__all__ = ["DataScrubber", "Finding", "Scrubbed", "detect", "warm"]

_HOME = {
    "DataScrubber": "scrubber", "Scrubbed": "scrubber", "Finding": "find.findings", "detect": "find.engine",
    "warm": "find.engine",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """What stands in `__all__`, from its module (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    return found

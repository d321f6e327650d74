"""A table's versions, as taps tell them: records carry one, and ACTIVATE_VERSION says which one counts from now on.

https://hub.meltano.com/singer/spec#activate_version-message. What an earlier version left behind and the active one
did not bring again was deleted at its source. Taps built with singer-python activate a version behind its records,
those of the Singer SDK in front of them; reading one may take several runs. So what was begun, what is to be activated
and what is active is kept in the cursor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Version = int | str


def version_of(message: Mapping[str, Any]) -> Version | None:
    """The version that a RECORD or ACTIVATE_VERSION message names; None if it names none."""
    told = message.get("version")
    return told if isinstance(told, int | str) and not isinstance(told, bool) else None


@dataclass
class Versions:
    """Of one stream."""

    active: Version | None = None
    begun: Version | None = None
    """The newest one whose records come; its reading is not complete."""
    told: Version | None = None
    """To be activated when its reading ends well."""

    @classmethod
    def of(cls, cursor: Mapping[str, Any] | None) -> Versions:
        kept = (cursor or {}).get("versions") or {}
        return cls(kept.get("active"), kept.get("begun"), kept.get("told"))

    def cursor(self) -> dict[str, Any]:
        """What a cursor holds of it: nothing where the tap tells no versions."""
        kept = {name: version for name, version in vars(self).items() if version is not None}
        return {"versions": kept} if kept else {}

    def begins(self, version: Version) -> bool:
        """Whether a record of this version is the first of it."""
        if version in (self.active, self.begun):
            return False
        self.begun = version
        if self.told != version:
            self.told = None
        return True

    def activate(self, version: Version) -> tuple[bool, bool]:
        """(whether it was not active before, whether no record of it came).

        Where it was not, all that the reading of it did not meet is gone.
        """
        if version == self.active:
            return False, False
        empty = version != self.begun
        self.active, self.begun, self.told = version, None, None
        return True, empty

"""Names of people, places and organisations as whole values, where a field's name says that it holds them.

The language model guesses badly on a name alone; the field's name is the better witness.
"""

from __future__ import annotations

import regex

from nectar.scrub.find import entities as e
from nectar.scrub.recognisers.bank import WEAK
from nectar.scrub.recognisers.library import Pattern, PatternRecognizer


class PersonFieldRecognizer(PatternRecognizer):  # type: ignore[misc]
    """Words of letters: `Jane`, `O'Neill, Anne-Marie Jr.`"""

    ENTITY = e.PERSON
    FORM = r"^\s{0,9}[\p{L}\p{M}](?:[\p{L}\p{M}.,'\u2019 -]{0,126}[\p{L}\p{M}.])?\s{0,9}$"

    def __init__(self) -> None:
        patterns = [Pattern("whole value (weak)", self.FORM, WEAK)]
        name = type(self).__name__
        super().__init__(
            supported_entity=self.ENTITY, patterns=patterns, name=name, global_regex_flags=regex.M | regex.I
        )


class LocationFieldRecognizer(PersonFieldRecognizer):
    """Letters, perhaps with numbers among them, and no address of another kind: of mail, of a network, of a wallet."""

    ENTITY = e.LOCATION
    FORM = r"^(?=[^\n]*\p{L})(?!\S*[@:\d]\S*$)(?!\S+://)[^\n@]{2,250}$"


class OrganizationFieldRecognizer(PersonFieldRecognizer):
    """Anything with a letter in it: organisations are called what they like."""

    ENTITY = e.ORGANIZATION
    FORM = r"^(?=[^\n]*\p{L})(?!\S+://)[^\n@]{2,250}$"


FIELD_MAKERS = (PersonFieldRecognizer, LocationFieldRecognizer, OrganizationFieldRecognizer)

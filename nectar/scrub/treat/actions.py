"""What is done with a value: removed, replaced, masked, made coarser, or given a pseudonym or token."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from nectar.keys import PseudonymKeys
from nectar.scrub.treat.coarser import coarser
from nectar.scrub.treat.pseudonyms import normalise, pseudonym, pseudonyms
from nectar.scrub.treat.tokens import token
from nectar.scrub.treat.treatment import REDACTED, Action, Treatment

__all__ = ["REDACTED", "apply", "apply_to_all", "mask", "normalise", "pseudonym", "pseudonyms"]

_SEPARATORS = ("P", "Z", "Cc", "Sm")


@lru_cache(maxsize=4096)
def _is_separator(character: str) -> bool:
    """Punctuation and space stay readable. Letters, digits, and marks (vowels, in some scripts) do not."""
    return unicodedata.category(character).startswith(_SEPARATORS)


def mask(text: str) -> str:
    """Show the last four letters or digits, but never more than a third of them; separators stay, others become `*`."""
    shown = min(4, sum(character.isalnum() for character in text) // 3)
    masked: list[str] = []
    for character in reversed(text):
        if _is_separator(character):
            masked.append(character)
        elif shown and character.isalnum():
            shown -= 1
            masked.append(character)
        else:
            masked.append("*")
    return "".join(reversed(masked))


def apply(treatment: Treatment, text: str, *, kind: str, label: str, keys: PseudonymKeys | None) -> str:
    """The text that stands for `text`. `label` is what `replace` writes; `remove` gives an empty text.

    What `generalise` cannot read (a month of "soon") is replaced.
    """
    action = treatment.action
    if action is Action.REMOVE:
        return ""
    if action is Action.REPLACE:
        return label
    if action is Action.MASK_PARTIAL:
        return mask(text)
    if action is Action.GENERALISE:
        return coarser(text, treatment.to, treatment.size) or label
    if action is Action.KEEP:
        return text
    assert keys is not None, "checked when the scrubber was made"
    return token(text, kind, keys) if action is Action.TOKENIZE else pseudonym(text, kind, keys)


def apply_to_all(
    treatment: Treatment, texts: Sequence[str], *, kind: str, label: str, keys: PseudonymKeys | None
) -> list[str]:
    """As `apply` for each text of one kind, in their order."""
    if treatment.action is Action.HASH_WITH_SALT and keys is not None:
        return pseudonyms(texts, kind, keys)
    return [apply(treatment, text, kind=kind, label=label, keys=keys) for text in texts]

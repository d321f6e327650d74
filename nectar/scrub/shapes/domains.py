"""The key domain of each value of a field that a rule makes pseudonyms of: the kind that the value is as a whole.

So an address has one pseudonym, whether a rule for its field or detection found it. What the field's name speaks for
comes before what only has a check digit: one telephone number in eleven is a valid number of the NHS. A value that is
of no kind as a whole has its field's own domain.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nectar.scrub.find import context
from nectar.scrub.find import entities as e
from nectar.scrub.find.engine import scan_texts
from nectar.scrub.find.findings import THRESHOLD, ScanError
from nectar.scrub.find.spans import by_worth
from nectar.scrub.shapes.kinds import NOTHING, SIGNS_OF_ADDRESSES, UNKNOWN, Question, settle

_ORDER = {entity: place for place, entity in enumerate(e.ALL)}

_FORMS = (
    SIGNS_OF_ADDRESSES,
    r"\A[^\pL]",  # numbers, and all that begins with a sign
    r"\A[A-Za-z]*[0-9][A-Za-z0-9]*\z",  # codes in one piece
    r"\A[A-Za-z]{2} ?[0-9]{2}",  # IBANs
    r"\A[0-9A-Fa-f]{1,8}[-:.]",  # addresses of machines, UUIDs
    r"\A[tT][rRxX]",  # prefixed transactions
)
"""One of these fits every value that can be of a joinable kind as a whole, where the field's name says nothing."""

_PLAIN = frozenset({e.EMAIL_ADDRESS, e.PHONE_NUMBER, e.CREDIT_CARD, e.US_SSN, e.IP_ADDRESS, e.IBAN_CODE})
"""Kinds that the form above holds for although the field's name lifts them: they have no weaker forms of letters."""


def domains(values: Iterable[str], path: str, otherwise: str, regions: Iterable[str]) -> dict[str, str | ScanError]:
    """For each value its domain, or the reason why nobody knows. `regions`: of telephone numbers, beyond the usual."""
    stripped = {text: text.strip() for text in values}
    bare = list(dict.fromkeys(stripped.values()))
    lifted = context.lifted(path) & frozenset(e.JOINABLE)
    found = _settled(bare, lifted, otherwise)
    wanted = frozenset(e.JOINABLE).union(map(e.phones_of, regions))
    for text, scan in scan_texts((text for text in bare if text not in found), wanted, lifted).items():
        if isinstance(scan, ScanError):
            found[text] = scan
            continue
        whole = [hit for hit in scan if (hit.start, hit.end) == (0, len(text))]
        best = min(whole, key=lambda hit: (hit.entity not in lifted, by_worth(hit, _ORDER)), default=None)
        found[text] = otherwise if best is None else best.entity
    return {text: found[plain] for text, plain in stripped.items()}


def _settled(texts: list[str], lifted: frozenset[str], otherwise: str) -> dict[str, str | ScanError]:
    """The domain of each text whose form alone settles it: the same that a scan would tell."""
    try:
        column = pa.array(texts, pa.string())
    except UnicodeEncodeError:  # half of a surrogate pair
        return {}
    found: dict[str, str | ScanError] = {}
    if lifted <= _PLAIN:
        possible = _possible(column)
        found = dict.fromkeys(column.filter(pc.invert(possible)).to_pylist(), otherwise)
        column = column.filter(possible)
    named = tuple(kind for kind in e.JOINABLE if kind in lifted)
    if named:
        # What the name speaks for and the form leaves open, the scan must weigh against the other kinds.
        told = _told(column, named, lifted)
        found.update(_names(column, told, named))
        column = column.filter(pa.array(told == NOTHING))
    told = _told(column, e.JOINABLE, lifted)
    return found | _names(column, told, (*e.JOINABLE, otherwise))  # NOTHING is -1


def _possible(column: pa.Array) -> pa.Array:
    other_script = pc.match_substring_regex(column, r"[^\x00-\x7f]")
    reads_otherwise = pc.and_(other_script, pc.match_substring_regex(column, r"[^\pL\pM \x{2019}.'-]"))
    return pc.or_(reads_otherwise, pc.match_substring_regex(column, "|".join(_FORMS)))


def _told(column: pa.Array, kinds: tuple[str, ...], lifted: frozenset[str]) -> Any:
    """What `settle` tells, all of it unknown where it tells nothing."""
    told = settle(column, Question(kinds, lifted, THRESHOLD, more_regions=True))
    return np.full(len(column), UNKNOWN) if told is None else told


def _names(column: pa.Array, told: Any, names: tuple[str, ...]) -> dict[str, str]:
    """The texts that are settled, each with the name of its place; a place beyond the names is none."""
    done = (told != UNKNOWN) & (told >= (NOTHING if len(names) > len(e.JOINABLE) else 0))
    texts = column.filter(pa.array(done)).to_pylist()
    return {text: names[place] for text, place in zip(texts, told[done].tolist(), strict=True)}

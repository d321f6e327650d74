r"""Free text whose findings are plain, told by tests over a whole column: a scan of each takes a multiple of the time.

A text is told where it is ASCII, of one line, and nothing but words, usual punctuation, small numbers, and addresses,
telephone, card and social security numbers in their most usual forms, each between spaces. Then what a scan finds in it
is what it finds in each of these alone (`kinds`), since what could make a difference is not there:

- no sign that belongs to a number stands before one (`+`, a bracket) or makes it a part of something (`#`, `/`, `$`);
- between two numbers stands a letter with which no extension begins, so that none is a part of the other;
- the forms need no word to be believed, and with these groups none makes a telephone number something else
  (`doubts`), but for a unit behind it;
- words may lift other kinds within a number, which are taken for lifted (`kinds.told`).

Whatever else there is, the text is scanned. So this is a short cut and never a reason to skip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nectar.errors import NectarError
from nectar.scrub.find import entities as e
from nectar.scrub.find.doubts import UNITS
from nectar.scrub.shapes.kinds import DOMAIN, FEWEST, UNKNOWN, Question, Values, told, words_of

KINDS = frozenset({e.EMAIL_ADDRESS, e.PHONE_NUMBER, e.CREDIT_CARD, e.US_SSN})
"""What may be looked for."""

_LONGEST = 256
_SAMPLED, _ENOUGH = 200, 0.1
"""Share of a sample of the column that must be told, lest the tests cost more than they spare."""

_PLAIN = r"[A-Za-z ,.;:'\"!?-]"
_DIVIDES = "[B-DF-HJ-MP-RU-WYZb-df-hj-mp-ru-wyz]"
"""Letters that stand in no separator and between no number and its extension (`digits._IN_EXTENSION`)."""

_GROUPED = "[0-9]{3}-[0-9]{3}-[0-9]{4}"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?@"
_FOUND = (
    rf"{_NAME}{DOMAIN}|{_GROUPED}"
    r"|[0-9]{3}-[0-9]{2}-[0-9]{4}|[0-9]{4}(?:-[0-9]{4}){3}|[0-9]{16}"
)
_DIVIDING = rf"{_NAME}(?:[A-Za-z0-9]+[-.])*[A-Za-z0-9]*{_DIVIDES}[A-Za-z]*(?:-[A-Za-z]+)*\.[A-Za-z]+(?:[-.][A-Za-z]+)*"
"""Addresses with such a letter behind their last digit."""

_NUMBER = rf"(?:{_FOUND}|\([0-9]{{1,3}}\)|[0-9]{{1,3}})"
_END = "[.,;:]?"
_APART = f"{_NUMBER}{_END} {_PLAIN}*{_DIVIDES}{_PLAIN}* |{_DIVIDING}{_END} (?:{_PLAIN}* )?"
_TOLD = rf"\A(?:{_PLAIN}*|(?:{_PLAIN}* )?(?:{_APART})*{_NUMBER}{_END}(?: {_PLAIN}*)?)\z"
_MEASURED = rf"[0-9] ?(?i:{UNITS})\b"
_APIECE = rf"(?:\A| )(?:{_FOUND})"
_BEGIN, _STOP = "\x01", "\x02"
"""Stand in no text that is told."""
_LEFT = r"@|[0-9]{4}|[0-9]-[0-9]"
"""Would stand between findings if that took a text apart in another way than it was told by."""


@dataclass(frozen=True)
class Findings:
    """What some texts of a column hold.

    at      of each of them its place in the column
    told    whether it is told; the others are there as well, and must be scanned
    pieces  text, finding, text, finding ... and text: of all of them, with a line break between two
    owners  of each finding the number of its text among `at`
    kinds   of each finding the place of its kind in the question's order; UNKNOWN in what is not told
    """

    at: Any
    told: Any
    pieces: list[str]
    owners: Any
    kinds: Any

    def written(self, new: Sequence[str]) -> list[str | None]:
        """All of the texts with these in place of the findings; None for one of which nothing is left."""
        pieces = self.pieces.copy()
        pieces[1::2] = new
        return [text if text and not text.isspace() else None for text in "".join(pieces).split("\n")]


def findings(texts: pa.Array, question: Question) -> Findings | None:
    """What distinct texts (no nulls) hold, of those that can be told; None where there are too few."""
    plain = KINDS.issuperset(question.order) and not question.lifted.intersection(question.order)
    if len(texts) < FEWEST or not plain or question.more_regions or not question.is_usual:
        return None
    sample = texts.take(pa.array(np.linspace(0, len(texts) - 1, _SAMPLED).astype(np.int64)))
    try:
        if _are_plain(Values(sample)).mean() < _ENOUGH:
            return None
        return _findings(texts, question)
    except NectarError:
        raise  # somebody's profile asks for what is not there
    except Exception:  # noqa: BLE001  the scan finds out which text it was, and spoils no other
        return None


def _are_plain(values: Values) -> Any:
    return values.shorter(_LONGEST) & values.fits(_TOLD) & ~values.fits(_MEASURED)


def _findings(texts: pa.Array, question: Question) -> Findings | None:
    at = np.flatnonzero(_are_plain(Values(texts)))
    some = texts.take(pa.array(at))
    pieces, owners = _parted(some)
    if Values(pa.array(["".join(pieces[::2])], pa.large_string())).fits(_LEFT).any():
        return None
    aided = Values(some).fits(words_of(e.US_SSN))
    found = Values(pa.array(pieces[1::2], pa.large_string()))
    kinds = told(found, question, aided=aided[owners])
    if e.PHONE_NUMBER in question.order:  # in another form it may be claimed by a word
        kinds[(kinds == question.order.index(e.PHONE_NUMBER)) & ~found.fits(rf"\A{_GROUPED}\z")] = UNKNOWN
    is_told = np.ones(len(at), dtype=bool)
    is_told[owners[kinds < 0]] = False
    kinds[~is_told[owners]] = UNKNOWN
    return Findings(at, is_told, pieces, owners, kinds)


def _parted(texts: pa.Array) -> tuple[list[str], Any]:
    marked = pc.replace_substring_regex(texts, _APIECE, rf"{_BEGIN}\0{_STOP}")
    owners = np.repeat(np.arange(len(texts)), pc.count_substring(marked, _STOP).to_numpy())
    written = "\n".join(marked.to_pylist()).replace(f"{_BEGIN} ", f" {_BEGIN}")
    return written.replace(_BEGIN, _STOP).split(_STOP), owners

"""Dates with the name of their month in English, which presidio's patterns of numbers leave out.

A month is written in full or with its first three letters. Without a day or without a year it counts with a capital
only: `you may 2 ...`, `march 5 miles`.
"""

from __future__ import annotations

from nectar.scrub.find import entities as e
from nectar.scrub.recognisers.library import Pattern, PatternRecognizer

_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_CAPITAL = r"(?=(?-i:[JFMASOND]))"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR = r"(?:1[6-9]|20|21)\d\d"
_FIRST = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"


class NamedDateRecognizer(PatternRecognizer):  # type: ignore[misc]
    """`March 5, 2024`, `5 Mar 2024`, `5th of March 2024`, `March 2024`, `March 5`, `5 March`."""

    FORMS = (rf"{_FIRST}[a-z]{{0,6}}[., ]{{1,3}}[0-9]", rf"[0-9](?:st|nd|rd|th)?[- ]{{1,2}}(?:of )?{_FIRST}")

    def __init__(self) -> None:
        patterns = [
            Pattern("month day year", rf"\b{_MONTH} ?{_DAY}(?:, ?| ){_YEAR}\b", 0.6),
            Pattern("day month year", rf"\b{_DAY}[- ]{{1,2}}(?:of )?{_MONTH}[-, ]{{1,2}}{_YEAR}\b", 0.6),
            Pattern("month year", rf"\b{_CAPITAL}{_MONTH},? (?:of )?{_YEAR}\b", 0.5),
            Pattern("month day", rf"\b{_CAPITAL}{_MONTH} {_DAY}\b(?![.,]?\d)", 0.4),
            Pattern("day month", rf"\b{_DAY} (?:of )?{_CAPITAL}{_MONTH}(?!\w)", 0.4),
        ]
        super().__init__(supported_entity=e.DATE_TIME, patterns=patterns, name="NamedDate")

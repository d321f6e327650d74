"""Cards: presidio's recogniser with a quicker check digit, and the cards that its pattern leaves out.

Ranges of issuers: ISO/IEC 7812, and the lists that the schemes publish. A card is believed by Luhn's check digit.
"""

from __future__ import annotations

from typing import Any

from nectar.scrub.recognisers.library import Pattern
from nectar.scrub.recognisers.library import predefined_recognizers as presidio

_FROM, _TO = r"(?<![\w-])(?<!\d\.)", r"(?![\w-])(?!\.\d)"
_FOURS = r"(?:[- ]?\d{4}){3}"


_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9).__getitem__
"""The sum of the digits of twice a digit."""


class CardRecognizer(presidio.CreditCardRecognizer):  # type: ignore[misc]
    """presidio's, which takes five times as long for Luhn's check digit."""

    def __init__(self, name: str = "CreditCardRecognizer", **options: Any) -> None:
        super().__init__(name=name, **options)

    def validate_result(self, pattern_text: str) -> bool:
        digits = list(map(int, self.sanitize_value(pattern_text, self.replacement_pairs)))
        return (sum(digits[-1::-2]) + sum(map(_DOUBLED, digits[-2::-2]))) % 10 == 0


class WideCardRecognizer(CardRecognizer):
    """2-series Mastercard, 19-digit Visa, JCB of 15, UnionPay of 16 to 19, Maestro of 12 to 19, and dots between."""

    PATTERNS = (
        Pattern("Mastercard 2", rf"{_FROM}2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720){_FOURS}{_TO}", 0.3),
        Pattern("Visa 19", rf"{_FROM}4\d{{3}}{_FOURS}[- ]?\d{{3}}{_TO}", 0.3),
        Pattern(
            "JCB 15", rf"{_FROM}(?:2131|1800)[- ]?(?:\d{{4}}[- ]?\d{{4}}[- ]?\d{{3}}|\d{{6}}[- ]\d{{5}}){_TO}", 0.3
        ),
        Pattern("JCB 16", rf"{_FROM}35\d\d{_FOURS}{_TO}", 0.3),
        Pattern("Maestro", rf"{_FROM}(?:0604|(?:5[0678]|6\d)\d\d)(?:[- ]?\d{{4}}){{2,3}}(?:[- ]?\d{{1,3}})?{_TO}", 0.3),
        # UnionPay writes its longest numbers as six and thirteen.
        Pattern("UnionPay", rf"{_FROM}62\d{{4}}[- ]\d{{10,13}}{_TO}", 0.3),
        Pattern("Dotted", rf"{_FROM}(?:2[2-7]|35|4\d|5[0-8]|6\d)\d\d(?:\.\d{{4}}){{3}}{_TO}", 0.3),
        # Diners Club and American Express, written in fours as the others are.
        Pattern("Fours, short", rf"{_FROM}3(?:0[0-5]|[4-9]\d)\d(?:[-. ]\d{{4}}){{2}}[-. ]\d{{2,3}}{_TO}", 0.3),
        Pattern("Dotted, American Express", rf"{_FROM}3[47]\d\d\.\d{{6}}\.\d{{5}}{_TO}", 0.3),
    )

    def __init__(self) -> None:
        pairs = [("-", ""), (" ", ""), (".", "")]
        super().__init__(patterns=list(self.PATTERNS), name="WideCard", replacement_pairs=pairs)

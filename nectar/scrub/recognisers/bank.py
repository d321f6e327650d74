"""Numbers of banks and payments that presidio has no recogniser for."""

from __future__ import annotations

import re

import regex

from nectar.scrub.find import entities as e
from nectar.scrub.recognisers.library import Pattern, PatternRecognizer

WEAK = 0.05
"""The score of what its form alone does not make believable."""

_DATE = re.compile(r"(?:19|20)\d\d-[01]\d-[0-3]\d(?!\d)|[0-3]?\d-[01]?\d-(?:19|20)\d\d(?!\d)")


class AccountRecognizer(PatternRecognizer):  # type: ignore[misc]
    """Account numbers of 6 to 17 digits, believed only near a word such as `account` or in a field of that name."""

    def __init__(self) -> None:
        patterns = [
            Pattern("account (weak)", r"(?<![\w.-])\d{6,17}(?![\w-]|\.\d)", WEAK),
            # Grouped, for example 12-3456-789 or 1234 5678 9012.
            Pattern("account, grouped (weak)", r"(?<![\w.-])\d{2,6}(?:[- ]\d{2,6}){1,4}(?![\w-]|\.\d)", WEAK),
        ]
        super().__init__(supported_entity=e.ACCOUNT_NUMBER, patterns=patterns, name="AccountRecognizer")

    def invalidate_result(self, pattern_text: str) -> bool:
        return not 6 <= sum(c.isdigit() for c in pattern_text) <= 17 or _DATE.fullmatch(pattern_text) is not None


class TransactionRecognizer(PatternRecognizer):  # type: ignore[misc]
    """Ids of transactions: `TXN-...`, and any id-like word near `transaction` or in a field of that name."""

    def __init__(self) -> None:
        start, end = r"(?<![\w@.:/-])", r"(?![\w@/-]|[.:]\w)"
        digits = r"(?=(?:[A-Z_-]*\d){3})"
        patterns = [
            Pattern("prefixed", rf"{start}(?:TXN|TRX|TX)[-_#]{digits}[A-Z0-9][A-Z0-9_-]{{2,63}}{end}", 0.6),
            Pattern("prefixed, joined", rf"{start}(?:TXN|TRX|TX)\d{{3}}[A-Z0-9_-]{{1,61}}{end}", 0.6),
            Pattern("id (weak)", rf"{start}(?=[\w-]*\d)[A-Z0-9][A-Z0-9_-]{{4,63}}{end}", WEAK),
        ]
        super().__init__(supported_entity=e.TRANSACTION_ID, patterns=patterns, name="TransactionRecognizer")

    def invalidate_result(self, pattern_text: str) -> bool:
        return _DATE.match(pattern_text) is not None


class WholeTransactionRecognizer(PatternRecognizer):  # type: ignore[misc]
    """However short, where a field of that name holds nothing else."""

    def __init__(self) -> None:
        patterns = [Pattern("whole value (weak)", r"^(?=[^\n]*\d)#?[A-Z0-9][A-Z0-9_:/#-]{0,63}$", WEAK)]
        super().__init__(supported_entity=e.TRANSACTION_ID, patterns=patterns, name="WholeTransactionRecognizer")

    def invalidate_result(self, pattern_text: str) -> bool:
        return _DATE.match(pattern_text) is not None


# ISO 3166-1 alpha-2, and XK for Kosovo, which banks there use.
_COUNTRIES = (
    " AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ"
    " CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO"
    " FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE"
    " JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO"
    " MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW"
    " PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM"
    " TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW"
    " "
)


class SwiftRecognizer(PatternRecognizer):  # type: ignore[misc]
    """Business identifier codes (ISO 9362): four letters, a country, two characters for the place, three for a branch.

    Many words of eight letters look so. In a text a code is upper case and believed only near a word such as `swift`;
    as the whole value of a field of that name it may be written as people like.
    """

    def __init__(self) -> None:
        code = r"[A-Z]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?"
        patterns = [
            Pattern("BIC (weak)", rf"(?<![\w-]){code}(?![\w-])", WEAK),
            Pattern("BIC, grouped (weak)", r"(?<![\w-])[A-Z]{4} [A-Z]{2} [A-Z0-9]{2}(?: [A-Z0-9]{3})?(?![\w-])", WEAK),
        ]
        super().__init__(
            supported_entity=e.SWIFT_CODE, patterns=patterns, name="SwiftRecognizer", global_regex_flags=regex.M
        )

    def invalidate_result(self, pattern_text: str) -> bool:
        return f" {pattern_text.replace(' ', '')[4:6].upper()} " not in _COUNTRIES


class WholeSwiftRecognizer(SwiftRecognizer):
    """A code in any case where a field of that name holds nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "WholeSwiftRecognizer"
        self.patterns = [Pattern("BIC, whole value (weak)", r"^[A-Z]{6} ?[A-Z0-9]{2} ?(?:[A-Z0-9]{3})?$", WEAK)]
        self.global_regex_flags = regex.M | regex.I

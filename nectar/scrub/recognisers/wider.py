"""Forms of IBANs, email addresses and social security numbers that presidio's patterns leave out.

Sources: ISO 13616 with SWIFT's registry of IBAN formats; RFC 5321 (quoted names, address literals) and RFC 3986
(`%40`); RFC 2606, RFC 6761 and RFC 6762 (names that no registry gives out, which companies use inside).
"""

from __future__ import annotations

import ipaddress
import re

from nectar.scrub.find import entities as e
from nectar.scrub.recognisers.library import Pattern, PatternRecognizer

IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip
"""Characters of an IBAN by country, all of the registry."""


class WideIbanRecognizer(PatternRecognizer):  # type: ignore[misc]
    """IBANs in lower case, with dots, behind the word itself (`IBANDE89...`), and of countries added since.

    And those that are too long or too short for their country: the check digits prove them all the same, and an account
    that lost a digit of its branch on the way still tells whose it is.
    """

    # The countries here would make the prefilter's compilation five times as long.
    FORMS = (r"[A-Z]{2}[0-9]{2}(?:[ .-]?[A-Z0-9]{4}){2}",)

    def __init__(self) -> None:
        lengths = {length: [c for c, of in IBAN_LENGTHS.items() if of == length] for length in IBAN_LENGTHS.values()}
        written = "|".join(f"(?:{'|'.join(lengths[length])}){_groups(length)}" for length in sorted(lengths))
        start = r"(?:(?<![A-Z0-9])|(?<=(?<![A-Z0-9])IBAN))"
        country = f"(?-i:{'|'.join(IBAN_LENGTHS)})"
        patterns = [
            Pattern("IBAN", rf"{start}(?:{written})(?![A-Z0-9])", 0.5),
            Pattern("other length", rf"{start}{country}[0-9]{{2}}(?-i:[A-Z0-9]{{11,30}})(?![A-Z0-9])", 0.5),
            Pattern(
                "other length, grouped",
                rf"{start}{country}[0-9]{{2}} (?-i:[A-Z0-9]{{4}})(?: [0-9]{{4}}){{2,6}}(?: [0-9]{{1,3}})?(?![A-Z0-9])",
                0.5,
            ),
        ]
        super().__init__(supported_entity=e.IBAN_CODE, patterns=patterns, name="WideIban")

    def validate_result(self, pattern_text: str) -> bool:
        written = re.sub(r"[ .-]", "", pattern_text).upper()
        as_registered = len(written) == IBAN_LENGTHS[written[:2]]
        if sum(character.isdigit() for character in written) < (_FEWEST_DIGITS if as_registered else _FEWEST_OTHERWISE):
            return False  # words of four letters in a row
        return int("".join(str(int(character, 36)) for character in written[4:] + written[:4])) % 97 == 1


_FEWEST_DIGITS = 6
_FEWEST_OTHERWISE = 12
"""Of codes with fewer, one in a hundred has the check digits."""


def _groups(length: int) -> str:
    """What follows the country in an IBAN of so many characters: two check digits, groups of four, and the rest."""
    fours, rest = divmod(length - 4, 4)
    return rf"[0-9]{{2}}(?:[ .-]?[A-Z0-9]{{4}}){{{fours}}}" + (rf"[ .-]?[A-Z0-9]{{{rest}}}" if rest else "")


_INSIDE = r"(?:local|lan|internal|intranet|corp|home|private|example|test|invalid|localhost|localdomain)"
_AT = r"[\[({] ?at ?[\])}]"


class WideEmailRecognizer(PatternRecognizer):  # type: ignore[misc]
    """Addresses with a quoted name, at an IP address, at a name used inside a company, `(at)`, or encoded in a URL."""

    # What each pattern cannot do without: a tenth of the time, and no look at the end of every `@example.com`.
    FORMS = (
        r'"@[a-z0-9]',
        r"@\[[0-9a-fi.:]",
        rf"@[a-z0-9.-]+\.{_INSIDE}(?:$|[^\w.-]|[.-](?:$|\W))",
        rf"[\w.+-] ?{_AT} ?[a-z0-9-]",
        r"%40[a-z0-9]",
    )

    def __init__(self) -> None:
        name = r"[\w.+-]{1,64}"
        host = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}"
        inside, at, dot = _INSIDE, _AT, r"[\[({] ?dot ?[\])}]"
        patterns = [
            Pattern("quoted name", rf'"[^"@\s][^"@\n]{{0,62}}"@{host}[a-z][a-z0-9-]{{1,62}}\b', 0.5),
            Pattern("address literal", rf"(?<![\w.+-]){name}@\[(?:IPv6:)?[0-9a-f.:]{{3,45}}\]", 0.5),
            Pattern("inside", rf"(?<![\w.+-]){name}@{host}{inside}\b(?![.-]?\w)", 0.5),
            Pattern(
                "spelt out",
                rf"(?<![\w.+-]){name} ?{at} ?(?:[a-z0-9-]{{1,63}}(?:\.| ?{dot} ?)){{1,5}}[a-z]{{2,24}}\b",
                0.5,
            ),
            Pattern(
                "encoded",
                rf"(?:(?<![\w.+%-])|(?<=%(?:3D|26|2F|3F)))[\w.+-]{{1,64}}%40{host}[a-z]{{2,24}}\b(?![.-]?\w)",
                0.5,
            ),
        ]
        super().__init__(supported_entity=e.EMAIL_ADDRESS, patterns=patterns, name="WideEmail")

    def invalidate_result(self, pattern_text: str) -> bool:
        if not pattern_text.endswith("]"):
            return False
        literal = pattern_text[pattern_text.rindex("[") + 1 : -1]
        try:
            ipaddress.ip_address(literal[5:] if literal[:5].lower() == "ipv6:" else literal)
        except ValueError:
            return True
        return False

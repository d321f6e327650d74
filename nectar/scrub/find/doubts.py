r"""Which findings their surroundings speak against: presidio reports them, and they are nearly always something else.

presidio takes any digits for a telephone number that the plan of one of eight countries allows, and one in three of
all numbers of ten digits is. It takes any four small numbers with dots for an IP address. Most of that is dates,
prices, orders, versions, or a part of a card that is found as one. Such a finding stays a finding, with a score of
`DOUBTED`, which is presidio's threshold: who asks for 0.35 is told all that presidio tells. What is acted on
(`findings.THRESHOLD`, the default of profiles) begins above it.

A telephone number is doubted, unless the field's name, a word or a label presents it or it has a plus sign, if

- it is written as a date, a decimal, an IPv4 address or a social security number is, or lies in an IPv4 address;
- it has fewer than seven digits, or is a bare run of fewer than nine, and does not begin with zero;
- it is a bare run as clocks of machines count seconds or milliseconds (2014 to 2033);
- it is a list of numbers of one or two digits that does not begin with zero (French numbers do);
- it is glued to what identifies a thing (`INV-2024-000812`, `#4481223`, `/orders/7745123099`), or measured
  (`$1234567`, `2125550147 bytes`);
- it lies in a card or an IBAN that its check digits prove.

And, whatever stands farther away, if the word right before it says which number it is: `order no. 7745123099`,
`Rechnungsnummer: 4412889011`; so does the name of a field of data before bare digits: `"created": 7745123099`.

An IP address is doubted behind `version` or `section`, as the version of a product (`Chrome/120.0.6099.71`), as a part
of a longer outline or object identifier (`1.3.6.1.4.1`), and as a slice (`10::20`). A card, unless a word for cards
stands before it, if it is an article's number by another check digit (13 digits) or shorter than Maestro's cards are
and none of those that Maestro's issuers have, and always within an IBAN.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from nectar.scrub.find import context as words
from nectar.scrub.find import entities as e
from nectar.scrub.find.claims import claims, keyed
from nectar.scrub.find.findings import CHECKSUM, CONTEXT, DOUBTED, PATTERN, Hit

_BEFORE = 60
_AFTER = 24

# Shapes of the number itself.

_DATE = re.compile(
    r"""
      [0-3]?[0-9]([-./ ])[0-1]?[0-9]\1(?:19|20)[0-9]{2}(?:\s[0-2]?[0-9](?:[.:][0-5][0-9])?)?  # a date, perhaps an hour
    | [0-1]?[0-9]([-./ ])[0-3]?[0-9]\2(?:19|20)[0-9]{2}(?:\s[0-2]?[0-9](?:[.:][0-5][0-9])?)?  # month first
    | (?:19|20)[0-9]{2}([-./ ])[0-1]?[0-9]\3[0-3]?[0-9](?:\s[0-2]?[0-9](?:[.:][0-5][0-9])?)?  # year first
    | [0-3]?[0-9]\.[0-1]?[0-9]\.[0-9]{2}(?:\s[0-2]?[0-9])?                                     # a year of two digits
    """,
    re.VERBOSE,
)
_OTHER_SHAPE = re.compile(
    r"""(?:
      -?(?:[1-9][0-9]*|0)\.[0-9]+(?:[ ]-?[0-9]+\.[0-9]+)*                                     # decimals
    | [1-9][0-9]{0,2}(?:[.][0-9]{3})+                                                         # thousands with dots
    | [0-9]{3}-[0-9]{2}-[0-9]{4}                                                              # a social security number
    | [1-9][0-9]?(?:[-. /][0-9]{1,2})+                                                        # small numbers
    | [1-9][0-9]{3,7}                                                                         # a bare run, too short
    | 1[4-9](?:[0-9]{8}|[0-9]{11})                                                            # a moment since 1970
    | [1-9][0-9]{2}-[0-9]{7}                                                                  # no country's groups
    | (?:19|20)[0-9]{2}-[0-9]{5,8}                                                            # numbered by the year
    )\)?""",
    re.VERBOSE,
)
_SHORT = 7
"""Fewer digits than that are no telephone number without a word."""

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = re.compile(rf"(?<![0-9.]){_OCTET}(?:\.{_OCTET}){{3}}(?![0-9]|\.[0-9])")

# What it touches.

_GLUED = re.compile(
    r"(?:[^\W\d_][-_/#]|[0-9][-_/.]|[#$€£¥₹§%]\s?|[^\s0-9]/|\b(?:EUR|USD|GBP|CHF|Rs)\.?\s?)\Z", re.IGNORECASE
)
UNITS = (
    r"bytes?|octets?|[kmgt]i?b|bits?|[mnµu]s|sec(?:onds?|s)?|min(?:utes?)?|hours?|days?|px|pixels?|dpi|[kcm]m|kg|mg|[kmg]?hz|rpm"
    r"|mmhg|kwh|eur(?:os?)?|usd|gbp|chf|pln|sek|dkk|nok|dollars?|pieces?|pcs|stk|st[üu]ck|units?|items?|rows?|records?"
    r"|lines?|views?|points?|votes?|shares?|copies|times|people|inhabitants|einwohner|habitants|habitantes"
)
_MEASURED = re.compile(rf"\s?(?:\.[0-9]|[%‰€$£¥₹°²³]|(?:{UNITS})\b(?!\s?[:=]))", re.IGNORECASE)

# IP addresses.

_OUTLINES = (
    r"versions?|ver|v|rel|releases?|revisions?|builds?|firmware|patch|updates?|updated|sections?|sec|chapter|ch|clause"
    r"|paragraph|para|article|art|appendix|annex|figure|fig|table|item|rule|step|oid|driver|schema|assembly|§+|[fsh]w"
    r"|abschnitt|kapitel|ziffer|absatz|chapitre|cap[íi]tulo|secci[óo]n|sezione|capitolo|hoofdstuk|avsnitt|rozdzia[łl]"
    r"|wersj[aię]|versi[óo]n|versão|versione|versie"
)
_OUTLINED = re.compile(
    rf"(?<![^\W_])(?:{_OUTLINES})(?![^\W_])[^\w\n,;|]*(?:(?:is|to|from|of|no|number|v|nr|and|auf|von|de|du)\b[^\w\n,;|]*){{0,2}}\Z",
    re.IGNORECASE,
)
_UPGRADED = re.compile(
    r"\b(?:(?:up|down)grad(?:e[ds]?|ing)|bump(?:s|ed|ing)?)\b(?:\W+[\w.-]+){0,4}\W+\Z", re.IGNORECASE
)
_PRODUCT = re.compile(r"(?<![\w/.:-])[A-Z][A-Za-z]+/\Z")
"""A product token of HTTP (RFC 9110, 10.1.5), of which a version follows."""
_SLICE = re.compile(r"[0-9]{1,3}::[0-9]{1,3}")
_PRERELEASE = re.compile(r"-?(?:alpha|beta|rc|dev|snapshot|release|final|ubuntu|deb|el[0-9])", re.IGNORECASE)
_MORE_PARTS = re.compile(r"(?:\.[0-9]+)+")
_PARTS_BEFORE = re.compile(r"(?:[0-9]+\.)+\Z")
_OBJECT = frozenset("012")
"""Every object identifier begins with one of these (ITU-T X.660)."""

_PARTS = frozenset({
    (e.PHONE_NUMBER, e.CREDIT_CARD), (e.PHONE_NUMBER, e.IBAN_CODE), (e.CREDIT_CARD, e.IBAN_CODE),
})  # fmt: skip
"""What is found in a part of what."""


KINDS = frozenset({e.CREDIT_CARD, e.PHONE_NUMBER, e.IP_ADDRESS})
"""What can be doubted for its surroundings."""


def weighed(hit: Hit, text: str, *, named: bool = False, regional: bool = False) -> Hit:
    """The hit with its score, or with DOUBTED.

    named     the field's name speaks for its kind
    regional  it is a telephone number of a region that was asked for by name, so its form alone is no reason
    """
    if named or hit.score <= DOUBTED:
        return hit
    if hit.entity == e.CREDIT_CARD:
        doubted = _no_card(hit, text)
    elif hit.entity == e.PHONE_NUMBER:
        doubted = _no_phone(hit, text, regional=regional)
    elif hit.entity == e.IP_ADDRESS and hit.strength == PATTERN:
        doubted = _no_address(hit, text)
    else:
        return hit
    return hit._replace(score=DOUBTED) if doubted else hit


def within_proven(hits: Iterable[Hit]) -> list[Hit]:
    """The hits, with numbers doubted that are a part of a card's or an account's with check digits of its own."""
    hits = list(hits)
    whole = {e.CREDIT_CARD, e.IBAN_CODE}
    proven = [h for h in hits if h.strength == CHECKSUM and h.entity in whole and h.score > DOUBTED]
    if not proven:
        return hits
    return [
        h._replace(score=DOUBTED)
        if any(
            p.start <= h.start and h.end <= p.end and (h.entity, p.entity) in _PARTS and h.strength <= p.strength
            for p in proven
        )
        else h
        for h in hits
    ]


def _no_phone(hit: Hit, text: str, *, regional: bool) -> bool:
    found = text[hit.start : hit.end]
    if "+" in found[:3]:
        return False
    before, after = text[max(0, hit.start - _BEFORE) : hit.start], text[hit.end : hit.end + _AFTER]
    in_groups = _GROUPED.match(found) is not None
    plain = found.strip("( ")
    if not in_groups and (claims(before) or (plain.isdigit() and plain[0] != "0" and keyed(before))):
        return True
    surely = _in_address(hit, text) or _DATE.fullmatch(plain) is not None
    odd = (
        surely
        or (not regional and (_is_short(found, plain) or _OTHER_SHAPE.fullmatch(plain) is not None))
        or _MEASURED.match(after) is not None
        or (not in_groups and _GLUED.search(before[-6:]) is not None)
    )
    if not odd:
        return False
    from nectar.scrub.phones.likely import LIKELY, is_presented

    if hit.score == LIKELY or surely:
        return hit.score != LIKELY
    # Whether the text calls it a telephone number takes longest to tell.
    return not ((hit.strength >= CONTEXT and words.is_dialled(text, hit.start)) or is_presented(before, found, after))


def _is_short(found: str, plain: str) -> bool:
    return plain[:1] != "0" and sum(map(str.isdigit, found)) < _SHORT


_GROUPED = re.compile(r"(?:1[-. ])?\(?[0-9]{3}\)?[-. ]{1,2}[0-9]{3}[-. ][0-9]{4}(?![-0-9])")
"""As North America writes its numbers: hardly anything else has these groups."""


def _no_card(hit: Hit, text: str) -> bool:
    """One in ten numbers has a card's check digit: among those of lengths that hardly a card has, most are others."""
    written = "".join(filter(str.isdigit, text[hit.start : hit.end]))
    if len(written) == _ARTICLE:
        digits = list(map(int, written))
        other = (sum(digits[0::2]) + 3 * sum(digits[1::2])) % 10 == 0
    else:
        other = written[0] in "56" and len(written) < _USUAL and not written.startswith(_MAESTRO)
    return other and not words.stands_before(e.CREDIT_CARD, text, hit.start)


_ARTICLE = 13
"""Digits of a GTIN (an article's EAN, a book's ISBN), and of Visa's cards until the nineties."""
_MAESTRO = ("5018", "5020", "5038", "5893", "6304", "6759", "6761", "6762", "6763")
"""How Maestro's cards begin, as Mastercard lists them: so few that hardly another number is taken for one."""
_USUAL = 16
"""Digits of most of them."""


def _in_address(hit: Hit, text: str) -> bool:
    """An IPv4 address shares characters with it."""
    if "." not in text[hit.start : hit.end]:
        return False
    near = max(0, hit.start - 16)
    found = _IPV4.search(text, near, hit.end + 16)
    while found is not None and found.end() <= hit.start:
        found = _IPV4.search(text, found.end(), hit.end + 16)
    return found is not None and found.start() < hit.end


def _no_address(hit: Hit, text: str) -> bool:
    found = text[hit.start : hit.end]
    if _SLICE.fullmatch(found):
        return True
    if ":" in found:
        return False
    before, after = text[max(0, hit.start - _BEFORE) : hit.start], text[hit.end : hit.end + _AFTER]
    if _PRERELEASE.match(after) or _OUTLINED.search(before) or _PRODUCT.search(before):
        return True
    if _UPGRADED.search(before) and (found[:2] == "0." or not ipaddress.ip_address(found.partition("/")[0]).is_private):
        return True
    led, goes_on = _PARTS_BEFORE.search(before), _MORE_PARTS.match(after)
    if led is None and goes_on is None:
        return False
    whole = (led[0] if led else "") + found + (goes_on[0] if goes_on else "")
    return whole.partition(".")[0] in _OBJECT or whole.count(".") > 4

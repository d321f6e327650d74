"""The last filter before a line is written: what looks like personal data, and every secret that this process has met.

By construction no line of ours holds either; this catches what slips through, above all in the words of libraries. A
secret is known by its value, whatever it looks like, and is found as it is, percent-encoded, as base64 at any offset,
as hex, and as JSON, HTML or Python would escape it. Personal data is known by its form (mail addresses, telephone
numbers, cards, account numbers), as it is and inside the same encodings.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "***"
SHORTEST = 5
"""Characters of a secret that is masked wherever it stands: a shorter one would be found in ordinary words."""
MOST = 5000
"""Secrets that are remembered; the oldest goes first."""
DEEPEST = 6
"""Levels of lists and mappings that are looked into; below, nothing is shown."""
LONGEST = 4000
"""Characters of one text that are shown."""
_SPARE = 1536
"""Characters after them that are looked at, for what begins among those that are shown may end here: a mail address of
254 characters, each written as six.
"""

_KEYS = re.compile(
    r"(?i)(?:^|_)(?:password|passwd|pwd|secret|token|(?:api|auth|private)_?key|authorization|credentials?|cookie)$"
)
_MAIL = r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)+"
_PHONE = r"(?<![\w.-])(?:\+\d[\d ()./-]{6,18}\d|(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4})(?![\w-])"
_SSN = r"(?<![\w.-])\d{3}-\d{2}-\d{4}(?![\w-])"
_CARD = r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])"
_IBAN = r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?(?!\w)"
_LOGIN = r"(?<=://)[^/@\s]+(?=@)"
_BEARER = r"(?i:(?<=bearer )|(?<=basic ))[\w.~+/=-]{8,}"
_PERSONAL = re.compile("|".join((f"(?P<login>{_LOGIN})", f"(?P<bearer>{_BEARER})", _MAIL, _PHONE, _SSN,
                                 f"(?P<card>{_CARD})", f"(?P<iban>{_IBAN})")))  # fmt: skip
_HARMLESS = re.compile(
    r"[a-z][a-z_.-]{0,60}|\d{8}\.\d{1,12}|(?:adhoc:)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)
"""Words, numbers of tasks and of flights: most of what is logged."""
_HEX = re.compile(r"(?<![0-9A-Za-z-])(?:[0-9a-fA-F]{2}){8,}[0-9a-fA-F]?(?![0-9A-Za-z-])")
"""Also an odd number of digits: a cut may have taken the last one."""
_BASE64 = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/_-]{12,}={0,2}(?![\w+/=-])")
_WORD = re.compile(
    r"(?<![^\s\"'<>,;()\[\]{}])[^\s\"'<>,;()\[\]{}]*(?:%[0-9A-Fa-f]{2}|&#?\w+;|\\[ux][0-9A-Fa-f]{2})[^\s\"'<>,()\[\]{}]*"
)

_secrets: dict[str, None] = {}
_found: tuple[re.Pattern[str], int] | None = None
_lock = threading.Lock()


def remember(secret: str) -> None:
    """Mask this value from now on, in this process."""
    global _found  # noqa: PLW0603 - one filter for each process
    if len(secret) < SHORTEST or secret in _secrets:
        return
    with _lock:
        _secrets[secret] = None
        while len(_secrets) > MOST:
            del _secrets[next(iter(_secrets))]
        _found = None


def remember_address(url: str) -> None:
    """The password of a URL, and the URL itself."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return
    if password:
        remember(unquote(password))


def is_secret_name(name: str) -> bool:
    """Whether a field or a variable of this name holds what nobody may read: API_TOKEN, password, x-api-key."""
    return _KEYS.search(name.replace("-", "_")) is not None


def masked(value: Any, deep: int = 0) -> Any:
    """The value as it may be written: texts filtered at any depth, and nothing of what a key calls a secret."""
    if isinstance(value, str):
        return masked_text(value)
    if isinstance(value, bytes):
        return masked_text(value.decode(errors="replace"))
    if value is None or isinstance(value, bool | int | float):
        return value
    if deep >= DEEPEST:
        return MASK
    if isinstance(value, Mapping):
        return {str(k): MASK if v and is_secret_name(str(k)) else masked(v, deep + 1) for k, v in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [masked(each, deep + 1) for each in value]
    return masked_text(str(value))


def masked_text(text: str) -> str:
    """A text without secrets and personal data, and not longer than LONGEST.

    It is masked first and cut then: of what the cut goes through, the first part would be no secret that is known. More
    is looked at than is shown, and where even that is not all, its end may be a piece of something, and is left out: as
    much as the longest of the known secrets, and what personal data may take.
    """
    seen, (known, longest) = LONGEST + _SPARE, _pattern() or (None, 0)
    broken = len(text) > seen + longest
    text = text[: seen + longest]
    if known is not None:
        text = known.sub(MASK, text)
    if broken:
        text = _without_end(text, longest)
    broken = broken or len(text) > seen
    text = _without_personal(text[:seen])
    return (_without_end(text, _SPARE) if broken else text)[:LONGEST]


def _without_end(text: str, length: int) -> str:
    return text[: max(0, len(text) - length)]


def _without_personal(text: str) -> str:
    if _HARMLESS.fullmatch(text):
        return text
    text = _PERSONAL.sub(_personal, text)
    if "%" in text or "&" in text or "\\" in text:
        text = _WORD.sub(lambda found: MASK if _tells(_plain(found[0])) else found[0], text)
    text = _HEX.sub(lambda found: MASK if _tells(_of_hex(found[0])) else found[0], text)
    return _BASE64.sub(lambda found: MASK if any(map(_tells, _of_base64(found[0]))) else found[0], text)


def _personal(found: re.Match[str]) -> str:
    text = found[0]
    if found["card"] and not _luhn(text):
        return text
    if found["iban"] and not _is_iban(text):
        return text
    return MASK


def _tells(text: str) -> bool:
    """Whether a decoded text holds what must not be shown."""
    known = _pattern()
    if known is not None and known[0].search(text):
        return True
    return any(_personal(found) == MASK for found in _PERSONAL.finditer(text))


def _plain(text: str) -> str:
    """Without percent, HTML and backslash escapes."""
    text = html.unescape(unquote(text))
    return re.sub(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))", lambda found: chr(int(found[1] or found[2], 16)), text)


def _of_hex(text: str) -> str:
    return bytes.fromhex(text[: len(text) // 2 * 2]).decode(errors="replace")


def _of_base64(text: str) -> Iterator[str]:
    """What it may stand for, whichever of its first characters begin it."""
    standard = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    for start in range(4):
        whole = standard[start:]
        whole = whole[: len(whole) - (len(whole) % 4 == 1)]
        try:
            yield base64.b64decode(whole + "=" * (-len(whole) % 4)).decode(errors="replace")
        except binascii.Error:
            continue


def _luhn(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()][::-1]
    return (sum(digits[::2]) + sum(sum(divmod(2 * d, 10)) for d in digits[1::2])) % 10 == 0


def _is_iban(text: str) -> bool:
    text = text.replace(" ", "")
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _pattern() -> tuple[re.Pattern[str], int] | None:
    """Of all secrets in all their forms, and the characters of the longest; made anew when one has come."""
    global _found  # noqa: PLW0603
    found = _found
    if found is None and _secrets:
        with _lock:
            forms = sorted({form for secret in list(_secrets) for form in _forms(secret)}, key=len, reverse=True)
            found = _found = re.compile("|".join(map(re.escape, forms))), len(forms[0])
    return found


def _forms(secret: str) -> Iterator[str]:
    raw = secret.encode()
    yield secret
    yield from (quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret))
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])
    yield from (raw.hex(), raw.hex().upper())
    for offset in range(3):
        # The characters that hold nothing but the secret, whatever stands before and after it.
        inside = base64.b64encode(b"\0" * offset + raw)
        first = (offset * 8 + 5) // 6
        core = inside[first : (offset + len(raw)) * 8 // 6].decode()
        if len(core) >= SHORTEST:
            yield from (core, core.translate(str.maketrans("+/", "-_")))

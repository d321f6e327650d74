"""Which encoding a text without a mark is in, by how its letters read: rather no answer than a wrong one.

UTF-8 is recognised by its form, and a text most of which is UTF-8 stays it: lines in something else are the reader's to
set aside. Encodings of one byte are tried by the letters that their languages write beside ASCII's, those of two bytes
by where their everyday characters stand in the code.
"""

# ruff: noqa: RUF001 - letters that look alike are what this is about

from __future__ import annotations

import re
from collections.abc import Iterable

_UTF8 = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_CONTROLS = bytes(sorted({*range(0x20), 0x7F} - set(b"\t\n\r")))
_HIGH = re.compile(rb"[\x80-\xff]+")
_SAMPLE = 64 << 10
_SURE, _MIXED = 0.85, 0.05
"""Least score of an answer; what is taken off where letters of several languages are mixed."""
_LEAST = 2
"""Letters beside ASCII's from which anything is concluded: one may be a slip."""

_WEST = {
    "de": "äöüß", "fr": "àâæçéèêëîïôœùûü", "es": "áéíñóúü", "pt": "áâãàçéêíóôõú", "it": "àèéìíòóùú", "nl": "éëïóöüè",
    "da": "æøåéóòô", "sv": "åäöé", "is": "áðéíóúýþæö", "ca": "àçèéíïòóúü",
}  # fmt: skip
_CENTRE = {
    "pl": "ąćęłńóśźż", "cs": "áčďéěíňóřšťúůýž", "sk": "áäčďéíĺľňóôŕšťúýž", "hu": "áéíóöőúüű", "hr": "čćđšž",
    "ro": "ăâîşţ",
}  # fmt: skip
_TURKISH, _BALTIC = {"tr": "çğıİöşüâî"}, {"lv": "āčēģīķļņšūž", "lt": "ąčęėįšųūž", "et": "äöüõšž"}
_LATIN = (
    ("cp1252", _WEST), ("cp1250", _CENTRE), ("iso8859-2", _CENTRE), ("cp1254", _TURKISH), ("cp1257", _BALTIC),
    ("cp850", _WEST), ("mac-roman", _WEST),
)  # fmt: skip
"""The likelier first: of two that read equally well the first is meant."""

# Letters by how often they are written.
_RUSSIAN, _UKRAINIAN = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё", "оаниітверслкудмпязьбгчйхцжюєїфшщґ"
_OTHERS = (
    ("cp1251", (_RUSSIAN, _UKRAINIAN)), ("koi8-r", (_RUSSIAN,)), ("cp866", (_RUSSIAN,)), ("iso8859-5", (_RUSSIAN,)),
    ("cp1253", ("αοιετσνηυρπκμλςωδγχθφάίόέήύβώξζψϋϊ",)), ("cp1255", ("יוהלארתבמשנעכדקפחצגטסזםןךףץ",)),
    ("cp1256", ("اليمنورتبدةعسفكهقحجشصطخضذئزثءغظىأإآؤپچژگ",)), ("cp874", ("านรกเงมยลวดทสตะปบคหแจพชขใไโผ่้ัิี์ุูึื็ๆ",)),
)  # fmt: skip

_FEWEST = 4
"""Characters of a text in other letters than Latin ones, below which nothing is concluded."""
_LAST = set("ςםןךףץ")
"""Letters that end a word."""
_ACCENTS = set("άέήίόύώ")
"""Small Greek words have one each."""
_QUOTES = set("“”„‚‘’«»‹›–—…€£°§·•©®™²³µ¿¡½¼¾×\xa0\xad")
_WORD = re.compile(r"[^\W\d_]+")


def likely_encoding(data: bytes) -> str:
    """A codec's name; `utf-8` also for ASCII; empty where nothing fits well enough, or several are mixed."""
    if b"\0" in data[:_SAMPLE] and (wide := _wide(data[:_SAMPLE])):
        return wide
    first = _HIGH.search(data)
    if first is None:
        return "utf-8"
    sample = _sample(data, first.start())
    good = sum(len(found) for found in _UTF8.findall(sample))
    strange = sum(len(found) for found in _HIGH.findall(sample)) - good
    if good >= strange:
        return "utf-8"
    if found := _two_bytes(sample):
        return found
    return "" if good * 20 >= strange else _one_byte(sample)


def guessed(data: bytes) -> str:
    """A text of unknown encoding. Letters too few to be sure of are those of Windows, unless some are UTF-8."""
    codec = likely_encoding(data) or ("utf-8" if _UTF8.search(data) else "cp1252")
    return data.decode(codec, "replace")


def _sample(data: bytes, first: int) -> bytes:
    """Whole lines about the first byte beyond ASCII."""
    start = data.rfind(b"\n", 0, first) + 1 if first > _SAMPLE // 2 else 0
    sample = data[max(start, first - _SAMPLE // 2) :][:_SAMPLE]
    end = sample.rfind(b"\n") + 1 if len(sample) == _SAMPLE else 0
    return sample[:end] if end > first - start else sample


def _wide(sample: bytes) -> str:
    """UTF-16 without its mark: every other byte of ASCII is NUL."""
    low, high = sample[0::2], sample[1::2]
    half = len(sample) // 2
    for name, empty, full in (("utf-16-le", high, low), ("utf-16-be", low, high)):
        if half and empty.count(0) >= 0.5 * half and len(full.translate(None, _CONTROLS)) >= 0.99 * half:
            return name
    return ""


def _one_byte(sample: bytes) -> str:
    common = _read(sample, _LATIN[0][0])
    beyond = [(at, sign) for at, sign in enumerate(common) if sign > "\x7f"]
    if len(beyond) >= _LEAST and not any(sign.isalpha() or _is_out_of_place(common, at, sign) for at, sign in beyond):
        return _LATIN[0][0]  # signs of money and quotes alone
    words = [word for word in re.split(rb"[^A-Za-z\x80-\xff]+", sample) if _HIGH.search(word)]
    mixed = sum(1 for word in words if re.search(rb"[A-Za-z]", word))
    if mixed * 2 >= len(words):
        scores = [(_latin(sample, codec, list(languages.values())), codec) for codec, languages in _LATIN]
    else:
        scores = [(max(_frequent(sample, codec, letters) for letters in many), codec) for codec, many in _OTHERS]
    best = max(scores, key=lambda scored: scored[0])
    return best[1] if best[0] >= _SURE else ""


def _read(sample: bytes, codec: str) -> str:
    try:
        return sample.decode(codec)
    except (UnicodeDecodeError, LookupError):
        return ""


def _latin(sample: bytes, codec: str, languages: Iterable[str]) -> float:
    """The share of letters beside ASCII's that one language explains, or all of them together."""
    text = _read(sample, codec)
    strange = [(at, sign) for at, sign in enumerate(text) if sign > "\x7f"]
    letters = [
        sign if sign == "İ" else sign.lower() for at, sign in strange if sign.isalpha() and not _turned(text, at)
    ]
    wrong = sum(1 for at, sign in strange if (sign.isalpha() and _turned(text, at)) or _is_out_of_place(text, at, sign))
    if len(letters) < _LEAST:
        return 0.0
    total = len(letters) + wrong
    shares = [sum(letter in alphabet for letter in letters) / total for alphabet in languages]
    together = "".join(languages)
    return max(*shares, sum(letter in together for letter in letters) / total - _MIXED)


def _turned(text: str, at: int) -> bool:
    """A capital behind a small letter; the letter of Portuguese that stands before an `e`, and there is none."""
    if text[at] in "õÕ":
        return text[at + 1 : at + 2] not in {"e", "E"}
    return at > 0 and text[at].isupper() and text[at - 1].islower()


def _is_out_of_place(text: str, at: int, sign: str) -> bool:
    """A sign that no text has, or one within a word."""
    if sign.isalpha():
        return False
    before, after = text[at - 1 : at].isalpha(), text[at + 1 : at + 2].isalpha()
    return sign not in _QUOTES or (before and after and sign not in "’·–—\xad") or (before and sign in "‚„")


def _frequent(sample: bytes, codec: str, letters: str) -> float:
    """How well words read: letters of one alphabet, the frequent ones more often, capitals only in front."""
    text = _read(sample, codec)
    signs = [sign for sign in text if sign > "\x7f" and sign not in _QUOTES]
    if not signs:
        return 0.0
    known = {letter: place for place, letter in enumerate(letters)}
    places = [known[sign.lower()] for sign in signs if sign.lower() in known]
    if len(places) < max(0.9 * len(signs), _FEWEST):
        return 0.0
    words = [word for word in _WORD.findall(text) if word[0] > "\x7f"]
    turned = sum(1 for word in words if not _is_cased(word) or any(sign in _LAST for sign in word[:-1]))
    capitals = sum(sign.isupper() for sign in signs) / len(signs)
    if letters.startswith("α") and not text.isupper() and _ACCENTS.isdisjoint(text):
        turned = len(words)
    often = sum(1 for place in places if place < len(letters) // 2) / len(places)
    return 0.5 + 0.5 * often - (turned / max(len(words), 1)) - 0.1 * capitals


def _is_cased(word: str) -> bool:
    return word.islower() or word.isupper() or word[1:].islower() or word.upper() == word.lower()


def _two_bytes(sample: bytes) -> str:
    """By the rows of everyday characters: kana and the kanji, hanzi or syllables that are taught first."""
    leads: dict[str, list[int]] = {}
    for codec in ("cp932", "euc-jp", "gb18030", "cp949", "big5"):
        text = _read(sample, codec) or _read(sample[:-1], codec)
        pairs = [sign.encode(codec, "replace") for sign in text if sign > "\x7f"]
        if pairs and all(len(pair) > 1 for pair in pairs):
            leads[codec] = [pair[0] << 8 | pair[1] for pair in pairs]
    if not leads or len(next(iter(leads.values()))) < _FEWEST:
        return ""
    everyday = {codec: _share(codes, _EVERYDAY[codec]) for codec, codes in leads.items()}
    if everyday.get("euc-jp", 0) >= _SURE and _share(leads["euc-jp"], ((0xA4, 0xA5),)) >= 0.2:
        return "euc-jp"
    if everyday.get("cp932", 0) >= _SURE and _share(leads["cp932"], ((0x82, 0x83), (0x88, 0x97))) >= _SURE:
        return "cp932"
    if everyday.get("cp949", 0) >= 0.98:
        return "cp949"
    if everyday.get("gb18030", 0) >= _SURE and all(code & 0xFF >= 0xA1 for code in leads["gb18030"]):
        # Kanji alone may stand in the same rows, but for the last: there are one, have, at, this and middle.
        return "gb18030" if _share(leads["gb18030"], ((0xD0, 0xD7),)) >= _LAST_ROWS else ""
    return "big5" if everyday.get("big5", 0) >= _SURE else ""


_LAST_ROWS = 0.08
_EVERYDAY = {
    "cp932": ((0x81, 0x83), (0x88, 0x97)), "euc-jp": ((0xA1, 0xA5), (0xB0, 0xCF)),
    "gb18030": ((0xA1, 0xA3), (0xB0, 0xD7)),
    "cp949": ((0xA1, 0xA3), (0xB0, 0xC8)), "big5": ((0xA1, 0xA3), (0xA4, 0xC6)),
}  # fmt: skip


def _share(codes: list[int], rows: Iterable[tuple[int, int]]) -> float:
    return sum(any(low <= code >> 8 <= high for low, high in rows) for code in codes) / len(codes)

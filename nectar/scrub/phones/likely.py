"""Numbers that their text presents as telephone numbers, though no numbering plan that was asked takes them.

presidio knows the plans of eight regions, so it misses `Phone: 78 651 450` and, everywhere, numbers of ranges that are
not given out. Here is believed

- what has the form of telephone numbers and of little else: `(555) 123-4567`, and groups behind a national prefix
  of zero (`0161 496 0000`), also where those ranges are not given out;
- what is written internationally: a plus sign or `00`, a country code, and as many digits as that country has
  (ITU-T E.164), whatever range they belong to;
- what looks like a number to dial (E.123: seven to fifteen digits, in groups) and has a word such as `call` among the
  few words before it, or a label on either side (`Mobile:`, `- office`); without groups only a label counts.

Neither is believed of dates, times, decimals, IP addresses, SSNs, amounts, or of what another word claims
(`order 1234-5678`).
"""

from __future__ import annotations

import re

import phonenumbers

REACH = 60
"""Characters before a number in which a word may speak for it."""

LIKELY = 0.38
"""Their score: a little less than presidio's, so that what presidio finds inside such a number stays a finding too."""

_DIGITS = range(7, 16)
_FEWEST_ABROAD = 8

_ABROAD = re.compile(r"\(?(?:\+|0(?=0)0[-. ]?)(?P<rest>[1-9].*)", re.DOTALL)
_SHAPE = re.compile(
    r"\(?\+? ?\(?[0-9]+(?:[-. ()/]{1,3}[0-9]+)*(?:[ ,;.-]{0,3}(?:x|ext|#)[ .:]{0,3}[0-9]{1,7})?", re.IGNORECASE
)
_NO_PHONE = re.compile(
    r"""
      \(?(?:19|20)[0-9]{2}([-./ ])[0-3]?[0-9]\1[0-3]?[0-9]\b.*  # a date, year first
    | \(?[0-3]?[0-9]([-./ ])[0-3]?[0-9]\2(?:19|20)?[0-9]{2}     # a date, year last
    | (?:19|20)[0-9]{2}[-/ ]+(?:19|20)[0-9]{2}                  # years from and to
    | [+]?[0-9]+\.[0-9]+                                        # a decimal
    | [0-9]{1,3}(?:\.[0-9]{1,3}){3}                             # an IPv4 address
    | [0-9]{3}[-. ][0-9]{2}[-. ][0-9]{4}                        # a social security number
    | [0-9]{5}-[0-9]{4}                                         # a postal code of the US
    | 97[89][- ][- 0-9]{10,13}                                  # an ISBN
    """,
    re.VERBOSE,
)
FORMED = (
    r"(?:1[-. ])?(?:\([0-9]{3}\)[ -]?[0-9]{3}[-. ]|[0-9]{3}-[0-9]{3}-|[0-9]{3}\.[0-9]{3}\.)[0-9]{4}"
    r"|\(?0[1-9](?:[0-9]{1,3}\)?[ -][0-9]{3,4}[ -][0-9]{4}|[0-9]{2,3}\)?[ -][0-9]{3}[ -][0-9]{3,4}"
    r"|[0-9]{2,3}\)?[ /][0-9]{6,8})"
)
"""Forms that need no word beside them (RE2's syntax too)."""

_FORMED = re.compile(rf"(?:{FORMED})")
_EXTENSION = re.compile(r"[ ,;.-]*(?:x|ext|#).*", re.IGNORECASE | re.DOTALL)

_SPEAKS = re.compile(
    r"\b(?:(?:tele|cell|smart|mobile)?phones?|telephoned|phoned|phoning|mobiles?|cell|cellular|tel|fax(?:es|ed)?"
    r"|call(?:s|ed|ing|back)?|dial(?:s|led|ed|ing)?|answer(?:s|ed|ing)?|hotline|helpline|landline|voice-?mail|whatsapp|sms"
    r"|messages?|messaging|contact(?:s|ed)?|pager|reach(?:ed)?|(?:text|ring)(?:ing)? (?:me|us|him|her|them)"
    r"|(?:my|our|your|ur|his|her|their) (?:\w+ )?number|\w's (?:\w+ )?number|number (?:was |has )?changed"
    r"|telefon\w*|handy|rufnummer|t[ée]l[ée]phone|portable|tel[ée]fono|m[óo]vil|celular|telem[óo]vel|cellulare|telefoon)\b",
    re.IGNORECASE,
)
_IS = r"(?: (?:is|ist|lautet|est|es|[èé]|jest|er|är|on|to))?"
_OWN = (
    r"\b(?:my|our|your|ur|his|her|their|mein|meine|unsere|mon|notre|mi|nuestro|meu|nosso|mio|mijn|ons|mitt|min|vårt|m[óo]j)"
    r" (?:\w+ )?(?:number|nummer|num[ée]ro|n[úu]mero|numer)(?=\W)"
)
_WHOM = r"(?:(?:me|us|him|her|them|back|mich|uns|mij|ons|mig|meg|oss|os|bitte|maar|gerne?) ){0,3}"
_LABEL_BEFORE = re.compile(
    r"(?:\b(?:(?:tele|cell|mobile ?)?phone|mobile|cell|tel|fax|handy|telefon|t[ée]l[ée]phone|tel[ée]fono|whatsapp"
    r"|call|dial|telefoon|mobiel|mobil|mobiltelefon|festnetz|rufnummer|telefone|telem[óo]vel|celular|cellulare|m[óo]vil"
    r"|portable|fixe|puhelin|tlf|gsm|sms|msisdn|(?:telefon|telefoon|mobil|handy|fax)(?:nummer|nr)"
    r"|contact|numer telefonu|kom[óo]rk[aię])"
    rf"\.?(?: ?(?:no|nr|num|number|nummer|#))?\.?\)?{_IS}[\s:=#\"']*"
    r"|\b(?:office|desk|home|work|direct|main|mob|ph)\.?[ ]?[:][\s]*"
    rf"|{_OWN}{_IS}[\s:]*"
    r"|(?:^|[\n|,;]) ?[TMPFOCH] ?[:.] ?"
    # Said to be dialled: at, on, under, in the languages of Europe that most of our data is in.
    rf"|\b(?:call|phone|ring|text|reach|dial) {_WHOM}(?:at|on) "
    rf"|\b(?:bel|belt|bellen|bereikbaar|ring|ringe?|ringa|ringes) {_WHOM}(?:op|på|til|till|naar) "
    r"|\b(?:ruf\w*|erreich\w*|tele[fp]on\w*|meld\w*|anruf\w*|sms) [^.!?\n\d]{0,30}\bunter (?:der )?(?:(?:ruf)?nummer )?"
    r"|\b(?:appel\w+|rappel\w+|joign\w+|joindre)(?:[- ](?:moi|nous|le|la))? au "
    r"|\b(?:ll[áa]m\w+|marque\w*|chiam\w+|lig(?:ue|ar|a|uem))(?:[- ]\w{1,5})? (?:al?|il|para|pelo)(?: n[úu]mero)? "
    r"|\b(?:zadzwo[nń]\w*|dzwo[nń]\w*|telefonicznie)(?: pod| na)?(?: numer\w*)? )\Z",
    re.IGNORECASE,
)
_OF_KEY = (
    r"[_-]?(?:no|nr|num|numbers?|nbr|nummer|home|work|office|mobile|cell|main|primary|secondary|alt|fixe|fijo|[1-9])"
)
_KEY_BEFORE = re.compile(
    r"(?:(?i:phone|telefon|telephone|msisdn|whatsapp|rufnummer)e?"
    r"|(?<![A-Za-z])(?i:cell|mobile|mob|fax|gsm|handy|tel)(?![a-z])|[a-z](?:Cell|Mobile|Fax|Tel)(?![a-z]))"
    rf"(?i:{_OF_KEY}){{0,3}}(?:=[\"']?|[\"']\s?[:=]\s?[\"'\[(]{{0,2}})\Z"
)
"""The name of a field of data, `"homePhone": "`, `mobile_no=`."""
_LABEL_AFTER = re.compile(
    r"[ ]?[-(,]?[ ]?(?:office|fax|mobile|cell|phone|tel|landline|desk|direct)\b[ )]*(?=$|[\n,;.|\\/])", re.IGNORECASE
)
_CLAIMS = re.compile(
    r"\b(?:orders?|invoice|bill|ref|reference|account|acct|card|case|ticket|id|policy|zip|postal|postcode|code|ssn|social"
    r"|passport|licen[cs]e|iban|flight|booking|reservation|tracking|parcel|serial|version|amount|total|price|room|box|suite"
    r"|apt|apartment|isbn|issn|sku|item|part|model|batch|claim|claims|member|membership|customer|transaction|pin|cvv|page"
    r"|pages|year|date|born|since|until|population|routing|iccid|imei|vat|tax|ein|nhs|itin)\b[^\n\w]*(?:\w{1,6}\b[^\n\w]*)?\Z",
    re.IGNORECASE,
)
_TOUCHING_BEFORE = frozenset("_#@=/\\%$€£¥₹&*^~<-.+")
_TOUCHING_AFTER = frozenset("_@=%$€£¥₹&*^~°")
_WORDS_BETWEEN = 5
_WORD = re.compile(r"\w+")


def looks_dialled(candidate: str) -> bool:
    """The candidate may be a telephone number by its shape alone."""
    digits = sum(map(str.isdigit, _EXTENSION.sub("", candidate)))
    return digits in _DIGITS and _SHAPE.fullmatch(candidate) is not None and _NO_PHONE.fullmatch(candidate) is None


def is_international(candidate: str) -> bool:
    """Written with a plus sign or `00`, and of a length that the country has; or with the country's code in brackets,
    `(351) 912 345 678`, and valid there.
    """
    if candidate[:2] in _STARTS and _possible_abroad(candidate):
        return True
    match = _BRACKETED.fullmatch(candidate) if candidate[:1] == "(" else None
    if match is None or not looks_dialled(candidate):
        return False
    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(f"+{match[1]}{match[2]}", None)))
    except phonenumbers.NumberParseException:
        return False


_BRACKETED = re.compile(r"\(([1-9][0-9]{0,2})\)[ -]?([0-9][0-9 ().-]*)")


_STARTS = frozenset(f"{a}{b}" for a in "+(" for b in "0123456789+ ") | {"00"}


def _possible_abroad(candidate: str) -> bool:
    match = _ABROAD.fullmatch(candidate)
    if match is None or not looks_dialled(candidate):
        return False
    if "+" not in candidate[:2] and len(re.findall(r"[0-9]+", _EXTENSION.sub("", match["rest"]))) < 3:
        return False  # zeros before a number are padding more often than a way abroad
    try:
        number = phonenumbers.parse("+" + match["rest"], None)
    except phonenumbers.NumberParseException:
        return False
    length = len(f"{number.country_code}{phonenumbers.national_significant_number(number)}")
    reason = phonenumbers.is_possible_number_with_reason(number)
    return length >= _FEWEST_ABROAD and reason == phonenumbers.ValidationResult.IS_POSSIBLE


def touches(before: str, after: str) -> bool:
    """These characters, right beside a number, make it part of something else."""
    return before.isalnum() or before in _TOUCHING_BEFORE or after.isalnum() or after in _TOUCHING_AFTER


_STEMS = (
    "phon", "fon", "mobil", "mob", "cel", "tel", "fax", "facs", "call", "dial", "answer", "hotline", "helpline",
    "landline", "voice", "whatsapp", "sms", "messag", "contact", "pager", "reach", "text", "ring", "number", "handy",
    "nummer", "léph", "portable", "móvil", "movil", "office", "desk", "home", "work", "direct", "main", "numér",
    "numer", "núm", "fixe", "gsm", "msisdn", "puhelin", "tlf", "komórk", "komork", "bel", "bereik", "unter", " au ",
    "lig", "llam", "llám", "marqu", "chiam", "dzwo",
)  # fmt: skip
_LETTERED = re.compile("ph[. ]?:|[tmpfoch] ?[.:]")
"""One of these is in whatever presents a number."""


def _has_stem(near: str) -> bool:
    for stem in _STEMS:
        if stem in near:
            return True
    return _LETTERED.search(near) is not None


_LAST_WORDS = """
    phone telephone cellphone smartphone mobilephone mobile cell tel fax handy telefon téléphone télephone teléphone
    teléfono telefono whatsapp call dial telefoon mobiel mobil mobiltelefon festnetz rufnummer telefone telemóvel
    telemovel celular cellulare móvil movil portable fixe puhelin tlf gsm sms msisdn telefonnummer telefonnr
    telefoonnummer telefoonnr mobilnummer mobilnr handynummer handynr faxnummer faxnr contact telefonu komórka
    komórki komórkę komorka komorki komorkę no nr num number nummer numéro numero número numer numeru is ist lautet
    est es è é jest er är on to at op på til till naar unter der au al a il para pelo pod na office desk home work
    direct main mob ph t m p f o c h
    """
_ENDS_LABEL = frozenset(_LAST_WORDS.split())
_LAST = re.compile(r"[^\W\d_]*\Z")


def _is_labelled(before: str) -> bool:
    """A label of telephone numbers ends here. Its last word is looked at first, for nearly always it is another."""
    bare = before.rstrip(" \t\r\n\v\f\xa0:=#\"'().")
    last = _LAST.search(bare[-20:])
    return last is not None and last[0].lower() in _ENDS_LABEL and _LABEL_BEFORE.search(before) is not None


def may_be_presented(text: str, start: int, end: int) -> bool:
    """False: nothing near these places calls a number to dial what stands there. Much faster than `is_presented`."""
    if _FORMED.search(text, start, end) or _BRACKETED.search(text, start, end):
        return True
    near = text[max(0, start - REACH - 12) : end + 24].lower()
    return _has_stem(near)


def is_formed(before: str, candidate: str, after: str) -> bool:
    """The candidate has a form that speaks for itself, and no word claims it for something else."""
    if not looks_dialled(candidate) or not _FORMED.fullmatch(_EXTENSION.sub("", candidate)):
        return False
    return not touches(before[-1:], after[:1]) and not _CLAIMS.search(before[-REACH:])


def is_presented(before: str, candidate: str, after: str) -> bool:
    """The text calls this candidate a number to dial. `before` and `after` are what stands next to it."""
    if not _has_stem((before[-REACH:] + " " + after).lower()):
        return False
    if _KEY_BEFORE.search(before) and (after[:1] == "&" or not touches("", after[:1])):
        return True
    if touches(before[-1:], after[:1]):
        return False
    if _is_labelled(before[-REACH:]) or _LABEL_AFTER.match(after):
        return True
    if candidate.isdigit() or _CLAIMS.search(before[-REACH:]):
        return False
    for match in _SPEAKS.finditer(before[-REACH:]):
        if len(_WORD.findall(before[-REACH:][match.end() :])) < _WORDS_BETWEEN:
            return True
    return False

"""Words that say which number follows, and that it is none to dial: `order no.`, `Rechnungsnummer:`, `n° de colis`.

In the languages of Europe that most of our data is in. A word is taken only if it stands right before the number, with
nothing between them but words such as `no.` and `is`. Words that are names of people or places as well (Price, Bill,
Reading) are left out, and people need a number of theirs: `customer no.`, for `customer 555-0100` may be dialled.
"""

from __future__ import annotations

import re
from functools import lru_cache

_THINGS = (
    # English, of trade
    r"orders?|p\.?o\.?|invoices?|receipts?|tickets?|cases?|claims?|incidents?|issues?|bugs?|refs?|references?",
    r"bookings?|reservations?|confirmations?|tracking|parcels?|packages?|shipments?|consignments?|waybills?|awb|iata",
    r"containers?|contracts?|polic(?:y|ies)|quotes?|quotations?|refunds?|returns?|rma|transactions?|txn|trx|payments?",
    r"vouchers?|coupons?|accounts?|acct|acc|serials?|sn|s/n|imei|iccid|imsi|vin|isbn|issn|ean|gtin|upc|sku|asin",
    r"barcodes?|batch|lots?|parts?|p/n|articles?|products?|models?|meter|vehicle|plate|flight|locker|chassis",
    # English, of offices and health
    r"licen[cs]es?|passports?|permits?|certificates?|badges?|dockets?|memberships?|mrn|npi|dea|cpt|icd|ndc|insurance",
    r"zip|zipcode|postcode|postal code|plz|fein|ein|vat|tax|tin|siren|siret|duns|patent|isin|cusip|wkn|routing|aba",
    # Machines
    r"uid|gid|pid|ppid|inode|oid|ids?|uuids?|guids?|hash|checksums?|crc|seeds?|offsets?|rows?|records?|jobs?|tasks?",
    r"process|threads?|sessions?|requests?|trace|span|versions?|builds?|commits?|revisions?|epoch|timestamps?|ts|size",
    r"length|total|sum|amount|balance|count|quantity|qty|population|year|sort code|height|nonce|block|port|bytes",
    # German
    r"bestell\w*|auftrags?\w*|rechnung\w*|rg|kunden(?:nummer|nr)|vertrag\w*|beleg\w*|vorgang\w*|aktenzeichen",
    r"lieferschein\w*|sendung\w*|artikel\w*|seriennummer|steuer\w*|personal(?:nummer|nr)|mitglieds?(?:nummer|nr)",
    r"versicher\w*|buchung\w*|referenz\w*|charge\w*|konto\w*|ausweis\w*|kennzeichen|betrag|summe|zähler\w*",
    r"verwendungszweck",
    # French
    r"commandes?|factures?|dossiers?|devis|r[ée]f[ée]rences?|r[ée]f|colis|suivi|contrats?|compte|billets?|montant",
    r"num[ée]ro de (?:commande|facture|dossier|suivi|client|contrat|s[ée]rie)|adh[ée]rent|s[ée]rie|sinistre",
    # Spanish, Portuguese, Italian
    r"pedidos?|facturas?|faturas?|expedientes?|referencias?|refer[êe]ncias?|env[íi]o|encomendas?|rastreio",
    r"seguimiento|contratos?|cuenta|conta|boletos?|reservas?|importe|p[óo]liza|ap[óo]lice|albar[áa]n|lote|serie",
    r"protocolo|processo|nif|cif|dni|cpf|cnpj|c[óo]digo|ordin[ei]|fattur[ae]|pratic(?:a|he)|spedizion[ei]",
    r"contratt[oi]|conto|prenotazion[ei]|riferimento|rif|polizza|bolla|codice|importo|lotto",
    # Dutch, the languages of the North, Polish
    r"bestelling\w*|bestelnummer|factuur\w*|klantnummer|dossiernummer|zending\w*|ordernummer|polis\w*|kenmerk",
    r"best[äa]llning\w*|faktura\w*|kund(?:nummer|nr)|ordrenummer|ordre|[äa]rende\w*|sagsnummer|kvitto\w*|tilaus\w*",
    r"lasku\w*|zam[óo]wieni[ae]|faktur[ayę]|przesy[łl]k[ai]|umow[ay]|konta|reklamacj[ai]|pesel|nip|regon|krs",
)
_PEOPLE = (
    r"customers?|clients?|members?|patients?|employees?|staff|students?|users?|vendors?|suppliers?|holders?|kunden?"
    r"|mitglied|klant|client[ei]|clientes?|klienta|kund"
)
_WHOSE = (
    r"my|our|your|his|her|their|the|mein\w*|unser\w*|ihr\w*|dein\w*|mon|ma|notre|votre|son|mi|mis|tu|su|nuestro|meu"
    r"|minha|seu|il|mio|mia|mijn|min|mitt|mit|m[óo]j|or|if|yes|sin|o|y|e|et|und|and"
)
_NUMBER = r"(?:numbers?|num|no|nos|nr|n[°ºo]|№|#|id|ids|code|ref|nummer|num[ée]ro|n[úu]mero|numer)"
_COMPOUND = r"[^\W\d_]{4,}(?:nummer|nr)"
"""Number of what, in one word, as German, Dutch and the languages of the North build it: `Klantnr`."""
_LINK = rf"(?:{_NUMBER}|is|was|are|of|de|der|da|do|du|la|ist|war|lautet|est|es|[èé]|jest|er|är|value|equals)"
_REST = rf"[^\w\n,;|]*(?:_*(?<![^\W_]){_LINK}(?![^\W_])[^\w\n,;|]*){{0,3}}_*\Z"
_ANY_NO = rf"(?!(?:{_WHOSE})\b)[^\W\d_]{{2,}}\.? (?:no|nr|n[°º])[.:]?"
_CLAIMED = re.compile(
    rf"(?<![^\W_])(?:(?:{'|'.join(_THINGS)})|(?:{_PEOPLE})[ _-]?{_NUMBER}|{_ANY_NO}|{_COMPOUND})(?![^\W_]){_REST}",
    re.IGNORECASE,
)
_KEY = re.compile(rf"""(?:(?:(?<![^\W_])(?i:{_PEOPLE})|[a-z](?:Id|No|Nr|Num|Ref|Code))(?:=|["'](?:\s?:\s?))["']?)\Z""")
"""A key as machines write it: `user=`, `"orderId": `."""

_FIELD = re.compile(r"""(?:([A-Za-z][\w.-]*)=["']?|["']([A-Za-z][\w.-]*)["']\s?:\s?["']?)\Z""")
_TOKEN = re.compile(r"[A-Z]?[a-zà-ÿ]+|[A-Z]+")
_HOLDS_NUMBERS = frozenset(
    {
        "to", "from", "number", "numbers", "num", "no", "nr", "numero", "nummer", "value", "values", "text", "data",
        "content", "sender", "recipient", "recipients", "receiver", "callee", "called", "calling", "msisdn", "ani",
        "dnis", "did", "cli", "line", "landline", "home", "work", "office", "desk", "emergency", "kontakt", "contacto",
        "direct", "personal", "private", "business", "puhelin", "destination", "dst", "src", "dest", "source",
    }
)  # fmt: skip
"""Names of fields in which a telephone number may stand, beside those that say so (`_DIALLED`)."""

_DIALLED = re.compile(
    r"phon|fon|rufn|caller|(?<![^\W_])(?:tel|t[ée]l|tlf|mob|cel|m[óo]v|gsm|handy|fax|whats|contact|sms|call|dial|ring)",
    re.IGNORECASE,
)
_NEAR = 9
"""Characters before the word in which another makes a telephone number of it all the same: `caller id`."""


_WORD = re.compile(r"[^\W_]+")
_FAR = 4
"""Words before a number among which the one is that claims it."""
_ENDS_KEY = frozenset("='\":")
_ONE_WORD = re.compile(rf"{'|'.join(_THINGS)}|(?:{_PEOPLE}){_NUMBER}?|{_NUMBER}|{_COMPOUND}|[nop]", re.IGNORECASE)


@lru_cache(maxsize=1024)
def _may_claim(word: str) -> bool:
    """One of the words, or the end of one, that stand in each claim."""
    return _ONE_WORD.fullmatch(word) is not None


def claims(before: str) -> bool:
    """What stands before a number says that it is the number of a thing."""
    claim = _KEY.search(before) if before.rstrip(" ")[-1:] in _ENDS_KEY else None
    if claim is None:
        words = list(_WORD.finditer(before))[-_FAR:]
        if not any(_may_claim(word[0]) for word in words):
            return False  # nearly always
        claim = _CLAIMED.search(before, max(0, words[0].start() - _NEAR))
    return claim is not None and _DIALLED.search(before, max(0, claim.start() - _NEAR)) is None


def keyed(before: str) -> bool:
    """A field of data, `"created": ` or `bytes=`, whose name does not speak of numbers to dial ends here."""
    match = _FIELD.search(before) if before.rstrip(" ")[-1:] in _ENDS_KEY else None
    if match is None:
        return False
    name = match[1] or match[2]
    return _DIALLED.search(name) is None and _HOLDS_NUMBERS.isdisjoint(map(str.lower, _TOKEN.findall(name)))

"""Labelled texts that are made, not collected: what people and machines write in ten languages, seeded.

Numbers of thirty countries, cards and accounts with their check digits, and between them what only looks like them:
orders, dates, prices, versions, measures, codes of products. They were written down before they were measured, to see
whether the rules of the scrubber are general. `labelled(count, seed)` gives texts and labels as `accuracy.read` does.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

Span = tuple[str, int, int]

_KINDS = {
    "mail": "EMAIL_ADDRESS",
    "phone": "PHONE_NUMBER",
    "bare": "PHONE_NUMBER",
    "card": "CREDIT_CARD",
    "ssn": "US_SSN",
    "iban": "IBAN_CODE",
    "ip": "IP_ADDRESS",
    "ip6": "IP_ADDRESS",
}

# N: a digit from 2 to 9, #: any digit.
_PHONES = (
    "(N##) N##-####", "N##-N##-####", "N##.N##.####", "+1 N## N## ####", "1-N##-N##-####", "+1 (N##) N##-####",
    "020 7### ####", "07### ######", "+44 7### ### ###", "01## ### ####", "+44 (0)20 7### ####", "0131 ### ####",
    "+49 30 ########", "030 ########", "0171 #######", "+49 (0)89 ######", "0221/######", "+49-151-########",
    "+33 1 ## ## ## ##", "06 ## ## ## ##", "01.##.##.##.##", "+33 6########", "+34 91 ### ## ##", "+34 6########",
    "+39 06 #### ####", "+39 33# ### ####", "+31 20 ### ####", "+31 6 ########", "+32 2 ### ## ##", "+41 44 ### ## ##",
    "+43 1 #######", "+45 ## ## ## ##", "+46 8 ### ## ##", "+47 9## ## ###", "+48 5## ### ###", "+351 9## ### ###",
    "+353 1 ### ####", "+358 40 ### ####", "+420 6## ### ###", "+55 (11) 9####-####", "(11) 9####-####",
    "+52 55 #### ####",
    "+61 2 #### ####", "+64 21 ### ####", "+91 98### #####", "+972 50-###-####", "+81 3-####-####", "+82 10-####-####",
    "+86 138 #### ####", "+65 9### ####", "+27 11 ### ####", "+971 50 ### ####", "+90 532 ### ## ##",
    "N##-N##-#### ext. ###",
)  # fmt: skip
_BARE = ("N##N######", "07#########"[:11], "0171#######", "06########", "98########")
_IBANS = {
    "DE": "################## ", "GB": "LLLL##############", "FR": "#######################",
    "ES": "####################",
    "IT": "L######################", "NL": "LLLL##########", "BE": "############", "AT": "################",
    "CH": "#################", "PL": "########################", "SE": "####################", "DK": "##############",
    "PT": "#####################", "IE": "LLLL##############", "CZ": "####################", "LU": "################",
}  # fmt: skip
_CARDS = (("4", 16), ("51", 16), ("54", 16), ("2223", 16), ("37", 15), ("6011", 16), ("3528", 16), ("36", 14))

_TEMPLATES = (
    # English: tickets, letters, chats
    "Hi, this is {who}. I never got my refund for {ref}. You can get me at {phone} most days, or write to {mail}.",
    "Thanks {who}! Your booking {ref} for {date} is confirmed; the hotel's desk is {phone}.",
    "{who} phoned on {date} at {time} about invoice {num}, amount {money}, and left {phone} as a number.",
    "Per your request we charged {money} to {card} on {date}.",
    "pls update my card to {card}, the old one ends in {four}",
    "Applicant {who}, SSN {ssn}, born {date}, claims {money} for {year}.",
    "Employee {num} ({who}): social security {ssn}, direct deposit, desk ext {four}.",
    "my cell is {bare} ok?",
    "Text me at {bare} when you get there, gate code {four}.",
    "Case {num} was opened {date} {time} by {who} <{mail}> and closed {date}.",
    "The parcel {num} weighs {small} kg, {small} pieces, declared value {money}, shipped {date}.",
    "We sold {plain} units in {year}, up from {plain} units the year before.",
    "Flight {code} leaves gate {small} at {time}; seat {small}C, record locator {code}.",
    "Dosage {dec} mg every {small} hours, see leaflet {num}, batch {num}, exp {date}.",
    "Part {num} replaces {num}; torque {dec} Nm, length {plain} mm.",
    "The meter showed {plain} on {date} and {plain} on {date}.",
    "Refund {money} for order {num} was sent to IBAN {iban} on {date}.",
    "Reservation no. {num}, arrival {date}, departure {date}, {small} adults, room {four}.",
    "Serial {num}, model {code}, bought {date} for {money}, warranty until {date}.",
    "Our docket {num}/{year} was filed on {date} under rule {outline}.",
    "Please see section {outline} of the manual, revision {version}, before you call {phone}.",
    # German
    "Sehr geehrte Frau {who}, Ihre Bestellung {num} vom {date} wurde versandt. Fragen? Rufen Sie uns an: {phone}.",
    "Rechnung {num} über {money} bitte bis {date} auf {iban} überweisen, Verwendungszweck {num}.",
    "Kunde {who} erreichbar unter {phone} oder {mail}, Kundennummer {num}.",
    "Aktenzeichen {num}/{year}, Termin am {date} um {time} Uhr, Saal {small}.",
    "Zählerstand {plain} am {date}, Verbrauch {dec} kWh, Abschlag {money}.",
    "Lieferschein {num}: {small} Stück Artikel {num}, Gewicht {dec} kg.",
    "Mit freundlichen Grüßen\n{who}\nTel. {phone}\nFax {phone}\n{mail}",
    # French
    "Bonjour, ma commande {num} du {date} n'est pas arrivée. Mon téléphone : {phone}. Merci, {who}",
    "Facture n° {num} du {date}, montant {money}, à régler sur le compte {iban}.",
    "Dossier {num} : patient né le {date}, vu le {date} à {time}.",
    "Référence {num}, colis {num}, livraison prévue le {date}.",
    "Contact : {who}, {mail}, portable {phone}",
    # Spanish, Portuguese, Italian
    "Pedido {num} confirmado el {date}. Teléfono de contacto: {phone}. Importe {money}.",
    "Factura {num}, fecha {date}, pagar en {iban} antes del {date}.",
    "Expediente {num}/{year} del juzgado, vista el {date} a las {time}.",
    "O seu pedido {num} foi enviado em {date}. Dúvidas: {mail} ou {phone}.",
    "Protocolo {num} aberto em {date} às {time}, valor {money}.",
    "Ordine {num} del {date}, totale {money}. Per informazioni chiami il {phone} o scriva a {mail}.",
    "Pratica {num}, scadenza {date}, versare {money} su {iban}.",
    # Dutch, Swedish, Polish
    "Uw bestelling {num} is op {date} verzonden. Bel ons: {phone}. Met vriendelijke groet, {who}",
    "Factuur {num} van {date}, bedrag {money}, rekening {iban}.",
    "Er du hjemme {date}? Ordre {num} leveres kl {time}. Spørsmål: {mail}",
    "Din beställning {num} skickades {date}. Ring {phone} vid frågor.",
    "Zamówienie {num} z dnia {date}, kwota {money}. Kontakt: {phone}, {mail}.",
    "Faktura {num}, termin płatności {date}, konto {iban}.",
    # Logs and machines
    "{date} {time}:12,331 INFO [worker-{small}] accepted {ip} in {small} ms, request {hex}",
    '{ip} - - [12/Mar/{year}:{time}:55 +0100] "GET /items/{num}?page={small} HTTP/1.1" 200 {plain}',
    "sshd[{four}]: Failed password for invalid user admin from {ip} port {five} ssh2",
    "kernel: eth0: link up, {plain} bytes sent, {plain} received, uptime {dec}",
    "DROP IN=wan SRC={ip} DST={ip} LEN={small} TTL={small} ID={five} PROTO=TCP SPT={five} DPT=443",
    "nginx: upstream {ip6} timed out after {dec} s, build {version}",
    "Upgraded libfoo from {version} to {version} on {date}, sha {hex}",
    "agent {version}, schema {outline}, commit {hex}",
    "GET /v2/orders/{num}/lines/{small} took {dec} ms; cache {plain} of {plain}",
    '{{"order_id": "{num}", "total": {dec}, "created": "{iso}", "email": "{mail}"}}',
    '{{"user": {num}, "phone": "{phone}", "lat": {geo}, "lon": {geo}, "ip": "{ip}"}}',
    'ts={epoch} level=warn pid={five} msg="slow query" rows={plain} took={dec}ms client={ip}',
    "INSERT INTO stock VALUES ({num}, '{code}', {dec}, '{iso}');",
    "backup-{iso}-{num}.tar.gz {plain} bytes md5 {hex}",
    # Tables and lists
    "{num};{who};{mail};{phone};{date};{dec}",
    "{who},{ssn},{date},{dec}",
    "{code}\t{ean}\t{dec}\t{small}\t{iso}",
    "EAN {ean}\nISBN {isbn}\nPrice {dec}\nStock {small}",
    "lat {geo}, lon {geo}, alt {dec}, hdop {dec}, {iso}T{time}Z",
    "Results: {dec} {dec} {dec} {dec} (n={small}, p={dec})",
    "Readings {dec}, {dec} and {dec}; mean {dec}; {small} samples between {time} and {time}",
    "Winning numbers: {small} {small} {small} {small} {small}, draw {num}",
)  # fmt: skip

_FIRST = ("Amara", "Björn", "Chloé", "Dmitri", "Elif", "Femi", "Greta", "Hugo", "Ines", "Jan", "Kenji", "Lucía")
_LAST = ("Adeyemi", "Brandt", "Costa", "Dubois", "Eriksen", "Ferrari", "Novak", "Okonkwo", "Smit", "Tanaka", "Weber")
_HOSTS = (
    "mail.example.com",
    "gmail.com",
    "web.de",
    "orange.fr",
    "uni-graz.at",
    "clinic.org",
    "shop.co.uk",
    "empresa.com.br",
)


def labelled(count: int, seed: int) -> tuple[list[str], list[list[Span]]]:
    maker = _Maker(seed)
    made = [maker.text() for _ in range(count)]
    return [text for text, _ in made], [labels for _, labels in made]


class _Maker:
    def __init__(self, seed: int) -> None:
        self.pick = random.Random(seed)
        self.words: Mapping[str, Callable[[], str]] = {
            "mail": self._mail, "phone": lambda: self._form(self.pick.choice(_PHONES)),
            "bare": lambda: self._form(self.pick.choice(_BARE)), "card": self._card, "ssn": self._ssn,
            "iban": self._iban,
            "ip": lambda: ".".join(str(self.pick.randint(1, 254)) for _ in range(4)), "ip6": self._ip6,
            "num": self._number,
            "who": lambda: f"{self.pick.choice(_FIRST)} {self.pick.choice(_LAST)}",
            "date": self._date, "iso": self._iso,
            "time": lambda: f"{self.pick.randint(0, 23):02}:{self.pick.randint(0, 59):02}", "money": self._money,
            "ref": lambda: self.pick.choice(("order ", "ticket ", "#", "case no. ")) + self._number(),
            "dec": lambda: f"{self.pick.uniform(0, 10_000):.{self.pick.randint(1, 6)}f}",
            "geo": lambda: f"{self.pick.uniform(-179, 179):.{self.pick.randint(4, 7)}f}",
            "four": lambda: self._form("####"),
            "five": lambda: self._form("N####"), "small": lambda: str(self.pick.randint(1, 99)),
            "plain": lambda: str(int(10 ** self.pick.uniform(2, 9))),
            "year": lambda: str(self.pick.randint(1990, 2026)),
            "epoch": lambda: str(self.pick.randint(10**9, 2 * 10**9)),
            "hex": lambda: f"{self.pick.getrandbits(160):040x}", "ean": self._ean,
            "isbn": lambda: self._form("978-3-16-######-#"), "code": lambda: self._form("LL-####"),
            "version": lambda: ".".join(str(self.pick.randint(0, 30)) for _ in range(self.pick.choice((3, 3, 4)))),
            "outline": lambda: ".".join(str(self.pick.randint(1, 20)) for _ in range(self.pick.choice((2, 3, 4)))),
        }  # fmt: skip

    def text(self) -> tuple[str, list[Span]]:
        parts: list[str] = []
        labels: list[Span] = []
        at = 0
        for part in re.split(r"(\{\w+\}|\{\{|\}\})", self.pick.choice(_TEMPLATES)):
            name = part[1:-1]
            made = self.words[name]() if name in self.words else part[:1] if part in {"{{", "}}"} else part
            if name in _KINDS and made != part:
                labels.append((_KINDS[name], at, at + len(made)))
            parts.append(made)
            at += len(made)
        return "".join(parts), labels

    def _form(self, form: str) -> str:
        drawn = {"#": "0123456789", "N": "23456789", "L": "ABCDEFGHJKLMNPQRSTUVWXYZ"}
        return "".join(self.pick.choice(drawn.get(sign, sign)) for sign in form.strip())

    def _mail(self) -> str:
        first, last = self.pick.choice(_FIRST), self.pick.choice(_LAST)
        plain = "".join(c for c in f"{first}{self.pick.choice('._-')}{last}".lower() if c.isascii())
        return f"{plain}{self.pick.choice(('', '7', '+shop'))}@{self.pick.choice(_HOSTS)}"

    def _number(self) -> str:
        """What shops, courts and stores number things with."""
        return self._form(self.pick.choice((
            "N#########", "##########", "N########", "########", "#######", "###-#######", "####-####", "N##-####-##",
            "20##-######", "LL#######", "N###########", "#### #### ####", "###.###", "######",
        )))  # fmt: skip

    def _date(self) -> str:
        day, month, year = self.pick.randint(1, 28), self.pick.randint(1, 12), self.pick.randint(1950, 2026)
        return self.pick.choice((
            f"{day:02}.{month:02}.{year}", f"{day:02}/{month:02}/{year}", f"{year}-{month:02}-{day:02}",
            f"{month}/{day}/{year}", f"{day}.{month}.{year}", f"{day:02}-{month:02}-{year}",
            f"{day:02}.{month:02}.{year % 100:02}",
        ))  # fmt: skip

    def _iso(self) -> str:
        return f"20{self.pick.randint(10, 26)}-{self.pick.randint(1, 12):02}-{self.pick.randint(1, 28):02}"

    def _money(self) -> str:
        whole, cents = self.pick.randint(1, 99_999), f"{self.pick.randint(0, 99):02}"
        thousands = f"{whole:,}"
        return self.pick.choice((
            f"${thousands}.{cents}", f"{whole}.{cents} EUR", f"{thousands.replace(',', '.')},{cents} €",
            f"£{whole}.{cents}",
            f"{whole},{cents} zł", f"USD {thousands}", f"{whole}.{cents}",
        ))  # fmt: skip

    def _ssn(self) -> str:
        area = self.pick.choice([*range(100, 666), *range(667, 900)])
        return f"{area}-{self.pick.randint(10, 99)}-{self.pick.randint(1000, 9999)}"

    def _ip6(self) -> str:
        return "2001:db8:" + ":".join(f"{self.pick.randint(1, 65_535):x}" for _ in range(6))

    def _ean(self) -> str:
        body = self._form("40##########")
        total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(body))
        return body + str(-total % 10)

    def _card(self) -> str:
        start, size = self.pick.choice(_CARDS)
        body = self._form(start + "#" * (size - 1 - len(start)))
        doubled = [int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(body))]
        whole = body + str(-sum(value - 9 if value > 9 else value for value in doubled) % 10)
        separator = self.pick.choice(("", " ", "-"))
        return whole if size < 16 else separator.join(whole[n : n + 4] for n in range(0, 16, 4))

    def _iban(self) -> str:
        country = self.pick.choice(tuple(_IBANS))
        body = self._form(_IBANS[country])
        check = 98 - int("".join(str(int(sign, 36)) for sign in f"{body}{country}00")) % 97
        whole = f"{country}{check:02}{body}"
        return whole if self.pick.random() < 0.5 else " ".join(whole[n : n + 4] for n in range(0, len(whole), 4))

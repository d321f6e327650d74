"""Made-up records, notes and documents: nothing of a person, the same for the same seed, hardly a value twice."""

from __future__ import annotations

import random
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SEED = 20_260_401
_FIRST = [
    "Ada",
    "Ben",
    "Carla",
    "Dev",
    "Elin",
    "Femi",
    "Gita",
    "Hugo",
    "Ines",
    "Jan",
    "Kofi",
    "Lena",
    "Mara",
    "Nils",
    "Oona",
    "Pia",
    "Quinn",
    "Rosa",
    "Sven",
    "Tala",
    "Uma",
]
_LAST = [
    "Abel",
    "Brandt",
    "Costa",
    "Dietz",
    "Engel",
    "Farah",
    "Gupta",
    "Haas",
    "Ito",
    "Jensen",
    "Kim",
    "Lopez",
    "Meyer",
    "Novak",
    "Olsen",
    "Patel",
    "Roth",
    "Silva",
]
_CITIES = [
    "Springfield",
    "Riverton",
    "Bergen",
    "Porto",
    "Lyon",
    "Austin",
    "Leeds",
    "Turin",
    "Dresden",
    "Halifax",
    "Perth",
    "Nagoya",
    "Cusco",
    "Oslo",
]
_STATES = ("active", "closed", "on hold", "new", "in review")
_WORDS = [
    "the",
    "order",
    "was",
    "late",
    "and",
    "we",
    "sent",
    "a",
    "second",
    "parcel",
    "to",
    "our",
    "shop",
    "near",
    "the",
    "river",
    "because",
    "nobody",
    "had",
    "opened",
    "the",
    "door",
    "when",
    "the",
    "driver",
    "came",
    "she",
    "asked",
    "for",
    "a",
    "refund",
    "of",
    "the",
    "fee",
    "which",
    "is",
    "part",
    "of",
    "her",
    "plan",
    "please",
    "check",
    "whether",
    "this",
    "can",
    "be",
    "done",
    "before",
    "Friday",
    "as",
    "the",
    "customer",
    "leaves",
    "for",
    "a",
    "longer",
    "trip",
    "then",
    "our",
    "team",
    "will",
    "look",
    "at",
    "it",
    "again",
    "tomorrow",
    "morning",
    "thanks",
]


class Maker:
    """Draws values. `record`, `note` and `document` are what the measurements ask for."""

    def __init__(self, seed: int = SEED) -> None:
        self.pick = random.Random(seed)

    def number(self, digits: int) -> str:
        return "".join(self.pick.choices("0123456789", k=digits))

    def name(self) -> str:
        return f"{self.pick.choice(_FIRST)} {self.pick.choice(_LAST)}"

    def email(self) -> str:
        first, last = self.name().lower().split()
        domain = self.pick.choice(("example.com", "example.org", "mail.example.net", "example.co.uk", "beispiel.de"))
        return f"{first}{self.pick.choice(('.', '_', ''))}{last}{self.pick.randrange(10**5)}@{domain}"

    def phone(self) -> str:
        area, rest = f"{self.pick.randrange(2, 10)}{self.number(2)}", f"{self.pick.randrange(2, 10)}{self.number(2)}"
        line = self.number(4)
        return self.pick.choice((
            f"{area}-{rest}-{line}", f"({area}) {rest}-{line}", f"+1 {area} {rest} {line}", f"{area}.{rest}.{line}",
            f"{area}{rest}{line}", f"+1-{area}-{rest}-{line}x{self.number(3)}", f"+44 20 7{self.number(3)} {line}",
            f"+49 30 {self.number(7)}",
        ))  # fmt: skip

    def card(self) -> str:
        body = self.pick.choice(("4", "51", "2221", "6011", "3530"))
        body += self.number(15 - len(body))
        whole = body + check_digit(body)
        return self.pick.choice((whole, " ".join(whole[i : i + 4] for i in range(0, 16, 4))))

    def ssn(self) -> str:
        return f"{self.pick.randrange(100, 666)}-{self.pick.randrange(10, 100)}-{self.pick.randrange(1000, 10_000)}"

    def day(self) -> str:
        return f"20{self.pick.randrange(10, 27)}-{self.pick.randrange(1, 13):02}-{self.pick.randrange(1, 29):02}"

    def time(self) -> str:
        return f"{self.pick.randrange(24):02}:{self.pick.randrange(60):02}:{self.pick.randrange(60):02}"

    def words(self, few: int, many: int) -> str:
        return " ".join(self.pick.choices(_WORDS, k=self.pick.randint(few, many)))

    def note(self) -> str:
        """Free text of about a hundred characters; half hold personal data."""
        told: tuple[Callable[[], str], ...] = (
            lambda: f"write to {self.email()}",
            lambda: f"call {self.phone()}",
            lambda: f"card {self.card()} was charged",
            lambda: f"SSN {self.ssn()}",
        )
        middle = self.pick.choice(told)() if self.pick.random() < 0.5 else self.words(2, 4)
        return f"{self.words(5, 9)} {middle} {self.words(5, 9)}, ref {self.number(5)}."

    def document(self) -> str:
        """Five to twenty kB in paragraphs; two or three pieces of personal data in each kB."""
        size, parts, told = self.pick.randint(5_000, 20_000), [], 0
        while told < size:
            paragraph = f"{self.words(25, 60)}. {self.note()} {self.words(10, 40)} on {self.day()} for {self.amount()}."
            told += len(paragraph) + 1
            parts.append(paragraph)
        return "\n".join(parts)

    def amount(self) -> str:
        return f"{self.pick.randrange(10**6)}.{self.number(2)}"

    def record(self, row: int) -> dict[str, Any]:
        """Thirteen fields, as a shop's table has them."""
        return {
            "id": 100_000 + row,
            "name": f"{self.name()} {self.pick.choice('ABCDEFGH')}. {self.number(4)}",
            "email": self.email(),
            "phone": self.phone(),
            "city": f"{self.pick.choice(_CITIES)} {self.number(5)}",
            "state": f"{self.pick.choice(_CITIES)[:2].upper()}-{self.number(6)}",
            "status": f"{self.pick.choice(_STATES)} {self.number(6)}",
            "amount": self.amount(),
            "created": f"{self.day()}T{self.time()}Z",
            "txn": f"TXN-{self.number(10)}",
            "acct": self.number(12),
            "routing": self.number(9),
            "note": self.note(),
        }

    def records(self, rows: int) -> list[dict[str, Any]]:
        return [self.record(row) for row in range(rows)]


def check_digit(body: str) -> str:
    """Luhn's (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def licences(at_most: int) -> list[str]:
    """Texts that hold hardly any personal data: the licences of the packages installed here, each text once."""
    return list(_taken(_licences(), at_most))


def _licences() -> Iterator[str]:
    seen = set()
    for path in sorted(Path(sysconfig.get_path("purelib")).glob("*.dist-info/**/*LICEN[CS]E*")):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            if text not in seen:
                seen.add(text)
                yield text


def _taken(texts: Iterator[str], at_most: int) -> Iterator[str]:
    told = 0
    for text in texts:
        if told >= at_most:
            return
        told += len(text)
        yield text

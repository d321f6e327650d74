"""Made-up people and what they write: the same for a seed, on every machine.

Addresses are of example.com and its kin, telephone numbers of the 555-01xx range, IP addresses of the ranges kept for
documents: none of them can belong to anybody.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

Row = dict[str, Any]

FIRST_DAY = datetime(2025, 1, 6, 8, 0, tzinfo=UTC)

_FIRST = ("Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Farid", "Grace", "Hana", "Ines", "Jonas", "Kofi", "Linnéa")
_LAST = ("Abara", "Berg", "Castillo", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ivanova", "Jensen", "Kaya")
_DOMAINS = ("example.com", "example.org", "example.net")
_TEXTS = (
    "Hello, this is {name}. My parcel never came, please call me at {phone}.",
    "The invoice went to the wrong person. Write to {email} instead. Thanks, {first}",
    "I cannot log in since Monday. User {email}, phone {phone}. {name}",
    "Great service! {first}",
    "Please delete my account ({email}).",
)
_GOODS = ("lamp", "kettle", "chair", "bicycle bell", "notebook", "teapot")


def people(seed: int, count: int) -> list[Row]:
    """Persons with a name, an address and a telephone number each."""
    chance = random.Random(f"people-{seed}")  # noqa: S311 - made-up data, no secret
    return [_person(chance, number) for number in range(1, count + 1)]


def tickets(seed: int, count: int) -> list[Row]:
    """Letters to a help desk, one an hour, oldest first; personal data stands in fields and in free text."""
    chance = random.Random(f"tickets-{seed}")  # noqa: S311
    return [_ticket(chance, number) for number in range(1, count + 1)]


def events(seed: int, count: int) -> list[Row]:
    """What happened in a web shop, oldest first."""
    chance = random.Random(f"events-{seed}")  # noqa: S311
    return [_event(chance, number) for number in range(1, count + 1)]


def items(seed: int, count: int) -> list[Row]:
    """Goods of a shop. Prices are sometimes whole numbers, sizes are sometimes missing: as APIs are."""
    chance = random.Random(f"items-{seed}")  # noqa: S311
    return [_item(chance, number) for number in range(1, count + 1)]


def _person(chance: random.Random, number: int) -> Row:
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    email = f"{first}.{last}{number}@{chance.choice(_DOMAINS)}".lower().replace("é", "e")
    phone = f"202-555-01{chance.randrange(100):02d}"
    return {"id": number, "name": f"{first} {last}", "email": email, "phone": phone}


def _ticket(chance: random.Random, number: int) -> Row:
    person = _person(chance, number)
    at = _instant(number)
    words = {**person, "first": person["name"].split()[0]}
    return {
        "id": number,
        "subject": f"Order {chance.randrange(1000, 9999)}",
        "body": chance.choice(_TEXTS).format(**words),
        "customer": {"name": person["name"], "email": person["email"], "phone": person["phone"]},
        "status": chance.choice(("open", "pending", "solved")),
        "tags": chance.sample(("billing", "delivery", "login", "praise"), chance.randrange(3)),
        "refund": chance.choice((None, 12.5, 99.95)),
        "created_at": at,
        "updated_at": at,
    }


def _event(chance: random.Random, number: int) -> Row:
    return {
        "id": f"evt-{number:05d}",
        "kind": chance.choice(("login", "purchase", "refund")),
        "actor_email": _person(chance, number)["email"],
        "ip": f"203.0.113.{chance.randrange(1, 255)}",
        "at": _instant(number),
    }


def _item(chance: random.Random, number: int) -> Row:
    row: Row = {"sku": f"S-{number:04d}", "name": chance.choice(_GOODS), "price": chance.choice((5, 7.25, 19.99))}
    if chance.random() < 0.5:
        row["size"] = {"width": chance.randrange(5, 50), "height": chance.randrange(5, 50)}
    return row


def _instant(number: int) -> str:
    return (FIRST_DAY + timedelta(hours=number)).strftime("%Y-%m-%dT%H:%M:%SZ")

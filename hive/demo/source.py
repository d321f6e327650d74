"""The demo's source database: a small shop with made-up customers and orders, full of personal data.

Card numbers pass Luhn's test, routing numbers carry a right check digit, telephone numbers are of the 555 range.
"""

from __future__ import annotations

import datetime as dt
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql

from hive.demo.people import FIRST_DAY, people

CHANGED = 120
ADDED = 30
READER = "reader"
DATABASE = "shop"

_TABLES = """
CREATE TABLE customers (id bigint PRIMARY KEY, name text, email text, phone text, card text, ssn text, address text,
                        notes text, updated_at timestamptz NOT NULL);
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint NOT NULL, account_number text, routing_number text,
                     transaction_id text, amount numeric, note text, updated_at timestamptz NOT NULL);
"""
_INDEXES = """
CREATE INDEX ON customers (updated_at, id);
CREATE INDEX ON orders (updated_at, id);
ANALYZE customers, orders;
"""
_NOTES = (
    "Asked to be called at {phone} before noon.",
    "Paid with {card}, wants the receipt at {email}.",
    "Identified by SSN {ssn}; moved recently.",
    "A loyal customer since the first day.",
    "Sent a letter: {email}, {phone}. Answered.",
)
_STREETS = ("Alder Lane", "Birch Road", "Cedar Street", "Dogwood Avenue", "Elm Court")
_ORDER_NOTES = ("leave at the door", "call {phone} on arrival", "gift, no invoice", "receipt to {email}")


@dataclass(frozen=True)
class Source:
    """The shop's database: `url` is its owner's address; the other parts are those of the role that may only read."""

    url: str = field(repr=False)
    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)


def fill(url: str, customers: int = 25_000, orders: int = 25_000, seed: int = 7) -> Source:
    """Make the database `shop` on the server of `url`, fill it, and make the role that reads it."""
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    given = urlsplit(url)
    own = given._replace(path=f"/{DATABASE}").geturl()
    password = secrets.token_urlsafe(16)
    chance = random.Random(seed)  # noqa: S311 - made-up data, no secret
    with psycopg.connect(own) as connection:
        connection.execute(_TABLES)
        _copy(connection, "customers", _customers(chance, seed, customers))
        _copy(connection, "orders", _orders(chance, orders, customers))
        connection.execute(_INDEXES)
        role = sql.Identifier(READER)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password)))
        connection.execute(sql.SQL("GRANT SELECT ON customers, orders TO {}").format(role))
    return Source(own, unquote(given.hostname or ""), given.port or 5432, DATABASE, READER, password)


def change(url: str) -> tuple[int, int]:
    """Change some customers and add some, in one transaction; gives how many of each."""
    chance = random.Random(secrets.randbits(64))  # noqa: S311 - made-up data, no secret
    with psycopg.connect(url) as connection:
        changed = connection.execute(
            "UPDATE customers SET notes = 'New number: ' || phone, updated_at = clock_timestamp()"
            " WHERE id IN (SELECT id FROM customers ORDER BY id LIMIT %s)",
            [CHANGED],
        ).rowcount
        row = connection.execute("SELECT max(id), clock_timestamp() FROM customers").fetchone()
        assert row is not None
        made = [(row[0] + n, *values[1:-1], row[1]) for n, values in enumerate(_customers(chance, 11, ADDED), 1)]
        _copy(connection, "customers", iter(made))
    return changed, len(made)


def _copy(connection: psycopg.Connection[Any], table: str, rows: Iterator[tuple[Any, ...]]) -> None:
    with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
        for row in rows:
            copy.write_row(row)


def _customers(chance: random.Random, seed: int, count: int) -> Iterator[tuple[Any, ...]]:
    for person in people(seed, count):
        number = person["id"]
        phone = f"202-555-{chance.randrange(100, 10_000):04d}"
        told = {"phone": phone, "email": person["email"], "card": _card(chance), "ssn": _ssn(chance)}
        address = f"{chance.randrange(1, 400)} {chance.choice(_STREETS)}, Springfield"
        notes = chance.choice(_NOTES).format(**told)
        yield (
            number, person["name"], told["email"], phone, told["card"], told["ssn"], address, notes, _instant(number)
        )  # fmt: skip


def _orders(chance: random.Random, count: int, customers: int) -> Iterator[tuple[Any, ...]]:
    for number in range(1, count + 1):
        customer = chance.randrange(1, customers + 1)
        phone = f"202-555-{chance.randrange(100, 10_000):04d}"
        told = {"phone": phone, "email": f"buyer{customer}@example.com"}
        account, paid = str(chance.randrange(10**9, 10**10)), f"TXN-{chance.getrandbits(48):012X}"
        amount, note = f"{chance.randrange(100, 100_000) / 100:.2f}", chance.choice(_ORDER_NOTES).format(**told)
        yield number, customer, account, _routing(chance), paid, amount, note, _instant(number)


def _card(chance: random.Random) -> str:
    digits = [4, *(chance.randrange(10) for _ in range(14))]
    doubled = sum(sum(divmod(2 * d, 10)) if place % 2 == 0 else d for place, d in enumerate(digits))
    return "".join(map(str, [*digits, -doubled % 10]))


def _ssn(chance: random.Random) -> str:
    return f"{chance.randrange(100, 660)}-{chance.randrange(10, 100)}-{chance.randrange(1000, 10_000)}"


def _routing(chance: random.Random) -> str:
    digits = [0, chance.randrange(1, 10), *(chance.randrange(10) for _ in range(6))]
    weighted = sum(d * weight for d, weight in zip(digits, (3, 7, 1, 3, 7, 1, 3, 7), strict=True))
    return "".join(map(str, [*digits, -weighted % 10]))


def _instant(number: int) -> dt.datetime:
    return FIRST_DAY + dt.timedelta(minutes=number)

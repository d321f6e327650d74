"""What the bees read, and the log of what was offered: an HTTP API, a folder and a PostgreSQL table.

Every record has a key, a version, a note and a mark over them, and beside these a seeded e-mail address and a seeded
card number, which may be found nowhere behind the bees. Each source has a password that may be found nowhere either.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
from psycopg import sql

STREAMS = ("api", "files", "table")
PERSON = "qzwatchword"
"""Stands in the address of every made-up person."""
CARDS = "4929417036"
"""The first digits of every made-up card."""
PAGE = 40
WORDS = ("amber", "birch", "clover", "dune", "ember", "fern", "grove", "heath", "iris", "juniper", "kelp", "larch")

Row = dict[str, Any]


@dataclass(frozen=True)
class Offer:
    """One version of one record, as its source showed it."""

    stream: str
    id: int
    v: int
    mark: str
    at: float


def mark_of(stream: str, number: int, version: int, note: str) -> str:
    """In letters alone: a run of digits could be taken for somebody's number."""
    digest = hashlib.sha256(f"{stream}|{number}|{version}|{note}".encode()).hexdigest()[:24]
    return digest.translate(str.maketrans("0123456789", "ghijklmnop"))


def luhn(digits: str) -> str:
    """The digits with their check digit."""
    total = sum(sum(divmod(int(d) * (2 - n % 2), 10)) for n, d in enumerate(reversed(digits)))
    return digits + str(-total % 10)


class Sources:
    """Three sources that grow, with what they offered. Offer from one thread alone."""

    def __init__(self, folder: Path, database: str, seed: int) -> None:
        """`database`: address of an empty database, as its owner."""
        self.chance = random.Random(seed)
        self.secrets = {name: f"Sesame-{seed}-{name}-{self.chance.getrandbits(48):012x}" for name in ("api", "table")}
        self.folder = folder / "files"
        self.folder.mkdir()
        self.log: list[Offer] = []
        self._database = database
        self._open: psycopg.Connection[Any] | None = None
        self._number = self._files = 0
        self._notes: dict[tuple[str, int], int] = {}
        self._unsure: list[Row] = []
        self._texts: dict[str, list[Row]] = {}
        self._make_table()
        self.api = Api(self.secrets["api"], lambda rows: self._note_down("api", rows))

    def close(self) -> None:
        self.api.close()
        if self._open is not None:
            self._open.close()

    def offer(self, count: int) -> None:
        """New records in each source, and a newer version of some that it has."""
        for stream, give in (("api", self.api.give), ("files", self._write), ("table", self._insert)):
            known = [number for name, number in self._notes if name == stream]
            rows = [self._row(stream) for _ in range(count)]
            rows += [self._row(stream, self.chance.choice(known)) for _ in range(-(-count // 8)) if known]
            give(list({row["id"]: row for row in rows}.values()))

    def settle(self, patience: float) -> bool:
        """Whether the table has all that was meant for it: its server may have been away."""
        deadline = time.monotonic() + patience
        while self._unsure and time.monotonic() < deadline:
            self._insert([])
            time.sleep(0.1)
        return not self._unsure

    def change_password(self, word: str) -> int:
        """And end the sessions that were opened with the old one; gives how many there were."""
        with psycopg.connect(self._database, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER ROLE meadow PASSWORD {}").format(sql.Literal(word)))
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'meadow'"
            return len(connection.execute(query).fetchall())

    def _row(self, stream: str, number: int | None = None) -> Row:
        if number is None:
            self._number += 1
            number = self._number
        version = self._notes[stream, number] = self._notes.get((stream, number), 0) + 1
        note = " ".join(self.chance.choices(WORDS, k=6))
        return {
            "id": number, "v": version, "note": note, "mark": mark_of(stream, number, version, note),
            "email": f"{PERSON}.{self.chance.choice(WORDS)}{number}@example.com",
            "card": luhn(CARDS + f"{self.chance.randrange(10**5):05}"),
        }  # fmt: skip

    def _note_down(self, stream: str, rows: list[Row]) -> None:
        now = time.time()
        self.log += [Offer(stream, row["id"], row["v"], row["mark"], now) for row in rows]

    def _write(self, rows: list[Row]) -> None:
        """Newer versions go into a file that is there, new records into a new one; each appears whole."""
        fresh = [row for row in rows if row["v"] == 1]
        self._files += 1
        changed = {f"{self._files:06}.jsonl": fresh}
        for name, old in list(self._texts.items()):
            newer = {row["id"]: row for row in rows if row["v"] > 1}
            if any(row["id"] in newer for row in old):
                changed[name] = [newer.get(row["id"], row) for row in old]
        for name, lines in changed.items():
            self._texts[name] = lines
            aside = self.folder / f"{name}.part"
            aside.write_text("".join(json.dumps(row) + "\n" for row in lines))
            aside.replace(self.folder / name)
        self._note_down("files", rows)

    def _make_table(self) -> None:
        with psycopg.connect(self._database, autocommit=True) as connection:
            connection.execute(
                "CREATE SEQUENCE turn; CREATE TABLE meadow (id bigint PRIMARY KEY, v int, note text, mark text,"
                " email text, card text, turn bigint NOT NULL); CREATE INDEX ON meadow (turn)"
            )
            connection.execute(
                sql.SQL("CREATE ROLE meadow LOGIN PASSWORD {}; GRANT SELECT ON meadow TO meadow").format(
                    sql.Literal(self.secrets["table"])
                )
            )

    def _insert(self, rows: list[Row]) -> None:
        """Twice the same is once: after an unknown end the rows are offered again, and noted down when they stand."""
        self._unsure += rows
        if not self._unsure:
            return
        try:
            self._open = self._open or psycopg.connect(self._database, connect_timeout=2)
            with self._open.transaction(), self._open.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO meadow"
                    " VALUES (%(id)s, %(v)s, %(note)s, %(mark)s, %(email)s, %(card)s, nextval('turn'))"
                    " ON CONFLICT (id) DO UPDATE SET v = excluded.v, note = excluded.note, mark = excluded.mark,"
                    " email = excluded.email, card = excluded.card, turn = excluded.turn WHERE meadow.v < excluded.v",
                    self._unsure,
                )
        except psycopg.Error:
            if self._open is not None:
                with contextlib.suppress(psycopg.Error):
                    self._open.close()
            self._open = None
        else:
            done, self._unsure = self._unsure, []
            self._note_down("table", done)


class Api:
    """Pages of what was given, in the order of its last change: `GET /rows?since=TURN&after=TURN`.

    `mood` is how it behaves: well, or as the functions below are named.
    """

    def __init__(self, token: str, noted: Callable[[list[Row]], None]) -> None:
        """`noted` is told of what was given."""
        self.token = token
        self.mood = "well"
        self.chance = random.Random(0)
        self.answered: Counter[str] = Counter()
        """Mood -> requests in it since the last `misbehave`, where there were records; `revoked`: of all."""
        self._noted = noted
        self._lock = threading.Lock()
        self._turn = 0
        self._rows: dict[int, tuple[int, Row]] = {}
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    api.answer(self)

            def log_message(self, *_: Any) -> None:
                """The log of requests is nobody's here."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Whoever asked was killed, most likely."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="api", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def give(self, rows: list[Row]) -> None:
        with self._lock:
            for row in rows:
                self._turn += 1
                self._rows[row["id"]] = (self._turn, row)
        self._noted(rows)

    def page(self, since: int, after: int) -> tuple[list[Row], int | None]:
        """(records, the mark of the next page)."""
        with self._lock:
            found = sorted((turn, row) for turn, row in self._rows.values() if turn > max(since, after))
        rows = [{**row, "turn": turn} for turn, row in found[:PAGE]]
        return rows, found[PAGE - 1][0] if len(found) > PAGE else None

    def misbehave(self, mood: str, chance: random.Random) -> None:
        """From now on, by these chances; `answered` counts anew."""
        with self._lock:
            self.chance, self.mood = chance, mood
            self.answered.clear()

    def _count(self, mood: str) -> None:
        with self._lock:
            self.answered[mood] += 1

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        mood = self.mood
        if request.headers.get("Authorization") != f"Bearer {self.token}" or mood == "revoked":
            self._count("revoked")
            send(request, {"error": f"who is {request.headers.get('Authorization')}?"}, 401)
            return
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        since, after = int(query.get("since", 0)), int(query.get("after", "0").partition(".")[0])
        rows, following = self.page(since, after)
        body = {"rows": rows, "next": following}
        if mood == "well":
            send(request, body)
        else:
            self._count(mood if rows else "")
            MOODS[mood](request, body, after, self.chance)


def send(
    request: BaseHTTPRequestHandler, body: Any, status: int = 200, *, headers: dict[str, str] | None = None
) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    request.send_response(status)
    for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
        request.send_header(name, value)
    request.send_header("Content-Length", str(len(raw)))
    request.end_headers()
    request.wfile.write(raw)


def busy(request: BaseHTTPRequestHandler, _body: Any, _after: int, _chance: random.Random) -> None:
    send(request, {"error": "busy"}, 429, headers={"Retry-After": "1"})


def busy_until(request: BaseHTTPRequestHandler, _body: Any, _after: int, _chance: random.Random) -> None:
    send(request, {"error": "busy"}, 429, headers={"Retry-After": formatdate(time.time() + 2, usegmt=True)})


def broken(request: BaseHTTPRequestHandler, body: Any, _after: int, chance: random.Random) -> None:
    status = chance.choice([500, 502, 503, 504, 200])
    send(request, body if status == 200 else {"error": "sorry"}, status)


def dripping(request: BaseHTTPRequestHandler, body: Any, _after: int, _chance: random.Random) -> None:
    raw = json.dumps(body).encode()
    request.send_response(200)
    request.send_header("Content-Length", str(len(raw)))
    request.end_headers()
    for n in range(len(raw)):
        request.wfile.write(raw[n : n + 1])
        time.sleep(0.02)


def cut_short(request: BaseHTTPRequestHandler, body: Any, _after: int, _chance: random.Random) -> None:
    raw = json.dumps(body).encode()
    request.send_response(200)
    request.send_header("Content-Length", str(len(raw)))
    request.end_headers()
    request.wfile.write(raw[: len(raw) // 2])
    request.close_connection = True


def bomb(request: BaseHTTPRequestHandler, _body: Any, _after: int, _chance: random.Random) -> None:
    send(request, gzip.compress(b" " * (64 << 20), 1), headers={"Content-Encoding": "gzip"})


def endless(request: BaseHTTPRequestHandler, body: Any, after: int, chance: random.Random) -> None:
    """Always one more page, with nothing new: the mark stays where it is, and is written in another way each time."""
    turn = body["rows"][-1]["turn"] if body["rows"] else after
    send(request, {**body, "next": body["next"] or f"{turn}.{chance.getrandbits(32)}"})


def cyclic(request: BaseHTTPRequestHandler, body: Any, after: int, _chance: random.Random) -> None:
    send(request, {**body, "next": body["next"] or (1 if after != 1 else 2)})


def backwards(request: BaseHTTPRequestHandler, body: Any, after: int, _chance: random.Random) -> None:
    send(request, {**body, "next": max(1, after - PAGE) if after else body["next"]})


def doubled(request: BaseHTTPRequestHandler, body: Any, _after: int, _chance: random.Random) -> None:
    """Every record twice in its page."""
    send(request, {**body, "rows": body["rows"] + body["rows"]})


def page_twice(request: BaseHTTPRequestHandler, body: Any, after: int, _chance: random.Random) -> None:
    """Each page is followed by itself, under another mark, and then by the next one."""
    send(request, body if ".again" in request.path else {**body, "next": f"{after}.again"})


MOODS: dict[str, Callable[[BaseHTTPRequestHandler, Any, int, random.Random], None]] = {
    one.__name__: one
    for one in (busy, busy_until, broken, dripping, cut_short, bomb, endless, cyclic, backwards, doubled, page_twice)
}

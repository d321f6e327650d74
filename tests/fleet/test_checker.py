"""The checker of `make faults` sees each kind of damage: every one is done by hand to a sound hive, and counted."""

from __future__ import annotations

import base64
import html
import json
import time
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

import pytest
import redis

from tests.faults.check import KINDS, Checker
from tests.faults.dresses import Search, forms
from tests.faults.fleet import EVERY, Fleet
from tests.faults.source import CARDS, PERSON, Offer, mark_of
from tests.hive.nest import Nest, make_nest, nest, write

__all__ = ["make_nest", "nest"]

pytestmark = pytest.mark.servers

SECRET = "Sesame-1-api-0b1e/?"
KEY = bytes(range(0x70, 0x90))
OLD = "clock_timestamp() - interval '1 minute'"


class Sound:
    """A hive in which two batches of a bee have landed, as its source offered them; and the checker of it."""

    def __init__(self, nest: Nest, broker: str, home: Path) -> None:
        self.nest, self.home = nest, home
        folder = nest.register("files")
        rows = [{"id": n, "v": 1, "note": "fern", "mark": mark_of("files", n, 1, "fern")} for n in range(20)]
        write(folder / "a.jsonl", rows)
        self.log = [Offer("files", row["id"], row["v"], row["mark"], time.time()) for row in rows]
        self.told: dict[str, bytes] = {}
        self.flown: list[str] = []
        self.shown: dict[str, bytes] = {}
        self.broker = broker
        fleet: Any = SimpleNamespace(
            database=nest.settings.database(), undue=[], told=self.told, redis=lambda: redis.Redis.from_url(broker),
            sources=SimpleNamespace(log=self.log), flown=self.flown,
            secrets=lambda: [SECRET, KEY], home=home, log_folder=home / "logs", pages=lambda: self.shown,
            log_files=lambda: Fleet.log_files(fleet), valkey=SimpleNamespace(data_path=home),
            ask_gateway=lambda path: (200, self.told.get(path, b"")),
        )  # fmt: skip
        self.checker = Checker(cast("Fleet", fleet))
        assert nest.land("files").records_landed == 20

    def wrong(self, since: float | None = None) -> dict[str, int]:
        """Kind -> count, of what is not 0."""
        now = time.time()
        found = self.checker.verdict(now if since is None else since, now)
        assert list(found) == list(KINDS)
        return {kind: count for kind, count in found.items() if count}


@pytest.fixture
def sound(make_nest, valkey, tmp_path) -> Sound:
    home = tmp_path / "home"
    for name in ("data", "logs"):
        (home / name).mkdir(parents=True)
    return Sound(make_nest(batch_rows=10), valkey.url(), home)


HONEY = "UPDATE hive.honey SET data = {} WHERE data ->> 'id' = '{}'"
OVERLAP = """INSERT INTO hive.receipt
SELECT (jsonb_populate_record(r, '{"row_from": 5}')).* FROM hive.receipt r WHERE seq = 1"""
WRITTEN = "UPDATE hive.honey SET data = data, content_hash = '{}' WHERE data ->> 'id' = '{}'"
WORKER = "INSERT INTO hive.worker (id, host, pid, queues, alive_until) VALUES ('{}', 'x', 1, '{{}}', now())"
DAMAGE: list[tuple[str, str]] = [
    ("lost", "UPDATE hive.honey SET deleted_at = clock_timestamp() WHERE data ->> 'id' = '3'"),
    ("lost", "DELETE FROM hive.honey WHERE data ->> 'id' = '4'"),
    ("gap", "DELETE FROM hive.batch WHERE seq = 1"),
    ("dup", WRITTEN.format("another", 11)),
    ("dup", "UPDATE hive.receipt SET landed = landed + 1 WHERE seq = 1"),
    ("dup", OVERLAP),
    ("dup", HONEY.format("jsonb_set(data, '{id}', '6')", 5)),
    ("ghost", HONEY.format("jsonb_set(data, '{v}', '2')", 7)),
    ("corrupt", HONEY.format("""jsonb_set(data, '{note}', '"heath"')""", 8)),
    ("corrupt", HONEY.format("""jsonb_set(data, '{mark}', '"abc"')""", 9)),
    ("gap", "DELETE FROM hive.receipt WHERE seq = 2"),
    ("gap", "UPDATE hive.checkpoint SET landed_seq = 3, sealed_seq = 3"),
    ("stuck", f"UPDATE hive.task SET state = 'queued', created_at = {OLD}"),
    ("stuck", f"UPDATE hive.flight SET state = 'running', created_at = {OLD}"),
    ("stuck", f"UPDATE hive.batch SET state = 'sealed', created_at = {OLD} WHERE seq = 2"),
    ("leak", HONEY.format(f"""data || '{{"x": "{PERSON}@example.com"}}'""", 10)),
    ("leak", WORKER.format(SECRET)),
    ("leak", f"UPDATE hive.flight SET error = jsonb_build_object('message', encode('x{CARDS}', 'base64'))"),
]


def test_a_sound_hive_has_nothing_wrong(sound):
    assert sound.wrong() == {}
    assert sound.checker.drained(time.time(), time.time())


def test_each_damage_is_counted_as_what_it_is(sound):
    before = sound.wrong()
    for kind, damage in DAMAGE:
        sound.nest.run(damage.replace("%", "%%"))
        after = sound.wrong()
        assert after.get(kind, 0) > before.get(kind, 0), damage
        before = after


def test_what_is_written_anew_for_a_reason_is_no_second_landing(sound):
    """All is read again: as it is, then to be scrubbed in another way."""
    assert sound.nest.land("files", full_refresh=True).records_unchanged == 20
    assert sound.wrong() == {}

    sound.nest.register("files", scrubbing={"custom_rules": [{"field": "other", "action": "remove"}]})
    assert sound.nest.land("files", full_refresh=True).records_landed == 20
    assert sound.wrong() == {}


def test_the_same_may_come_in_two_batches_and_no_batch_lands_twice(sound):
    """Of a second landing of the same batch, and of a version that comes back after a newer one."""
    again = "UPDATE hive.honey SET data = data, seq = {} WHERE data ->> 'id' = '3'"
    receipt = "UPDATE hive.receipt SET landed = landed + {} WHERE seq = {}"
    sound.nest.run(again.format(2))
    sound.nest.run(receipt.format(1, 2))
    assert sound.wrong() == {}

    sound.nest.run(again.format(2))
    sound.nest.run(receipt.format(1, 2))
    assert sound.wrong() == {"dup": 1}
    for content in ("newer", "older"):
        sound.nest.run(WRITTEN.format(f"{content}', seq = '1", 15))
        sound.nest.run(receipt.format(1, 1))
    assert sound.wrong()["dup"] > 1


def test_a_promised_flight_is_not_forgotten_and_ends(sound):
    sound.flown.append(sound.nest.fly("files"))
    assert not sound.checker.drained(time.time(), time.time() - 60)
    assert sound.checker.verdict(time.time(), time.time() - 60)["stuck"] == 1

    sound.nest.drain()
    assert sound.wrong() == {}
    sound.flown.append(str(uuid.uuid4()))
    assert sound.wrong() == {"lost": 1}


def test_a_version_that_never_landed_and_one_nobody_offered(sound):
    sound.log.append(Offer("files", 3, 2, "abc", time.time()))
    assert sound.wrong() == {"lost": 1}
    assert not sound.checker.drained(time.time(), time.time())


def test_a_record_without_an_offer_is_a_ghost(sound):
    write(sound.nest.folder / "files" / "b.jsonl", [{"id": 99, "v": 1, "note": "fern", "mark": "x"}])
    sound.nest.land("files")

    assert sound.wrong() == {"ghost": 1}


def test_a_slot_that_nobody_flew_or_left_out(sound):
    since = time.time() - 3 * EVERY

    assert sound.wrong(since)["slots"] in (3, 4)


@pytest.mark.parametrize(
    "dress",
    [
        lambda word: word,
        lambda word: word.upper(),
        lambda word: base64.b64encode(b"ab" + word.encode() + b"c").decode(),
        lambda word: base64.b64encode(word.encode() + b"abc").decode(),
        lambda word: base64.urlsafe_b64encode(b"a" + word.encode()).decode(),
        lambda word: quote(word, safe=""),
        lambda word: word.encode().hex(),
        lambda word: json.dumps({"x": word}),
        lambda word: "".join(f"\\u{ord(letter):04X}" for letter in word),
        html.escape,
    ],
)
@pytest.mark.parametrize("word", [PERSON, CARDS, SECRET])
def test_a_word_is_known_in_whatever_dress(word, dress):
    assert f"before {dress(word)} behind".encode() in Search([word])


@pytest.mark.parametrize("text", ["4929 4170 3612 3456", "4929.4170.3612.3456", "4929-4170-3612-3456"])
def test_a_card_is_known_however_its_digits_are_grouped(text):
    assert text.encode() in Search([CARDS])


@pytest.mark.parametrize(
    "dress", [bytes, lambda raw: raw.hex().upper().encode(), base64.b64encode, lambda raw: repr(raw).encode()]
)
def test_bytes_are_known_in_whatever_dress(dress):
    assert b"a key: " + dress(KEY) in Search([KEY])
    assert set(forms(KEY)) < set(forms(SECRET))


def test_a_word_is_found_wherever_it_lies(sound):
    client = redis.Redis.from_url(sound.broker)
    places: dict[str, Any] = {
        "log": lambda: (sound.home / "worker.log").write_text(f"said {SECRET} last\n"),
        "old log": lambda: (sound.home / "logs" / "worker.log.1").write_text(f"said {SECRET} first\n"),
        "folder": lambda: (sound.home / "data" / "hive.json").write_bytes(KEY),
        "page": lambda: sound.shown.update({"bees/api": SECRET.encode()}),
        "broker's file": lambda: (sound.home / "appendonly.aof").write_text(SECRET),
        "flower": lambda: sound.told.update({"flower /api/tasks": SECRET.encode()}),
        "metrics": lambda: sound.told.update({"metrics": SECRET.encode()}),
        "list": lambda: client.lpush("bees.api", SECRET),
        "hash": lambda: client.hset("unacked", "tag", SECRET),
        "sorted set": lambda: client.zadd("unacked_index", {SECRET: 1.0}),
        "key": lambda: client.set(f"of-{SECRET}", "1"),
    }
    for name, hide in places.items():
        hide()
        try:
            assert sound.checker.leaks(), name
        finally:
            client.flushall()
            sound.told.clear()
            sound.shown.clear()
            for path in [path for path in sound.home.rglob("*") if path.is_file()]:
                path.unlink()
        assert sound.checker.leaks() == [], name


def test_a_file_that_grows_is_searched_to_its_end_and_stays_found(sound):
    log, half = sound.home / "worker.log", len(SECRET) // 2
    log.write_text("word\n" * 1000 + SECRET[:half])
    assert sound.checker.leaks() == []
    with log.open("a") as file:
        file.write(SECRET[half:])
    assert sound.checker.leaks() == ["worker.log"]
    with log.open("a") as file:
        file.write("word\n" * 1000)
    assert sound.checker.leaks() == ["worker.log"]

    log.write_text("word\n" * 3000)
    assert sound.checker.leaks() == []

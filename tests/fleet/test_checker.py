"""The checker of `make faults` sees each kind of damage: every one is done by hand to a sound hive, and counted."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import quote

import pytest
import redis

from tests.faults.check import KINDS, Checker, dresses
from tests.faults.fleet import EVERY, Fleet
from tests.faults.source import CARDS, PERSON, Offer, mark_of
from tests.hive.nest import Nest, make_nest, nest, write

__all__ = ["make_nest", "nest"]

pytestmark = pytest.mark.servers

SECRET = "Sesame-1-api-0b1e/?"
OLD = "clock_timestamp() - interval '1 minute'"


class Sound:
    """A hive in which two batches of a bee have landed, as its source offered them; and the checker of it."""

    def __init__(self, nest: Nest, broker: str, home: Path) -> None:
        self.nest, self.home = nest, home
        folder = nest.register("files")
        rows = [{"id": n, "v": 1, "note": "fern", "mark": mark_of("files", n, 1, "fern")} for n in range(20)]
        write(folder / "a.jsonl", rows)
        assert nest.land("files").records_landed == 20
        self.log = [Offer("files", row["id"], row["v"], row["mark"], time.time()) for row in rows]
        self.told: dict[str, bytes] = {}
        self.broker = broker
        fleet = SimpleNamespace(
            database=nest.settings.database(), undue=[], told=self.told, redis=lambda: redis.Redis.from_url(broker),
            sources=SimpleNamespace(log=self.log, api=SimpleNamespace(repeated=0)), secrets=lambda: [SECRET],
            log_files=lambda: sorted(home.glob("*.log")), valkey=SimpleNamespace(data_path=home),
            ask_gateway=lambda path: (200, self.told.get(path, b"")),
        )  # fmt: skip
        self.checker = Checker(cast("Fleet", fleet))

    def wrong(self, since: float | None = None) -> dict[str, int]:
        """Kind -> count, of what is not 0."""
        now = time.time()
        found = self.checker.verdict(now if since is None else since, now)
        assert list(found) == list(KINDS)
        return {kind: count for kind, count in found.items() if count}


@pytest.fixture
def sound(make_nest, valkey, tmp_path) -> Sound:
    home = tmp_path / "home"
    home.mkdir()
    return Sound(make_nest(batch_rows=10), valkey.url(), home)


HONEY = "UPDATE hive.honey SET data = {} WHERE data ->> 'id' = '{}'"
OVERLAP = """INSERT INTO hive.receipt
SELECT (jsonb_populate_record(r, '{"row_from": 5}')).* FROM hive.receipt r WHERE seq = 1"""
WORKER = "INSERT INTO hive.worker (id, host, pid, queues, alive_until) VALUES ('{}', 'x', 1, '{{}}', now())"
DAMAGE: list[tuple[str, str]] = [
    ("lost", "UPDATE hive.honey SET deleted_at = clock_timestamp() WHERE data ->> 'id' = '3'"),
    ("lost", "DELETE FROM hive.honey WHERE data ->> 'id' = '4'"),
    ("gap", "DELETE FROM hive.batch WHERE seq = 1"),
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
        lambda word: base64.b64encode(b"ab" + word.encode() + b"c").decode(),
        lambda word: base64.urlsafe_b64encode(b"a" + word.encode()).decode(),
        lambda word: quote(word, safe=""),
        lambda word: word.encode().hex(),
        lambda word: json.dumps({"x": word}),
    ],
)
@pytest.mark.parametrize("word", [PERSON, CARDS, SECRET])
def test_a_word_is_known_in_whatever_dress(word, dress):
    assert any(one in dress(word) for one in dresses(word))


def test_a_word_is_found_wherever_it_lies(sound):
    client = redis.Redis.from_url(sound.broker)
    places: dict[str, Any] = {
        "log": lambda: (sound.home / "worker.log").write_text(f"said {SECRET} last\n"),
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
            for path in sound.home.iterdir():
                path.unlink()
    assert sound.checker.leaks() == []

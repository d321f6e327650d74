"""Guards that stand behind the protocol's tests: each is taken away once, and the damage that it keeps off is seen.

Those of the pos, the receipt and a task's owner are in test_protocol.py, those of the slot in test_scheduler.py.
"""

from __future__ import annotations

import struct

import psycopg
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hive.flight import close as closing
from hive.flight import seal as sealing
from hive.flight.close import close_if_done
from hive.flight.collect import Leg
from hive.flight.task import Task
from hive.flight.work import run
from hive.janitor import expire
from hive.ledger import db
from hive.vault import envelope
from nectar.batch import Batch
from tests.hive.nest import Nest, make_nest, nest, write

__all__ = ["make_nest", "nest"]

SWAP = """
UPDATE hive.payload p SET body = o.body FROM hive.payload o, hive.batch b, hive.batch c
 WHERE p.batch = b.id AND o.batch = c.id AND b.seq + c.seq = 3
"""


def sealed(nest: Nest, versions: str) -> str:
    """A flight whose batches, one for each version of one record, wait to be landed."""
    write(nest.register() / "a.jsonl", [{"id": 1, "version": version} for version in versions])
    flight = nest.fly()
    nest.drain(kinds=["plan", "collect"])
    return flight


def without(monkeypatch, name: str, rule: str, instead: str = "") -> None:
    text = db.statements()[name]
    assert text.count(rule) == 1
    monkeypatch.setitem(db.statements(), name, text.replace(rule, instead))


class TestClose:
    RULE = "AND t.open IS NOT TRUE"

    def closed_early(self, nest: Nest) -> tuple[str, int]:
        flight = sealed(nest, "ab")
        nest.work(nest.due()[0])
        close_if_done(nest.rt.db, nest.one("SELECT id FROM hive.flight"), nest.one("SELECT day FROM hive.flight"))
        nest.drain()
        found = nest.hive.flight(flight)
        return found.state, found.records_landed + found.records_superseded

    def test_a_flight_is_open_as_long_as_one_of_its_tasks(self, make_nest):
        assert self.closed_early(make_nest(batch_rows=1)) == ("complete", 2)

    def test_without_that_rule_it_ends_before_its_records(self, make_nest, monkeypatch):
        without(monkeypatch, "totals", self.RULE)

        assert self.closed_early(make_nest(batch_rows=1)) == ("failed", 0)

    ONCE = "WHERE id = %(flight)s AND state IN ('queued', 'running')"

    def closed_by_two(self, nest: Nest, monkeypatch) -> tuple[int, int]:
        """Two workers see at the same moment that nothing of the flight is open. (flights, records) counted."""
        others, as_it_is = list[str | None](), closing._balance

        def balance(totals):  # the last look at the flight before it is closed
            if not others:
                others.append("begins")
                others[0] = close_if_done(nest.rt.db, *nest.rows("SELECT id, day FROM hive.flight")[0])
            return as_it_is(totals)

        monkeypatch.setattr(closing, "_balance", balance)
        sealed(nest, "ab")
        nest.drain()
        assert others == ["complete"]
        return nest.rows("SELECT complete::int, (records_landed + records_superseded)::int FROM hive.tally")[0]

    def test_a_flight_that_two_close_ends_once(self, nest, monkeypatch):
        assert self.closed_by_two(nest, monkeypatch) == (1, 2)

    def test_without_the_row_that_only_one_of_them_gets_it_is_counted_twice(self, nest, monkeypatch):
        without(monkeypatch, "close_flight", self.ONCE, "WHERE id = %(flight)s")

        assert self.closed_by_two(nest, monkeypatch) == (2, 4)


class TestFence:
    """A worker that was taken for dead has claimed its task once more: only the fence tells its two claims apart."""

    OWNER = "sleeper:1:1"

    def claim_again(self, nest: Nest) -> Task:
        nest.bury(self.OWNER)
        assert expire(nest.rt) == 1
        nest.hurry()
        return nest.claim(nest.due()[0], nest.runtime(self.OWNER))

    def landed_late(self, nest: Nest) -> dict[str, object]:
        sealed(nest, "a")
        sleeper = nest.runtime(self.OWNER)
        late = nest.claim(nest.due()[0], sleeper)
        again = self.claim_again(nest)
        assert (late.owner, late.id) == (again.owner, again.id)
        run(late, sleeper)
        return nest.jar()

    def test_a_landing_under_an_older_fence_is_refused(self, nest):
        assert self.landed_late(nest) == {}
        assert nest.rows("SELECT state FROM hive.task WHERE kind = 'process'") == [("running",)]

    def test_without_the_comparison_it_lands(self, nest, monkeypatch):
        without(monkeypatch, "hold_landing", "AND fence = %(fence)s")

        assert list(self.landed_late(nest)) == ["1"]
        assert nest.rows("SELECT state FROM hive.task WHERE kind = 'process'") == [("done",)]

    def sealed_late(self, nest: Nest, monkeypatch) -> int:
        """Batches that a reader seals which was overtaken in the middle of its leg."""
        packed, again = Leg._pack, list[Task]()

        def pack(leg: Leg, batch: Batch, seq: int) -> bytes:
            if not again:
                again.append(self.claim_again(nest))
            return packed(leg, batch, seq)

        monkeypatch.setattr(Leg, "_pack", pack)
        write(nest.register() / "a.jsonl", [{"id": 1, "version": "a"}])
        nest.fly()
        sleeper = nest.runtime(self.OWNER)
        run(nest.claim(nest.due()[0], sleeper), sleeper)
        assert len(again) == 1
        return int(nest.one("SELECT count(*) FROM hive.batch"))

    def test_a_seal_under_an_older_fence_is_refused(self, nest, monkeypatch):
        assert self.sealed_late(nest, monkeypatch) == 0

    def test_without_the_comparison_the_late_reader_seals(self, nest, monkeypatch):
        without(monkeypatch, "seal", "AND t.fence = %(fence)s")

        assert self.sealed_late(nest, monkeypatch) == 1


class TestWatermark:
    RULE = "AND landed_seq = %(seq)s - 1 AND sealed_seq = %(seq)s"

    def after_the_last_batch(self, nest: Nest) -> int:
        sealed(nest, "abc")
        nest.work(nest.due()[-1])
        return int(nest.one("SELECT landed_seq FROM hive.checkpoint"))

    def test_it_passes_no_batch_that_has_not_landed(self, make_nest):
        nest = make_nest(batch_rows=1)

        assert self.after_the_last_batch(nest) == 0
        nest.drain()
        assert nest.one("SELECT landed_seq FROM hive.checkpoint") == 3

    def test_without_its_rule_readers_believe_what_is_not_there(self, make_nest, monkeypatch):
        without(monkeypatch, "complete_part", self.RULE, "AND landed_seq < %(seq)s")

        assert self.after_the_last_batch(make_nest(batch_rows=1)) == 3


class TestClock:
    """A worker whose own clock is an hour behind beats and works."""

    OURS = "clock_timestamp() + make_interval(secs => %(lease)s), %(rss)s)"

    def taken_back(self, nest: Nest) -> int:
        sealed(nest, "a")
        slow = nest.runtime("slow:1:1")
        nest.claim(nest.due()[0], slow)
        return expire(nest.rt)

    def test_the_databases_clock_alone_decides_who_lives(self, nest, monkeypatch):
        monkeypatch.setattr("time.time", lambda: 0.0)

        assert self.taken_back(nest) == 0

    def test_by_the_workers_clock_one_that_lives_would_lose_its_task(self, nest, monkeypatch):
        # What its heartbeat would say by its own clock, with a lease of an hour.
        without(
            monkeypatch,
            "beat",
            self.OURS,
            "clock_timestamp() - interval '2 hours' + make_interval(secs => %(lease)s), %(rss)s)",
        )

        assert self.taken_back(nest) == 1


class TestSeal:
    """Somebody who can write to the ledger changes what is sealed, or where it lies."""

    def changed(self, nest: Nest) -> dict[str, object]:
        sealed(nest, "a")
        body = bytearray(nest.one("SELECT body FROM hive.payload"))
        at = self.place(nest, bytes(body))
        body[at] ^= ord("a") ^ ord("b")
        nest.run("UPDATE hive.payload SET body = %s", psycopg.Binary(bytes(body)))
        nest.drain()
        return {key: row["version"] for key, row in nest.jar().items()}

    @staticmethod
    def place(nest: Nest, body: bytes) -> int:
        """Where the only `a` of the records stands, known to somebody who guesses well."""
        wrapped, flight = nest.rows("SELECT data_key, id FROM hive.flight")[0]
        key = sealing.flight_key(nest.rt.key, wrapped, flight)
        plain = unproven(key, body, b"")
        return envelope.NONCE_BYTES + plain.rindex(b"a" + bytes(7))

    def test_a_changed_batch_lands_nothing(self, nest):
        assert self.changed(nest) == {}
        assert nest.rows("SELECT state FROM hive.flight") == [("failed",)]

    def test_without_the_seals_proof_the_change_lands(self, nest, monkeypatch):
        monkeypatch.setattr(sealing, "open_", unproven)

        assert self.changed(nest) == {"1": "b"}
        assert nest.rows("SELECT state FROM hive.flight") == [("complete",)]

    def swapped(self, nest: Nest) -> dict[str, object]:
        sealed(nest, "ab")
        nest.run(SWAP)
        nest.drain()
        return {key: row["version"] for key, row in nest.jar().items()}

    def test_a_batch_that_was_moved_lands_nothing(self, make_nest):
        nest = make_nest(batch_rows=1)

        assert self.swapped(nest) == {}
        assert nest.rows("SELECT state FROM hive.flight") == [("failed",)]

    def test_without_its_place_in_the_seal_the_older_record_wins(self, make_nest, monkeypatch):
        monkeypatch.setattr("hive.flight.collect.place", lambda *_: b"")
        monkeypatch.setattr("hive.flight.process.place", lambda *_: b"")
        nest = make_nest(batch_rows=1)

        assert self.swapped(nest) == {"1": "a"}
        assert nest.rows("SELECT state FROM hive.flight") == [("complete",)]


def unproven(key: bytes, body: bytes, _place: bytes) -> bytes:
    """What `open_` gives without asking for the tag: AES-GCM is a counter mode that begins at 2."""
    nonce, text = body[: envelope.NONCE_BYTES], body[envelope.NONCE_BYTES : -envelope.TAG_BYTES]
    counter = modes.CTR(nonce + struct.pack(">I", 2))
    return Cipher(algorithms.AES(key), counter).decryptor().update(text)

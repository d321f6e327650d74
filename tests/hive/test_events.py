"""Events make bees fly: each once, whoever dies in between. And what can never end is refused before it begins."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from hive import events, scheduler
from hive.config.load import load
from hive.config.model import BeeConfig
from hive.config.problems import ConfigProblems
from hive.config.triggers import cycles
from hive.flight.close import close_if_done
from hive.flight.retry import retry
from hive.flight.verdict import Verdict
from hive.flight.work import put_back
from hive.gateway import webhooks
from hive.gateway.app import app
from hive.gateway.webhooks import BODY_LIMIT, Refused, signed_id
from hive.ledger import db
from tests.hive.nest import Nest, make_nest, nest, write

__all__ = ["make_nest", "nest"]

SECRET = "made-up-signing-secret"
FLOWN = "SELECT b.name FROM hive.flight f JOIN hive.bee b ON b.id = f.bee WHERE f.slot_key LIKE 'event:%%' ORDER BY 1"


def bee(nest: Nest, name: str, **block: Any) -> None:
    """A bee with one record to read, so that its first flight lands something."""
    write(nest.register(name, **block) / "a.jsonl", [{"id": 1}])


def flown(nest: Nest) -> list[str]:
    """Bees whose event flights were made, one entry each."""
    return [name for (name,) in nest.rows(FLOWN)]


class TestAfter:
    def test_a_bee_flies_after_another_and_only_once(self, nest):
        bee(nest, "first")
        bee(nest, "second", after="first")

        nest.land("first")
        ticks = [events.tick(nest.rt) for _ in range(3)]

        assert ticks == [1, 0, 0]
        assert flown(nest) == ["second"]
        assert nest.hive.flights("second")[0].slot_key == f"event:{nest.one('SELECT id FROM hive.event')}"

    def test_where_nobody_listens_no_event_is_written(self, nest):
        bee(nest, "first")
        bee(nest, "other", after="second", enabled=False)
        bee(nest, "second")

        nest.land("first")

        assert nest.one("SELECT count(*) FROM hive.event") == 0

    def test_a_failed_flight_is_none_to_fly_after(self, nest):
        bee(nest, "first")
        bee(nest, "second", after="first")
        nest.fly("first")
        nest.run("UPDATE hive.task SET state = 'dead'")
        day = nest.one("SELECT day FROM hive.flight")
        assert close_if_done(nest.rt.db, nest.one("SELECT id FROM hive.flight"), day) == "failed"

        assert events.tick(nest.rt) == 0

    @pytest.mark.parametrize(("after", "needed"), [(["a", "b"], 2), ({"all": ["a", "b"]}, 2), ({"any": ["a", "b"]}, 1)])
    def test_all_or_any(self, nest, after, needed):
        bee(nest, "a")
        bee(nest, "b")
        bee(nest, "last", after=after)

        made = []
        for name in ("a", "b"):
            nest.land(name)
            made.append(events.tick(nest.rt))

        assert made.index(1) + 1 == needed

    def test_all_means_since_its_last_flight(self, nest):
        bee(nest, "a")
        bee(nest, "b")
        bee(nest, "last", after=["a", "b"])
        for name in ("a", "b", "a"):
            nest.land(name)
            events.tick(nest.rt)
            nest.drain()
        assert flown(nest) == ["last"]

        nest.land("b")
        events.tick(nest.rt)

        assert flown(nest) == ["last", "last"]

    def test_a_chain_runs_to_its_end(self, nest):
        for n in range(4):
            bee(nest, f"bee-{n}", **({"after": f"bee-{n - 1}"} if n else {}))

        nest.land("bee-0")
        while events.tick(nest.rt):
            nest.drain()

        assert flown(nest) == ["bee-1", "bee-2", "bee-3"]

    def test_what_comes_while_it_flies_is_answered_after(self, nest):
        bee(nest, "first")
        bee(nest, "second", after="first")
        nest.land("first")
        assert events.tick(nest.rt) == 1
        nest.fly("first")
        first = [task for task in nest.due() if task[1] == max(t[1] for t in nest.due())]
        assert first
        others = "UPDATE hive.task SET available_at = %s WHERE bee = (SELECT id FROM hive.bee WHERE name = 'second')"
        nest.run(others.replace("%s", "clock_timestamp() + interval '1 hour'"))
        nest.drain()

        assert events.tick(nest.rt) == 0
        nest.run(others.replace("%s", "clock_timestamp()"))
        nest.drain()
        assert events.tick(nest.rt) == 1
        assert flown(nest) == ["second", "second"]

    def test_a_paused_bee_answers_when_it_is_resumed(self, nest):
        bee(nest, "first")
        bee(nest, "second", after="first")
        nest.hive.pause("second")
        nest.land("first")
        assert events.tick(nest.rt) == 0

        nest.hive.resume("second")

        assert events.tick(nest.rt) == 1

    def test_a_change_of_its_block_forgets_nothing_it_heard(self, nest):
        bee(nest, "first")
        bee(nest, "second", after="first", debounce=3600)
        nest.land("first")
        assert events.tick(nest.rt) == 0

        bee(nest, "second", after="first")

        assert events.tick(nest.rt) == 1

    def test_a_bee_that_left_its_file_hears_nothing(self, nest, tmp_path):
        file = tmp_path / "hive.yml"
        first = f"first: {{type: local, source: {{path: {tmp_path}}}}}"
        file.write_text(f"bees:\n  {first}\n  second: {{type: local, source: {{path: {tmp_path}}}, after: first}}\n")
        nest.hive.apply(file)
        file.write_text(f"bees:\n  {first}\n")

        nest.hive.apply(file)

        assert nest.one("SELECT count(*) FROM hive.listener") == 0


class TestJar:
    def test_a_changed_jar_makes_it_fly_an_unchanged_one_does_not(self, nest):
        bee(nest, "feeder", honey_jar="shop")
        bee(nest, "reader", on={"jar": "shop"})

        made = []
        for _ in range(2):  # the second time there is nothing new
            nest.land("feeder")
            made.append(events.tick(nest.rt))
            nest.drain()

        assert made == [1, 0]

    def test_records_that_land_out_of_quarantine_change_it_too(self, nest):
        bee(nest, "feeder", honey_jar="shop")
        bee(nest, "reader", on={"jar": "shop"})
        nest.fly("feeder")
        nest.drain(kinds=["plan", "collect"])
        task = nest.claim(nest.due("process")[0])
        error = {"class": "X", "code": "unreadable_batch", "message": "", "place": "", "advice": ""}
        with nest.rt.db.transaction() as tx:
            put_back(tx, task.hold(tx), nest.rt, Verdict(retry=False, after=0, counts=True, error=error), crashed=False)
        assert close_if_done(nest.rt.db, task.flight, task.day) == "failed"
        assert events.tick(nest.rt) == 0

        assert retry(nest.rt, nest.one("SELECT id FROM hive.quarantine")).landed == 1

        assert [events.tick(nest.rt) for _ in range(2)] == [1, 0]
        assert flown(nest) == ["reader"]


class TestDebounce:
    def test_it_flies_when_nothing_more_came_for_so_long(self, nest):
        bee(nest, "first")
        bee(nest, "second", after="first", debounce="30s")
        nest.land("first")
        assert events.tick(nest.rt) == 0

        def listened(first: float, last: float) -> int:
            """As if the events had come so many seconds ago."""
            nest.run(
                "UPDATE hive.listener SET first_at = clock_timestamp() - make_interval(secs => %s),"
                " last_at = clock_timestamp() - make_interval(secs => %s)",
                first, last,
            )  # fmt: skip
            return events.tick(nest.rt)

        assert listened(first=100, last=29) == 0
        assert listened(first=31, last=31) == 1

    def test_and_at_the_latest_after_ten_times_that(self, nest):
        bee(nest, "first")
        bee(nest, "second", after="first", debounce="30s")
        nest.land("first")
        assert events.tick(nest.rt) == 0

        nest.run("UPDATE hive.listener SET first_at = clock_timestamp() - interval '301 seconds'")

        assert events.tick(nest.rt) == 1

    def test_a_clock_that_was_set_back_keeps_nobody_waiting(self, nest):
        bee(nest, "first")
        bee(nest, "second", after="first", debounce="30s")
        nest.land("first")
        assert events.tick(nest.rt) == 0

        nest.run(
            "UPDATE hive.listener SET first_at = first_at + interval '1 day', last_at = last_at + interval '1 day'"
        )

        assert events.tick(nest.rt) == 1


class TestKilled:
    """A scheduler may die before each commit, and several may be at it."""

    @pytest.mark.parametrize("statement", ["tell_listeners", "waiting_listeners", "answered"])
    def test_whoever_dies_in_the_middle_has_done_nothing(self, nest, monkeypatch, statement):
        bee(nest, "first")
        bee(nest, "second", after="first")
        nest.land("first")
        run = db.Transaction.run

        def dies(tx: db.Transaction, name: str, /, **values: Any) -> Any:
            found = run(tx, name, **values)
            if name == statement:
                raise KeyboardInterrupt
            return found

        with monkeypatch.context() as patch:
            patch.setattr(db.Transaction, "run", dies)
            with pytest.raises(KeyboardInterrupt):
                events.tick(nest.rt)

        assert flown(nest) == []
        assert events.tick(nest.rt) == 1
        assert flown(nest) == ["second"]

    def test_several_schedulers_at_once_make_one_flight_each(self, nest):
        bee(nest, "first")
        for n in range(5):
            bee(nest, f"after-{n}", after="first")
        nest.land("first")
        others = [nest.runtime(f"scheduler:{n}:1") for n in range(3)]
        together = threading.Barrier(len(others))

        def ticks(rt: Any) -> None:
            together.wait()
            for _ in range(5):
                events.tick(rt)

        threads = [threading.Thread(target=ticks, args=[rt]) for rt in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert flown(nest) == [f"after-{n}" for n in range(5)]


class TestFiles:
    def look(self, nest: Nest) -> int:
        events.look_at_files(nest.rt)
        made = events.tick(nest.rt)
        nest.drain()
        return made

    def test_a_file_that_arrived_makes_it_fly_once(self, nest, monkeypatch):
        monkeypatch.setattr(events, "SETTLED", 0.0)
        folder = nest.register(on={"file": str(nest.folder / "people" / "*.jsonl")})
        made = [self.look(nest)]
        write(folder / "a.jsonl", [{"id": 1}])
        (folder / "a.txt").write_text("another kind")
        made += [self.look(nest), self.look(nest)]
        old = write(folder / ".b", [{"id": 2}])
        os.utime(old, (0, 0))
        old.rename(folder / "b.jsonl")  # an old date, and new here
        made += [self.look(nest), self.look(nest)]

        assert made == [0, 1, 0, 1, 0]

    def test_a_file_that_is_still_written_is_waited_for(self, tmp_path):
        file = write(tmp_path / "a.jsonl", [{"id": 1}])
        changed = file.stat().st_ctime_ns

        assert events.newest_file(str(file), changed + 500_000_000) == -1
        assert events.newest_file(str(file), changed + 1_000_000_000) == changed

    def test_of_several_schedulers_one_tells(self, nest, monkeypatch):
        monkeypatch.setattr(events, "SETTLED", 0.0)
        write(nest.register(on={"file": str(nest.folder / "people" / "*")}) / "a.jsonl", [{"id": 1}])
        file_listeners = db.Transaction.run
        together = threading.Barrier(3)

        def at_once(tx: db.Transaction, name: str, /, **values: Any) -> Any:
            if name == "files_arrived":
                together.wait(10)
            return file_listeners(tx, name, **values)

        monkeypatch.setattr(db.Transaction, "run", at_once)
        told: list[int] = []
        runtimes = [nest.runtime(f"scheduler:{n}:1") for n in range(3)]
        threads = [threading.Thread(target=lambda rt=rt: told.append(events.look_at_files(rt))) for rt in runtimes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        assert sorted(told) == [0, 0, 1]

    def test_the_watch_looks_by_itself(self, nest, monkeypatch):
        monkeypatch.setattr(events, "SETTLED", 0.0)
        monkeypatch.setattr(events, "_LOOK", 0.05)
        write(nest.register(on={"file": str(nest.folder / "people" / "*")}) / "a.jsonl", [{"id": 1}])
        watch = events.FileWatch(nest.rt)
        watch.start()
        deadline = time.monotonic() + 10
        while not nest.one("SELECT count(*) FROM hive.event") and time.monotonic() < deadline:
            time.sleep(0.05)
        watch.stop()

        assert nest.one("SELECT count(*) FROM hive.event") == 1


class TestCycles:
    def test_the_way_is_shown(self, tmp_path):
        file = tmp_path / "hive.yml"
        block = "type: local, source: {path: /tmp}"
        file.write_text(
            f"bees:\n  a: {{{block}, after: c}}\n  b: {{{block}, after: a}}\n  c: {{{block}, after: [b]}}\n"
        )

        with pytest.raises(ConfigProblems, match="a -> b -> c -> a") as refused:
            load(file)
        assert [problem.bee for problem in refused.value.problems] == ["a"]

    def test_a_jar_closes_one_too(self, tmp_path):
        file = tmp_path / "hive.yml"
        file.write_text("bees:\n  a: {type: local, source: {path: /tmp}, honey_jar: shop, on: {jar: shop}}\n")

        with pytest.raises(ConfigProblems, match="a -> jar shop -> a"):
            load(file)

    def test_those_of_registered_bees_are_found_when_they_are_registered(self, nest):
        bee(nest, "a")
        bee(nest, "b", after="a")

        with pytest.raises(ConfigProblems, match="a -> b -> a"):
            bee(nest, "a", after="b")

        assert nest.one("SELECT count(*) FROM hive.listener") == 1

    def test_a_bee_that_nobody_knows(self, nest):
        bee(nest, "sales")

        with pytest.raises(ConfigProblems, match="no bee is named 'sale'; did you mean 'sales'"):
            bee(nest, "b", after="sale")

    def test_long_chains_and_wide_fans_are_no_cycles(self):
        chain = {str(n): [str(n + 1)] for n in range(20_000)}
        fan = {"a": list("bcdef"), **{name: ["z"] for name in "bcdef"}}

        assert list(cycles(chain)) == list(cycles(fan)) == []
        assert list(cycles({**chain, "20000": ["19999"]})) == [["19999", "20000", "19999"]]

    def test_each_of_several_is_told(self):
        graph = {"a": ["a"], "b": ["c"], "c": ["b"], "d": ["b"]}

        assert list(cycles(graph)) == [["a", "a"], ["b", "c", "b"]]


class TestWords:
    @pytest.mark.parametrize(
        ("block", "told"),
        [
            ({"after": []}, "names no bees"),
            ({"after": {"all": ["a"], "any": ["b"]}}, "both `all` and `any`"),
            ({"on": "webhok"}, "names no event; did you mean 'webhook'?"),
            ({"on": {}}, "needs one of"),
            ({"on": {"jar": "a", "file": "b"}}, "needs one of"),
            ({"on": {"webhook": {"secret": SECRET}}}, "must be a reference"),
            ({"debounce": 0}, "is no interval"),
        ],
    )
    def test_what_is_refused(self, block, told):
        with pytest.raises(ValidationError) as refused:
            BeeConfig(type="local", **block)

        assert told in str(refused.value)
        assert SECRET not in str(refused.value)

    @pytest.mark.parametrize(
        "block",
        [
            {"after": "a"},
            {"after": {"any": ["a", "b"]}, "debounce": "30s"},
            {True: "webhook"},
            {"on": {"webhook": None}},
            {"on": [{"jar": "a"}, {"file": "/in/*.csv"}, {"webhook": {"secret": "${HOOK}"}}]},
        ],
    )
    def test_a_block_survives_json(self, block):
        config = BeeConfig.model_validate({"type": "local", **block})

        assert BeeConfig.model_validate(config.block()) == config
        assert config.after or config.on


def github(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def standard(body: bytes, id_: str = "msg_1", *, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    signed = hmac.new(key, f"{id_}.{stamp}.".encode() + body, hashlib.sha256).digest()
    signature = f"v1a,ignored v1,{base64.b64encode(signed).decode()}"
    return {"webhook-id": id_, "webhook-timestamp": stamp, "webhook-signature": signature}


class Hooks:
    """A gateway on a nest's database."""

    def __init__(self, nest: Nest, database: db.Database) -> None:
        self._app = app(nest.settings, database)

    def post(self, path: str, body: bytes | Iterator[bytes], headers: Mapping[str, str]) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://hive") as client:
                return await client.post(path, content=body, headers=dict(headers))

        return asyncio.run(send())


@pytest.fixture
def hooks(nest: Nest) -> Iterator[Hooks]:
    bee(nest, "hooked", on="webhook")
    nest.rt.vault().set("bees/hooked/webhook", SECRET)
    database = db.Database(nest.settings.database())
    yield Hooks(nest, database)
    database.close()


class TestWebhook:
    @pytest.mark.parametrize("sign", [github, standard])
    def test_a_signed_message_makes_the_bee_fly_and_a_second_one_nothing(self, nest, hooks, sign):
        body = b'{"name": "Jane Roe"}'
        headers = sign(body)

        answers = [hooks.post("/webhooks/hooked", body, headers) for _ in range(3)]

        assert [(a.status_code, a.json()["status"]) for a in answers] == [
            (202, "accepted"),
            (200, "known"),
            (200, "known"),
        ]
        assert events.tick(nest.rt) == 1
        assert hooks.post("/webhooks/hooked", body, headers).json() == {"status": "known"}
        assert events.tick(nest.rt) == 0
        assert nest.rows("SELECT body, slot_key LIKE 'event:%%' FROM hive.inbox") == [(b"", True)]

    def test_a_delivery_counts_by_its_id_and_not_by_its_body(self, nest, hooks):
        body = b'{"action": "ping"}'
        deliveries = ["7c1a-1", "7c1a-1", "7c1a-2"]

        answers = [
            hooks.post("/webhooks/hooked", body, {**github(body), "X-GitHub-Delivery": one}).json()["status"]
            for one in deliveries
        ]
        keyed = hooks.post("/webhooks/hooked", body, {**github(body), "Idempotency-Key": "retry-1"})

        assert answers == ["accepted", "known", "accepted"]
        assert keyed.status_code == 202
        assert nest.one("SELECT count(*) FROM hive.event") == 3

    def test_a_body_without_an_id_counts_again_after_its_time(self, nest, hooks):
        body = b'{"action": "ping"}'
        odd = {**github(body), "X-GitHub-Delivery": "no id " * 60}
        first, second = (hooks.post("/webhooks/hooked", body, github(body)).status_code for _ in range(2))
        assert events.tick(nest.rt) == 1
        nest.run("UPDATE hive.inbox SET received_at = received_at - interval '11 minutes'")

        third, fourth = (hooks.post("/webhooks/hooked", body, headers).status_code for headers in (odd, github(body)))

        assert [first, second, third, fourth] == [202, 200, 202, 200]
        nest.drain()
        assert events.tick(nest.rt) == 1
        assert nest.rows("SELECT body, slot_key IS NOT NULL FROM hive.inbox") == [(b"", True)]

    def test_the_body_lies_sealed_until_then(self, nest, hooks):
        body = b'{"name": "Jane Roe"}'
        hooks.post("/webhooks/hooked", body, github(body))

        kept = nest.one("SELECT body FROM hive.inbox")

        assert len(kept) > len(body)
        assert b"Jane" not in kept

    @pytest.mark.parametrize(
        ("path", "headers"),
        [
            ("hooked", {}),
            ("hooked", github(b"other")),
            ("hooked", github(b"{}", "wrong secret")),
            ("hooked", {"X-Hub-Signature-256": "sha256="}),
            ("hooked", {"X-Hub-Signature-256": "sha1=" + "0" * 40}),
            ("hooked", standard(b"other")),
            ("hooked", standard(b"{}", at=0)),
            ("hooked", standard(b"{}", "bad id")),
            ("hooked", {**standard(b"{}"), "webhook-timestamp": "now"}),
            ("hooked", {**github(b"{}"), "webhook-signature": "v1,AAAA"}),
            ("nobody", github(b"{}")),
            ("silent", github(b"{}")),
        ],
    )
    def test_what_is_refused_says_the_same_for_every_reason(self, nest, hooks, path, headers):
        bee(nest, "silent")

        answer = hooks.post(f"/webhooks/{path}", b"{}", headers)

        assert (answer.status_code, answer.json()) == (
            401,
            {"error": "no webhook of this name, or a wrong signature"},
        )
        assert nest.one("SELECT count(*) FROM hive.inbox") == nest.one("SELECT count(*) FROM hive.event") == 0

    def test_without_a_secret_nobody_is_let_in(self, nest, hooks):
        nest.rt.vault().delete("bees/hooked/webhook")

        assert hooks.post("/webhooks/hooked", b"{}", github(b"{}", "")).status_code == 401

    @pytest.mark.parametrize(
        "secret", ["", "whsec_", "fifteen-letters", "whsec_" + base64.b64encode(b"x" * 15).decode()]
    )
    @pytest.mark.parametrize("sign", [github, standard])
    def test_a_key_that_could_be_guessed_is_none(self, nest, hooks, sign, secret):
        nest.rt.vault().set("bees/hooked/webhook", secret, shortest=0)

        with capture_logs() as logs:
            answer = hooks.post("/webhooks/hooked", b"{}", sign(b"{}", secret=secret))

        assert answer.status_code == 401
        assert [(line["event"], line["bee"]) for line in logs] == [("webhook.refused", "hooked")]
        assert logs[0]["reason"] == (
            "the webhook secret of bee 'hooked' is a key of fewer than 16 bytes: set a longer one with "
            "`hive vault set bees/hooked/webhook`"
        )
        assert nest.one("SELECT count(*) FROM hive.inbox") == 0

    def test_an_empty_variable_is_named_and_sixteen_bytes_are_enough(self, nest, hooks, monkeypatch):
        bee(nest, "told", on={"webhook": {"secret": "${TOLD_HOOK}"}})
        monkeypatch.setenv("TOLD_HOOK", "")
        with capture_logs() as logs:
            empty = hooks.post("/webhooks/told", b"{}", github(b"{}", ""))
        monkeypatch.setenv("TOLD_HOOK", "whsec_" + base64.b64encode(b"x" * 16).decode())
        standards = hooks.post("/webhooks/told", b"{}", standard(b"{}", secret=os.environ["TOLD_HOOK"]))
        monkeypatch.setenv("TOLD_HOOK", "whsec_this is no base64")
        githubs = hooks.post("/webhooks/told", b"{}", github(b"{}", "whsec_this is no base64"))

        assert (empty.status_code, standards.status_code, githubs.status_code) == (401, 202, 202)
        assert "set a longer one with the environment variable TOLD_HOOK" in logs[0]["reason"]

    def test_secrets_are_replaced_one_after_the_other(self, nest, hooks, monkeypatch):
        monkeypatch.setenv("NEW_HOOK", "whsec_" + base64.b64encode(b"made-up-new-secret").decode())
        bee(nest, "hooked", on={"webhook": {"secret": ["{{ vault:bees/hooked/webhook }}", "${NEW_HOOK}"]}})

        old = hooks.post("/webhooks/hooked", b"{}", standard(b"{}", "one"))
        new = hooks.post("/webhooks/hooked", b"{}", standard(b"{}", "two", secret=os.environ["NEW_HOOK"]))

        assert (old.status_code, new.status_code) == (202, 202)

    def test_a_body_that_is_too_long_is_not_read_to_its_end(self, hooks):
        read = []

        async def endless() -> Any:
            for n in range(1000):
                read.append(n)
                yield b"x" * 100_000

        body = b"x" * (BODY_LIMIT + 1)

        assert hooks.post("/webhooks/hooked", body, github(body)).status_code == 413
        assert hooks.post("/webhooks/hooked", endless(), {}).status_code == 413
        fits = body[:-1]
        assert hooks.post("/webhooks/hooked", fits, github(fits)).status_code == 202

    def test_a_body_that_does_not_end_is_waited_for_no_longer_than_said(self, nest, hooks, monkeypatch):
        monkeypatch.setattr(webhooks, "_BODY_PATIENCE", 0.3)

        async def slow() -> Any:
            for _ in range(60):  # each piece in time, the whole of it not
                yield b"x"
                await asyncio.sleep(0.1)

        began = time.monotonic()
        answer = hooks.post("/webhooks/hooked", slow(), {})

        assert (answer.status_code, answer.headers["connection"]) == (408, "close")
        assert answer.json() == {"error": "the body was not here within 0.3 seconds"}
        assert time.monotonic() - began < 3

    def test_without_a_database_the_sender_is_told_to_come_again(self, nest):
        away = db.Database("postgresql://nobody@127.0.0.1:1/none")

        assert Hooks(nest, away).post("/webhooks/hooked", b"{}", github(b"{}")).status_code == 503
        away.close()

    def test_old_messages_are_forgotten_once_they_were_answered(self, nest, hooks):
        for number in ("one", "two"):
            hooks.post("/webhooks/hooked", b"{}", standard(b"{}", number))
        nest.run("UPDATE hive.inbox SET received_at = received_at - interval '8 days'")
        nest.run("UPDATE hive.inbox SET slot_key = 'event:1' WHERE event_id = 'id:one'")

        with nest.rt.db.transaction() as tx:
            tx.run("forget_inbox", days=7)

        assert nest.rows("SELECT event_id FROM hive.inbox") == [("id:two",)]

    def test_a_published_example_of_the_standard(self):
        headers = {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        }
        secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]

        assert signed_id(headers, b'{"test": 2432232314}', secrets, 1614265330) == f"id:{headers['webhook-id']}"
        with pytest.raises(Refused):
            signed_id(headers, b'{"test": 2432232315}', secrets, 1614265330)


def test_schedules_and_events_of_one_bee_live_side_by_side(nest):
    bee(nest, "first")
    bee(nest, "both", after="first", schedules=[{"every": "1h", "name": "often"}])
    nest.run("UPDATE hive.schedule SET next_slot = date_trunc('hour', clock_timestamp())")
    nest.land("first")

    assert scheduler.tick(nest.rt) == 1
    assert events.tick(nest.rt) == 0  # its scheduled flight is under way
    nest.drain()
    assert events.tick(nest.rt) == 1

"""Messages are records: each once, whatever comes in between, and none before its body is on disk."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bees.core.errors import GiveUp, RetryLater
from bees.core.inbox import ListInbox, Message
from bees.webhook import WebhookBee
from hive import events
from hive.config.problems import ConfigProblems
from hive.doctor import bees as doctor
from hive.gateway.app import app
from hive.gateway.signed import Refused, verify
from hive.gateway.webhooks import SECRETS_LAST
from hive.inbox import Received, seal_message
from hive.janitor import expire
from hive.ledger import db
from hive.vault.envelope import Unsealable
from hive.versions import unregister
from tests.bees.contract import BeeContract, Source, rows
from tests.hive.nest import Nest, make_nest, nest

__all__ = ["make_nest", "nest"]

SECRET = "made-up-signing-secret"
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
NOW = 1_772_366_400


def message(number: int, body: Any, type_: str = "application/json", **told: Any) -> Message:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Message(number, f"msg-{number}", NOON, raw, type_, **told)


def read(*messages: Message, **options: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """The records of some messages, without our own fields, and the codes of what is no record."""
    bee = WebhookBee.from_options(options)
    bee.inbox = ListInbox(messages)
    batches = list(bee.collect_nectar("messages", None))
    own = [{k: v for k, v in row.items() if not k.startswith("webhook_")} for row in rows(batches)]
    return own, [reject.code for batch in batches for reject in batch.rejects]


FORMS = ("auto", "json", "jsonl", "form")
HEADERS = (
    *("webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256", "stripe-signature"),
    *("x-slack-signature", "x-slack-request-timestamp", "content-type", "x-github-delivery"),
)


class Away:
    """An inbox out of reach."""

    def waiting(self, after: int, most: int, most_bytes: int) -> list[Message]:
        raise RetryLater("the inbox is away")

    def take(self, numbers: Any) -> None:
        raise RetryLater("the inbox is away")


class TestContract(BeeContract):
    connector = "webhook"

    @pytest.fixture
    def source(self, monkeypatch: pytest.MonkeyPatch) -> Source:
        monkeypatch.setattr("bees.webhook._MOST_MESSAGES", 10)
        self.inbox = ListInbox(message(n, {"sku": n}) for n in range(1, 36))
        return Source(
            options={},
            stream="messages",
            keys={(f"msg-{n}", 1) for n in range(1, 36)},
            key_of=lambda row: (row["webhook_event_id"], row["webhook_item"]),
            unreachable={"key": "away"},
            secrets=(SECRET,),
            fingerprint=lambda: list(self.inbox.messages),
        )

    def make(self, options: Mapping[str, Any]) -> WebhookBee:
        bee = WebhookBee.from_options(options)
        bee.inbox = Away() if options.get("key") == "away" else self.inbox
        return bee


class TestReading:
    def test_a_record_says_which_message_it_was_and_when_it_came(self) -> None:
        bee = WebhookBee.from_options({})
        bee.inbox = ListInbox([message(3, [{"a": 1}, {"a": 2}], event="issues")])

        (batch,) = bee.collect_nectar("messages", None)

        own = {"webhook_event_id": "msg-3", "webhook_event": "issues", "webhook_received_at": NOON.isoformat()}
        assert batch.table.to_pylist() == [{"a": n, **own, "webhook_item": n} for n in (1, 2)]

    @pytest.mark.parametrize(
        ("type_", "body", "found"),
        [
            ("application/json; charset=utf-8", b'{"a": 1}', [{"a": 1}]),
            ("", b'[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
            ("application/cloudevents-batch+json", b"[]", []),
            ("application/x-ndjson", b'{"a": 1}\r\n\n{"a": 2}', [{"a": 1}, {"a": 2}]),
            ("application/x-www-form-urlencoded", b"a=x+y&b=&b=2&c=%C3%A9", [{"a": "x y", "b": ["", "2"], "c": "é"}]),
            ("application/x-www-form-urlencoded", b"payload=%7B%22a%22%3A1%7D", [{"a": 1}]),
        ],
    )
    def test_each_content_type_is_read_as_what_it_is(self, type_: str, body: bytes, found: list[Any]) -> None:
        assert read(message(1, body, type_)) == (found, [])

    @pytest.mark.parametrize(
        ("type_", "body", "codes"),
        [
            ("text/html", b"<html>", ["not_json"]),
            ("", b"", ["not_json"]),
            ("", b'{"a": NaN}', ["not_json"]),
            ("", b"\xff{}", ["not_json"]),
            ("", b"[" * 100_000, ["not_json"]),
            ("", b"7", ["not_object"]),
            ("", b'[{"a": "\\ud800"}]', ["bad_unicode"]),
            ("", b'["x", null]', ["not_object", "not_object"]),
            ("application/x-ndjson", b'{"a": 1}\n{broken\n[1]', ["not_json", "not_object"]),
            ("application/x-www-form-urlencoded", b"a", ["not_form"]),
            ("application/x-www-form-urlencoded", b"a=%ff", ["not_form"]),
            ("application/x-www-form-urlencoded", b"a=1&" * 2000, ["not_form"]),
        ],
    )
    def test_what_is_no_record_is_set_aside_and_the_others_come(
        self, type_: str, body: bytes, codes: list[str]
    ) -> None:
        found, refused = read(message(1, body, type_), message(2, {"a": 9}))

        assert refused == codes
        assert found[-1] == {"a": 9}

    def test_the_records_may_stand_deeper(self) -> None:
        deep = {"meta": 1, "value": {"items": [{"a": 1}, {"a": 2}]}}
        assert read(message(1, deep), message(2, {"x": 1}), records="value.items") == (
            [{"a": 1}, {"a": 2}],
            ["no_records"],
        )

    def test_a_field_that_is_called_like_ours_is_kept(self) -> None:
        assert WebhookBee.from_options({}).get_pollen_schema()[0].key == ("webhook_event_id", "webhook_item")
        assert read(message(1, {"webhook_event_id": "theirs"}))[0] == [{"sent_webhook_event_id": "theirs"}]

    def test_numbers_and_names_come_unchanged(self) -> None:
        body = b'{"_id": 123456789012345678901234567890, "n": 1.10, "big": 1e400, "nul": "a\\u0000b"}'
        found, refused = read(message(1, body))

        assert refused == []
        assert found == [{"underscore_id": "123456789012345678901234567890", "n": 1.1, "big": "1E+400", "nul": "a\0b"}]

    def test_messages_without_a_field_in_common_make_no_giant_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bees.webhook._MOST_CELLS", 1000)
        bee = WebhookBee.from_options({})
        bee.inbox = ListInbox(message(n, {f"field-{n}": n}) for n in range(1, 201))

        batches = list(bee.collect_nectar("messages", None))

        assert max(batch.table.num_rows * batch.table.num_columns for batch in batches) <= 1000
        assert len(rows(batches)) == 200

    def test_a_message_whose_records_fill_batches_is_named_by_the_last_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bees.webhook._MOST_ROWS", 10)
        bee = WebhookBee.from_options({})
        bee.inbox = ListInbox([message(7, [{"a": n} for n in range(25)])])

        batches = list(bee.collect_nectar("messages", None))

        assert [(batch.table.num_rows, batch.cursor) for batch in batches] == [
            (10, {"read": []}),
            (10, {"read": []}),
            (5, {"read": [[7, 7]]}),
        ]

    def test_a_field_may_say_that_a_record_was_deleted(self) -> None:
        sent = [{"id": 1, "gone": False}, {"id": 2, "gone": True}, {"id": 3}, {"id": 4, "gone": "2026-01-01"}]
        found, _ = read(message(1, sent), key="id", deleted="gone")

        assert [row["_op"] for row in found] == ["upsert", "delete", "upsert", "delete"]
        with pytest.raises(ValidationError, match="known by its `key`"):
            WebhookBee.from_options({"deleted": "gone"})

    def test_without_an_inbox_it_says_where_one_comes_from(self) -> None:
        with pytest.raises(GiveUp, match="start the hive"):
            WebhookBee.from_options({}).validate_flight_path()


class TestAnything:
    @given(body=st.binary(max_size=200) | st.text(max_size=100).map(str.encode), form=st.sampled_from(FORMS))
    def test_whatever_is_sent_becomes_records_or_is_set_aside(self, body: bytes, form: str) -> None:
        found, codes = read(message(1, body), message(2, {"a": 1}), format=form)
        assert {"a": 1} in found or form == "form"
        assert set(codes) <= {"not_json", "not_form", "not_object", "bad_unicode", "too_deep"}

    @given(
        headers=st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=80) | st.just(str(NOW)), max_size=6),
        body=st.binary(max_size=50),
    )
    def test_whatever_it_is_signed_with_is_refused_and_nothing_else(self, headers: dict[str, str], body: bytes) -> None:
        with pytest.raises(Refused):
            verify(headers, body, [SECRET], NOW)


class TestOnce:
    def test_only_what_is_sealed_is_taken(self) -> None:
        bee = WebhookBee.from_options({})
        bee.inbox = inbox = ListInbox(message(n, {"n": n}) for n in (1, 2, 5))
        (batch,) = bee.collect_nectar("messages", None)
        assert len(inbox.messages) == 3

        inbox.messages.append(message(4, {"n": 4}))  # it was given its number first, and came to light last
        bee.sealed(batch.cursor)

        assert batch.cursor == {"read": [[1, 2], [5, 5]]}
        assert [one.number for one in inbox.messages] == [4]

    def test_who_stopped_between_seal_and_taking_reads_nothing_twice_and_takes_it_then(self) -> None:
        bee = WebhookBee.from_options({})
        bee.inbox = inbox = ListInbox(message(n, {"n": n}) for n in (1, 2))
        (batch,) = bee.collect_nectar("messages", None)

        (again,) = bee.collect_nectar("messages", batch.cursor)
        assert (again.table.num_rows, again.cursor) == (0, batch.cursor)
        inbox.messages.append(message(3, {"n": 3}))
        (third,) = bee.collect_nectar("messages", again.cursor)
        bee.sealed(third.cursor)

        assert [row["n"] for row in rows([third])] == [3]
        assert inbox.messages == []
        assert list(bee.collect_nectar("messages", third.cursor)) == []

    def test_batches_that_are_sealed_as_one_are_taken_as_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bees.webhook._MOST_MESSAGES", 2)
        bee = WebhookBee.from_options({})
        bee.inbox = inbox = ListInbox(message(n, {"n": n}) for n in range(1, 8))

        for n, batch in enumerate(bee.collect_nectar("messages", None)):
            if n % 2:  # the hive joins small neighbours and seals them with the later one's cursor
                bee.sealed(batch.cursor)

        assert inbox.messages == []


Sign = Callable[[bytes], dict[str, str]]


def mac(signed: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def github(body: bytes, delivery: str | None = None, **more: str) -> dict[str, str]:
    id_ = {"X-GitHub-Delivery": delivery} if delivery else {}
    return {"X-Hub-Signature-256": f"sha256={mac(body)}", **id_, **more}


def stripe(body: bytes, at: float | None = None) -> dict[str, str]:
    stamp = int(time.time() if at is None else at)
    return {"Stripe-Signature": f"t={stamp},v1={'0' * 64},v1={mac(f'{stamp}.'.encode() + body)},v0=old"}


def slack(body: bytes, at: float | None = None) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    return {
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={mac(f'v0:{stamp}:'.encode() + body)}",
    }


def low(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


class TestSigned:
    def test_stripe_is_known_by_its_event_whenever_it_was_signed(self) -> None:
        body = b'{"id": "evt_1", "type": "charge.succeeded"}'

        found = {verify(low(stripe(body, NOW - ago)), body, ["old-secret", SECRET], NOW).event_id for ago in (0, 200)}

        assert found == {"event:evt_1"}

    def test_slack_gives_the_value_of_its_own_documentation(self) -> None:
        # "Verifying requests from Slack": secret, time, body and signature as published there.
        body = (
            b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
            b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
            b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
            b"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
        )
        headers = {
            "x-slack-request-timestamp": "1531420618",
            "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            "content-type": "application/x-www-form-urlencoded",
        }

        signed = verify(headers, body, ["8f742231b10e8888abcd99yyyzzz85a5"], 1531420618)

        assert signed.event_id == "event:398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
        assert signed.told["command"] == "/webhook-collect"

    @pytest.mark.parametrize(
        "headers",
        [
            stripe(b"{}", NOW - 301),
            stripe(b"{}", NOW + 301),
            stripe(b"other", NOW),
            {"Stripe-Signature": f"t={NOW},t={NOW},v1={mac(f'{NOW}.'.encode() + b'{}')}"},
            {"Stripe-Signature": f"v1={mac(b'.{}')}"},
            {"Stripe-Signature": f"t={NOW},v0={mac(f'{NOW}.'.encode() + b'{}')}"},
            {"Stripe-Signature": f"t={NOW},v1="},
            slack(b"{}", NOW - 301),
            slack(b"other", NOW),
            {"X-Slack-Signature": f"v0={mac(b'v0::{}')}"},
            {**slack(b"{}", NOW), "X-Slack-Signature": f"v1={mac(f'v0:{NOW}:'.encode() + b'{}')}"},
            {**slack(b"{}", NOW), "X-Slack-Request-Timestamp": "\uff19" * 10},
            {**slack(b"{}", NOW), "X-Slack-Signature": "v0=é"},
        ],
    )
    def test_what_is_not_signed_just_now_by_the_secret_is_refused(self, headers: dict[str, str]) -> None:
        with pytest.raises(Refused) as error:
            verify(low(headers), b"{}", [SECRET], NOW)
        assert SECRET not in str(error.value)

    def test_a_bee_of_one_style_takes_no_other(self) -> None:
        assert verify(low(stripe(b"{}", NOW)), b"{}", [SECRET], NOW, "stripe").style == "stripe"
        with pytest.raises(Refused, match="github"):
            verify(low(github(b"{}")), b"{}", [SECRET], NOW, "stripe")


class Hooks:
    """A hive with one webhook bee, and its gateway."""

    def __init__(self, nest: Nest, database: db.Database, **block: Any) -> None:
        self.nest = nest
        self._app = app(nest.settings, database)
        nest.hive.register_worker("webhook", {"name": "hooked", **block})
        nest.rt.vault().set("bees/hooked/webhook", SECRET)

    def post(self, body: Any, headers: Mapping[str, str] | Sign = github, **more: str) -> httpx.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        signed = headers(raw) if callable(headers) else headers

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://hive") as client:
                return await client.post("/webhooks/hooked", content=raw, headers={**signed, **more})

        return asyncio.run(send())

    def fly(self) -> int:
        made = events.tick(self.nest.rt)
        self.nest.drain()
        return made

    def waiting(self) -> int:
        return int(self.nest.one("SELECT count(*) FROM hive.inbox WHERE slot_key IS NULL"))

    def bodies(self) -> int:
        return int(self.nest.one("SELECT coalesce(sum(octet_length(body)), 0) FROM hive.inbox"))

    def landed(self) -> list[Any]:
        return sorted(data.get("n") for data in self.nest.jar("hooked").values())


@pytest.fixture
def database(nest: Nest) -> Iterator[db.Database]:
    made = db.Database(nest.settings.database())
    yield made
    made.close()


@pytest.fixture
def hooks(nest: Nest, database: db.Database) -> Hooks:
    return Hooks(nest, database)


class TestHive:
    def test_a_burst_lands_in_one_flight_each_message_once_and_its_body_is_gone(self, hooks: Hooks) -> None:
        for n in range(30):
            for _ in range(2):  # each of them is sent twice
                hooks.post({"n": n}, lambda raw, n=n: github(raw, f"d-{n}", **{"X-GitHub-Event": "push"}))

        assert hooks.waiting() == 30
        assert hooks.fly() == 1
        assert hooks.landed() == list(range(30))
        assert (hooks.waiting(), hooks.bodies()) == (0, 0)
        record = next(data for data in hooks.nest.jar("hooked").values() if data["n"] == 7)
        assert record["webhook_event_id"] == "d-7"
        assert record["webhook_event"] == "push"
        assert hooks.post({"n": 7}, lambda raw: github(raw, "d-7")).json() == {"status": "known"}
        assert hooks.fly() == 0

    @pytest.mark.parametrize(("limit", "fits"), [(3 << 20, 3 << 20), (1000, 1000), (None, 1 << 20)])
    def test_a_bee_says_how_large_a_message_may_be(
        self, nest: Nest, database: db.Database, limit: int | None, fits: int
    ) -> None:
        hooks = Hooks(nest, database, on={"webhook": {} if limit is None else {"body_limit": limit}})
        body = b'{"n": 1, "text": "%s"}' % (b"x" * (fits - 20))
        assert len(body) == fits

        refused = hooks.post(body + b" ")
        assert (hooks.post(body).status_code, refused.status_code) == (202, 413)
        assert f"larger than {fits} bytes" in refused.text
        hooks.fly()
        assert hooks.landed() == [1]

    def test_no_bee_takes_what_does_not_fit_into_memory(self, nest: Nest) -> None:
        with pytest.raises(ConfigProblems, match="body_limit"):
            nest.hive.register_worker("webhook", {"name": "vast", "on": {"webhook": {"body_limit": (32 << 20) + 1}}})

    def test_bodies_lie_sealed_and_open_only_in_their_own_place(self, hooks: Hooks) -> None:
        hooks.post({"n": "Jane Roe"})
        hooks.post({"n": "John Roe"})
        assert b"Roe" not in b"".join(body for (body,) in hooks.nest.rows("SELECT body FROM hive.inbox"))

        first, second = hooks.nest.rows("SELECT event_id, body FROM hive.inbox ORDER BY number")
        hooks.nest.run("UPDATE hive.inbox SET body = %s WHERE event_id = %s", second[1], first[0])

        bee = hooks.nest.one("SELECT id FROM hive.bee WHERE name = 'hooked'")
        with pytest.raises(GiveUp, match="does not open") as error:
            hooks.nest.rt.inbox(bee).waiting(0, 10, 1 << 20)
        assert not isinstance(error.value.__cause__, Unsealable)

    def test_a_paused_and_a_disabled_bee_keep_what_comes(self, hooks: Hooks) -> None:
        hooks.nest.hive.pause("hooked")
        assert hooks.post({"n": 1}).status_code == 202
        assert hooks.fly() == 0
        hooks.nest.hive.resume("hooked")
        hooks.nest.hive.register_worker("webhook", {"name": "hooked", "enabled": False})
        assert hooks.post({"n": 2}).status_code == 202
        assert hooks.fly() == 0
        hooks.nest.run("UPDATE hive.inbox SET received_at = received_at - interval '400 days'")
        with hooks.nest.rt.db.single() as tx:
            tx.run("forget_inbox", days=7)

        hooks.nest.hive.register_worker("webhook", {"name": "hooked"})

        assert hooks.fly() == 1
        assert hooks.landed() == [1, 2]

    def test_a_bee_that_is_gone_takes_nothing_and_what_waited_is_forgotten(self, hooks: Hooks) -> None:
        hooks.post({"n": 1})
        assert unregister(hooks.nest.rt, "hooked")

        assert hooks.post({"n": 2}).status_code == 401
        hooks.nest.run("UPDATE hive.inbox SET received_at = received_at - interval '8 days'")
        with hooks.nest.rt.db.single() as tx:
            tx.run("forget_inbox", days=7)
        assert hooks.nest.one("SELECT count(*) FROM hive.inbox") == 0

    def test_the_same_body_without_an_id_is_another_message_when_its_time_is_over(self, hooks: Hooks) -> None:
        hooks.post({"n": 1})
        assert hooks.post({"n": 1}).json() == {"status": "known"}
        hooks.nest.run("UPDATE hive.inbox SET received_at = received_at - interval '11 minutes'")

        assert hooks.post({"n": 1}).status_code == 202

        assert hooks.waiting() == 2
        hooks.fly()
        assert hooks.landed() == [1, 1]
        hooks.nest.run("UPDATE hive.inbox SET received_at = received_at - interval '11 minutes'")
        assert hooks.post({"n": 1}).status_code == 202
        hooks.fly()
        assert hooks.landed() == [1, 1, 1]

    def test_what_comes_during_a_flight_flies_after_it(self, hooks: Hooks) -> None:
        hooks.post({"n": 1})
        assert events.tick(hooks.nest.rt) == 1
        hooks.nest.drain(kinds=["plan", "collect"])
        hooks.post({"n": 2})
        assert events.tick(hooks.nest.rt) == 0

        hooks.nest.drain()

        assert hooks.fly() == 1
        assert hooks.landed() == [1, 2]

    def test_a_key_of_the_record_makes_later_messages_replace_earlier_ones(
        self, nest: Nest, database: db.Database
    ) -> None:
        hooks = Hooks(nest, database, source={"key": "id"})
        for n in (1, 2, 3):
            hooks.post({"id": "x", "n": n})
        hooks.post({"n": "without its key"})

        hooks.fly()

        assert hooks.landed() == [3]
        assert nest.one("SELECT count(*) FROM hive.quarantine") == 1

    def test_a_broken_body_goes_to_quarantine_and_the_flight_is_complete(self, hooks: Hooks) -> None:
        hooks.post(b"<html>")
        hooks.post({"n": 1})

        hooks.fly()

        flight = hooks.nest.hive.flights("hooked")[0]
        assert (flight.state, flight.records_quarantined) == ("complete", 1)
        assert hooks.landed() == [1]

    @pytest.mark.parametrize("point", ["collect:before-seal-commit", "collect:after-seal-commit"])
    def test_a_worker_that_dies_around_the_seal_loses_and_doubles_nothing(
        self, hooks: Hooks, point: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Died(BaseException):
            """Nothing catches it: the worker is gone as it stands."""

        def die(at: str) -> None:
            if at == point:
                raise Died

        for n in range(5):
            hooks.post({"n": n})
        doomed = hooks.nest.runtime("doomed:1:1")
        assert events.tick(hooks.nest.rt) == 1
        with monkeypatch.context() as patched:
            patched.setattr("hive.crash.point", die)
            with pytest.raises(Died):
                hooks.nest.work(hooks.nest.due()[0], doomed)
        assert hooks.waiting() == 5
        hooks.post({"n": 5})
        hooks.nest.bury(doomed.owner)
        expire(hooks.nest.rt)
        hooks.nest.hurry()
        hooks.nest.drain()
        hooks.fly()

        assert hooks.landed() == [0, 1, 2, 3, 4, 5]
        assert (hooks.waiting(), hooks.bodies()) == (0, 0)
        assert hooks.nest.one("SELECT sum(records_read) FROM hive.flight") == 6

    def test_ten_thousand_messages_land_in_few_legs(self, hooks: Hooks) -> None:

        bee = hooks.nest.one("SELECT id FROM hive.bee WHERE name = 'hooked'")
        sealed = [
            (bee, f"id:{n}", seal_message(hooks.nest.rt.key, bee, Received(f"id:{n}", json.dumps({"n": n}).encode())))
            for n in range(10_000)
        ]
        with hooks.nest.rt.db.transaction() as tx:
            tx.psycopg.cursor().executemany("INSERT INTO hive.inbox (bee, event_id, body) VALUES (%s, %s, %s)", sealed)
        hooks.post({"n": 10_000})

        assert hooks.fly() == 1

        assert hooks.landed() == list(range(10_001))
        assert hooks.waiting() == 0
        assert hooks.nest.one("SELECT count(*) FROM hive.task WHERE kind IN ('plan', 'collect')") <= 3

    def test_stripe_and_slack_are_let_in_and_slack_is_answered_as_it_wants(self, hooks: Hooks) -> None:
        form = "application/x-www-form-urlencoded"
        assert hooks.post({"id": "evt_1", "n": 1}, stripe).status_code == 202
        assert hooks.post({"id": "evt_1", "n": 1}, lambda raw: stripe(raw, time.time() - 100)).status_code == 200
        command = hooks.post(b"n=2&trigger_id=1.2.ab", slack, **{"Content-Type": form})
        hello = hooks.post({"type": "url_verification", "challenge": "word"}, slack)

        assert (command.status_code, command.content) == (200, b"")
        assert hello.json() == {"challenge": "word"}
        hooks.fly()
        assert sorted(str(data["n"]) for data in hooks.nest.jar("hooked").values()) == ["1", "2"]

    def test_one_style_is_all_that_is_taken_where_the_bee_says_so(self, nest: Nest, database: db.Database) -> None:
        os.environ["HOOKED_SECRET"] = SECRET
        hooks = Hooks(nest, database, on={"webhook": {"secret": "${HOOKED_SECRET}", "signed": "stripe"}})

        assert hooks.post({"n": 1}, github).status_code == 401
        assert hooks.post({"n": 1}, stripe).status_code == 202

    def test_a_secret_that_was_taken_away_lets_nobody_in_soon(
        self, hooks: Hooks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert hooks.post({"n": 1}).status_code == 202
        hooks.nest.rt.vault().set("bees/hooked/webhook", "another-signing-secret")
        now = time.monotonic()
        monkeypatch.setattr("hive.gateway.webhooks.time.monotonic", lambda: now + SECRETS_LAST)

        assert hooks.post({"n": 2}).status_code == 401

    def test_a_body_in_an_encoding_is_refused_before_it_could_be_misread(self, hooks: Hooks) -> None:
        assert hooks.post(b"x", **{"Content-Encoding": "gzip"}).status_code == 415

    def test_the_doctor_tells_of_messages_that_nobody_reads(self, hooks: Hooks) -> None:
        def told() -> list[tuple[str, str]]:
            with hooks.nest.rt.db.transaction() as tx:
                return [(one.level, one.next) for one in doctor.inbox(tx)]

        hooks.post({"n": 1})
        assert told() == []
        hooks.nest.run("UPDATE hive.inbox SET received_at = received_at - interval '11 minutes'")
        assert told() == [("wrong", "hive fly hooked")]
        hooks.nest.hive.pause("hooked")
        assert [level for level, _ in told()] == ["waiting"]
        hooks.nest.land("hooked")
        assert told() == []
        assert hooks.landed() == [1]

    def test_a_check_looks_into_the_inbox(self, hooks: Hooks) -> None:
        with hooks.nest.hive.open_bee("hooked") as bee:
            assert bee.validate_flight_path() is None

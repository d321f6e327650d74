"""Messages keep coming while the worker that reads them is killed as `kill -9` does: each lands, and is read once."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Iterable

import httpx
import pytest

from hive.gateway.app import app
from tests.fleet.test_kill import Fleet, make_fleet

__all__ = ["make_fleet"]

pytestmark = pytest.mark.fleet

SECRET = "made-up-signing-secret"
LANDED = "SELECT data ->> 'n' FROM hive.honey h JOIN hive.jar j ON j.id = h.jar WHERE j.name = 'hooked'"


def send(fleet: Fleet, numbers: Iterable[int]) -> None:
    """Each message twice, as a sender does that lost an answer."""

    async def post() -> None:
        transport = httpx.ASGITransport(app(fleet.hive._rt.settings, fleet.hive._rt.db))
        async with httpx.AsyncClient(transport=transport, base_url="http://hive") as client:
            for number in numbers:
                body = json.dumps({"n": number}).encode()
                mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
                headers = {"X-Hub-Signature-256": f"sha256={mac}", "X-GitHub-Delivery": f"d-{number}"}
                answers = [(await client.post("/webhooks/hooked", content=body, headers=headers)) for _ in range(2)]
                assert [answer.status_code for answer in answers] == [202, 200]

    asyncio.run(post())


@pytest.mark.parametrize("point", ["collect:before-seal-commit", "collect:after-seal-commit"])
def test_a_reader_that_is_killed_around_the_seal_loses_and_doubles_no_message(make_fleet, point):
    fleet = make_fleet()
    fleet.hive.register_worker("webhook", {"name": "hooked"})
    fleet.hive._rt.vault().set("bees/hooked/webhook", SECRET)
    send(fleet, range(200))
    fleet.worker("doomed", "bees.api", point)
    fleet.beat()
    fleet.wait("the reader's death", lambda: fleet.crashed(point).exists())

    send(fleet, range(200, 300))
    fleet.worker("sound", "bees.api,nectar")

    fleet.wait("all messages", lambda: len(fleet.rows(LANDED)) >= 300, pause=0.3)
    fleet.wait("an empty inbox", lambda: not fleet.rows("SELECT 1 FROM hive.inbox WHERE slot_key IS NULL"))
    assert sorted(int(n) for (n,) in fleet.rows(LANDED)) == list(range(300))
    fleet.wait("a quiet hive", lambda: not fleet.rows("SELECT 1 FROM hive.task WHERE state <> 'done'"))
    assert fleet.rows("SELECT sum(rows)::int FROM hive.batch") == [(300,)], "no message was read into two batches"
    assert fleet.rows("SELECT coalesce(sum(octet_length(body)), 0)::int FROM hive.inbox") == [(0,)]

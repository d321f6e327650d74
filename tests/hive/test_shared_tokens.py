"""A refresh token that is good once: all workers of a hive go on with what it gave, against a certified provider."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from bees.core.errors import GiveUp
from bees.core.http import Credentials, HttpClient
from bees.core.rest.device import device_login
from bees.rest import RestBee
from hive.runtime import Runtime
from tests.hive.nest import make_nest, nest
from tests.servers.web import oidc_provider

__all__ = ["make_nest", "nest"]

pytestmark = pytest.mark.servers

SECRET = "canary-secret-4711-of-the-client"
CLIENT = {
    "client_id": "person", "client_secret": SECRET, "token_endpoint_auth_method": "client_secret_basic",
    "application_type": "native", "redirect_uris": [], "response_types": [],
    "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
}  # fmt: skip


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[str]:
    with oidc_provider(tmp_path, [CLIENT], rotate=True) as url:
        yield url


def logged_in(url: str) -> str:
    """A refresh token, as a person gets it."""
    pair = base64.b64encode(f"person:{SECRET}".encode()).decode()
    client = HttpClient(url, credentials=Credentials({"Authorization": f"Basic {pair}"}), allow_private=True)
    fields = {"client_id": "person", "scope": "openid offline_access read", "prompt": "consent"}

    def approved(_: str, code: str) -> None:
        httpx.get(f"{url}/_approve", params={"code": code}).raise_for_status()

    try:
        return device_login(client, (f"{url}/device/auth", f"{url}/token"), fields, approved, sleep=lambda _: None)
    finally:
        client.close()


def source(url: str, token: str) -> dict[str, Any]:
    auth = {"method": "oauth2_refresh_token", "token_url": f"{url}/token", "client_id": "person",
            "client_secret": SECRET, "refresh_token": token}  # fmt: skip
    return {"base_url": url, "allow_private": True, "auth": auth}


STREAMS = {"things": {"path": "/api/things", "key": "id", "pagination": {"type": "page"}}}


def opened(rt: Runtime, url: str, token: str) -> RestBee:
    """As a worker opens it."""
    bee = RestBee.from_options({**source(url, token), "streams": STREAMS})
    with rt.db.single() as tx:
        number = tx.psycopg.execute("SELECT min(id) FROM hive.bee").fetchone()
    rt.limits.attach(number[0], "default", bee, {})
    return bee


def ids(bee: RestBee) -> list[int]:
    return [row["id"] for batch in bee.collect_nectar("things", None) for row in batch.table.to_pylist()]


def asked(url: str) -> int:
    return httpx.get(f"{url}/_asked").json().count("/token")


def forget(bee: RestBee) -> None:
    """Tell the API to take the bee's token no more; the bee renews it, has that one forgotten too, and gives up."""
    with pytest.raises(GiveUp):
        bee._source.ask(bee._source.url("/api/things?forget=1", {}), "here", {})


def test_bees_and_workers_that_share_a_login_land_one_after_another(nest, provider):
    token = logged_in(provider)
    before = asked(provider)
    for name in ("one", "two"):
        nest.hive.register_worker("rest", {"name": name, "source": source(provider, token), "streams": STREAMS})
    landed = [nest.land(name).records_landed for name in ("one", "two")]

    assert landed == [3, 3]
    assert asked(provider) == before + 1, "the access token is shared, too"
    with opened(nest.rt, provider, token) as bee:
        forget(bee)
        assert asked(provider) == before + 2
    with opened(nest.runtime("nest:2:2"), provider, token) as bee:
        assert ids(bee) == [1, 2, 3], "with the third refresh token: the first two are used up"


def test_whoever_comes_at_the_same_moment_waits_and_takes_what_was_given(nest, provider):
    token = logged_in(provider)
    nest.hive.register_worker("rest", {"name": "one", "source": source(provider, token), "streams": STREAMS})
    before = asked(provider)
    workers = [nest.runtime(f"nest:{n}:{n}") for n in range(2, 6)]

    def work(rt: Runtime) -> list[int]:
        with opened(rt, provider, token) as bee:
            return ids(bee)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, workers))

    assert found == [[1, 2, 3]] * 4
    assert asked(provider) == before + 1


def test_a_new_login_takes_the_place_of_one_that_was_withdrawn(nest, provider):
    first, second = logged_in(provider), logged_in(provider)
    nest.hive.register_worker("rest", {"name": "one", "source": source(provider, first), "streams": STREAMS})
    with RestBee.from_options({**source(provider, first), "streams": STREAMS}) as stranger:
        assert ids(stranger) == [1, 2, 3]  # somebody else used the token up, which withdraws the login
    with opened(nest.rt, provider, first) as bee, pytest.raises(GiveUp) as error:
        ids(bee)
    with opened(nest.rt, provider, second) as bee:
        found = ids(bee)

    assert (error.value.code, error.value.where) == ("denied", "auth.token_url")
    assert "hive comb login" in error.value.advice
    assert found == [1, 2, 3]


def test_tokens_are_sealed_and_only_the_newest_is_kept(nest, provider):
    token = logged_in(provider)
    nest.hive.register_worker("rest", {"name": "one", "source": source(provider, token), "streams": STREAMS})
    with opened(nest.rt, provider, token) as bee:
        ids(bee)
        for _ in range(2):
            forget(bee)
        held = bee._source.client._login
    kept = nest.rows("SELECT path, version, body FROM hive.vault_secret WHERE path LIKE 'hive/login/%%'")

    assert len(kept) == 1
    assert kept[0][1] == 3
    assert all(secret.encode() not in bytes(kept[0][2]) for secret in (held._token, held._refresh))
    assert all(secret not in repr(nest.rt.vault().list()) for secret in (held._token, kept[0][0]))

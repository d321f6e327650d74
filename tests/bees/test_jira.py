"""The connector of the documents' `JIRA`, against a server that answers as Jira Cloud documents it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bees.core.errors import GiveUp
from bees.core.rest.declared import shared
from bees.jira import JiraBee
from hive.demo.api import running
from tests.bees.contract import BeeContract, Source
from tests.hive.vendors import TOKEN, app, records

MAIL = "reader@acme.example"


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    server = app("jira-issues")
    server.state.world.busy = 0
    with running(server) as url:
        yield url


class TestCloud(BeeContract):
    connector = "jira"

    @pytest.fixture
    def source(self, cloud: str) -> Source:
        options = {"base_url": cloud, "allow_private": True, "email": MAIL, "jql": "project = ED", "api_token": TOKEN}
        return Source(
            options=options,
            stream="issues",
            keys={issue["id"] for issue in records("jira-issues")},
            key_of=lambda row: row["id"],
            unreachable={**options, "base_url": "http://127.0.0.1:9"},
            denied={**options, "api_token": TOKEN[::-1]},
            secrets=(TOKEN, TOKEN[::-1]),
        )

    def test_a_second_flight_asks_for_what_changed_since(self, source: Source) -> None:
        again = self.read(source, self.read(source)[-1].cursor)

        assert [row["id"] for batch in again for row in batch.table.to_pylist()] == ["10007"]


def test_a_data_center_is_asked_by_offset_with_a_personal_token() -> None:
    asked: list[dict[str, Any]] = []

    async def search(request: Request) -> Response:
        asked.append({**request.query_params, "login": request.headers["authorization"]})
        at = int(request.query_params["startAt"])
        return JSONResponse({"startAt": at, "total": 7, "issues": records("jira-issues")[at : at + 3]})

    with running(Starlette(routes=[Route("/rest/api/2/search", search)])) as url:
        given = {"base_url": url, "allow_private": True, "api_token": "pat-1", "jql": "project = SEC AND status = Open"}
        with JiraBee.from_options(given) as bee:
            found = [row["id"] for batch in bee.collect_nectar("issues", None) for row in batch.table.to_pylist()]

    assert found == [issue["id"] for issue in records("jira-issues")]
    assert [(one["startAt"], one["login"]) for one in asked] == [(n, "Bearer pat-1") for n in ("0", "2", "4")]
    start = 946_684_800_000 - 60_000  # the year 2000, less the look-back
    assert asked[0]["jql"] == f"(project = SEC AND status = Open) AND updated >= {start} ORDER BY updated ASC"


def test_what_every_source_over_http_may_say_is_passed_on() -> None:
    given = {"base_url": "https://jira.example.com", "jql": "project = A", "api_token": "t", "request_attempts": 7,
             "timeout": 5}  # fmt: skip
    told = shared(JiraBee.from_options(given).options)

    assert (told["request_attempts"], told["timeout"]) == (7, 5)


CLOUD = {"base_url": "https://company.atlassian.net", "api_token": "cloud-token-71"}


def test_a_token_of_the_cloud_without_its_account_is_sent_nowhere() -> None:
    with JiraBee.from_options(CLOUD) as bee:
        for asked in (bee.validate_flight_path, lambda: next(bee.collect_nectar("issues", None))):
            with pytest.raises(GiveUp) as error:
                asked()
            assert (error.value.code, error.value.where) == ("no_email", "email")
            assert "email" in error.value.advice
            assert "cloud-token-71" not in str(error.value)


@pytest.mark.parametrize(
    "more",
    [
        {"email": MAIL},
        {"api_token": f"{MAIL}:cloud-token-71"},
        {"base_url": "https://jira.acme.example", "email": MAIL},
    ],
)
def test_the_account_may_stand_beside_the_token_or_in_front_of_it(more: dict[str, str]) -> None:
    told = JiraBee.from_options({**CLOUD, **more}).declared()

    assert told["auth"]["username"] == MAIL
    assert told["auth"]["password"].get_secret_value() == "cloud-token-71"
    assert told["streams"]["issues"]["path"] == "/rest/api/3/search/jql"

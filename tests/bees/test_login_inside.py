"""Servers that refuse a login with status 200, and say so inside: it is renewed once, as after a 401."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bees.core.errors import GiveUp
from bees.graphql import GraphqlBee
from bees.rest import RestBee
from hive.demo.api import running
from nectar.batch import Batch

COUNT = 4
QUERY = "query($after: String) { list(after: $after) { pageInfo { hasNextPage endCursor } nodes { id } } }"


class Api:
    """Pages of one row behind a token; the first token ends behind `ends` pages, and each one at once with `never`."""

    def __init__(self) -> None:
        self.made, self.pages, self.ends, self.never, self.url = 0, 0, 2, False, ""

    async def token(self, _: Request) -> JSONResponse:
        self.made += 1
        return JSONResponse({"access_token": f"t{self.made}", "expires_in": 3600, "token_type": "bearer"})

    def refuses(self, request: Request) -> bool:
        first = request.headers["authorization"] == "Bearer t1"
        return self.never or (first and self.pages >= self.ends)

    async def rows(self, request: Request) -> JSONResponse:
        if self.refuses(request):
            return JSONResponse({"ok": False, "error": "token_expired"})
        self.pages += 1
        page = int(request.query_params.get("at", "x1")[1:])
        return JSONResponse({"ok": True, "list": [{"id": page}], "next": f"x{page + 1}" if page < COUNT else None})

    async def graph(self, request: Request) -> JSONResponse:
        if self.refuses(request):
            return JSONResponse({"data": None, "errors": [{"extensions": {"code": "UNAUTHENTICATED"}}]})
        self.pages += 1
        page = int((await request.json())["variables"].get("after", "x1x1")[3:])
        info = {"hasNextPage": page < COUNT, "endCursor": f"x1x{page + 1}"}
        return JSONResponse({"data": {"list": {"nodes": [{"id": page}], "pageInfo": info}}})

    def read(self, kind: str) -> list[Batch]:
        auth = {"method": "oauth2_client_credentials", "token_url": f"{self.url}/token", "client_id": "hive",
                "client_secret": "made-up"}  # fmt: skip
        plain: dict[str, Any] = {"auth": auth, "allow_private": True}
        paging = {"type": "cursor", "cursor_path": "next", "cursor_param": "at"}
        stream = {"path": "rows", "records": "list", "key": "id", "pagination": paging}
        if kind == "graphql":
            streams = {"x": {"query": QUERY, "connection": "list", "key": "id"}}
            with GraphqlBee.from_options({"url": f"{self.url}/graph", **plain, "streams": streams}) as bee:
                return list(bee.collect_nectar("x", None))
        errors = {"at": "error", "denied": ["token_expired"]}
        given = {"base_url": self.url, "errors": errors, **plain, "streams": {"x": stream}}
        with RestBee.from_options(given) as rest:
            return list(rest.collect_nectar("x", None))


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    routes = [Route("/token", made.token, methods=["POST"]), Route("/rows", made.rows),
              Route("/graph", made.graph, methods=["POST"])]  # fmt: skip
    with running(Starlette(routes=routes)) as url:
        made.url = url
        yield made


@pytest.mark.parametrize("kind", ["rest", "graphql"])
def test_a_login_that_ends_in_the_middle_is_renewed(api: Api, kind: str) -> None:
    found = api.read(kind)

    assert sorted({row["id"] for batch in found for row in batch.table.to_pylist()}) == [1, 2, 3, 4]
    assert api.made == 2


@pytest.mark.parametrize("kind", ["rest", "graphql"])
def test_one_that_is_refused_again_fails_clearly(api: Api, kind: str) -> None:
    api.never = True
    with pytest.raises(GiveUp) as error:
        api.read(kind)

    assert error.value.code == "denied"
    assert api.made == 2

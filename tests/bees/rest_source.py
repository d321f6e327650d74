"""The sample API as a source of tests, with its switches in reach."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from bees.core.errors import GiveUp, RetryLater
from bees.rest import RestBee
from hive.demo import api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.applications import Starlette

    from nectar.batch import Batch

COUNT = 70
SIZE = 20
STREAMS: dict[str, dict[str, Any]] = {
    "tickets": {"path": "/tickets", "key": "id", "pagination": {"size": SIZE, "size_param": "per_page"}},
    "events": {"path": "/events", "key": "id", "pagination": {"type": "page", "size": SIZE, "size_param": "size"}},
    "items": {
        "path": "items",
        "records": "items",
        "key": ["sku"],
        "pagination": {
            "type": "cursor", "size": SIZE, "size_param": "limit", "cursor_path": "meta.next", "cursor_param": "after",
        },
    },
    "people": {"path": "/people", "key": "id", "pagination": {"type": "offset", "size": SIZE, "size_param": "limit"}},
}  # fmt: skip
BEARER = {"method": "bearer", "token": api.TOKEN}


def options(url: str, **more: Any) -> dict[str, Any]:
    return {"base_url": url, "allow_private": True, "auth": BEARER, "streams": STREAMS, **more}


class Demo:
    """The sample API in a thread of this process, with its switches in reach."""

    def __init__(self, url: str, app: Starlette) -> None:
        self.url = url
        self._app = app
        self.world: api.World = app.state.world

    def renew(self) -> None:
        """As if nobody had asked or changed anything."""
        self.world = self._app.state.world = api.app(count=COUNT, wait=None).state.world

    def bee(self, sleep: Any = None, **more: Any) -> RestBee:
        made = RestBee.Options.model_validate(options(self.url, **more))
        return RestBee(made, sleep=sleep) if sleep else RestBee(made)

    def read(self, stream: str, cursor: Any = None, query: Any = None, **more: Any) -> list[Batch]:
        with self.bee(**more) as bee:
            return list(bee.collect_nectar(stream, cursor, query=query))

    def fails(self, stream: str, **more: Any) -> GiveUp | RetryLater:
        with pytest.raises((GiveUp, RetryLater)) as error:
            self.read(stream, **more)
        text = "".join(traceback.format_exception(error.value))
        assert api.TOKEN not in text
        assert "Ada" not in text, "the server's own text shows"
        return error.value

    def statuses(self) -> list[int]:
        found = [status for _, status in self.world.asked]
        self.world.asked.clear()
        return found


def one(**listing: Any) -> dict[str, Any]:
    """Options of a single stream over tickets, changed."""
    return {"tickets": {**STREAMS["tickets"], **listing}}


@contextlib.contextmanager
def sample_api() -> Iterator[Demo]:
    made = api.app(count=COUNT, wait=None)
    with api.running(made) as url:
        yield Demo(url, made)

"""The gateway's pages in tests: asked directly, or served for a browser. A test module imports the fixtures by name."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from hive.dashboard import accounts
from hive.gateway.app import app
from hive.gateway.serve import listening
from hive.ledger.db import Database
from hive.settings import Settings
from tests.hive.nest import Nest

__all__ = ["PASSWORD", "Visitor", "served", "visit"]

PASSWORD = "made-up-password"


class Visitor:
    """Somebody with a browser's memory for cookies. Every answer is read to its end."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._loop = asyncio.new_event_loop()
        self.app = app(settings, db)
        transport = httpx.ASGITransport(self.app, client=("192.0.2.7", 1))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://hive")

    def get(self, path: str, **how: Any) -> httpx.Response:
        return self._loop.run_until_complete(self._client.get(path, **how))

    def post(self, path: str, fields: dict[str, str] | None = None, **how: Any) -> httpx.Response:
        return self._loop.run_until_complete(self._client.post(path, data=fields or {}, **how))

    def at_once(self, times: int, path: str, fields: dict[str, str]) -> list[httpx.Response]:
        async def all_of_them() -> list[httpx.Response]:
            return await asyncio.gather(*(self._client.post(path, data=fields) for _ in range(times)))

        return self._loop.run_until_complete(all_of_them())

    def log_in(self, name: str = "operator", password: str = PASSWORD, **fields: str) -> httpx.Response:
        return self.post("/login", {"name": name, "password": password, **fields})

    def csrf(self) -> str:
        return re.findall(r'name="csrf" content="(\w*)"', self.get("/").text)[0]

    def act(self, path: str, **fields: str) -> httpx.Response:
        """A form of the page, as the page sends it."""
        return self.post(path, {"csrf": self.csrf(), **fields})

    def forget(self) -> None:
        """Lose all cookies."""
        self._client.cookies.clear()

    def keep(self, name: str, value: str) -> None:
        self._client.cookies.set(name, value)

    @property
    def token(self) -> str:
        return self._client.cookies["hive_session"]

    def close(self) -> None:
        self.app.state.close()
        self._loop.run_until_complete(self._client.aclose())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@pytest.fixture
def visit(make_nest: Callable[..., Nest]) -> Iterator[Callable[..., Visitor]]:
    """A visitor of a nest's pages; of `role` viewer under that name, else nobody yet."""
    made: list[Visitor] = []

    def make(nest: Nest, role: str | None = None) -> Visitor:
        visitor = Visitor(nest.settings, nest.rt.db)
        made.append(visitor)
        if role == "viewer":
            accounts.put(nest.rt.db, "vera", "viewer", PASSWORD)
            visitor.log_in("vera")
        elif role == "operator":
            visitor.log_in()
        return visitor

    yield make
    for one in made:
        one.close()


@contextmanager
def served(nest: Nest) -> Iterator[str]:
    """The address of a gateway for a nest, on a free port."""
    listener = listening("127.0.0.1", 0)
    servers: list[uvicorn.Server] = []
    made = app(nest.settings, nest.rt.db, lambda: servers[0].should_exit)
    servers.append(uvicorn.Server(uvicorn.Config(made, log_level="error", lifespan="off", ws="none", http="h11")))
    thread = threading.Thread(target=lambda: servers[0].run(sockets=[listener]), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        servers[0].should_exit = True
        thread.join(10)
        assert not thread.is_alive()
        made.state.close()

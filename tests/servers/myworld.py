"""A world of services that others wrote, for tests: the package `myworld` answers as GitHub's API does.

It is a child process on a free port of loopback, in a virtual environment of its own.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.servers.taps import installed
from tests.servers.web import _free_port, _running

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE = "myworld[gateway]==0.2.1"


@dataclass(frozen=True)
class World:
    """`github`: the address that stands for https://api.github.com. `token`: of the person who reads there."""

    github: str
    token: str
    _server: str
    _instance: str

    def fail(self, *faults: dict[str, Any]) -> None:
        """From now on: {"kind": "rate_limit", "on_call": 2, "retry_after": 1} and the like."""
        httpx.put(f"{self._server}/instances/{self._instance}/faults", json=list(faults)).raise_for_status()

    def write(self, title: str) -> int:
        """A new issue in acme/api; gives its number."""
        head = {"Authorization": f"Bearer {self.token}"}
        made = httpx.post(f"{self.github}/repos/acme/api/issues", json={"title": title}, headers=head)
        return int(made.raise_for_status().json()["number"])


@contextlib.contextmanager
def myworld(folder: Path) -> Iterator[World]:
    """A world with a GitHub in it, and some issues of the repository acme/api."""
    port = _free_port()
    command = [installed(_PACKAGE, "myworld"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with _running(command, port, folder) as url:
        told = httpx.post(f"{url}/envs", json={"spec": {"name": "office", "servers": {"github": {}}}}).json()
        token = told["credentials"]["agent"]["github_token"]
        yield World(f"{url}/gw/api.github.com", token, url, told["servers"]["github"]["instance"])

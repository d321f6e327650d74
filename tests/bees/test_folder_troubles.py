"""One folder or file of a real server that fails for itself: the rest lands, and nothing of it counts as deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bees.core.errors import GiveUp, RetryLater
from nectar.batch import Batch
from tests.bees.contract import rows
from tests.bees.file_systems import FolderDisk, read
from tests.servers.troubled import HALF, Relay, Trouble, troubled
from tests.servers.webdav import PASSWORD, web_index, webdav

pytestmark = pytest.mark.servers
LOGIN: Trouble = (401, {}, b"")
AWAY: Trouble = (302, {"Location": "http://127.0.0.1:1/"}, b"")


class Served(FolderDisk):
    """A folder behind a server and the relay before it; `at` is the address of its root there."""

    connector: str
    relay: Relay
    at: str

    def read(self, cursor: Any = None, **more: Any) -> list[Batch]:
        return read(self.connector, self.options, cursor=cursor, **more)

    def is_list(self, method: str, path: str, folder: str) -> bool:
        asked = "PROPFIND" if self.connector == "webdav" else "GET"
        return method == asked and path == f"{self.at}{folder}"

    def gone(self, batches: list[Batch]) -> list[str]:
        return [row["path"] for row in rows(batches) if "_op" in row]


@pytest.fixture(params=["webdav", "http_index"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    made.connector = request.param
    with (
        (webdav if made.connector == "webdav" else web_index)(tmp_path) as url,
        troubled(url) as made.relay,
    ):
        made.at = "/files/" if made.connector == "webdav" else "/"
        auth = {"method": "basic", "username": "bee", "password": PASSWORD}
        made.options = {"url": made.relay.url + made.at, "allow_private": True, "auth": auth, "timeout": 5}
        for path in ("a.txt", "in/b.txt", "out/c.txt", "z.txt"):
            made.put(path, path.encode())
        yield made


@pytest.mark.parametrize(
    "trouble",
    [(500, {}, b""), (503, {}, b""), LOGIN, (404, {}, b""), (302, {"Location": "/out/"}, b""), (204, {}, b""), HALF],
    ids=["500", "503", "401", "404", "redirect", "nothing", "cut"],
)
def test_a_folder_that_fails_for_itself_keeps_no_other_from_being_read(served: Served, trouble: Trouble) -> None:
    cursor = served.read()[-1].cursor
    for path in ("in/b.txt", "z.txt"):
        served.put(path, b"changed")
    served.remove("out/c.txt")
    served.relay.trouble = lambda method, path: trouble if served.is_list(method, path, "in/") else None

    first = served.read(cursor)
    again = served.read(first[-1].cursor)
    served.relay.trouble = lambda *_: None
    mended = served.read(first[-1].cursor)

    assert [row["path"] for row in rows(first) if "_op" not in row] == ["z.txt"]
    assert [r.position for batch in first for r in batch.rejects] == ["in"]
    assert served.gone(first) == ["out/c.txt"]
    assert again == [], "it is told once"
    assert ([row["path"] for row in rows(mended)], served.gone(mended)) == (["in/b.txt"], [])


def test_a_folder_that_failed_once_is_listed_at_once_again(served: Served) -> None:
    left = [1]

    def once(method: str, path: str) -> Trouble | None:
        return (502, {}, b"") if served.is_list(method, path, "in/") and left and left.pop() else None

    served.relay.trouble = once
    found = served.read()

    assert [row["path"] for row in rows(found)] == ["a.txt", "in/b.txt", "out/c.txt", "z.txt"]
    assert [r for batch in found for r in batch.rejects] == []


@pytest.mark.parametrize("trouble", [(500, {}, b""), (503, {"Retry-After": "7"}, b""), (401, {}, b"")])
def test_a_server_that_fails_as_a_whole_closes_no_folder(served: Served, trouble: Trouble) -> None:
    """Its root is asked for once more, and fails as well."""
    cursor = served.read()[-1].cursor
    begun: list[str] = []

    def failing(method: str, path: str) -> Trouble | None:
        begun.extend([path] if served.is_list(method, path, "in/") else [])
        return trouble if begun else None

    served.relay.trouble = failing
    with pytest.raises(GiveUp if trouble[0] == 401 else RetryLater):
        served.read(cursor)


def test_a_listing_that_is_redirected_deletes_nothing(served: Served) -> None:
    """The page that comes is a list as well: of another folder."""
    cursor = served.read()[-1].cursor
    served.relay.trouble = lambda method, path: (
        (302, {"Location": f"{served.at}out/"}, b"") if served.is_list(method, path, "") else None
    )

    with pytest.raises(GiveUp) as error:
        served.read(cursor)

    assert error.value.code in ("redirected", "redirect_refused")
    assert error.value.where == "path"


@pytest.mark.parametrize(
    "trouble",
    [(500, {}, b""), LOGIN, (302, {"Location": "z.txt"}, b""), AWAY],
    ids=["500", "401", "circle", "elsewhere"],
)
def test_a_file_that_fails_for_itself_keeps_no_other_from_being_read(served: Served, trouble: Trouble) -> None:
    """Also one of which not even the head is told."""
    served.relay.trouble = lambda method, path: trouble if method != "PROPFIND" and path.endswith("z.txt") else None
    first = served.read()
    served.relay.trouble = lambda *_: None
    second = served.read(json.loads(json.dumps(first[-1].cursor)))

    assert [row["path"] for row in rows(first)] == ["a.txt", "in/b.txt", "out/c.txt"]
    assert [row["path"] for row in rows(second)] == ["z.txt"]

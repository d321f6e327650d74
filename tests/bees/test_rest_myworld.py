"""The `rest` bee against the likeness of GitHub that others wrote: its pages, its limits, its bad minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bees.core.errors import GiveUp, RetryLater
from bees.rest import RestBee
from tests.servers.myworld import World, myworld

pytestmark = pytest.mark.servers

ISSUES = {
    "path": "/repos/acme/api/issues",
    "params": {"state": "all", "sort": "updated", "direction": "asc"},
    "key": "number",
    "cursor": "updated_at",
    "cursor_param": "since",
    "pagination": {"type": "page", "size": 5, "size_param": "per_page"},
}


def options(world: World, token: str = "") -> dict[str, Any]:
    auth = {"method": "bearer", "token": token or world.token}
    return {"base_url": world.github, "allow_private": True, "auth": auth, "streams": {"issues": ISSUES}}


def test_every_issue_comes_once_across_its_limits_and_bad_minutes(tmp_path: Path) -> None:
    with myworld(tmp_path) as world:
        last = [world.write(f"issue {n}") for n in range(14)][-1]
        world.fail(
            {"kind": "rate_limit", "on_call": 2},
            {"kind": "bad_gateway", "on_call": 3},
            {"kind": "server_error", "on_call": 5},
        )
        found, stops, cursor, over = [], [], None, False
        while not over:
            with RestBee.from_options(options(world)) as bee:
                try:
                    for batch in bee.collect_nectar("issues", cursor):
                        found += batch.table["number"].to_pylist() if batch.table.num_rows else []
                        cursor = batch.cursor
                    over = True
                except RetryLater as error:
                    stops.append((error.code, error.after))
        late = world.write("one more")
        with RestBee.from_options(options(world)) as bee:
            again = [row["number"] for b in bee.collect_nectar("issues", cursor) for row in b.table.to_pylist()]

    assert set(found) == set(range(1, last + 1))
    assert ("rate_limited", 60.0) in stops, "GitHub says so with status 403, and in words"
    assert late in again


def test_a_wrong_token_is_named_and_not_shown(tmp_path: Path) -> None:
    with (
        myworld(tmp_path) as world,
        RestBee.from_options(options(world, "gho_wrong-4711")) as bee,
        pytest.raises(GiveUp) as error,
    ):
        bee.validate_flight_path()

    assert error.value.code == "denied"
    assert "4711" not in str(error.value)

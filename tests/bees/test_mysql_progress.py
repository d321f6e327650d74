"""Which server has come as far as another one: by its GTIDs, in the words of either server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bees.core.sql.mysql import progress

ONE, TWO = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "00000000-0000-0000-0000-0000000000ff"


def mysql(server: str, executed: str, mode: str = "ON") -> list[tuple[Any, ...]]:
    return [("server_uuid", server), ("server_id", 1), ("gtid_mode", mode), ("gtid_executed", executed)]


def mariadb(port: int, position: str = "") -> list[tuple[Any, ...]]:
    return [("hostname", "db"), ("port", port), ("server_id", 1), ("gtid_current_pos", position)]


@pytest.mark.parametrize(
    ("then", "now", "word"),
    [
        (mysql(ONE, f"{ONE}:1-9"), mysql(ONE, ""), "there"),  # the server itself
        (mysql(ONE, f"{ONE}:1-9,\n{TWO}:4"), mysql(TWO, f"{TWO}:1-7,{ONE}:1-20"), "there"),
        (mysql(ONE, f"{ONE}:1-9"), mysql(TWO, f"{ONE}:1-8"), "behind"),
        (mysql(ONE, f"{ONE}:1-9"), mysql(TWO, f"{ONE}:1-4:6-20"), "behind"),
        (mysql(ONE, f"{ONE}:1-9,{TWO}:1"), mysql(TWO, f"{ONE}:1-20"), "behind"),
        (mysql(ONE, f"{ONE}:1-9", "OFF"), mysql(TWO, f"{ONE}:1-20", "OFF"), "other"),
        (mariadb(1, "0-1-9"), mariadb(2, "0-1-9"), "there"),
        (mariadb(1, "0-1-9"), mariadb(2, "0-2-10,7-2-1"), "there"),
        (mariadb(1, "0-1-9,7-1-3"), mariadb(2, "0-1-12,7-1-2"), "behind"),
        (mariadb(1, "0-1-9,7-1-3"), mariadb(2, "0-1-12"), "behind"),
        (mariadb(1, "0-1-9"), mariadb(2), "other"),
        (mariadb(1), mariadb(2), "other"),
        (mariadb(1), mariadb(1), "there"),
    ],
)
def test_a_server_has_what_another_one_had(
    then: list[tuple[Any, ...]], now: list[tuple[Any, ...]], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json.loads(json.dumps(progress.told(then)))
    monkeypatch.setattr(progress, "reached", lambda *_: progress.told(now))
    assert progress.compared(None, told, "streams.t") == word  # type: ignore[arg-type]

"""Taps that other people published, one of them older than Singer's SDK, against real sources, into a jar."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.hive.nest import Nest, make_nest, nest
from tests.servers.mariadb import MariaDB
from tests.servers.taps import installed

__all__ = ["make_nest", "nest"]

pytestmark = pytest.mark.servers


def register(nest: Nest, command: str, config: dict[str, Any], streams: dict[str, Any], **more: Any) -> None:
    source = {"command": [command], "config": config, "silence": 60, **more}
    nest.hive.register_worker("singer", {"name": "tap", "source": source, "streams": streams})


def test_tap_jsonl_reads_a_file_that_grows(nest: Nest, tmp_path: Path) -> None:
    command = installed("tap-jsonl==0.3.1", "tap-jsonl")
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"id": n, "name": f"thing {n}"}) + "\n" for n in range(700)))
    register(nest, command, {"path": str(file), "stream_name": "rows", "primary_keys": ["id"]}, {"rows": {"key": "id"}})
    first = nest.land("tap")
    with file.open("a") as more:
        more.write(json.dumps({"id": 700, "name": "late"}) + "\n")
    second = nest.land("tap")

    assert (first.state, first.records_landed) == ("complete", 700)
    assert second.state == "complete"  # by this tap's own rule a file that changed is read again from its beginning
    assert len(nest.jar("tap")) == 701


@pytest.fixture
def tickets(empty_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(empty_database_url, autocommit=True) as made:
        made.execute("CREATE TABLE ticket (id int PRIMARY KEY, title text, amount numeric(12,4), at timestamptz)")
        made.execute(
            "INSERT INTO ticket SELECT n, 'ticket ' || n, n * 1.25, '2026-01-01Z'::timestamptz + n * interval '1 s'"
            " FROM generate_series(1, 300) n"
        )
        yield made


def test_tap_postgres_follows_its_replication_key(
    nest: Nest, empty_database_url: str, tickets: psycopg.Connection[Any]
) -> None:
    command = installed("meltanolabs-tap-postgres==0.10.0", "tap-postgres")
    url = make_url(empty_database_url)
    config = {
        "host": url.host, "port": url.port, "user": url.username, "password": url.password, "database": url.database,
        "filter_schemas": ["public"],
    }  # fmt: skip
    stream = {"method": "INCREMENTAL", "replication_key": "at", "key": "id"}
    register(nest, command, config, {"public-ticket": stream})
    first = nest.land("tap")
    tickets.execute("INSERT INTO ticket VALUES (301, 'late', 0.5, '2026-02-01Z')")
    tickets.execute("UPDATE ticket SET title = 'changed', at = '2026-02-02Z' WHERE id = 7")
    second = nest.land("tap")

    assert (first.state, first.records_landed) == ("complete", 300)
    assert (second.state, second.records_landed) == ("complete", 2)
    assert nest.jar("tap")["7"]["title"] == "changed"
    assert len(nest.jar("tap")) == 301


def test_a_tap_that_is_older_than_the_sdk(nest: Nest, mariadb: MariaDB) -> None:
    command = installed("pipelinewise-tap-mysql==1.6.0", "tap-mysql")
    with mariadb.root() as made, made.cursor() as asked:
        asked.execute("CREATE OR REPLACE DATABASE shop")
        asked.execute("CREATE TABLE shop.orders (id int PRIMARY KEY, total decimal(10,2), note text)")
        asked.execute("INSERT INTO shop.orders VALUES (1, 12.50, 'a'), (2, 0.10, 'b'), (3, 7, NULL)")
        made.commit()
    config = {"host": "127.0.0.1", "port": mariadb.port, "user": "root", "password": "", "filter_dbs": "shop"}
    stream = {"shop-orders": {"method": "FULL_TABLE", "key": "id"}}
    register(nest, command, config, stream, catalog_option="--properties")
    result = nest.land("tap")

    assert (result.state, result.records_landed) == ("complete", 3)
    assert set(nest.jar("tap")) == {"1", "2", "3"}

    with mariadb.root() as made, made.cursor() as asked:
        asked.execute("DELETE FROM shop.orders WHERE id = 2")
        made.commit()
    again = nest.land("tap")

    assert (again.state, again.records_unchanged, again.records_deleted) == ("complete", 2, 1)
    assert set(nest.jar("tap")) == {"1", "3"}, "it activates a version of the table with each read of it"

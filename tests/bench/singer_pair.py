"""Meltano's tap and target for PostgreSQL: the same rows from the same server to the same server, nothing scrubbed.

Each in a virtual environment of its own, made once (`.venv/taps`). On a part of the table: such pairs take minutes for
a million rows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import psycopg

if TYPE_CHECKING:
    from hive.demo import source as shop

TAP, TARGET = "meltanolabs-tap-postgres==0.10.0", "meltanolabs-target-postgres==0.8.0"
_LIMIT = 900
_SCHEMA, _TABLE = "sampled", "customers"


def seconds_each(source: shop.Source, home: Path, rows: int) -> float | None:
    """Seconds for one of so many records, from start to end of the pair; None where it cannot be installed."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from tests.servers.taps import installed

    try:
        tap, target = installed(TAP, "tap-postgres"), installed(TARGET, "target-postgres")
    except BaseException as error:  # noqa: BLE001 - pytest's way of telling it is no Exception
        print(f"meltano's pair is left out: {error}", file=sys.stderr)
        return None
    with psycopg.connect(source.url, autocommit=True) as owner:
        owner.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
        owner.execute(f"DROP TABLE IF EXISTS {_SCHEMA}.{_TABLE}")
        owner.execute(f"CREATE TABLE {_SCHEMA}.{_TABLE} AS SELECT * FROM customers ORDER BY id LIMIT {rows}")
        owner.execute(f"ALTER TABLE {_SCHEMA}.{_TABLE} ADD PRIMARY KEY (id)")
    read, write = home / "tap.json", home / "target.json"
    read.write_text(json.dumps(_place(source) | {"filter_schemas": [_SCHEMA]}))
    write.write_text(json.dumps(_place(source) | {"default_target_schema": "meltano"}))
    catalog = home / "catalog.json"
    catalog.write_text(json.dumps(_selected(_said([tap, "--config", str(read), "--discover"]))))
    began = time.perf_counter()
    with subprocess.Popen(
        [tap, "--config", str(read), "--catalog", str(catalog)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as reading:
        subprocess.run(
            [target, "--config", str(write)], stdin=reading.stdout, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, check=True, timeout=_LIMIT,
        )  # fmt: skip
    took = time.perf_counter() - began
    with psycopg.connect(source.url, autocommit=True) as owner:
        count = owner.execute("SELECT count(*) FROM meltano.customers").fetchone()
        owner.execute("DROP SCHEMA meltano CASCADE")
    if count != (rows,):
        raise RuntimeError(f"meltano's pair landed {count} of {rows} records")
    return took / rows


def _place(source: shop.Source) -> dict[str, object]:
    owner = urlsplit(source.url)
    return {
        "host": owner.hostname, "port": owner.port, "database": source.database, "user": unquote(owner.username or ""),
        "password": unquote(owner.password or ""),
    }  # fmt: skip


def _said(argv: list[str]) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=_LIMIT).stdout


def _selected(told: str) -> dict[str, object]:
    catalog: dict[str, list[dict[str, object]]] = json.loads(told)
    for stream in catalog["streams"]:
        for one in stream["metadata"]:  # type: ignore[attr-defined]
            if one["breadcrumb"] == []:
                one["metadata"]["selected"] = True
    return dict(catalog)

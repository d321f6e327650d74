"""Each comb that ships, against a server that answers as its vendor's documentation shows."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from bees.core.errors import GiveUp, RetryLater
from hive.combs import CombLibrary
from hive.combs.library import SYSTEM
from hive.demo.api import running
from nectar.batch import Batch
from nectar.jsonrows import parse
from tests.hive.vendors import TOKEN, VENDORS, app, records


def bee(comb: str, url: str, secret: str = TOKEN) -> Any:
    vendor = VENDORS[comb]
    given = {**vendor.given, **({vendor.secret: secret} if vendor.secret else {})}
    return CombLibrary().create_worker_bee(comb, base_url=url, allow_private=True, **given)


def stream_of(comb: str) -> str:
    (name,) = CombLibrary().get_comb(comb)["extraction"]["streams"]
    return VENDORS[comb].stream or str(name)


def read(comb: str, url: str, cursor: Any = None) -> list[Batch]:
    with bee(comb, url) as made:
        return list(made.collect_nectar(stream_of(comb), cursor))


def rows(batches: list[Batch]) -> list[dict[str, Any]]:
    found = [row for batch in batches for row in batch.table.to_pylist()]
    return [{name: _value(value) for name, value in row.items() if value is not None} for row in found]


def _value(value: Any) -> Any:
    """What stood in the source: a column of unequal objects comes as text."""
    if isinstance(value, dict):
        return {k: _value(v) for k, v in value.items()}
    return parse(value) if isinstance(value, str) and value[:1] in "{[" and value[-1:] in "}]" else value


def expected(comb: str) -> dict[Any, dict[str, Any]]:
    vendor = VENDORS[comb]
    made = [{**row, **{name: add(row) for name, add in vendor.adds.items()}} for row in records(comb)]
    return {row[vendor.key]: {k: v for k, v in row.items() if v is not None} for row in made}


def test_every_comb_that_speaks_to_a_vendor_is_tried_and_names_its_page() -> None:
    combs = {name: comb for name, comb in CombLibrary().system_combs.items() if comb.get("verified")}

    assert set(combs) == set(VENDORS)
    assert len(combs) >= 15
    assert all(comb["verified"] == "documentation" for comb in combs.values())
    assert all(comb["documentation"].startswith("https://") for comb in combs.values())
    assert all(len((SYSTEM / f"{name}.yml").read_text().splitlines()) < 80 for name in combs)


@pytest.mark.parametrize("comb", VENDORS)
def test_a_vendors_pages_become_its_records_across_a_rate_limit(comb: str) -> None:
    vendor, server = VENDORS[comb], app(comb)
    first: list[Batch] = []
    with running(server) as url:
        with bee(comb, url) as made, pytest.raises(RetryLater) as error:
            first.extend(made.collect_nectar(stream_of(comb), None))
        second = read(comb, url, first[-1].cursor if first else None)
        statuses = list(server.state.world.statuses)
        third = read(comb, url, second[-1].cursor)

    assert (error.value.code, error.value.after) == ("rate_limited", 3.0)
    assert first, "the page before the rate limit is kept"
    assert statuses.count(429) == 1
    assert statuses.count(200) >= 4, "pages of two"
    assert {row[vendor.key]: row for row in rows(first + second)} == expected(comb)
    assert len({row[vendor.key] for row in rows(third)}) == vendor.again


@pytest.mark.parametrize("comb", [name for name, vendor in VENDORS.items() if vendor.header])
def test_a_wrong_secret_is_refused_by_name_and_shown_nowhere(comb: str) -> None:
    wrong = "another-" + TOKEN[::-1]
    with running(app(comb)) as url, bee(comb, url, wrong) as made, pytest.raises(GiveUp) as error:
        made.validate_flight_path()

    assert error.value.code == "denied"
    assert error.value.advice
    assert wrong not in "".join(traceback.format_exception(error.value))

"""Object stores and file servers that speak HTTP: every request of their libraries counts against the budget."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bees.core.errors import RetryLater
from bees.core.resilience.gate import BudgetGate, GatedBee
from bees.core.resilience.quota import MemoryBudget, Quota
from tests.bees.contract import rows
from tests.bees.test_azure_blob import ContainerDisk
from tests.bees.test_gcs import BucketDisk
from tests.bees.test_resilience_http import Counting
from tests.servers.azure import azurite
from tests.servers.gcs import gcs_url
from tests.servers.s3 import S3Server, s3_server
from tests.servers.webdav import web_index

pytestmark = pytest.mark.servers
__all__ = ["azurite", "gcs_url", "s3_server"]
FILES = 6


def bee_of(connector: str, options: dict[str, Any]) -> GatedBee:
    module = importlib.import_module(f"bees.{connector}")
    kind = next(one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__
                and issubclass(one, GatedBee))  # fmt: skip
    made = kind.from_options({**options, "streams": {"files": {"patterns": "*.txt"}}})
    assert isinstance(made, GatedBee)
    return made


@pytest.fixture(params=["azure_blob", "gcs", "s3", "http_index"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    connector = request.param
    if connector in ("azure_blob", "gcs"):
        kind, server = {"azure_blob": (ContainerDisk, "azurite"), "gcs": (BucketDisk, "gcs_url")}[connector]
        disk = kind(request.getfixturevalue(server))
        for n in range(FILES):
            disk.put(f"{n}.txt", b"text")
        yield connector, disk.options
    elif connector == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        server.bucket("gated", {f"{n}.txt": b"text" for n in range(FILES)})
        yield connector, server.options("gated")
        server.reset()
    else:
        for n in range(FILES):
            (tmp_path / f"{n}.txt").write_text("text")
        with web_index(tmp_path) as url:
            yield connector, {"url": url, "allow_private": True}


def test_each_request_passes(source: tuple[str, dict[str, Any]]) -> None:
    gate = Counting()
    with bee_of(*source) as bee:
        bee.through(gate)
        read = sum(batch.table.num_rows for batch in bee.collect_nectar("files", None))

    ends = time.monotonic() + 10
    while len(gate.left) < len(gate.entered) and time.monotonic() < ends:
        time.sleep(0.01)  # a thread that reads ahead may not have its answer yet

    assert read == FILES
    assert len(gate.entered) == len(gate.left) > FILES
    assert set(gate.left) <= {200, 206}


def test_a_budget_that_is_used_up_is_for_later(source: tuple[str, dict[str, Any]]) -> None:
    with bee_of(*source) as bee:
        bee.through(BudgetGate(MemoryBudget(Quota(2, 600)), patience=0.1))
        with pytest.raises(RetryLater) as error:
            list(bee.collect_nectar("files", None))

    assert error.value.code == "rate_limited"
    assert error.value.after is not None
    assert error.value.after > 500


@pytest.mark.parametrize("source", ["azure_blob", "gcs", "s3"], indirect=True)
def test_a_prefix_under_which_nothing_is_listed_deletes_nothing(source: tuple[str, dict[str, Any]]) -> None:
    connector, options = source
    with bee_of(connector, options) as bee:
        first = list(bee.collect_nectar("files", None))
    with bee_of(connector, options | {"path": "misspelt"}) as bee:
        found = list(bee.collect_nectar("files", first[-1].cursor))
        anew = list(bee.collect_nectar("files", None))
    with bee_of(connector, options | {"path": "misspelt", "max_deleted": 1}) as bee:
        meant = list(bee.collect_nectar("files", first[-1].cursor))

    assert (len(rows(first)), first[-1].complete) == (FILES, True)
    for batches in (found, anew):
        assert [(len(rows([b])), b.complete, [r.code for r in b.rejects]) for b in batches] == [
            (0, False, ["nothing_listed"])
        ]
    assert [row["_op"] for row in rows(meant)] == ["delete"] * FILES

"""Many secrets at once: the same as one by one, also when two processes set them at the same moment."""

# ruff: noqa: F811 - fixtures are imported, then asked for by name

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from hive.ledger.db import make_engine
from hive.vault import BadSecret, HiveKey, Vault
from tests.servers import database_url, migrated_template, postgres, servers_folder  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = HiveKey.of(bytes(range(32)))


@pytest.fixture
def vault(database_url: str) -> Iterator[Vault]:
    engine = make_engine(database_url)
    yield Vault(engine, KEY)
    engine.dispose()


def test_new_ones_and_new_versions(vault):
    vault.set("b/one", "first value")

    vault.set_all({"b/one": "second value", "b/two": "other value"})

    assert vault.texts(["b/one", "b/two", "b/three"]) == {"b/one": "second value", "b/two": "other value"}
    assert [(info.path, info.version) for info in vault.list()] == [("b/one", 2), ("b/two", 1)]


def test_nothing_is_stored_where_one_is_refused(vault):
    with pytest.raises(BadSecret, match="b/two"):
        vault.set_all({"b/one": "a good value", "b/two": "x"})

    assert vault.texts(["b/one"]) == {}


def test_binary_ones_are_no_text(vault):
    vault.set("b/raw", b"\x00\x01\x02\x03\x04")

    assert vault.texts(["b/raw"]) == {}


def test_two_at_the_same_moment_both_count(vault):
    paths = [f"b/{number}" for number in range(50)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda who: vault.set_all(dict.fromkeys(paths, f"value of {who}")), range(4)))

    assert [info.version for info in vault.list()] == [4] * 50
    assert set(vault.texts(paths).values()) <= {f"value of {who}" for who in range(4)}

"""The schema itself: the migrations make what the tables describe, and whoever comes first makes it."""

from __future__ import annotations

import polars as pl
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from hive.jars.wire import hashes
from hive.ledger.db import make_engine
from hive.ledger.migrate import NewerSchema, ensure_migrated, migrate
from hive.ledger.tables import DAILY, metadata

PARTITIONED = (*DAILY, "honey", "chunk")


@pytest.fixture
def engine(empty_database_url):
    made = make_engine(empty_database_url)
    yield made
    made.dispose()


def ours(_object, name, kind, _reflected, _compared):
    """Partitions are copies of their parents, and Alembic keeps its own table."""
    return not (kind == "table" and (name.rpartition("_")[0] in PARTITIONED or name == "alembic_version"))


def test_the_migrated_database_is_what_the_tables_describe(engine, empty_database_url):
    migrate(empty_database_url)
    options = {"include_schemas": True, "include_object": ours, "compare_type": True, "compare_server_default": False}
    options["include_name"] = lambda name, kind, _parents: kind != "schema" or name == "hive"
    with engine.connect() as connection:
        # The tests' user is named as the schema, which would else be the default one and go unnamed.
        connection.dialect.default_schema_name = "public"
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert not [str(f)[:150] for f in found]


def test_an_empty_database_is_migrated_by_whoever_opens_it_first(engine, empty_database_url):
    ensure_migrated(engine, empty_database_url)
    ensure_migrated(engine, empty_database_url)

    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM hive.bee")) == 0


def test_a_database_of_a_newer_version_is_left_alone(engine, empty_database_url):
    migrate(empty_database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE hive.alembic_version SET version_num = '9999'"))

    with pytest.raises(NewerSchema, match="upgrade this installation"):
        ensure_migrated(engine, empty_database_url)


@pytest.mark.parametrize("given", [[], ["00" * 15 + "ff"], ["ab" * 16, "00" * 16, "0123456789abcdef" * 2]])
def test_packed_hashes_arrive_as_they_are(engine, given):
    connection = engine.raw_connection()
    with connection.cursor() as cursor:
        values = {"keys": hashes(pl.Series(given, dtype=pl.String))}
        cursor.execute("SELECT ARRAY(SELECT encode(k, 'hex') FROM unnest(%(keys)s) k)", values)
        found = cursor.fetchone()
    connection.close()

    assert found == (given,)

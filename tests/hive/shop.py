"""A table of the database of a shop, which a bee reads whole in each flight."""

from __future__ import annotations

import contextlib
from urllib.parse import unquote, urlsplit

import psycopg
import pytest


class ShopTable:
    """`shop.people` with the columns id and name, in a database of the test's own; `options` are its bee's source."""

    def __init__(self, nest, url):
        self.nest, self.source = nest, psycopg.connect(url, autocommit=True)
        given = urlsplit(url)
        self.source.execute("CREATE SCHEMA shop; CREATE TABLE shop.people (id int PRIMARY KEY, name text)")
        self.options = {
            "host": given.hostname, "port": given.port, "database": given.path[1:], "user": unquote(given.username),
            "password": unquote(given.password), "allow_writable_role": True,
        }  # fmt: skip

    def register(self, **block):
        streams = {"people": {"table": "shop.people"}}
        self.nest.hive.register_worker("postgresql", {"name": "people", "streams": streams, **block})


def maker(kind, batch_rows):
    """A fixture `make_table` of one kind of table, in a nest whose batches hold so many rows."""

    @pytest.fixture(name="make_table")
    def make_table(make_nest, database_url):
        with contextlib.ExitStack() as opened:

            def make(**given):
                table = kind(make_nest(batch_rows=batch_rows), database_url, **given)
                opened.enter_context(table.source)
                return table

            yield make

    return make_table

"""Keys that PostgreSQL's types and collations hold equal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from bees.core.errors import GiveUp
from bees.core.sql.options import StreamOptions
from bees.core.sql.postgres import catalog
from bees.core.sql.postgres.settle import settle
from tests.bees.lookalikes import Lookalikes, cases
from tests.bees.postgresql_source import Database, source_database  # noqa: F401 - the fixture `db`
from tests.bees.sliced import legs
from tests.servers.postgres15 import Postgres15, postgres15  # noqa: F401 - a fixture

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _fill(db: Database) -> None:
    db.fill = lambda statement, rows: db.owner.cursor().executemany(statement, rows)  # type: ignore[attr-defined]


class TestTypes(Lookalikes):
    kinds: ClassVar = {
        "citext": ("citext", cases("abcdefg")),
        "numeric": ("numeric", ["1." + "0" * n for n in range(1, 129)]),
        "padded": ("bpchar", ["a" + " " * n for n in range(128)]),
        "interval": ("interval", [f"P{n}DT-{24 * n}H" for n in range(1, 129)]),
        "domain": ("amount", ["1." + "0" * n for n in range(1, 129)]),
    }

    @pytest.fixture(params=sorted(kinds))
    def kind(self, db: Database, request: pytest.FixtureRequest) -> str:
        db.run("CREATE EXTENSION citext", "CREATE DOMAIN amount AS numeric")
        return str(request.param)


class TestCollations(Lookalikes):
    kinds: ClassVar = {"no case": ("text COLLATE looks", cases("abcdefg"))}

    @pytest.fixture(name="db")
    def _with_collations(self, postgres15: Postgres15) -> Iterator[Database]:  # noqa: F811
        """A server that has ICU."""
        owner = Database(postgres15.url())
        owner.run("CREATE DATABASE looks")
        database = Database(postgres15.url("looks"))
        yield database
        database.close()
        owner.run("DROP DATABASE looks WITH (FORCE)")
        owner.close()

    @pytest.fixture
    def kind(self, db: Database) -> str:
        db.run("CREATE COLLATION looks (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
        return "no case"

    def test_an_index_that_compares_otherwise_proves_nothing(self, db: Database, keys: list[str]) -> None:
        db.run('CREATE UNIQUE INDEX ON t (k COLLATE "C")')
        assert sorted(row["k"] for row in legs(db, "t", None, streams={"t": {}}, batch_rows=23)) == sorted(keys)


def test_rows_of_tables_that_inherit_are_in_no_index(db: Database) -> None:
    db.run("CREATE TABLE t (k numeric PRIMARY KEY)", "CREATE TABLE more () INHERITS (t)")
    db.run(
        "INSERT INTO t VALUES (1.0)",
        "INSERT INTO more SELECT ('1.0' || repeat('0', i))::numeric FROM generate_series(1, 9) AS i",
    )
    assert [str(row["k"]) for row in legs(db, "t", None)] == ["1." + "0" * n for n in range(1, 11)]


@pytest.mark.parametrize(
    ("made", "key", "ties"),
    [
        ("k numeric PRIMARY KEY", "k", []),
        ("k numeric UNIQUE, n int", ("k", "n"), []),
        ("k numeric, n int, UNIQUE (k, n)", "k", ["k"]),
        ("k numeric, n float8", ("n", "k"), ["n", "k"]),
        ("k int, n timestamptz, u uuid, v varchar", ("k", "n", "u", "v"), []),
    ],
)
def test_the_bytes_are_compared_where_they_may_differ_and_no_index_rules_it_out(
    db: Database, made: str, key: Any, ties: list[str]
) -> None:
    db.run(f"CREATE TABLE t ({made})")
    reading = settle("t", StreamOptions(key=key), catalog.table(db.owner, "t", "public", "t"))
    assert [column.name for column in reading.ties] == ties


def test_a_key_whose_operators_are_not_searched_is_refused_and_read_once_they_are(db: Any) -> None:
    """Rows would be sorted as citext has them, and compared as text: 'a' before 'B', and 'B' before 'a'."""
    db.run("CREATE SCHEMA ext", "CREATE EXTENSION citext SCHEMA ext", "CREATE TABLE t (k ext.citext PRIMARY KEY)")
    db.fill("INSERT INTO t VALUES (%s)", [(letter,) for letter in "aBcDeFgH"])
    how = {"streams": {"t": {}}, "batch_rows": 1}

    with db.bee(**how) as bee, pytest.raises(GiveUp) as caught:
        list(bee.collect_nectar("t", None))
    assert caught.value.code == "not_sortable"
    assert "'ext'" in str(caught.value)

    assert [row["k"] for row in legs(db, "t", None, schemas=["ext"], **how)] == list("aBcDeFgH")


@pytest.mark.parametrize(
    ("extension", "word", "values"),
    [
        ("isn", "isbn13", ["978-0-393-04002-9", "978-0-306-40615-7", "978-3-16-148410-0"]),
        ("seg", "seg", ["1.0 .. 2", "1 .. 2", "1.00 .. 2", "0.5"]),
        ("ltree", "ltree", ["a.b", "a", "A.b"]),
        ("cube", "cube", ["(1, 2)", "(1)", "(0, 5)"]),
    ],
)
@pytest.mark.parametrize("stream", [{"key": "k"}, {"key": ("n", "k"), "cursor": "n"}])
def test_types_of_extensions_that_have_an_order_are_keys(
    db: Any, extension: str, word: str, values: list[str], stream: dict[str, Any]
) -> None:
    db.run(f"CREATE EXTENSION {extension}", f"CREATE TABLE t (k {word} NOT NULL, n int)")
    db.fill("INSERT INTO t VALUES (%s, 7)", [(value,) for value in values])
    found = [row["k"] for row in legs(db, "t", None, streams={"t": stream}, batch_rows=1)]
    assert sorted(found) == sorted(values)


@pytest.mark.parametrize(
    ("word", "stream"),
    [
        ("hstore", {"key": "k"}),
        ("hstore", {"query": "SELECT k, n FROM t", "key": ("n", "k")}),
        ("point", {"key": "n", "cursor": "k"}),
        ("xid", {"key": "k"}),
        ("integer[]", {"key": "k"}),
    ],
)
def test_a_type_without_an_order_is_refused_by_its_name(db: Any, word: str, stream: dict[str, Any]) -> None:
    db.run("CREATE EXTENSION hstore", f"CREATE TABLE t (k {word} NOT NULL, n int NOT NULL)")
    for ask in ("validate_flight_path", "get_pollen_schema"):
        with db.bee(streams={"t": stream}) as bee, pytest.raises(GiveUp) as caught:
            getattr(bee, ask)()
        assert caught.value.code == "not_sortable"
        assert f"the column 'k' is of the type {word}, by which" in str(caught.value)

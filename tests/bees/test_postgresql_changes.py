"""What becomes of a table between two flights of one bee that lives on: each case with its verdict or its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import bees.postgresql
from bees.core.errors import GiveUp
from tests.bees.contract import rows
from tests.bees.postgresql_source import Database, source_database  # noqa: F401 - the fixture `db`

if TYPE_CHECKING:
    from bees.postgresql import PostgreSQLWorkerBee

WHOLE: dict[str, Any] = {"t": {}}
FOLLOWED: dict[str, Any] = {"t": {"cursor": "n"}}
CHOSEN: dict[str, Any] = {"t": {"columns": ["v"]}}


@pytest.fixture(autouse=True)
def table(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bees.postgresql, "_SETTLED", 0.0)  # as if the flights were minutes apart
    db.run("CREATE TABLE t (id int PRIMARY KEY, v text, n int)", "INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)")


def second(bee: PostgreSQLWorkerBee, db: Database, *deeds: str) -> list[dict[str, Any]]:
    """What the second flight brings, after the deeds."""
    cursor = list(bee.collect_nectar("t", None))[-1].cursor
    db.run(*deeds)
    return rows(list(bee.collect_nectar("t", cursor)))


@pytest.mark.parametrize(
    ("streams", "deed", "found"),
    [
        (WHOLE, "ALTER TABLE t ADD COLUMN w int DEFAULT 7", [{"id": 1, "v": "a", "n": 1, "w": 7}]),
        (FOLLOWED, "ALTER TABLE t ADD COLUMN w int DEFAULT 7", [{"id": 1, "v": "a", "n": 1, "w": 7}]),
        (CHOSEN, "ALTER TABLE t ADD COLUMN w int DEFAULT 7", [{"v": "a", "id": 1}]),
        (WHOLE, "ALTER TABLE t DROP COLUMN v", [{"id": 1, "n": 1}]),
        (WHOLE, "ALTER TABLE t RENAME COLUMN v TO w", [{"id": 1, "w": "a", "n": 1}]),
        (WHOLE, "ALTER TABLE t ALTER COLUMN v TYPE int USING length(v)", [{"id": 1, "v": 1, "n": 1}]),
        (WHOLE, "ALTER TABLE t ALTER COLUMN n TYPE numeric(9,2)", [{"id": 1, "v": "a", "n": "1.00"}]),
        (FOLLOWED, "ALTER TABLE t ALTER COLUMN n TYPE bigint", [{"id": 1, "v": "a", "n": 1}]),
        (FOLLOWED, "ALTER TABLE t ALTER COLUMN id TYPE text", [{"id": "1", "v": "a", "n": 1}]),
        (WHOLE, "ALTER TABLE t RENAME COLUMN id TO number", [{"number": 1, "v": "a", "n": 1}]),
        (WHOLE, "ALTER TABLE t RENAME TO u; CREATE VIEW t AS SELECT * FROM u", None),
    ],
)
def test_it_is_read_as_it_is_now(db: Database, streams: Any, deed: str, found: list[dict[str, Any]] | None) -> None:
    with db.bee(streams=streams) as bee:
        if found is None:
            with pytest.raises(GiveUp) as error:
                second(bee, db, *deed.split(";"))
            assert error.value.code == "no_key"
        else:
            assert second(bee, db, deed)[:1] == found


@pytest.mark.parametrize(
    ("streams", "deed", "code", "named"),
    [
        (WHOLE, "DROP TABLE t", "no_table", "'t'"),
        (WHOLE, "ALTER TABLE t RENAME TO tt", "no_table", "did you mean 'tt'"),
        (WHOLE, "ALTER TABLE t SET SCHEMA elsewhere", "no_table", "'t'"),
        (WHOLE, "ALTER TABLE t DROP COLUMN id", "no_key", "streams.t.key"),
        (CHOSEN, "ALTER TABLE t DROP COLUMN v", "no_column", "streams.t.columns"),
        (CHOSEN, "ALTER TABLE t RENAME COLUMN v TO vv", "no_column", "did you mean 'vv'"),
        (FOLLOWED, "ALTER TABLE t DROP COLUMN n", "no_column", "streams.t.cursor"),
        (FOLLOWED, "ALTER TABLE t ALTER COLUMN n TYPE text", None, None),
        (FOLLOWED, "ALTER TABLE t ALTER COLUMN n TYPE json USING to_json(n)", "not_sortable", "streams.t"),
        (WHOLE, "REVOKE ALL ON t FROM {role}", "no_permission", "GRANT"),
    ],
)
def test_what_cannot_be_read_any_more_is_named(
    db: Database, streams: Any, deed: str, code: str | None, named: str | None
) -> None:
    db.run("CREATE SCHEMA elsewhere")
    with db.bee(streams=streams) as bee:
        if code is None or named is None:
            assert [r["id"] for r in second(bee, db, deed)] != []
            return
        with pytest.raises(GiveUp) as error:
            second(bee, db, deed.format(role=f'"{db.role}"'))
    assert error.value.code == code
    assert named in str(error.value)
    assert error.value.advice


def test_a_leg_goes_on_though_a_column_came_in_its_middle(db: Database) -> None:
    db.run("INSERT INTO t SELECT i, 'x', i FROM generate_series(3, 9) AS i")
    with db.bee(streams=WHOLE) as bee:
        leg = bee.collect_nectar("t", None)
        first = next(leg)
        leg.close()  # type: ignore[attr-defined]
        db.run("ALTER TABLE t ADD COLUMN w int")
        rest = rows(list(bee.collect_nectar("t", first.cursor)))
    assert [r["id"] for r in first.table.to_pylist() + rest] == list(range(1, 10))
    assert "w" in rest[0]


def test_a_cursor_without_an_index_is_said(db: Database, capsys: pytest.CaptureFixture[str]) -> None:
    with db.bee(streams=FOLLOWED) as bee:
        bee.validate_flight_path()
        assert "cursor_without_index" in capsys.readouterr().out
        db.run("CREATE INDEX ON t (n)")
        bee.validate_flight_path()
        assert "cursor_without_index" not in capsys.readouterr().out

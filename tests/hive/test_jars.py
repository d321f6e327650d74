"""What stands around landed records: typed views that never stop a landing, quarantine that names nobody."""

from __future__ import annotations

import psycopg
import pyarrow.parquet as pq
import pytest
from structlog.testing import capture_logs

import hive.jars.views
from hive.jars.export import export
from hive.jars.quarantine import open_entry, open_record, shown_place
from hive.jars.views import identifiers
from tests.hive.nest import make_nest, nest, rows_of, write

__all__ = ["make_nest", "nest"]


def columns_of(nest):
    return [
        name
        for (name,) in nest.rows(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'jars.people__rows'::regclass AND attnum > 0"
        )
    ]


class TestViews:
    def test_a_stream_with_more_columns_than_a_view_can_have_lands(self, nest):
        """The rest stays readable in `data`."""
        wide = {"id": 1, **{f"c{n}": n for n in range(2_000)}}
        file = write(nest.register() / "a.jsonl", [wide])

        assert nest.land().records_landed == 1
        assert nest.jar() == rows_of(file)
        assert len(columns_of(nest)) == 1_600
        assert nest.one("SELECT c7 FROM jars.people__rows") == 7

    def test_names_that_postgresql_cannot_hold_get_names_of_their_own(self, nest):
        odd = ["x" * 100, "x" * 101, "ü" * 40, 'a"b', "%s", "k\x00", "k\x01", "n" * 5000, "tab\t"]
        row = {"id": 1, **dict.fromkeys(odd, "v")}
        write(nest.register() / "a.jsonl", [row, *({"id": n} for n in range(2, 300))])

        assert nest.land().records_landed == 299
        assert len(columns_of(nest)) == len(odd) + 1 + 4
        assert nest.one("SELECT count(*) FROM jars.people__rows") == 299
        assert list(nest.jar()["1"].values()).count("v") == len(odd)

    def test_a_view_that_cannot_be_made_is_told_once_and_the_records_land(self, nest, monkeypatch):
        def refuse(name, cast, shown):
            return psycopg.sql.SQL("no_such_function({}) AS {}").format(
                psycopg.sql.Literal(name), psycopg.sql.Identifier(shown)
            )

        file = write(nest.register() / "a.jsonl", [{"id": 1, "secret": "x"}])
        with monkeypatch.context() as patch, capture_logs() as logs:
            patch.setattr(hive.jars.views, "_expression", refuse)
            first = nest.land()
            write(file, [{"id": 1, "secret": "x"}, {"id": 2, "more": "y"}])
            second = nest.land()

        assert (first.state, second.state) == ("complete", "complete")
        assert nest.jar().keys() == {"1", "2"}
        assert nest.one("SELECT columns FROM hive.pollen ORDER BY version DESC LIMIT 1").keys() == {
            "id", "secret", "more",
        }  # fmt: skip
        (told,) = [entry for entry in logs if entry["event"] == "view.failed"]
        assert told["sqlstate"] == "42883"
        assert "secret" not in str(told)

        nest.rt.learned.clear()
        write(file, [{"id": 3, "more": "z"}])
        nest.land()
        assert "more" in columns_of(nest), "another process tries again, though no column is new"

    def test_an_own_name_is_never_given_to_another_column(self):
        first = identifiers(["x" * 100])["x" * 100]
        names = ["x" * 100, first, "", "_key", "y" * 63, "y" * 64]

        found = identifiers(names)

        assert found[first] == first
        assert len(set(found.values())) == len(names)
        assert all(0 < len(name.encode()) <= 63 for name in found.values())


class TestPlaces:
    @pytest.mark.parametrize(
        ("place", "shown"),
        [
            ("jane.doe@example.com.csv:7", "*.csv, line 7"), ("john.smith@example.com.txt", "*.txt"),
            ("john.smith@example.com", "*"), ("Ann 202-555-0143.PDF", "*.pdf"),
            ("sub/Ann/a.csv.gz:12", "*.csv.gz, line 12"),
            ("export of Ann:7", "*, line 7"), ("tel:2025550143", "*"), ("2025550143", "*"), ("a.smith:7", "*, line 7"),
            ("stream people, page 1, item 3", "page 1, item 3"), ("page 3, item 11", "page 3, item 11"),
            ("Ann, page 3, Smith", "page 3"), ("a.json, item 4", "*.json, item 4"), ("a.json, Ann 4", "*.json"),
            ("", ""),
            ("a.csv:7\nAnn", "*"),
        ],
    )  # fmt: skip
    def test_of_a_place_only_the_format_and_numbers_are_shown(self, place, shown):
        assert shown_place(place) == shown

    def test_a_file_named_for_a_person_is_sealed_with_what_it_held(self, nest):
        folder = nest.register()
        (folder / "jane.doe@example.com.jsonl").write_text('{"id": 1}\nno json\n')

        assert nest.land().records_quarantined == 1

        ((place, row),) = nest.rows("SELECT place, to_jsonb(q)::text FROM hive.quarantine q")
        assert place == "*.jsonl, line 2"
        assert "jane" not in row
        sealed = nest.rows('SELECT checkpoint, seq, "row", body FROM hive.quarantine')[0]
        _, key = nest.rt.keyring("default").key("quarantine")
        assert open_entry(key, *sealed) == ("jane.doe@example.com.jsonl:2", b"no json\n")
        assert open_record(key, *sealed) == b"no json\n"


@pytest.fixture(autouse=True)
def nothing_told_yet(monkeypatch):
    monkeypatch.setattr(hive.jars.views, "_told", set())


def test_one_stream_goes_into_a_folder_that_is_there(nest, tmp_path):
    write(nest.register() / "a.jsonl", [{"id": 1, "name": "Ada"}])
    nest.land()
    folder = tmp_path / "out"
    folder.mkdir()

    written = export(nest.rt.db, "people", "parquet", folder)

    assert [file.name for file in written.files] == ["rows.parquet"]
    assert pq.read_table(folder / "rows.parquet")["name"].to_pylist() == ["Ada"]


@pytest.mark.parametrize("name", ["Rabatt %", "%s", "100%%", "%(part)s", "it's"])
def test_a_column_of_any_name_goes_into_parquet(nest, tmp_path, name):
    write(nest.register() / "a.jsonl", [{"id": 1, name: "Ada", f"{name} n": 7}])
    nest.land()

    export(nest.rt.db, "people", "parquet", tmp_path / "out.parquet")

    table = pq.read_table(tmp_path / "out.parquet")
    assert table[name].to_pylist() == ["Ada"]
    assert table[f"{name} n"].to_pylist() == [7]

"""Sources, files and configurations as they should not be, on a running hive: what fails says so, the rest lands.

Whatever happens, a flight ends, nothing of a record or a password is told, and once the source is mended the next
flight brings what is missing.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import psycopg.conninfo
import pytest
import yaml
from psycopg import sql

from hive.demo import api
from hive.manager import HiveManager
from hive.runtime import open_runtime
from tests.fleet.running import RunningHive, hive_folder, wait_until
from tests.hive.command import Command, Said, bare_hive, broker
from tests.hive.nest import write

__all__ = ["bare_hive"]

pytestmark = pytest.mark.fleet

PASSWORD = "quince-password-7141"
VALUE = "Quincy Quagga"
"""Stands in many of the records here, and may be told nowhere."""
BATCH = 20


class Farm:
    """The running hive, a folder and a database to read from, and everything that was ever told."""

    def __init__(self, hive: RunningHive) -> None:
        self.hive = hive
        self.told: list[str] = []
        self.manager: HiveManager
        login = psycopg.conninfo.conninfo_to_dict(hive.settings.database())
        with psycopg.connect(hive.settings.database(), autocommit=True) as server:
            server.execute("CREATE DATABASE farm")
            server.execute(sql.SQL("CREATE ROLE reader LOGIN PASSWORD {}").format(sql.Literal(PASSWORD)))
        self.own = psycopg.conninfo.make_conninfo(hive.settings.database(), dbname="farm")
        self.source = {
            "host": login["host"], "port": int(login["port"]), "database": "farm", "user": "reader",
            "password": PASSWORD, "ssl_mode": "disable",
        }  # fmt: skip
        self.run("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO reader")

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.own, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.hive.settings.database(), autocommit=True) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def folder(self, name: str) -> Path:
        made = self.hive.folder / name
        made.mkdir()
        return made

    def register(self, name: str, kind: str, source: Mapping[str, Any], **block: Any) -> None:
        self.manager.register_worker(kind, {"name": name, "source": dict(source), **block})

    def files(self, name: str, pattern: str, **stream: Any) -> Path:
        """A bee that reads one stream of files from the folder it gives."""
        folder = self.folder(name)
        self.register(name, "local", {"path": str(folder)}, streams={"rows": {"patterns": pattern, **stream}})
        return folder

    def jar(self, name: str) -> dict[str, Any]:
        return dict(
            self.rows(
                "SELECT h.record_key, h.data FROM hive.honey h JOIN hive.jar j ON j.id = h.jar"
                " WHERE j.name = %s AND h.deleted_at IS NULL",
                name,
            )
        )

    def put_aside(self, name: str) -> set[tuple[str, str]]:
        """(code, place) of what a bee has in quarantine."""
        return set(
            self.rows(
                "SELECT q.code, q.place FROM hive.quarantine q JOIN hive.bee b ON b.id = q.bee"
                " WHERE b.name = %s AND q.state = 'open'",
                name,
            )
        )

    def settled(self, name: str) -> bool:
        """Nothing of a bee is open, held, or sealed and not landed."""
        open_tasks = self.rows(
            "SELECT 1 FROM hive.task t JOIN hive.bee b ON b.id = t.bee"
            " WHERE b.name = %s AND t.state IN ('queued', 'running')",
            name,
        )
        marks = self.rows(
            "SELECT c.sealed_seq - c.landed_seq, l.task FROM hive.checkpoint c JOIN hive.bee b ON b.id = c.bee"
            " LEFT JOIN hive.lease l ON l.checkpoint = c.id WHERE b.name = %s",
            name,
        )
        return not open_tasks and all(mark == (0, None) for mark in marks)


@pytest.fixture(scope="module")
def running() -> Iterator[Farm]:
    """One hive for all tests here: small batches, and a source that does not answer is asked twice."""
    with hive_folder(HIVE_MAX_ATTEMPTS="2", HIVE_BATCH_ROWS=str(BATCH)) as hive:
        place = {"type": "local", "source": {"path": str(hive.folder)}}
        bees = {"files": place, "base": {**place, "type": "postgresql", "source": {**NOWHERE, "host": "localhost"}}}
        (hive.folder / "bees.yaml").write_text(yaml.safe_dump({"bees": bees}))
        hive.up("--config", hive.folder / "bees.yaml")
        yield Farm(hive)


NOWHERE = {"host": "nowhere.invalid", "database": "farm", "user": "reader", "password": PASSWORD}


@pytest.fixture
def farm(running: Farm, bare_hive: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[Farm]:
    hive = running.hive
    bare_hive.set({"HIVE_DATA_DIR": hive.data})
    with broker(hive.settings.redis(), monkeypatch):
        from hive.celery import send

        with HiveManager(rt=open_runtime(hive.settings, send=send)) as manager:
            running.manager = manager
            yield running


@pytest.fixture
def cli(farm: Farm, bare_hive: Command) -> Any:
    """Runs a command, and remembers what it said."""

    def run(*arguments: object) -> Said:
        said = bare_hive(*arguments)
        farm.told += [said.out, said.err]
        return said

    return run


@pytest.fixture
def fly(farm: Farm, cli: Any) -> Any:
    """`hive fly BEE --wait --json` with its exit code held against the state; gives the flight, and `plain` words."""

    def flown(bee: str, *options: str) -> SimpleNamespace:
        said = cli("fly", bee, "--timeout", 40, "--json", *options)
        result = said.json
        assert result["state"] in ("complete", "failed"), f"{result} {said.err}"
        assert said.code == (0 if result["state"] == "complete" else 1)
        assert wait_until(lambda: farm.settled(bee), f"rest of {bee}")
        ends = ("landed", "unchanged", "superseded", "deleted", "quarantined")
        assert result["records_read"] == sum(result[f"records_{end}"] for end in ends)
        return SimpleNamespace(**result)

    return flown


def failed(flight: SimpleNamespace, code: str, place: str) -> None:
    """It failed with a code, and with a place and a next step that a person understands."""
    assert flight.state == "failed"
    assert flight.error["code"] == code
    assert place in flight.error["place"] + flight.error["advice"]
    assert flight.error["message"]
    assert flight.error["advice"]


class TestConfiguration:
    """What is wrong in a file is told before anything starts."""

    @pytest.mark.parametrize(
        ("bee", "field", "told"),
        [
            ({"type": "postgress", "source": NOWHERE}, "type", "did you mean 'postgresql'?"),
            ({"type": "postgresql", "source": {"host": "db", "user": "u"}}, "source.database", "database"),
            ({"type": "local"}, "source.path", "folder"),
            ({"type": "local", "source": {"path": "/tmp", "pth": "x"}}, "source.pth", "did you mean"),
            ({"type": "local", "source": {"path": "/tmp"}, "honey_jar": "../people"}, "honey_jar", "letter"),
            ({"type": "local", "source": {"path": "/tmp"}, "honey_jar": 'peo"ple'}, "honey_jar", "letter"),
            ({"type": "local", "source": {"path": "/tmp"}, "honey_jar": "people'; --"}, "honey_jar", "letter"),
            ({"type": "local", "source": {"path": "/tmp"}, "honey_jar": "a/b"}, "honey_jar", "letter"),
            ({"type": "local", "source": {"path": "/tmp"}, "honey_jar": ""}, "honey_jar", "letter"),
            ({"type": "local", "source": {"path": "/tmp"}, "honey_jar": {"name": "a\0b"}}, "honey_jar.name", "letter"),
            ({"type": "postgresql", "source": {**NOWHERE, "password": "${NO_SUCH}"}}, "source.password", "NO_SUCH"),
            ({"type": "local", "source": {"path": "/tmp"}, "every": "soon"}, "every", "5m"),
        ],
    )
    def test_a_file_is_refused_with_bee_field_and_what_was_expected(self, cli, tmp_path, bee, field, told):
        file = tmp_path / "bees.json"
        file.write_text(json.dumps({"bees": {"odd-bee": bee}}))

        for arguments in (["config", "check", file], ["up", "--detach", "--config", file, "--data", tmp_path / "data"]):
            said = cli(*arguments)
            assert (said.code, said.out) == (2, "")
            assert f"bee 'odd-bee', field '{field}'" in said.err
            assert told in said.err
        assert not (tmp_path / "data").exists()

    @pytest.mark.parametrize("name", ["../bee", 'b"ee', "b'ee", "a/b", "", "-", "b" * 64])
    def test_a_bee_with_such_a_name_is_refused(self, cli, tmp_path, name):
        file = tmp_path / "bees.json"
        file.write_text(json.dumps({"bees": {name: {"type": "local", "source": {"path": "/tmp"}}}}))

        said = cli("config", "check", file)

        assert said.code == 2
        assert "no name for a bee" in said.err


class TestDatabase:
    @pytest.mark.parametrize(
        ("name", "changed", "code", "place"),
        [
            ("unreachable", {"port": 1}, "unreachable", "`port`"),
            ("no-host", {"host": "nowhere.invalid"}, "unknown_host", "`host`"),
            ("wrong-password", {"password": "quince-password-wrong"}, "denied", "`password`"),
            ("no-database", {"database": "elsewhere"}, "no_database", "`database`"),
        ],
    )
    def test_a_server_that_does_not_let_us_in_fails_the_flight_with_the_option_to_mend(
        self, farm, fly, cli, name, changed, code, place
    ):
        farm.register(name, "postgresql", {**farm.source, **changed})

        flight, check = fly(name), cli("check", name)

        failed(flight, code, place)
        assert check.code == 1
        assert f"bee '{name}'" in check.err
        assert place in check.err
        assert (
            flight.error["message"] in {b["name"]: b for b in cli("bees", "--json").json}[name]["last_error"].values()
        )

    def test_a_table_without_a_key_fails_the_flight_and_the_other_tables_land(self, farm, fly):
        farm.run(
            "CREATE TABLE hens (id int PRIMARY KEY, name text)",
            "CREATE TABLE eggs (hen int, laid int)",
            f"INSERT INTO hens SELECT n, '{VALUE}' FROM generate_series(1, 30) n",
            "INSERT INTO eggs SELECT n, n FROM generate_series(1, 30) n",
        )
        farm.register("hens", "postgresql", farm.source, streams={"hens": {}, "eggs": {}})

        first = fly("hens")
        farm.register("hens", "postgresql", farm.source, streams={"hens": {}, "eggs": {"key": ["hen"]}})
        second = fly("hens")

        failed(first, "no_key", "streams.eggs.key")
        assert "'hens'" in first.error["message"]
        assert first.records_landed == 30
        assert (second.state, second.records_landed) == ("complete", 30)
        assert len(farm.rows("SELECT 1 FROM hive.honey h JOIN hive.jar j ON j.id = h.jar WHERE j.name = 'hens'")) == 60

    def test_rows_without_a_cursor_value_land_too_and_new_ones_with_them(self, farm, fly):
        farm.run(
            "CREATE TABLE goats (id int PRIMARY KEY, seen int, name text)",
            f"INSERT INTO goats SELECT n, nullif(n % 3, 0) * n, '{VALUE}' FROM generate_series(1, 45) n",
        )
        farm.register("goats", "postgresql", farm.source, streams={"goats": {"cursor": "seen"}})

        first = fly("goats")
        farm.run(f"INSERT INTO goats VALUES (46, NULL, '{VALUE}'), (47, 1000, '{VALUE}')")
        second = fly("goats")

        assert (first.state, first.records_landed, first.records_quarantined) == ("complete", 45, 0)
        assert (second.state, second.records_landed) == ("complete", 2)
        assert farm.jar("goats").keys() == {str(n) for n in range(1, 48)}

    def test_a_cursor_that_goes_backwards_takes_nothing_away_and_loses_nothing(self, farm, fly):
        farm.run(
            "CREATE TABLE sheep (id int PRIMARY KEY, seen int, name text)",
            "INSERT INTO sheep SELECT n, n, 'before' FROM generate_series(1, 30) n",
        )
        farm.register("sheep", "postgresql", farm.source, streams={"sheep": {"cursor": "seen"}})
        fly("sheep")
        farm.run("UPDATE sheep SET seen = seen - 20, name = 'after'", "INSERT INTO sheep VALUES (31, 8, 'new')")

        assert fly("sheep").state == "complete"
        assert farm.jar("sheep").keys() == {str(n) for n in range(1, 32)}
        assert {row["name"] for row in farm.jar("sheep").values()} == {"after", "new"}

    def test_a_table_without_rows_and_one_that_is_gone(self, farm, fly):
        farm.run("CREATE TABLE ducks (id int PRIMARY KEY)")
        farm.register("ducks", "postgresql", farm.source, streams={"ducks": {}})

        empty = fly("ducks")
        farm.run("DROP TABLE ducks")
        gone = fly("ducks")
        farm.run("CREATE TABLE ducks (id int PRIMARY KEY)", "INSERT INTO ducks VALUES (1)")
        mended = fly("ducks")

        assert (empty.state, empty.records_read) == ("complete", 0)
        failed(gone, "no_table", "streams.ducks")
        assert (mended.state, mended.records_landed) == ("complete", 1)


class TestFiles:
    def test_broken_lines_go_to_quarantine_and_the_mended_file_brings_them(self, farm, fly, cli):
        folder = farm.files("lines", "*.jsonl", key="id")
        rows = [{"id": n, "name": VALUE} for n in range(50)]
        lines = [json.dumps(row) for row in rows]
        broken = [*lines[:10], f'{{"id": 10, "name": "{VALUE}', '["no", "object"]', *lines[11:], '{"name": "no id"}']
        (folder / "a.jsonl").write_text("\n".join(broken))

        first = fly("lines")
        aside = farm.put_aside("lines")
        write(folder / "a.jsonl", rows)
        second = fly("lines")

        assert (first.state, first.records_landed, first.records_quarantined) == ("complete", 49, 3)
        assert aside == {
            ("not_json", "*.jsonl, line 11"),
            ("not_object", "*.jsonl, line 12"),
            ("no_key", "*.jsonl, line 52"),
        }
        assert (second.state, second.records_landed, second.records_quarantined) == ("complete", 1, 0)
        assert farm.jar("lines") == {str(row["id"]): row for row in rows}
        assert [one for one in cli("quarantine", "list", "--json").json if one["bee"] == "lines"] == [], "none is left"

    def test_a_value_of_another_type_than_the_others_lands_as_it_is(self, farm, fly, cli):
        folder = farm.files("types", "*.jsonl", key="id")
        ages: list[Any] = [7, "seven", None, 7.5, {"years": 7}, [7], True, 10**30]
        rows = [{"id": n, "age": age} for n, age in enumerate(ages)]
        write(folder / "a.jsonl", rows)

        flight = fly("types")

        assert (flight.state, flight.records_landed, flight.records_quarantined) == ("complete", len(rows), 0)
        assert farm.jar("types") == {str(row["id"]): row for row in rows}
        assert cli("jar", "show", "types").code == 0

    def test_rows_of_csv_that_break_its_rules_go_to_quarantine_and_the_mended_file_brings_them(self, farm, fly):
        folder = farm.files("table", "*.csv", key="id")
        (folder / "a.csv").write_bytes(
            b'id,name\n1,Ada\n2,Ben,too many\n3\n4,"two\nlines"\n5,"a"b\n6,caf\xe9\n7,last\n'
        )

        first = fly("table")
        aside = farm.put_aside("table")
        (folder / "a.csv").write_text('id,name\n1,Ada\n2,Ben\n3,Cy\n4,"two\nlines"\n5,Di\n6,café\n7,last\n')
        second = fly("table")

        assert (first.state, first.records_landed, first.records_quarantined) == ("complete", 3, 4)
        assert {code for code, _ in aside} == {"ragged_row", "broken_row", "not_utf8"}
        assert {place for _, place in aside} == {f"*.csv, line {line}" for line in (3, 4, 7, 8)}
        assert (second.state, second.records_landed) == ("complete", 4)
        assert {key: row["name"] for key, row in farm.jar("table").items()} == {
            "1": "Ada", "2": "Ben", "3": "Cy", "4": "two\nlines", "5": "Di", "6": "café", "7": "last",
        }  # fmt: skip

    def test_a_text_that_is_no_utf8_goes_to_quarantine_and_lands_when_it_is_mended(self, farm, fly):
        folder = farm.files("texts", "*.txt")
        (folder / "good.txt").write_text("a hen")
        (folder / "bad.txt").write_bytes(f"{VALUE} had a caf\xe9\n".encode("latin-1"))

        first, again = fly("texts"), fly("texts")
        aside = farm.put_aside("texts")
        (folder / "bad.txt").write_text(f"{VALUE} had a café")
        mended = fly("texts")

        assert (first.state, first.records_landed, first.records_quarantined) == ("complete", 1, 1)
        assert aside == {("not_utf8", "*.txt")}
        assert (again.state, again.records_read) == ("complete", 0)
        assert (mended.state, mended.records_landed) == ("complete", 1)
        assert farm.jar("texts").keys() == {"good.txt", "bad.txt"}

    def test_a_nul_in_a_text_is_replaced_and_marked_and_stops_nobody(self, farm, fly, bare_hive):
        folder = farm.files("nul", "*.jsonl", key="id")
        write(folder / "a.jsonl", [{"id": "a\0b", "text": f"barley\0rye {VALUE}"}, {"id": "c", "text": "plain"}])

        flight = fly("nul")

        assert (flight.state, flight.records_landed, flight.records_quarantined) == ("complete", 2, 0)
        assert farm.jar("nul")["c"] == {"id": "c", "text": "plain"}
        assert [row["text"] for key, row in farm.jar("nul").items() if key != "c"] == [f"barley�rye {VALUE}"]
        marks = farm.rows("SELECT marks FROM hive.honey h JOIN hive.jar j ON j.id = h.jar WHERE j.name = 'nul'")
        assert any(mark and mark["inexact"]["text"] == "nul" for (mark,) in marks)
        assert len(bare_hive("search", "nul", "barley", "--json").json) == 1

    def test_an_empty_folder_is_a_complete_flight_with_nothing_in_it(self, farm, fly):
        farm.register("nothing", "local", {"path": str(farm.folder("nothing"))})

        flight = fly("nothing")

        assert (flight.state, flight.records_read, flight.error) == ("complete", 0, None)

    def test_a_folder_that_goes_away_fails_the_flight_and_comes_back_whole(self, farm, fly, cli):
        folder = farm.files("coming", "*.jsonl", key="id")
        rows = [{"id": n, "name": VALUE} for n in range(3)]
        write(folder / "a.jsonl", rows[:2])
        fly("coming")
        shutil.rmtree(folder)

        gone, check = fly("coming"), cli("check", "coming")
        folder.mkdir()
        write(folder / "a.jsonl", rows)
        back = fly("coming")

        failed(gone, "no_folder", "path")
        assert check.code == 1
        assert "bee 'coming'" in check.err
        assert "`path`" in check.err
        assert (back.state, back.records_landed) == ("complete", 1)
        assert farm.jar("coming") == {str(row["id"]): row for row in rows}


class TestApi:
    @pytest.fixture
    def desk(self, farm: Farm) -> Iterator[Any]:
        """A bee that reads the sample API, which is a thread of this process; its switches."""
        made = api.app(count=70, wait=None)
        with api.running(made) as url:
            auth = {"method": "bearer", "token": api.TOKEN}
            pages = {"path": "/tickets", "key": "id", "pagination": {"size": BATCH, "size_param": "per_page"}}
            source = {"base_url": url, "allow_private": True, "auth": auth}
            name = f"desk-{time.monotonic_ns()}"
            farm.register(name, "rest", source, streams={"tickets": pages})
            made.state.world.name = name
            yield made.state.world

    @pytest.mark.parametrize(
        ("fault", "code", "told"),
        [("not_json", "not_json", "base_url"), ("denied", "denied", "auth")],
    )
    def test_a_page_that_cannot_be_read_fails_after_what_came_before_it_and_reading_goes_on_there(
        self, farm, fly, desk, fault, code, told
    ):
        desk.faults["tickets", 3] = fault
        first = fly(desk.name)
        landed = len(farm.jar(desk.name))
        desk.faults.clear()
        desk.asked.clear()
        second = fly(desk.name)

        failed(first, code, "page 3")
        assert told in first.error["advice"]
        assert landed == 2 * BATCH
        # And the page before each once more: whether a row moved between them.
        assert [path.rpartition("page=")[2] for path, _ in desk.asked] == ["3", "2", "4", "3"]
        assert second.state == "complete"
        assert farm.jar(desk.name).keys() == {str(row["id"]) for row in desk.rows["tickets"]}

    def test_what_is_no_record_on_a_page_goes_to_quarantine(self, farm, fly, desk):
        desk.faults["tickets", 2] = json.dumps([7, {"id": 9001, "name": VALUE}, None, {"name": "no id"}])

        flight = fly(desk.name)

        assert flight.state == "complete"
        assert flight.records_quarantined == 3
        assert "9001" in farm.jar(desk.name)

    def test_a_token_that_is_refused_fails_the_flight_and_is_not_told(self, farm, fly, desk):
        secret = "quince-token-2231"
        block = farm.rows("SELECT config FROM hive.bee WHERE name = %s", desk.name)[0][0]
        source = {**block["source"], "auth": {"method": "bearer", "token": secret}}
        farm.register(desk.name, "rest", source, streams=block["streams"])

        flight = fly(desk.name)

        failed(flight, "denied", "auth.token")
        assert secret not in json.dumps(flight.error) + "".join(farm.told)


class TestDiscretion:
    def test_no_password_and_no_value_of_a_record_is_told_anywhere(self, farm, fly, cli):
        folder = farm.files("discreet", "*.jsonl", key="id")
        (folder / "a.jsonl").write_text(f'{{"id": 1, "name": "{VALUE}"}}\n{{"id": 2, "name": "{VALUE}\n')
        farm.register("discreet-base", "postgresql", {**farm.source, "password": "quince-password-wrong"})
        fly("discreet")
        fly("discreet-base")
        for arguments in (["bees"], ["flights"], ["status"], ["quarantine", "list"], ["dance", "discreet-base"]):
            cli(*arguments)
            cli(*arguments, "--json")

        texts = farm.hive.texts() | {"commands": "".join(farm.told).encode()}
        ledger = farm.rows(
            "SELECT coalesce(last_error::text, '') FROM hive.task UNION ALL SELECT config::text FROM hive.bee"
        )
        texts["ledger"] = "".join(text for (text,) in ledger).encode()

        secrets = [b"quince-password", b"quince-token", api.TOKEN.encode(), VALUE.encode()]
        assert [(name, secret) for name, text in texts.items() for secret in secrets if secret in text] == []
        assert len(texts) > 10

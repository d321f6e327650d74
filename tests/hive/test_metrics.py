"""What `/metrics` says is what the ledger holds, in a format that a strict reader takes, and never a value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import resources
from itertools import pairwise

import pytest

from bees.core.errors import GiveUp, RetryLater
from hive.flight import process
from hive.flight.close import close_if_done
from hive.flight.retry import retry
from hive.janitor import Janitor
from hive.ledger.db import Database, make_engine
from hive.metrics import families
from hive.metrics.figures import figures
from hive.metrics.scrape import Scraper
from hive.metrics.text import family, histogram, labels
from hive.settings import Settings
from tests.hive.nest import Nest, make_nest, nest, write
from tests.hive.test_cancel import fail_reading

__all__ = ["make_nest", "nest"]

ADA = {"id": 1, "mail": "ada@example.com", "note": "call 202-555-0143"}
BEN = {"id": 2, "mail": "ben@example.com", "note": "sells honey"}
SECRETS = ("ada@", "ben@", "202-555", "5550143", "honey")

NAMES = {
    "worker_bee_nectar_collected_total": ("counter", {"bee_type", "source"}),
    "worker_bee_flight_duration_seconds": ("histogram", {"bee_type", "source"}),
    "worker_bee_active_count": ("gauge", {"bee_type"}),
    "worker_bee_errors_total": ("counter", {"bee_type", "error_type"}),
    "workers_active": ("gauge", set()),
    "jobs_completed": ("counter", set()),
    "jobs_failed": ("counter", set()),
    "data_processed_bytes": ("counter", set()),
    "processing_time": ("histogram", set()),
    "worker_health": ("gauge", set()),
    "active_workers": ("gauge", set()),
    "jobs_in_queue": ("gauge", set()),
    "avg_processing_time": ("gauge", set()),
    "success_rate": ("gauge", set()),
    "data_sources_connected": ("gauge", set()),
    "connector_sync_total": ("counter", {"connector", "status"}),
    "connector_sync_duration_seconds": ("histogram", {"connector"}),
    "connector_sync_errors_total": ("counter", {"connector"}),
    "connector_entities_synced": ("counter", {"connector"}),
    "connector_organizations_synced": ("counter", {"connector"}),
    "connector_last_sync_timestamp": ("gauge", {"connector"}),
    "connector_execution_duration": ("histogram", {"connector_name", "connector_type"}),
    "connector_execution_count": ("counter", {"connector_name", "connector_type", "status"}),
    "connector_retry_count": ("counter", {"connector_name", "connector_type"}),
    "connector_circuit_breaker_state": ("gauge", {"connector_name", "connector_type"}),
    "connector_pool_size": ("gauge", {"connector_type"}),
    "connector_pool_idle": ("gauge", {"connector_type"}),
    "connector_pool_active": ("gauge", {"connector_type"}),
}
"""Of the documents 000, 001 and 002; of document 004 with underscores for its dots."""

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_VALUE = r'"(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{((?:[a-zA-Z_]\w*={_VALUE},)*[a-zA-Z_]\w*={_VALUE})\}})? (\S+)")
_LABEL = re.compile(rf"([a-zA-Z_]\w*)=({_VALUE})")
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> tuple[dict[str, str], Series]:
    """(name -> type, series) of a page that keeps every rule of the text format; asserts on one that does not."""
    assert text.endswith("\n")
    kinds: dict[str, str] = {}
    found: Series = {}
    now = helped = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            _, _, helped, about = line.split(" ", 3)
            assert about
            assert "\\" not in about
        elif line.startswith("# TYPE "):
            _, _, now, kind = line.split(" ")
            assert now == helped, "HELP stands before TYPE"
            assert now not in kinds, "all of a metric stands together"
            assert kind in {"counter", "gauge", "histogram"}
            kinds[now] = kind
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample, line
            name, inside, value = sample.groups()
            ends = {f"{now}_bucket", f"{now}_sum", f"{now}_count"} if kinds[now] == "histogram" else {now}
            assert name in ends
            pairs = [(key, _unescaped(text)) for key, text in _LABEL.findall(inside or "")]
            assert len(dict(pairs)) == len(pairs), "a label stands once"
            series = (name, frozenset(pairs))
            assert series not in found, "a series stands once"
            found[series] = float(value)
    _check_histograms({name for name, kind in kinds.items() if kind == "histogram"}, found)
    return kinds, found


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", lambda found: {"n": "\n"}.get(found[1], found[1]), value[1:-1])


def _check_histograms(names: set[str], found: Series) -> None:
    buckets: dict[tuple[str, frozenset[tuple[str, str]]], list[tuple[float, float]]] = {}
    for (name, pairs), value in found.items():
        if name.removesuffix("_bucket") in names and name.endswith("_bucket"):
            bound = float(dict(pairs)["le"])
            rest = frozenset(pair for pair in pairs if pair[0] != "le")
            buckets.setdefault((name.removesuffix("_bucket"), rest), []).append((bound, value))
    for (name, rest), steps in buckets.items():
        counts = [count for _, count in sorted(steps)]
        assert counts == sorted(counts)
        assert max(steps) == (float("inf"), found[f"{name}_count", rest])
        assert (f"{name}_sum", rest) in found


class Page:
    """One scrape of a nest, through a connection of its own."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self.text = Scraper(settings, db).text()
        self.kinds, self.series = parse(self.text)

    def get(self, name: str, **pairs: str) -> float | None:
        return self.series.get((name, frozenset(pairs.items())))

    def labels(self, name: str) -> list[dict[str, str]]:
        return [dict(pairs) for found, pairs in self.series if found == name]


@pytest.fixture
def scrape(nest) -> Iterator[Callable[[], Page]]:
    db = Database(nest.settings.database())
    yield lambda: Page(nest.settings, db)
    db.close()


@pytest.fixture
def people(nest) -> Nest:
    write(nest.register(scrubbing={"profile": "gdpr_compliant"}) / "a.jsonl", [ADA, BEN])
    return nest


def counters(page: Page) -> Series:
    """Series that must never go down."""
    ends = ("_bucket", "_sum", "_count")
    kind = {end: name for name in page.kinds for end in (name, *(name + end for end in ends))}
    return {at: value for at, value in page.series.items() if page.kinds[kind[at[0]]] != "gauge"}


class TestFormat:
    def test_every_name_of_the_documents_is_there_with_its_type_and_labels(self, people, scrape, monkeypatch):
        people.land()
        fail_reading(monkeypatch, GiveUp("the folder is locked", code="locked"))
        people.land()
        people.run("""UPDATE hive.worker SET pools = '{"postgresql": [3, 2, 1]}'""")

        page = scrape()

        for name, (kind, wanted) in NAMES.items():
            assert page.kinds[name] == kind
            found = page.labels(f"{name}_count" if kind == "histogram" else name)
            assert found, name
            assert all(set(one) == wanted for one in found), name
        assert page.get("hive_connector_info", connector_type="local", connector_version="1") == 1

    def test_prometheus_own_reader_takes_it(self, people, scrape):
        parser = pytest.importorskip("prometheus_client.parser")
        people.land()

        page = scrape()

        found = {one.name for one in parser.text_string_to_metric_families(page.text)}
        assert {name.removesuffix("_total") for name in page.kinds} == {name.removesuffix("_total") for name in found}

    def test_any_text_can_be_a_label(self):
        name = 'say "bee"\\or\nnot {a="b"}, é'

        _, series = parse(family("made_up", "gauge", "Made up.", [(labels(bee=name), 1.5)]))

        assert series == {("made_up", frozenset({("bee", name)})): 1.5}

    def test_a_histogram_has_its_labels_in_every_line(self):
        _, series = parse(histogram("made_up", "Made up.", (1.0, 60.0), [(labels(bee="a"), [1, 2], 3, 70.5)]))

        assert series["made_up_bucket", frozenset({("bee", "a"), ("le", "60")})] == 2
        assert series["made_up_bucket", frozenset({("bee", "a"), ("le", "+Inf")})] == 3
        assert series["made_up_sum", frozenset({("bee", "a")})] == 70.5

    def test_an_empty_hive_has_a_page(self, nest, scrape):
        page = scrape()

        assert (page.get("jobs_completed"), page.get("hive_ledger_up")) == (0, 1)
        assert NAMES.keys() <= page.kinds.keys()


class TestCounts:
    def test_flights_and_records_are_counted(self, people, scrape):
        first, second = people.land(), people.land(full_refresh=True)

        page = scrape()

        assert page.get("worker_bee_nectar_collected_total", bee_type="file", source="people") == 4
        assert page.get("hive_records_total", bee="people", outcome="landed") == 2
        assert page.get("hive_records_total", bee="people", outcome="unchanged") == 2
        assert page.get("hive_read_bytes_total", bee="people") == first.bytes_read + second.bytes_read
        assert page.get("data_processed_bytes") == first.bytes_read + second.bytes_read
        assert (page.get("jobs_completed"), page.get("jobs_failed"), page.get("success_rate")) == (2, 0, 1)
        assert page.get("connector_sync_total", connector="people", status="complete") == 2
        assert page.get("connector_entities_synced", connector="people") == 2
        assert page.get("processing_time_count") == 2
        assert page.get("processing_time_sum") == pytest.approx((first.seconds or 0) + (second.seconds or 0))
        assert second.finished_at is not None
        ended = second.finished_at.timestamp()
        assert page.get("connector_last_sync_timestamp", connector="people") == pytest.approx(ended)

    def test_records_of_streams_of_organizations_are_counted_apart(self, nest, scrape):
        write(nest.register(streams={"organizations": {"patterns": "*.jsonl", "key": "id"}}) / "a.jsonl", [ADA, BEN])
        nest.land()

        page = scrape()

        assert page.get("connector_organizations_synced", connector="people") == 2
        assert page.get("connector_entities_synced", connector="people") == 0

    def test_failures_are_counted_by_their_code(self, people, scrape, monkeypatch):
        fail_reading(monkeypatch, GiveUp("the folder is locked", code="locked"))
        people.land()
        people.land()
        fail_reading(monkeypatch, GiveUp("no", code="Record of ada@example.com"))
        people.land()

        page = scrape()

        assert page.get("worker_bee_errors_total", bee_type="file", error_type="locked") == 2
        assert page.get("worker_bee_errors_total", bee_type="file", error_type="other") == 1
        assert page.get("connector_sync_errors_total", connector="people") == 3
        assert (page.get("jobs_failed"), page.get("success_rate"), page.get("hive_bees", state="failing")) == (3, 0, 1)
        assert "ada" not in page.text

    def test_of_very_many_codes_only_some_have_a_series(self, people, scrape, monkeypatch):
        monkeypatch.setattr("hive.flight.close.CODES", 2)
        for code in ("one", "two", "three", "four", "one"):
            with monkeypatch.context() as patch:
                fail_reading(patch, GiveUp("no", code=code))
                people.land()

        page = scrape()

        told = {
            code: page.get("worker_bee_errors_total", bee_type="file", error_type=code) for code in ("one", "other")
        }
        assert told == {"one": 2, "other": 2}
        assert len(page.labels("worker_bee_errors_total")) == 3

    def test_attempts_after_the_first_are_retries(self, people, scrape, monkeypatch):
        people.fly()
        with monkeypatch.context() as patch:
            fail_reading(patch, OSError())
            people.drain()
        people.hurry()
        people.drain()

        assert scrape().get("hive_retries_total", bee="people") == 1

    def test_what_scrubbing_took_out_is_counted_by_kind_and_no_value_is_told(self, people, scrape):
        people.land()

        page = scrape()

        assert page.get("hive_scrubbed_total", kind="EMAIL_ADDRESS", action="hash_with_salt") == 2
        assert page.get("hive_scrubbed_total", kind="PHONE_NUMBER", action="remove") == 1
        assert not [secret for secret in SECRETS if secret in page.text]

    def test_what_lands_out_of_quarantine_after_its_flight_counts_once(self, people, scrape, monkeypatch):
        flight = people.fly()
        with monkeypatch.context() as patch:
            patch.setattr(process, "refine", _stumble)
            while people.hive.flight(flight).state in ("queued", "running"):
                people.drain()
                people.hurry()
        assert scrape().labels("hive_scrubbed_total") == []

        for (number,) in people.rows("SELECT id FROM hive.quarantine WHERE state = 'open'"):
            retry(people.rt, number)

        page = scrape()
        assert page.get("hive_scrubbed_total", kind="EMAIL_ADDRESS", action="hash_with_salt") == 2
        assert page.get("hive_records_total", bee="people", outcome="quarantined") == 2


def _stumble(*_: object, **__: object) -> None:
    raise ValueError


class TestMonotony:
    def test_an_open_flight_counts_and_its_end_takes_nothing_back(self, make_nest):
        nest = make_nest(batch_rows=1)
        folder = nest.register()
        pages = []
        db = Database(nest.settings.database())
        for name, rows in (("a", [ADA]), ("b", [BEN, {**ADA, "id": 3}])):
            write(folder / f"{name}.jsonl", rows)
            nest.fly()
            for kinds in (["plan", "collect"], ["process"]):
                nest.drain(kinds=kinds)
                pages.append(Page(nest.settings, db))
        db.close()

        read = [page.get("worker_bee_nectar_collected_total", bee_type="file", source="people") for page in pages]
        landed = [page.get("hive_records_total", bee="people", outcome="landed") for page in pages]
        assert (read[0], read[0], read[2]) == (1, read[1], read[3])
        assert landed == [0, 1, 1, 3]
        assert [page.get("worker_bee_active_count", bee_type="file") for page in pages] == [1, 0, 1, 0]
        for before, after in pairwise(pages):
            later = counters(after)
            assert not {at for at, value in counters(before).items() if later.get(at, -1) < value}

    def test_flights_that_are_forgotten_stay_counted(self, people, scrape):
        for _ in range(3):
            people.land(full_refresh=True)
        before = counters(scrape())
        people.run("UPDATE hive.flight SET created_at = created_at - interval '1 year', day = day - 365")
        people.run("DELETE FROM hive.batch")
        people.run("DELETE FROM hive.receipt")

        Janitor(people.rt, works=False).tick()

        assert people.one("SELECT count(*) FROM hive.flight") == 1
        assert counters(scrape()) == before

    def test_a_bee_that_is_gone_has_no_series_and_the_fleet_keeps_its_sums(self, people, scrape):
        people.land()
        people.hive.unregister_worker("people")

        page = scrape()

        assert "people" not in page.text
        assert (page.get("jobs_completed"), page.get("processing_time_count")) == (1, 1)
        assert page.get("hive_scrubbed_total", kind="EMAIL_ADDRESS", action="hash_with_salt") == 2

    def test_a_flight_that_two_close_at_once_counts_once(self, people, scrape):
        flight = people.land()
        day = people.one("SELECT day FROM hive.flight")
        close_if_done(people.rt.db, people.one("SELECT id FROM hive.flight"), day)

        assert flight.state == "complete"
        assert scrape().get("jobs_completed") == 1

    def test_what_is_told_is_on_disk(self, people, scrape):
        people.land()
        written = people.one("SELECT pg_current_wal_insert_lsn()::text")

        scrape()

        assert people.one("SELECT pg_current_wal_flush_lsn() >= %s::pg_lsn", written)

    def test_an_older_ledger_brings_its_flights_with_it(self, people, scrape, monkeypatch):
        people.land()
        with monkeypatch.context() as patch:
            fail_reading(patch, GiveUp("no", code="locked"))
            people.land()
        before = scrape()
        step = resources.files("hive.ledger") / "migrations" / "versions" / "0007_tally.sql"
        engine = make_engine(people.settings.database())
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE hive.tally, hive.fault, hive.taken_out")
            connection.exec_driver_sql(step.read_text())
            connection.exec_driver_sql("ALTER TABLE hive.tally ADD COLUMN current_at timestamptz")
        engine.dispose()

        after = counters(scrape())
        assert {at: pytest.approx(value) for at, value in counters(before).items()} == after


class TestWaiting:
    def test_queues_tell_how_much_is_due_and_for_how_long(self, people, scrape):
        people.fly()
        people.run("UPDATE hive.task SET available_at = clock_timestamp() - interval '1 minute'")

        page = scrape()

        assert page.get("hive_queue_depth", queue="bees.file") == 1
        assert 60 <= (page.get("hive_queue_oldest_seconds", queue="bees.file") or 0) < 90
        assert (page.get("hive_queue_depth", queue="nectar"), page.get("jobs_in_queue")) == (0, 1)

    def test_a_rate_limited_bee_has_nothing_due(self, people, scrape, monkeypatch):
        people.fly()
        with monkeypatch.context() as patch:
            fail_reading(patch, RetryLater("not so fast", after=600.0))
            people.drain()
        people.hurry()

        page = scrape()

        until = people.one("SELECT extract(epoch FROM retry_at)::float8 FROM hive.bee")
        assert page.get("hive_rate_limited_until_timestamp", bee="people") == pytest.approx(until)
        assert page.get("hive_queue_depth", queue="bees.file") == 0
        assert page.get("hive_queue_waiting", queue="bees.file") == 1
        assert page.get("hive_queue_oldest_seconds", queue="bees.file") == 0

    def test_what_is_sealed_and_not_landed_is_pending(self, people, scrape):
        people.fly()
        people.drain(kinds=["plan", "collect"])

        assert scrape().get("hive_pending_bytes") == people.one("SELECT sum(bytes)::int FROM hive.batch")

    def test_a_bee_is_paused_or_late_or_new(self, people, scrape):
        told = []
        for change in ("paused_at = now()", "paused_at = NULL"):
            people.run(f"UPDATE hive.bee SET {change}")
            told.append([state["state"] for state in scrape().labels("hive_bees") if _count(scrape(), state)])
        people.hive.schedule_job("people", "*/5 * * * *")
        people.run("UPDATE hive.schedule SET next_slot = now() - interval '5 minutes', missed = 3")

        page = scrape()

        assert told == [["paused"], ["new"]]
        assert (page.get("hive_bees", state="late"), page.get("hive_missed_slots", bee="people")) == (1, 3)


def _count(page: Page, state: dict[str, str]) -> bool:
    return bool(page.get("hive_bees", **state))


class TestServers:
    def test_a_ledger_that_is_away_is_told(self, tmp_path):
        gone = Database("postgresql://nobody@127.0.0.1:1/none")

        page = Page(Settings(data_dir=tmp_path), gone)

        gone.close()
        assert (page.get("hive_ledger_up"), page.get("hive_broker_up")) == (0, 0)
        assert page.get("hive_ledger_latency_seconds") is None

    def test_both_tell_how_long_an_answer_takes(self, people, redis_url):
        page = Page(
            people.settings.model_copy(update={"redis_url": Settings(redis_url=redis_url).redis_url}), people.rt.db
        )

        assert (page.get("hive_ledger_up"), page.get("hive_broker_up")) == (1, 1)
        assert (page.get("hive_ledger_latency_seconds") or 0) > 0
        assert (page.get("hive_broker_latency_seconds") or 0) > 0

    def test_who_asks_often_gets_the_same_page(self, people):
        scraper = Scraper(people.settings, people.rt.db, fresh=60.0)
        first = scraper.text()
        people.land()

        assert scraper.text() == first
        assert Scraper(people.settings, people.rt.db).text() != first


def test_pages_in_a_row_say_what_a_first_page_would(people):
    """Lines are kept from page to page: each page must still be the one that somebody makes who keeps nothing."""
    people.run(
        "INSERT INTO hive.bee (name, connector, queue, config, config_version, origin)"
        " SELECT 'bee-' || n, 'local', 'bees.file', '{}', 1, 'registered' FROM generate_series(10, 90) n"
    )
    people.run(
        "INSERT INTO hive.tally (bee, bee_type, complete, durations, last_state, last_seconds, last_at)"
        " SELECT id, 'file', 1, '{0,0,1,1,1,1}', 'complete', 1, now() FROM hive.bee WHERE name ~ 'bee-'"
    )
    changes = (
        "SELECT 1",
        "UPDATE hive.tally SET complete = 2 WHERE bee IN (SELECT id FROM hive.bee WHERE name IN ('bee-10', 'bee-77'))",
        "UPDATE hive.bee SET enabled = false WHERE name = 'bee-30'",
        """UPDATE hive.bee SET name = 'a "new" 5%%s one' WHERE name = 'bee-90'""",
        "UPDATE hive.tally SET success_at = now(), complete = complete + 1",
        "UPDATE hive.bee SET paused_at = now() WHERE name = 'bee-50'",
        "UPDATE hive.bee SET enabled = false WHERE name ~ 'bee-'",
    )
    keeps = families.Page()
    for change in changes:
        people.run(change)
        found = figures(people.rt.db, patience=5)

        assert keeps.text(found) == families.Page().text(found), change
    assert 'bee="bee-' not in keeps.text(found)

"""A flight is one trace over all processes, and a collector of OpenTelemetry gets it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hive.demo import api
from hive.embedded import EmbeddedPostgres
from tests.fleet.running import RunningHive, hive_folder, wait_until
from tests.fleet.test_processes import servers
from tests.servers.otlp import Collected, receiving

pytestmark = pytest.mark.fleet

QUERY = "SELECT * FROM people WHERE mail <> 'eve@example.com'"
PEOPLE = [{"id": n, "mail": f"ada{n}@example.com", "name": f"O'Hara {n}"} for n in range(40)]


@pytest.fixture(scope="module")
def collected() -> Iterator[Collected]:
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def sources(postgres: EmbeddedPostgres) -> Iterator[dict[str, Any]]:
    """A REST API and a database, with people in them."""
    url = postgres.create_database("traced_source")
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE people (id int PRIMARY KEY, mail text)")
        connection.cursor().executemany("INSERT INTO people VALUES (%(id)s, %(mail)s)", PEOPLE)
        connection.execute("DROP ROLE IF EXISTS traced_reader")
        connection.execute("CREATE ROLE traced_reader LOGIN PASSWORD 'made-up-word'")
        connection.execute("GRANT SELECT ON people TO traced_reader")
        info = connection.info
        database = {
            "host": info.host, "port": info.port, "database": "traced_source", "user": "traced_reader",
            "password": "made-up-word", "ssl_mode": "disable",
        }  # fmt: skip
    with api.running(api.app(count=30, wait=None)) as address:
        rest = {"base_url": address, "allow_private": True, "auth": {"method": "bearer", "token": api.TOKEN}}
        yield {"rest": rest, "postgresql": database}


@pytest.fixture(scope="module")
def traced(postgres, valkey, migrated_template, collected, sources) -> Iterator[RunningHive]:
    told = {"OTEL_EXPORTER_OTLP_ENDPOINT": collected.address, "OTEL_METRIC_EXPORT_INTERVAL": "500"}
    with hive_folder(**servers(postgres, valkey, migrated_template), **told) as hive:
        config = {
            "bees": {
                "tickets": {
                    "type": "rest", "source": sources["rest"], "scrubbing": {"profile": "gdpr_compliant"},
                    "limits": {"breaker": {"failures": 5, "cool_down": "1m"}},
                    "streams": {
                        "tickets": {
                            "path": "/tickets", "key": "id", "pagination": {"size": 50, "size_param": "per_page"}
                        }
                    },
                },
                "orders": {
                    "type": "postgresql", "source": sources["postgresql"],
                    "scrubbing": {"profile": "gdpr_compliant"},
                    "streams": {"people": {"query": QUERY, "key": "id"}},
                },
                "broken": {
                    "type": "rest", "source": {**sources["rest"], "base_url": "http://127.0.0.1:9"},
                    "streams": {"t": {"path": "/t", "key": "id"}}, "retry": {"attempts": 1},
                },
            }
        }  # fmt: skip
        (hive.folder / "hive.yaml").write_text(json.dumps(config))
        hive.up("--config", "hive.yaml")
        yield hive


def fly(hive: RunningHive, collected: Collected, name: str) -> list[dict[str, Any]]:
    """The spans of a whole flight, once the last of them has come."""
    said = hive.run("fly", name, "--wait", "--json")
    flight = json.loads(said.stdout)
    trace = str(flight.get("flight") or flight.get("id")).replace("-", "")

    def whole() -> Any:
        spans = collected.traces().get(trace, [])
        names = {span["name"] for span in spans}
        return spans if "hive.flight" in names and not orphans(spans) else None

    return wait_until(whole, f"the trace of {name}", 15)


def orphans(spans: list[dict[str, Any]]) -> list[str]:
    known = {span["id"] for span in spans}
    return [span["name"] for span in spans if span["parent"] and span["parent"] not in known]


def chain(span: dict[str, Any], spans: list[dict[str, Any]]) -> list[str]:
    """Names from the span up to the flight."""
    by_id = {one["id"]: one for one in spans}
    names = [span["name"]]
    while span["parent"]:
        span = by_id[span["parent"]]
        names.append(span["name"])
    return names


def test_a_flight_is_one_trace_from_slot_to_landing(traced, collected):
    spans = fly(traced, collected, "tickets")

    assert orphans(spans) == []
    (root,) = [span for span in spans if not span["parent"]]
    assert (root["name"], root["attributes"]["hive.state"]) == ("hive.flight", "complete")
    assert root["attributes"]["hive.landed"] == 30
    request = next(span for span in spans if span["name"] == "connector.rest.request")
    assert chain(request, spans) == [
        "connector.rest.request", "connector.execute", "connector.message_queue.publish", "hive.flight",
    ]  # fmt: skip
    assert (request["attributes"]["http.method"], request["attributes"]["http.status_code"]) == ("GET", 200)
    landing = next(span for span in spans if span["name"] == "nectar.process")
    assert chain(landing, spans)[1:] == [
        "connector.message_queue.publish", "connector.execute", "connector.message_queue.publish", "hive.flight",
    ]  # fmt: skip
    execute = next(span for span in spans if span["name"] == "connector.execute")
    told = execute["attributes"]
    assert (told["connector.name"], told["connector.type"], told["retry.attempt"]) == ("tickets", "rest", 1)
    assert (told["connector.version"], told["circuit.state"]) == ("1", "closed")
    assert "hive.slot" in {span["name"] for span in spans}
    assert len({span["process"] for span in spans}) >= 2, "several processes had a hand in it"
    assert {span["service"] for span in spans} == {"worker-bees"}
    assert all(root["began"] <= span["began"] for span in spans if span["name"] != "hive.slot")
    sent = [span["attributes"] for span in spans if span["name"] == "connector.message_queue.publish"]
    assert {one["messaging.destination"] for one in sent} == {"bees.api", "nectar"}


def test_statements_are_told_by_their_shape(traced, collected):
    spans = fly(traced, collected, "orders")

    statements = [s["attributes"]["db.statement"] for s in spans if s["name"] == "connector.database.query"]
    assert statements
    assert all(s["attributes"]["db.system"] == "postgresql" for s in spans if s["name"] == "connector.database.query")
    assert not any("eve@" in statement for statement in statements), statements
    assert any("?" in statement for statement in statements)


def test_a_failure_is_marked_by_its_code(traced, collected):
    spans = fly(traced, collected, "broken")

    failed = {span["name"]: span["error"] for span in spans if span["error"]}
    names = ("connector.rest.request", "connector.execute", "hive.flight")
    assert failed == dict.fromkeys(names, failed["hive.flight"])
    assert all(not span["events"] for span in spans)


def pool(collected: Collected, word: str) -> dict[str, float]:
    """Connections to sources by type of connector."""
    found = collected.metrics.get(f"connector.pool.{word}")
    points = found.gauge.data_points if found is not None else ()
    return {point.attributes[0].value.string_value: point.as_int or point.as_double for point in points}


def test_the_metrics_of_document_004_come_by_otlp(traced, collected):
    names = {
        "connector.execution.duration", "connector.execution.count", "connector.retry.count",
        "connector.circuit_breaker.state",
    }  # fmt: skip

    def there() -> bool:
        count = collected.metrics.get("connector.execution.count")
        points = count.sum.data_points if count is not None else ()
        return any(point.as_int or point.as_double for point in points)

    wait_until(there, "the metrics", 15)
    fly(traced, collected, "orders")  # its pool holds a connection for half a minute
    wait_until(lambda: pool(collected, "size").get("postgresql", 0) >= 1, "the size of the pool", 20)
    assert pool(collected, "idle").keys() == pool(collected, "active").keys() == pool(collected, "size").keys()
    assert names <= set(collected.metrics)
    count = collected.metrics["connector.execution.count"].sum
    assert count.is_monotonic
    assert {attribute.key for point in count.data_points for attribute in point.attributes} == {
        "connector.name", "connector.type", "status",
    }  # fmt: skip
    (point, *_) = collected.metrics["connector.execution.duration"].histogram.data_points
    assert sum(point.bucket_counts) == point.count


def test_nothing_that_was_sent_holds_a_value_or_a_secret(collected):
    everything = b"".join(collected.raw)

    for value in (b"ada1@", b"example.com", b"O'Hara", b"made-up-word", api.TOKEN.encode()):
        assert value not in everything

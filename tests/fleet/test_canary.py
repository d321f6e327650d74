"""Seeded values and secrets, searched for in six encodings in everything that people and tools can see."""

from __future__ import annotations

import base64
import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

import httpx
import psycopg
import pytest

from tests.faults.dresses import forms
from tests.fleet.running import RunningHive, hive_folder, wait_until
from tests.fleet.test_processes import flower_listens, hive_of, servers
from tests.servers.otlp import Collected, receiving

pytestmark = pytest.mark.fleet

MAIL, PHONE, NAME = "canary.zq7x@leak-example.org", "415-555-7391", "Zqanarya O'Vuxley"
TOKEN, PASSWORD, KEY = "tok-zq7-canary&secret/1", "pw-zq8-canary'secret", "key-zq9-canary+secret"
CANARIES = {"mail": MAIL, "phone": PHONE, "name": NAME, "token": TOKEN, "password": PASSWORD, "key": KEY}
ROW = {"id": 1, "mail": MAIL, "phone": PHONE, "full_name": NAME, "note": f"{NAME} asked to call {PHONE}"}
SCRUBBING = {
    "profile": "gdpr_compliant",
    "custom_rules": [{"field": "full_name", "action": "remove"}, {"pattern": r"Zq\w+ O'\w+", "action": "replace"}],
}
BEES = ("good", "lines", "failing", "refused", "garbage", "redirected", "wronged")


class Source(BaseHTTPRequestHandler):
    """Answers with people, or with a mistake that repeats all it knows: the request's secrets, too."""

    def do_GET(self) -> None:
        told = json.dumps(
            {"error": f"{MAIL} {PHONE} {NAME}", "headers": dict(self.headers), "path": self.path}
        ).encode()
        status, body = {
            "/good": (200, json.dumps([ROW]).encode()),
            "/failing": (500, told),
            "/refused": (403, told),
            "/garbage": (200, b'[{"id": 1, "mail": "' + MAIL.encode() + b'", broken ' + told),
            "/redirected": (302, told),
        }.get(self.path.partition("?")[0], (404, told))
        self.send_response(status, NAME if status >= 400 else None)
        if status == 302:
            self.send_header("Location", f"http://{quote(NAME)}.invalid/{quote(MAIL)}")
        self.send_header("X-Who", MAIL)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Source)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def collected() -> Iterator[Collected]:
    with receiving() as found:
        yield found


@pytest.fixture(scope="module")
def flown(postgres, valkey, migrated_template, address, collected) -> Iterator[RunningHive]:
    """A hive whose bees have all flown: one lands, the others fail in as many ways."""
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collected.address, "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "CANARY_TOKEN": TOKEN, "CANARY_PASSWORD": PASSWORD, "CANARY_KEY": KEY,
    }  # fmt: skip
    with hive_folder(**servers(postgres, valkey, migrated_template), **told) as hive:
        folder = hive.folder / "lines"
        folder.mkdir()
        lines = [
            json.dumps(ROW | {"id": 2}),
            '{"id": 3, "mail": "' + MAIL + '", ' + NAME,
            json.dumps(ROW | {"id": None}),
        ]
        (folder / "a.jsonl").write_text("\n".join(lines) + "\n")
        auth = {"method": "bearer", "token": "${CANARY_TOKEN}"}
        bees: dict[str, Any] = {
            name: {
                "type": "rest", "scrubbing": SCRUBBING, "retry": {"attempts": 2},
                "source": {"base_url": address, "allow_private": True, "auth": auth},
                "streams": {"people": {"path": f"/{name}", "key": "id"}},
            }
            for name in ("good", "failing", "refused", "garbage", "redirected")
        }  # fmt: skip
        bees["refused"]["source"]["auth"] = {"method": "api_key", "key": "${CANARY_KEY}", "query_param": "k"}
        bees["lines"] = {
            "type": "local", "scrubbing": SCRUBBING, "source": {"path": str(folder)},
            "streams": {"people": {"patterns": "*.jsonl", "key": "id"}},
        }  # fmt: skip
        with psycopg.connect(postgres.create_database("canary_source")) as connection:
            info = connection.info
            source = {"host": info.host, "port": info.port, "database": "canary_source", "user": "nobody",
                      "password": "${CANARY_PASSWORD}", "ssl_mode": "disable"}  # fmt: skip
        query = f"SELECT 1 AS id, '{MAIL}' AS mail"
        bees["wronged"] = {"type": "postgresql", "source": source, "streams": {"q": {"query": query, "key": "id"}}}
        (hive.folder / "hive.yaml").write_text(json.dumps({"bees": bees}))
        hive.up("--config", "hive.yaml")
        state = hive.settings.running()
        login = "{user}:{password}".format(**state["flower_login"])
        wait_until(lambda: flower_listens(state["flower"], login), "the start of Flower")
        with hive_of(hive) as manager:
            for bee in BEES[1:]:
                manager.fly(bee)
        done = hive.run("fly", "good", "--wait")
        hive.said = done.stdout + done.stderr
        wait_until(lambda: len({s["trace"] for s in collected.spans if s["name"] == "hive.flight"}) >= len(BEES))
        yield hive


def page(address: str, login: str) -> bytes:
    request = urllib.request.Request(
        address, headers={"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
    )
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.read()


def pages(address: str, login: str) -> dict[str, bytes]:
    """What somebody sees who has logged in: each page with its headers, and what its stream sends first."""
    name, _, password = login.partition(":")
    found = {}
    with httpx.Client(base_url=address, follow_redirects=True, timeout=30) as person:
        person.post("/login", data={"name": name, "password": password}).raise_for_status()
        flights = {
            link for bee in BEES for link in re.findall(r"/flights/[0-9a-f-]{36}", person.get(f"/bees/{bee}").text)
        }
        live = ("/", "/bees", "/bees?name=good", "/quarantine", *(f"/bees/{bee}" for bee in BEES), *sorted(flights))
        still = ("/jars", "/jars/good", "/jars/lines", "/jars/lines?q=asked", "/audit", "/bees/nobody")
        for path in (*live, *still):
            answer = person.get(path)
            found[f"page {path}"] = repr(answer.headers).encode() + answer.content
        for path in live:
            with person.stream("GET", "/live", params={"at": path}) as answer:
                found[f"stream {path}"] = next(line for line in answer.iter_lines() if "data: {" in line).encode()
    assert len(flights) >= len(BEES)
    return found


@pytest.fixture(scope="module")
def seen(flown, collected) -> dict[str, bytes]:
    """All that can be seen, by where. What the bee's own configuration says, its owner wrote."""
    state = flown.settings.running()
    login = "{user}:{password}".format(**state["flower_login"])
    found = {where: text for where, text in flown.texts().items() if not where.endswith("hive.json")}
    paths = ("/metrics", "/status", "/healthz", "/metrics/connectors", "/health/connectors", "/",
             *(f"/metrics/connectors/{bee}" for bee in BEES), *(f"/bees/{bee}" for bee in BEES))  # fmt: skip
    found |= {f"gateway {path}": page(state["gateway"] + path, login) for path in paths}
    found |= pages(state["gateway"], login)
    flower = ("/", "/tasks", "/workers", "/broker", "/api/tasks", "/api/workers", "/metrics")
    found |= {f"flower {path}": page(state["flower"] + path, login) for path in flower}
    commands = (("status", "--json"), ("status", "--once"), ("doctor",), ("flights", "--json"), ("bees",),
                ("quarantine", "list", "--json"))  # fmt: skip
    for command in commands:
        done = flown.run(*command)
        found[f"hive {' '.join(command)}"] = (done.stdout + done.stderr).encode()
    found["hive fly"] = flown.said.encode()
    return found | {f"otlp {n}": raw for n, raw in enumerate(collected.raw)}


def test_what_is_searched_is_there(seen):
    assert b"hive_bee_state" in seen["gateway /metrics"]
    assert b"bees.collect" in seen["flower /api/tasks"]
    assert b"email address" in seen["page /"]
    assert b"to call" in seen["page /jars/lines?q=asked"]
    assert b"Retry" in seen["stream /quarantine"]
    assert any(where.endswith(".log") and b"flight.ended" in text for where, text in seen.items())
    assert any(b"connector.rest.request" in text for where, text in seen.items() if where.startswith("otlp"))
    assert json.loads(seen["hive quarantine list --json"])
    told = {bee["name"]: bee["state"] for bee in json.loads(seen["gateway /status"])["bees"]}
    assert (told["good"], told["lines"]) == ("healthy", "healthy")
    assert all(told[bee] in ("failing", "misconfigured", "rate_limited") for bee in BEES[2:]), told


def test_the_operators_password_is_in_no_log(flown, seen):
    password = flown.settings.running()["flower_login"]["password"].encode()

    assert "hive.log" in {where.rpartition("/")[2] for where in seen}
    assert [where for where, text in seen.items() if where.endswith(".log") and password in text] == []


@pytest.mark.parametrize("how", list(forms("x")))
@pytest.mark.parametrize("which", list(CANARIES))
def test_no_canary_is_anywhere(seen, which, how):
    wanted = {form.lower() for form in forms(CANARIES[which])[how]}

    found = sorted(where for where, text in seen.items() if any(form in text.lower() for form in wanted))

    assert found == []


def test_every_line_of_the_log_is_json_and_those_of_tasks_name_flight_and_bee(flown):
    """Of every process; `hive.log` is what `hive up` says to people."""
    logs = {path.name: path.read_text() for path in (flown.data / "logs").glob("*.log") if path.name != "hive.log"}
    other = [line for text in logs.values() for line in text.splitlines() if not line.startswith("{")]
    assert other == []
    assert {"beat.log", "flower.log", "gateway.log", "worker-nectar.log"} <= logs.keys()
    lines = [json.loads(line) for text in logs.values() for line in text.splitlines()]
    about = [line for line in lines if line["event"].startswith(("task.", "flight."))]

    assert about
    assert all(line.get("bee") and line.get("flight") for line in about), about
    ended = {line["bee"]: line["state"] for line in lines if line["event"] == "flight.ended"}
    assert (ended["good"], ended["failing"]) == ("complete", "failed")

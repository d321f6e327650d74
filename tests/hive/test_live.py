"""The live screen of `hive status`: what needs a person stands first, and every state is told apart."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from typing import Any

import pytest
from rich.console import Console

from bees.core.errors import GiveUp, RetryLater
from bees.core.sql import errors as sql_errors
from hive.cli.live import History, screen, sparkline
from hive.condition import STATES, UNWELL, Condition, Flying, advice, judge
from hive.embedded.places import free_port
from hive.metrics.connectors import MetricsCollector
from hive.metrics.scrape import Scraper
from hive.status import look
from tests.hive.command import bare_hive, hive_command
from tests.hive.nest import KEY, Nest, make_nest, nest, write
from tests.hive.test_cancel import fail_reading

__all__ = ["bare_hive", "hive_command", "make_nest", "nest"]

ROWS = [{"id": n, "mail": f"ada{n}@example.com"} for n in range(4)]


@pytest.fixture
def people(nest) -> Nest:
    write(nest.register(scrubbing={"profile": "gdpr_compliant"}) / "a.jsonl", ROWS)
    nest.run("UPDATE hive.worker SET queues = '{bees.file,nectar}'")
    return nest


def state(people: Nest, name: str = "people") -> str:
    return next(bee["state"] for bee in look(people.rt.db)["bees"] if bee["name"] == name)


def drawn(found: dict[str, Any], history: History | None = None, height: int = 40, width: int = 140) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(screen({"pace": {}, **found}, history or History(), height, dt.datetime.now(dt.UTC)))
    return console.export_text()


class TestStates:
    """What went wrong shows at the next look, not when a flight has ended."""

    def test_a_bee_that_is_tried_again_fails_already(self, people, monkeypatch):
        fail_reading(monkeypatch, RetryLater("no answer", code="timeout", advice="is the server up?"))
        people.fly()
        people.work(people.due()[0])

        (bee,) = look(people.rt.db)["bees"]
        assert (bee["state"], bee["error"], bee["advice"]) == ("failing", "timeout", "is the server up?")
        assert "it is tried again" in bee["why"]

    def test_a_bee_whose_worker_is_gone_is_stuck(self, people):
        people.fly()
        doomed = people.runtime("doomed:1:1")
        people.claim(people.due()[0], doomed)
        flying = state(people)
        people.bury("doomed:1:1")

        assert (flying, state(people)) == ("flying", "stuck")

    def test_a_flight_that_says_nothing_is_stuck(self, people):
        people.fly()
        people.claim(people.due()[0])
        people.run("UPDATE hive.task SET started_at = now() - interval '40 seconds' WHERE state = 'running'")

        (bee,) = look(people.rt.db)["bees"]
        assert bee["state"] == "stuck"
        assert 39 < bee["silent"] < 60
        assert "has not got on" in bee["why"]

    def test_a_task_that_nobody_can_take_is_stuck(self, people):
        people.fly()
        people.run("UPDATE hive.worker SET queues = '{nectar}'")
        people.run("UPDATE hive.task SET available_at = now() - interval '40 seconds'")

        assert state(people) == "stuck"

    def test_a_bee_that_waits_its_turn_is_not_stuck(self, people):
        people.fly()
        people.run("UPDATE hive.task SET available_at = now() - interval '40 seconds'")

        (bee,) = look(people.rt.db)["bees"]
        assert bee["state"] == "waiting"
        assert bee["why"] == "its task has waited for 40 s: the workers of its queue are busy or stand still"

    def test_a_source_that_does_not_answer_is_quiet_within_seconds(self, people):
        people.fly()
        people.claim(people.due()[0])
        at_once = state(people)
        people.run("UPDATE hive.task SET started_at = now() - interval '4.5 seconds' WHERE state = 'running'")

        (bee,) = look(people.rt.db)["bees"]
        assert (at_once, bee["state"]) == ("flying", "quiet")
        assert re.fullmatch("nothing came from its source for [4-9] s", bee["why"])

    def test_a_bee_whose_worker_stands_still_is_quiet_before_its_lease_is_over(self, people):
        people.fly()
        frozen = people.runtime("frozen:1:1")
        people.claim(people.due()[0], frozen)
        people.run(
            "UPDATE hive.worker SET beat_at = now() - interval '4.5 seconds',"
            " alive_until = now() + interval '5.5 seconds' WHERE id = 'frozen:1:1'"
        )

        found = look(people.rt.db)
        (bee,) = found["bees"]
        assert bee["state"] == "quiet"
        assert re.fullmatch("the worker that has its task in hand was not heard of for [4-9] s", bee["why"])
        assert {w["id"]: w["status"] for w in found["workers"]}["frozen:1:1"] == "quiet"
        page = Scraper(people.rt.settings, people.rt.db, fresh=0).text()
        assert "hive_workers_quiet 1\n" in page
        assert 'hive_bee_state{bee="people",state="quiet"} 1\n' in page

    def test_a_reader_of_changes_that_waits_for_more_is_not_quiet(self, people):
        people.fly()
        people.claim(people.due()[0])
        people.run("UPDATE hive.task SET started_at = now() - interval '50 seconds' WHERE state = 'running'")
        people.run("""UPDATE hive.bee SET config = jsonb_set(config, '{source,cdc}', '{"wait": 60}')""")

        assert state(people) == "flying"

    def test_a_slot_without_a_flight_is_late_within_seconds(self, people):
        people.land()
        people.run(
            "INSERT INTO hive.schedule (bee, name, spec, next_slot)"
            " SELECT id, 'default', '{\"every\": 60}', now() - interval '4.5 seconds' FROM hive.bee"
        )

        (bee,) = look(people.rt.db)["bees"]
        assert (bee["state"], bee["why"]) == ("late", "a slot is due and no flight came of it")

    def test_a_wrong_option_is_told_from_a_failure(self, people, monkeypatch):
        people.land()
        fail_reading(monkeypatch, GiveUp("no key", code="no_key", advice="name a key"))
        people.land()
        wrong = state(people)
        fail_reading(monkeypatch, GiveUp("no", code="locked"))
        people.land()

        assert (wrong, state(people)) == ("misconfigured", "failing")

    def test_a_query_that_is_not_let_in_is_a_wrong_option(self):
        told = re.findall(r"^([a-z_]+)  +\S", sql_errors.__doc__ or "", re.MULTILINE)
        of_any_text = {"too_long", "too_deep", "not_text", "control_character"}  # files may be too deep, too

        states = {code: judge(last_state="failed", last_error={"code": code}).state for code in told}

        assert len(told) > 25
        assert {code for code, state in states.items() if state != "misconfigured"} == of_any_text

    def test_a_bee_that_leaves_slots_out_lags(self, people):
        people.land()
        people.run("UPDATE hive.tally SET current_at = now() - interval '5 minutes'")
        people.run(
            "INSERT INTO hive.slot (bee, slot_key, outcome)"
            " SELECT id, 'default@' || n, 'skipped:overlap' FROM hive.bee, generate_series(1, 2) n"
        )

        (bee,) = look(people.rt.db)["bees"]
        assert (bee["state"], 290 < bee["lag"] < 330) == ("lagging", True)
        people.land()
        assert state(people) == "healthy"

    def test_a_bee_whose_records_all_lack_its_key_is_misconfigured_everywhere(self, people):
        people.land()
        assert state(people) == "healthy"
        write(people.folder / "people" / "a.jsonl", [{"idd": 3}, {"idd": 4}])
        people.land()

        (bee,) = look(people.rt.db)["bees"]
        (health,) = MetricsCollector(people.rt.db).health()
        page = Scraper(people.settings, people.rt.db).text()
        people.run("UPDATE hive.quarantine SET state = 'dropped'")

        assert (bee["state"], bee["error"], bee["last_state"]) == ("misconfigured", "no_key", "complete")
        assert "none of the 2 records" in bee["message"]
        assert "`hive check people`" in bee["advice"]
        assert (health.healthy, health.state, health.error, health.advice) == (
            False, "misconfigured", "no_key", bee["advice"],
        )  # fmt: skip
        assert 'hive_bee_state{bee="people",state="misconfigured"} 1\n' in page
        assert state(people) == "healthy"

    @pytest.mark.parametrize("advice", ["", None])
    def test_a_bee_that_needs_a_person_never_stands_there_without_a_next_step(self, people, monkeypatch, advice):
        error = RetryLater("the server failed", code="server_error", **({} if advice is None else {"advice": advice}))
        fail_reading(monkeypatch, error)
        people.fly()
        people.work(people.due()[0])

        (bee,) = look(people.rt.db)["bees"]
        (health,) = MetricsCollector(people.rt.db).health()

        assert (bee["state"], health.state) == ("failing", "failing")
        assert bee["advice"] == health.advice == "`hive check people` asks its source now"
        assert "`hive check people`" in drawn(look(people.rt.db))

    def test_each_state_that_is_not_well_has_advice_and_the_error_s_own_comes_first(self):
        error = {"code": "denied", "advice": "check the password"}
        told = {state: advice(Condition(state, "why"), "shop") for state in STATES}
        with_error = {state: advice(Condition(state, "why", error), "shop") for state in STATES}

        assert all(told[state] for state in (*UNWELL, "quiet", "waiting"))
        assert not any(told[state] for state in ("healthy", "flying", "new", "disabled", "paused", "rate_limited"))
        assert [with_error[state] for state in ("failing", "misconfigured", "breaker_open", "paused")] == [
            "check the password"
        ] * 4
        assert "hive doctor" in str(with_error["stuck"])  # its error is of what was before

    def test_a_pause_does_not_hide_that_a_flight_is_stuck(self):
        assert judge(paused=True, flying=Flying(lost=True)).state == "stuck"
        assert judge(paused=True, flying=Flying(silent=1.0)).state == "paused"

    def test_a_slow_bee_lags_also_while_nothing_is_heard_of_it(self):
        assert judge(last_state="complete", left_out=3, flying=Flying(silent=5.0)).state == "lagging"

    def test_all_states_are_told_apart(self):
        told = [
            judge(enabled=False), judge(cannot_fly="no driver"), judge(paused=True), judge(patient=True),
            judge(patient=True, open_breaker=True), judge(flying=Flying(lost=True)), judge(late=True),
            judge(last_state="failed"), judge(last_state="complete", left_out=3),
            judge(last_state="complete", flying=Flying(silent=1.0)), judge(), judge(last_state="complete"),
            judge(last_state="complete", flying=Flying(silent=5.0)), judge(flying=Flying(waits=5.0)),
        ]  # fmt: skip

        assert sorted(one.state for one in told) == sorted(STATES)
        assert all(one.why for one in told)


class TestScreen:
    def test_what_needs_a_person_stands_first_with_its_advice(self, people, monkeypatch):
        people.land()
        fail_reading(monkeypatch, GiveUp("the folder is locked", code="locked", advice="unlock the folder"))
        people.land()
        people.register("other")
        people.hive.schedule_job("other", "*/5 * * * *")

        text = drawn(look(people.rt.db))

        assert "2 bees" in text
        assert "1 failing" in text
        line = next(line for line in text.splitlines() if line.startswith("people"))
        assert "the folder is locked" in line
        assert "unlock the folder" in line
        assert text.index("need a person") < text.index("flying and next")
        assert "no scheduler lives" in text

    def test_a_hive_that_is_well_says_so(self, people):
        people.land()

        assert "no bee needs a person" in drawn(look(people.rt.db))

    @pytest.mark.parametrize("width", [60, 80, 100])
    def test_on_a_narrow_terminal_names_and_states_stay_whole(self, people, width):
        found = look(people.rt.db)
        (bee,) = found["bees"]
        told = {"why": "denied", "message": "the server refuses this login " * 3, "advice": "check the password " * 3}
        bees = [{**bee, **told, "name": f"sales-db-bee-{n}", "state": "failing"} for n in range(9)]

        lines = drawn({**found, "bees": bees}, width=width).splitlines()

        assert sum(line.startswith(f"sales-db-bee-{n}  failing  the ") for line in lines for n in range(9)) == 9

    def test_what_is_paused_is_named(self, people):
        people.hive.pause("people")

        text = drawn(look(people.rt.db))

        assert re.search(r"^people +paused +somebody paused it", text, re.MULTILINE)

    def test_a_stuck_bee_is_shown_with_what_holds_it_now_not_with_an_error_of_before(self, people, monkeypatch):
        fail_reading(monkeypatch, RetryLater("the server failed", code="server_error"))
        people.fly()
        people.work(people.due()[0])
        people.run("UPDATE hive.worker SET queues = '{nectar}'")
        people.run("UPDATE hive.task SET available_at = now() - interval '73 seconds'")

        (line,) = [line for line in drawn(look(people.rt.db)).splitlines() if line.startswith("people")]

        assert "stuck" in line
        assert "no worker of its queue lives" in line

    def test_it_fits_the_terminal(self, people):
        found = look(people.rt.db)
        (bee,) = found["bees"]
        bees = [{**bee, "name": f"bee-{n}", "state": "failing", "why": "x"} for n in range(300)]

        assert len(drawn({**found, "bees": bees}, height=24).splitlines()) <= 24

    def test_sparklines_show_the_growth_of_totals(self):
        history = History()
        for at, landed in enumerate((0, 10, 30, 30)):
            history.note({"pace": {"landed": landed}, "queues": [{"name": "nectar", "due": landed}]}, float(at))

        assert history.of("landed") == (10.0, 20.0, 0.0)
        assert sparkline(history.of("landed"), 3) == "▄█ "
        assert history.of("queue nectar") == (0, 10, 30, 30)

    def test_on_a_terminal_it_stays_until_q(self, people, tmp_path):
        people.land()
        ours, theirs = pty.openpty()
        environment = {**os.environ, "HIVE_DATABASE_URL": people.settings.database(), "HIVE_KEY": KEY,
                       "HIVE_DATA_DIR": str(tmp_path), "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}  # fmt: skip
        process = subprocess.Popen([sys.executable, "-m", "hive", "status"], stdin=theirs, stdout=theirs, stderr=theirs,
                                   env=environment)  # fmt: skip
        os.close(theirs)
        try:
            said = _until(ours, b"no bee needs a person")
            assert process.poll() is None
            os.write(ours, b"q")
            said += _until(ours, b"\x1b[?1049l")
            assert process.wait(timeout=10) == 0
            assert b"ada" not in said
        finally:
            process.kill()
            process.wait()
            os.close(ours)


def _until(terminal: int, word: bytes, limit: float = 30.0) -> bytes:
    said, ends = b"", time.monotonic() + limit
    while word not in said:
        assert time.monotonic() < ends, said[-500:]
        if select.select([terminal], [], [], 0.2)[0]:
            with contextlib.suppress(OSError):
                said += os.read(terminal, 65536)
    return said


class TestTroubles:
    def test_the_screen_says_what_is_wrong_with_the_hive_itself_and_keeps_to_its_height(self, people):
        found = look(people.rt.db)
        told = {"broker_answers": False, "config_refused": {"problems": ["bees.yaml:3: no such option"], "count": 1}}

        said = drawn({**found, **told}, height=24)

        assert "the broker does not answer" in said
        assert "bees.yaml:3: no such option" in said
        assert len(said.splitlines()) <= 24
        assert "the broker" not in drawn({**found, "broker_answers": True, "config_refused": None})


class TestOnce:
    """What one look says of the hive itself."""

    def test_a_broker_that_is_away_and_a_scheduler_that_is_missing(self, nest, hive):
        nest.register()
        nest.run("UPDATE hive.worker SET queues = '{bees.file}'")
        hive.set({"HIVE_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"})

        said = hive("status", "--once")

        assert said.code == 0
        assert "the broker does not answer" in said.err
        assert "no scheduler lives" in said.err
        assert hive("status", "--json").json["broker_answers"] is False

    def test_nothing_is_said_where_both_are_there(self, nest, hive, redis_url):
        nest.register()
        hive.set({"HIVE_REDIS_URL": redis_url})

        assert hive("status", "--once").err.count("warning") == 0
        assert hive("status", "--json").json["broker_answers"] is True

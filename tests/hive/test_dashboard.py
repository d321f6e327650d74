"""The pages: who sees them, who acts, what they tell, and what they never tell."""

from __future__ import annotations

import asyncio
import base64
import re
import time
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from hive.config.problems import ConfigProblems
from hive.dashboard import accounts, charts, live, words
from hive.dashboard.accounts import BadAccount, UnknownAccount
from hive.dashboard.look import Look
from hive.dashboard.sessions import MOST_FAILURES
from hive.dashboard.views import Views
from hive.dashboard.web import inside
from hive.embedded.places import free_port
from hive.ledger.db import Database, DatabaseAway
from hive.metrics.broker import Broker
from hive.settings import Settings
from tests.hive.nest import Nest, make_nest, write
from tests.hive.pages import PASSWORD, Visitor, visit

__all__ = ["make_nest", "visit"]

PAGES = ("/", "/bees", "/bees/people", "/jars", "/jars/people", "/quarantine", "/audit")
ACTS = ("/bees/people/fly", "/bees/people/pause", "/bees/people/resume", "/quarantine/1/retry", "/quarantine/1/drop")
MAIL, PHONE, SECRET = "zoe.canary@example.org", "+1 202-555-0143", "hunter2-canary-secret"


@pytest.fixture
def nest(make_nest) -> Nest:
    return make_nest(flower_login=f"operator:{PASSWORD}", value_limit=400)


@pytest.fixture
def people(nest) -> Nest:
    """A bee that has landed two people and set one aside."""
    folder = nest.register(scrubbing={"profile": "gdpr_compliant"})
    rows = [
        {"id": 1, "mail": MAIL, "phone": PHONE, "note": f"a kind letter from {MAIL}"},
        {"id": 2, "note": "ok <b>x</b>"},
    ]
    write(folder / "a.jsonl", [*rows, {"id": 3, "note": "n" * 500}])
    nest.land()
    return nest


class TestLogin:
    def test_without_one_every_page_leads_to_the_login(self, nest, visit):
        visitor = visit(nest)
        for path in (*PAGES, "/flights/x"):
            answer = visitor.get(path)
            assert answer.status_code == 303
            assert answer.headers["location"].startswith("/login")
            assert not answer.text

    def test_the_operator_of_hive_up_gets_in_and_back_to_where_he_wanted(self, nest, visit):
        visitor = visit(nest)
        wanted = visitor.get("/bees?state=late").headers["location"]
        then = re.findall(r'name="next" value="([^"]+)"', visitor.get(wanted).text)[0]

        answer = visitor.log_in(next=then)

        assert (answer.status_code, answer.headers["location"]) == (303, "/bees?state=late")
        assert visitor.get("/bees").status_code == 200

    @pytest.mark.parametrize(
        ("name", "word"), [("operator", "wrong"), ("nobody", PASSWORD), ("", ""), ("vera", "x" * 999)]
    )
    def test_a_wrong_name_or_password_is_refused_in_the_same_words(self, nest, visit, name, word):
        accounts.put(nest.rt.db, "vera", "viewer", PASSWORD)

        answer = visit(nest).log_in(name, word)

        assert answer.status_code == 401
        assert "Name or password is wrong." in answer.text
        assert "set-cookie" not in answer.headers

    def test_whoever_guesses_has_to_wait_even_with_the_right_password(self, nest, visit):
        visitor = visit(nest)
        for n in range(MOST_FAILURES):
            assert visitor.log_in("operator", f"guess {n}").status_code == 401

        answer = visitor.log_in()

        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 61

    def test_guesses_that_come_all_at_once_are_no_more_than_those_in_a_row(self, nest, visit):
        visitor = visit(nest)

        answers = visitor.at_once(3 * MOST_FAILURES, "/login", {"name": "operator", "password": "a guess"})

        assert Counter(answer.status_code for answer in answers) == {401: MOST_FAILURES, 429: 2 * MOST_FAILURES}

    def test_right_logins_are_no_guesses(self, nest, visit):
        visitor = visit(nest)

        answers = [visitor.log_in().status_code for _ in range(MOST_FAILURES + 2)]

        assert set(answers) == {303}

    @pytest.mark.parametrize(
        "to",
        ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil", "javascript:alert(1)", "", "/a\nb"],
    )
    def test_it_leads_to_no_other_site(self, to):
        assert inside(to) == "/"

    def test_the_cookie_is_kept_from_scripts_and_other_sites(self, nest, visit):
        told = visit(nest).log_in().headers["set-cookie"]

        assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(told.split("; "))
        assert "Secure" not in told

    def test_over_tls_the_cookie_is_for_tls_only(self, nest, visit):
        answer = visit(nest).post("https://hive/login", {"name": "operator", "password": PASSWORD})

        assert "Secure" in answer.headers["set-cookie"].split("; ")

    def test_a_login_form_of_another_site_is_refused(self, nest, visit):
        form = {"name": "operator", "password": PASSWORD}

        assert visit(nest).post("/login", form, headers={"origin": "https://evil.example"}).status_code == 403
        assert visit(nest).post("/login", form, headers={"sec-fetch-site": "cross-site"}).status_code == 403

    def test_the_ledger_holds_neither_token_nor_password(self, nest, visit):
        visitor = visit(nest, "viewer")
        kept = str(nest.rows("SELECT s::text, a::text FROM hive.session s, hive.account a"))

        assert visitor.token not in kept
        assert visitor.token.encode().hex() not in kept
        assert PASSWORD not in kept


class TestSessions:
    def test_a_log_out_ends_it_for_the_token_too(self, nest, visit):
        visitor = visit(nest, "operator")
        token = visitor.token
        assert visitor.act("/logout").status_code == 303

        visitor.keep("hive_session", token)

        assert visitor.get("/").headers["location"] == "/login"

    @pytest.mark.parametrize("how", ["removed", "password", "expired"])
    def test_a_removed_account_a_new_password_and_time_end_it(self, nest, visit, how):
        visitor = visit(nest, "viewer")
        assert visitor.get("/").status_code == 200

        if how == "removed":
            accounts.remove(nest.rt.db, "vera")
        elif how == "password":
            accounts.put(nest.rt.db, "vera", "viewer", PASSWORD + "2")
        else:
            nest.run("UPDATE hive.session SET expires_at = clock_timestamp()")

        assert visitor.get("/").status_code == 303

    def test_a_changed_role_holds_from_the_next_request_on(self, people, visit):
        visitor = visit(people, "viewer")
        stored = people.one("SELECT password FROM hive.account")
        people.run("UPDATE hive.account SET role = 'operator'")

        assert visitor.act("/bees/people/pause").status_code == 303
        assert people.one("SELECT password FROM hive.account") == stored

    @pytest.mark.parametrize("token", ["", "x", "\N{SNOWMAN}", "a" * 5000])
    def test_a_made_up_token_is_nobody(self, nest, visit, token):
        visitor = visit(nest)

        answer = visitor.get("/", headers={"cookie": f"hive_session={urllib.parse.quote(token)}"})

        assert answer.status_code == 303

    @pytest.mark.parametrize(
        ("name", "role", "password"),
        [("", "viewer", PASSWORD), ("Vera", "viewer", PASSWORD), ("operator", "viewer", PASSWORD),
         ("a b", "viewer", PASSWORD),
         ("vera", "admin", PASSWORD), ("vera", "viewer", "short"), ("vera", "viewer", "x" * 2000)],
    )  # fmt: skip
    def test_odd_accounts_are_refused_with_what_is_taken(self, nest, name, role, password):
        with pytest.raises(BadAccount, match=r"not taken|no role|characters"):
            accounts.put(nest.rt.db, name, role, password)

    def test_an_account_that_is_not_there_cannot_be_removed(self, nest):
        with pytest.raises(UnknownAccount, match="hive user list"):
            accounts.remove(nest.rt.db, "vera")

    def test_equal_passwords_have_different_hashes(self):
        one, two = accounts.hashed(PASSWORD), accounts.hashed(PASSWORD)

        assert one != two
        assert accounts.matches(PASSWORD, one)
        assert not accounts.matches(PASSWORD + "x", one)
        assert not accounts.matches(PASSWORD, None)


class TestRoles:
    def test_a_viewer_changes_nothing(self, people, visit):
        visitor = visit(people, "viewer")
        tables = ("bee", "quarantine", "flight", "honey")
        before = [people.rows(f"SELECT t::text FROM hive.{table} t") for table in tables]

        for path in ACTS:
            answer = visitor.act(path)
            assert answer.status_code == 403
            assert "ask an operator" in answer.text

        assert [people.rows(f"SELECT t::text FROM hive.{table} t") for table in tables] == before

    def test_a_viewer_sees_the_pages_without_the_buttons(self, people, visit):
        visitor = visit(people, "viewer")
        for path in PAGES:
            answer = visitor.get(path)
            assert answer.status_code == (403 if path == "/audit" else 200)
            assert re.findall(r'<form method="post" action="([^"]+)"', answer.text) == ["/logout"]

    def test_what_people_did_is_for_operators(self, people, visit):
        assert visit(people, "viewer").get("/audit").status_code == 403

    def test_a_form_without_the_sessions_own_token_does_nothing(self, people, visit):
        visitor, other = visit(people, "operator"), visit(people, "operator")
        for fields in ({"then": "/"}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": other.csrf()}):
            for path in (*ACTS, "/logout"):
                assert visitor.post(path, fields).status_code == 403

        assert people.rows("SELECT paused_at FROM hive.bee") == [(None,)]
        assert people.one("SELECT count(*) FROM hive.flight") == 1
        assert people.one("SELECT state FROM hive.quarantine") == "open"
        assert visitor.get("/").status_code == 200

    @pytest.mark.parametrize(
        "header", [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("origin", "null")]
    )
    def test_a_form_of_another_site_does_nothing_even_with_the_token(self, people, visit, header):
        visitor = visit(people, "operator")

        answer = visitor.post("/bees/people/fly", {"csrf": visitor.csrf()}, headers=[header])

        assert answer.status_code == 403
        assert people.one("SELECT count(*) FROM hive.flight") == 1

    def test_nothing_is_done_by_looking(self, people, visit):
        visitor = visit(people, "operator")

        assert {visitor.get(path).status_code for path in ACTS} == {405}

    def test_a_form_that_is_none_is_refused(self, people, visit):
        visitor = visit(people, "operator")
        path, csrf = "/bees/people/fly", visitor.csrf()

        assert visitor.post(path, headers={"content-type": "application/json"}).status_code == 415
        assert visitor.post(path, {"csrf": csrf, "x": "y" * 20_000}).status_code == 413
        assert visitor.post(path, {f"f{n}": "" for n in range(100)} | {"csrf": csrf}).status_code == 400


class TestActs:
    def test_fly_now_makes_a_flight_and_leads_to_it(self, people, visit):
        visitor = visit(people, "operator")

        answer = visitor.act("/bees/people/fly")

        made = people.one("SELECT id::text FROM hive.flight ORDER BY created_at DESC LIMIT 1")
        assert answer.headers["location"] == f"/flights/{made}"
        assert "people takes off." in visitor.get(f"/flights/{made}").text
        assert "people takes off." not in visitor.get(f"/flights/{made}").text

    def test_pause_and_resume(self, people, visit):
        visitor = visit(people, "operator")

        visitor.act("/bees/people/pause", then="/bees/people")
        assert people.one("SELECT paused_at IS NOT NULL FROM hive.bee")
        page = visitor.get("/bees/people").text
        assert "is paused" in page
        assert '"/bees/people/resume"' in page
        visitor.act("/bees/people/resume")
        assert people.one("SELECT paused_at IS NULL FROM hive.bee")

    def test_a_quarantined_record_lands_once_its_reason_is_gone(self, people, make_nest, visit):
        roomy = make_nest(flower_login=f"operator:{PASSWORD}")
        visitor = visit(roomy, "operator")
        number = people.one("SELECT id FROM hive.quarantine")

        answer = visitor.act(f"/quarantine/{number}/retry", then="/quarantine")

        assert answer.headers["location"] == "/quarantine"
        assert f"Entry {number}: 1 landed." in visitor.get("/quarantine").text
        assert people.jar()["3"]["note"] == "n" * 500

    def test_one_that_is_given_up_is_destroyed(self, people, visit):
        visitor = visit(people, "operator")
        number = people.one("SELECT id FROM hive.quarantine")

        visitor.act(f"/quarantine/{number}/drop")

        assert people.rows("SELECT state, body FROM hive.quarantine") == [("dropped", b"")]
        assert "is dropped already" in visitor.get(visitor.act(f"/quarantine/{number}/drop").headers["location"]).text

    def test_a_flight_is_cancelled_and_flown_again(self, people, visit):
        visitor = visit(people, "operator")
        flight = people.fly()

        visitor.act(f"/flights/{flight}/cancel", then=f"/flights/{flight}")
        people.drain()
        assert people.hive.flight(flight).state == "cancelled"
        again = visitor.act(f"/flights/{flight}/retry")

        assert again.headers["location"].startswith("/flights/")
        people.drain()
        assert people.hive.flight(again.headers["location"].rpartition("/")[2]).state == "complete"

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("/bees/nobody/fly", "no bee is named"),
            ("/quarantine/999/retry", "no quarantined record has the number 999"),
            ("/quarantine/x/drop", "is no number"),
            ("/flights/x/cancel", "is no flight id"),
        ],
    )
    def test_what_cannot_be_done_is_said(self, people, visit, path, said):
        visitor = visit(people, "operator")

        assert visitor.act(path).status_code == 303
        assert said in visitor.get("/").text.replace("&#39;", "'")
        noted = people.rows("SELECT action, body ->> 'of' FROM hive.audit ORDER BY id DESC LIMIT 2")
        assert noted[0] == (f"{noted[1][0]}:failed", noted[1][1])

    def test_every_act_is_written_down_with_who_did_it(self, people, visit):
        visitor, viewer = visit(people, "operator"), visit(people, "viewer")
        visitor.act("/bees/people/pause")
        viewer.act("/bees/people/fly")
        flight = visitor.act("/bees/people/fly").headers["location"].removeprefix("/flights/")
        visitor.log_in("vera", "wrong")
        viewer.act("/logout")

        found = people.rows("SELECT who, action, body FROM hive.audit ORDER BY id")

        assert ("account:operator", "pause", {"of": "people"}) in found
        assert ("account:vera", "fly:refused", {"of": "people"}) in found
        assert ("account:operator", "fly:flight", {"of": "people", "flight": flight}) in found
        assert ("account:vera", "login", {"role": "viewer"}) in found
        assert ("account:vera", "login:refused", {}) in found
        assert ("account:vera", "logout", {}) in found
        assert (
            "fly:refused" in visitor.get("/audit").text or "fly:refused" in visit(people, "operator").get("/audit").text
        )

    def test_a_password_in_the_wrong_field_is_not_written_down(self, nest, visit):
        visit(nest).log_in("my-secret-password", "operator")

        assert "my-secret-password" not in str(nest.rows("SELECT a::text FROM hive.audit a"))


class TestWhatIsShown:
    def test_each_page_has_the_headers_that_hold_a_browser(self, people, visit):
        visitor = visit(people, "operator")

        for path in [*PAGES, "/login", "/nothing/here", "/bees/nobody", "/static/hive.js"]:
            headers = visitor.get(path).headers
            if path == "/nothing/here":
                continue
            policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
            assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert headers["x-content-type-options"] == "nosniff"
            assert path.startswith("/static") or headers["cache-control"] == "no-store"

    def test_nothing_on_a_page_needs_what_the_policy_refuses_or_another_host(self, people, visit):
        visitor = visit(people, "operator")
        for path in (*PAGES, "/login", "/bees/nobody"):
            page = visitor.get(path).text
            assert not re.findall(r"<script(?![^>]* src=\"/static/)", page)
            assert not re.findall(r"<[^>]*\s(?:style|on\w+)=", page)
            assert not re.findall(r"(?:src|href)=\"(?:https?:)?//(?!127\.0\.0\.1:)", page)

    def test_a_bee_tells_its_history_checkpoint_schema_and_last_error(self, people, visit):
        folder = people.folder / "people"
        write(folder / "b.jsonl", [{"id": 9, "note": "x", "colour": "red"}])
        people.land()
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        people.land()

        page = visit(people, "viewer").get("/bees/people").text.replace("&#39;", "'")

        assert page.count("complete</span>") >= 2
        assert "does not exist" in page
        assert "make it, mount it, or correct <code>path</code>" in page
        assert "added colour" in page
        assert "from its mark" in page
        assert "gdpr_compliant" in page

    def test_a_bee_that_cannot_fly_has_a_page_that_says_why(self, nest, visit, tmp_path):
        file = tmp_path / "hive.yaml"
        file.write_text("bees: {later: {type: kafka, every: 5m, source: {}}, odd: {type: local, source: {path: /x}}}")
        nest.hive.reload(file, secrets=False)
        visitor = visit(nest, "viewer")

        page = visitor.get("/bees/later")

        assert page.status_code == 200
        assert "misconfigured" in page.text
        assert "kafka" in page.text
        assert 'href="/bees/later"' in visitor.get("/").text

    def test_the_first_page_tells_states_apart(self, people, visit):
        for name in ("tired", "polite", "lost", "calm"):
            folder = people.register(name, every="24h")
            write(folder / "a.jsonl", [{"id": 1}])
            people.land(name)
        people.hive.pause("tired")
        people.run("UPDATE hive.bee SET retry_at = clock_timestamp() + interval '1 hour' WHERE name = 'polite'")
        people.run(
            "UPDATE hive.schedule SET next_slot = clock_timestamp() - interval '5 min'"
            " WHERE bee = (SELECT id FROM hive.bee WHERE name = 'lost')"
        )

        page = visit(people, "viewer").get("/").text
        shown = dict(
            re.findall(
                r'<tr data-key="([a-z]+)">\s*<th[^>]*><a href="/bees.*?<span class="badge (\w+)">', page, re.DOTALL
            )
        )

        assert shown == {
            "tired": "paused",
            "polite": "rate_limited",
            "lost": "late",
            "calm": "healthy",
            "people": "healthy",
        }
        assert "1 bee needs somebody." in page

    def test_the_list_is_paged_searched_and_narrowed(self, nest, visit):
        folder = str(nest.folder)
        for n in range(60):
            source = {"path": folder}
            nest.hive.register_worker(
                "local", {"name": f"bee-{n:02}", "source": source, "streams": {"r": {"key": "id"}}}
            )
        nest.hive.pause("bee-07")
        visitor = visit(nest, "viewer")

        def shown(path: str) -> list[str]:
            return re.findall(r'<tr data-key="([a-z0-9-]+)">', visitor.get(path).text)

        assert (len(shown("/bees")), len(shown("/bees?page=2"))) == (50, 10)
        assert shown("/bees?page=9") == shown("/bees?page=2")
        assert shown("/bees?name=BEE-1") == [f"bee-{n}" for n in range(10, 20)]
        assert shown("/bees?state=paused") == ["bee-07"]
        assert shown("/bees?state=nonsense&page=x&name=zzz") == []

    @pytest.mark.parametrize(("records", "older"), [(50, 0), (51, 1)])
    def test_quarantine_offers_older_ones_only_where_there_are_any(self, nest, visit, records, older):
        write(nest.register() / "a.jsonl", [{"other": n} for n in range(records)])
        nest.fly()
        nest.drain()

        assert visit(nest, "viewer").get("/quarantine").text.count("Older") == older

    def test_behind_the_last_page_of_jars_stands_the_last(self, people, visit):
        visitor = visit(people, "viewer")

        assert 'href="/jars/people"' in visitor.get("/jars?page=77").text

    def test_a_jar_shows_its_records_scrubbed_page_by_page(self, nest, visit):
        folder = nest.register(scrubbing={"profile": "gdpr_compliant"})
        write(folder / "a.jsonl", [{"id": n, "mail": f"a{n}@example.com"} for n in range(60)])
        nest.land()
        visitor = visit(nest, "viewer")
        seen, path = [], "/jars/people"
        for _ in range(4):
            page = visitor.get(path).text
            seen += re.findall(r"<summary><b>(\d+)</b>", page)
            further = re.findall(r'rel="next" href="([^"]+)"', page)
            if not further:
                break
            path = "/jars/people" + further[0].replace("&amp;", "&")

        assert sorted(map(int, seen)) == list(range(60))
        assert "60 records" in visitor.get("/jars/people").text
        assert "@example.com" not in page
        assert "scrubbed: email address" in page

    def test_a_jar_is_searched_and_what_it_holds_is_text(self, people, visit):
        visitor = visit(people, "viewer")

        found = visitor.get("/jars/people?q=letter").text
        assert "<mark>letter</mark>" in found
        assert "No record matches." in visitor.get("/jars/people?q=zebra").text
        assert "<b>x</b>" not in visitor.get("/jars/people").text
        assert "ok &lt;b&gt;x&lt;/b&gt;" in visitor.get("/jars/people").text

    @pytest.mark.parametrize("path", ["/bees/nobody", "/jars/none", "/flights/none", "/flights/" + "0" * 32])
    def test_what_is_not_there_is_said_in_words(self, people, visit, path):
        answer = visit(people, "viewer").get(path)

        assert answer.status_code == 404
        assert "There is no such thing" in answer.text

    def test_a_bee_that_left_the_configuration_is_not_called_unknown(self, people, visit):
        """Flights and quarantine name it still, and lead here."""
        people.run("UPDATE hive.bee SET origin = 'gone', enabled = false WHERE name = 'people'")

        answer = visit(people, "viewer").get("/bees/people")

        assert answer.status_code == 404
        assert "is gone from the configuration" in answer.text
        assert "no bee is named" not in answer.text

    def test_no_page_holds_a_personal_value_or_a_secret_in_any_dress(self, nest, visit, monkeypatch):
        folder = nest.register(scrubbing={"profile": "gdpr_compliant"})
        write(folder / f"{MAIL}.jsonl", [{"id": n, "mail": MAIL, "note": f"call {PHONE} or {MAIL}"} for n in range(3)])
        (folder / "broken.jsonl").write_text(f'{{"id": 7, "mail": "{MAIL}"\n')
        nest.land()
        nest.hive.register_worker(
            "postgresql",
            {"name": "db", "source": {"host": "127.0.0.1", "port": 1, "database": "x", "user": "u", "password": SECRET},
             "streams": {"t": {"key": "id"}}},
        )  # fmt: skip
        nest.land("db")
        nest.hurry()
        nest.drain()
        visitor = visit(nest, "operator")
        paths = [*PAGES, "/bees/db", "/jars/people?q=call"]
        paths += [f"/flights/{row[0]}" for row in nest.rows("SELECT id FROM hive.flight")]

        told = "".join(visitor.get(path).text for path in paths)

        for value in (MAIL, PHONE, SECRET, PASSWORD):
            for dress in dresses(value):
                assert dress not in told, f"{value} as {dress}"


def dresses(value: str) -> set[str]:
    """A value in six encodings."""
    raw = value.encode()
    return {
        value, urllib.parse.quote(value, safe=""), base64.b64encode(raw).decode().rstrip("="), raw.hex(),
        value.encode("unicode_escape").decode(), "".join(f"&#{ord(letter)};" for letter in value),
    }  # fmt: skip


class TestLive:
    def test_a_page_tells_what_changed_within_five_seconds(self, people):
        import httpx

        from tests.hive.pages import served

        with served(people) as address, httpx.Client(base_url=address, timeout=10) as client:
            assert client.get("/live?at=/").status_code == 401
            client.post("/login", data={"name": "operator", "password": PASSWORD})
            assert client.get("/live?at=/jars").status_code == 404
            assert client.get("/live?at=//evil").status_code == 404
            with client.stream("GET", "/live?at=/") as stream:
                assert stream.headers["content-type"].startswith("text/event-stream")
                lines = stream.iter_lines()
                first = next(line for line in lines if line.startswith("data:"))
                assert all(f'"{region}"' in first for region in ("summary", "tiles", "flights", "bees", "quarantine"))
                people.hive.pause("people")
                since = time.monotonic()
                while "badge paused" not in next(line for line in lines if line.startswith("data:")):
                    assert time.monotonic() - since < 8
                assert time.monotonic() - since < 5

    def test_a_ledger_that_says_nothing_is_told_of_and_so_is_its_return(self, monkeypatch):
        monkeypatch.setattr(live, "LONGEST", 0.05)
        monkeypatch.setattr(live, "TICK", 0.05)
        answers = asyncio.Event()

        async def render(_: live.Key) -> live.Regions:
            await answers.wait()
            return {"summary": "<p>all is well</p>"}

        async def looked() -> list[str]:
            hub = live.Hub(render, lambda: False)
            answers.set()
            told = []
            async for event in hub.stream(("viewer", "/"), lambda: asyncio.sleep(0, result=True)):
                name = event.decode().partition("\n")[0]
                told += [name] if name.startswith("event: ") and told[-1:] != [name] else []
                if len(told) == 1:
                    answers.clear()
                if told[-1:] == ["event: away"]:
                    answers.set()
                if len(told) == 3:
                    return told
            return told

        assert asyncio.run(asyncio.wait_for(looked(), 20)) == ["event: regions", "event: away", "event: regions"]

    def test_what_is_gone_ends_its_stream_so_that_the_page_is_loaded_anew(self, people):
        import httpx

        from tests.hive.pages import served

        with served(people) as address, httpx.Client(base_url=address, timeout=10) as client:
            client.post("/login", data={"name": "operator", "password": PASSWORD})
            with client.stream("GET", "/live?at=/bees/people") as stream:
                lines = stream.iter_lines()
                assert next(line for line in lines if line.startswith("event:")) == "event: regions"
                people.run("UPDATE hive.bee SET origin = 'gone', enabled = false")
                assert [line for line in lines if line.startswith("event:")][-1] == "event: bye"
            assert client.get("/bees/people").status_code == 404

    def test_an_end_of_the_gateway_ends_the_streams(self, people):
        import httpx

        from tests.hive.pages import served

        with served(people) as address, httpx.Client(base_url=address, timeout=10) as client:
            client.post("/login", data={"name": "operator", "password": PASSWORD})
            opened = client.stream("GET", "/live?at=/")
            stream = opened.__enter__()
            next(stream.iter_lines())
            since = time.monotonic()
        assert time.monotonic() - since < 3


class TestWithoutALedger:
    @pytest.fixture
    def gone(self) -> Iterator[Database]:
        """A database that nobody serves."""
        opened = Database("postgresql://nobody@127.0.0.1:1/none")
        yield opened
        opened.close()

    def test_pages_and_login_say_so(self, gone, tmp_path):
        visitor = Visitor(Settings(data_dir=tmp_path, flower_login=f"operator:{PASSWORD}"), gone)
        try:
            visitor.keep("hive_session", "x" * 43)
            assert visitor.get("/").status_code == 503
            assert "nothing is lost" in visitor.get("/bees").text
            assert visitor.log_in().status_code == 503
            assert visitor.get("/live?at=/").status_code == 503
        finally:
            visitor.close()

    def test_an_open_page_keeps_what_it_shows_and_says_that_the_ledger_is_away(self, gone):
        with ThreadPoolExecutor(2) as threads:
            views = Views(Look(gone), Broker(Settings()), lambda: None, threads)

            with pytest.raises(DatabaseAway):
                asyncio.run(views.overview({}))


def test_a_page_of_ten_thousand_bees_is_bounded(nest, visit):
    """In processor time, since others use the machine."""
    nest.run(
        "INSERT INTO hive.bee (name, connector, queue, config, config_version, origin)"
        " SELECT 'bee-' || n, 'local', 'bees.file', '{}', 1, 'registered' FROM generate_series(1, 10000) n"
    )
    nest.run(
        "INSERT INTO hive.schedule (bee, name, spec, next_slot)"
        " SELECT id, 'default', '{\"every\": 60}', clock_timestamp() + interval '1 min' FROM hive.bee"
    )
    visitor = visit(nest, "operator")
    visitor.get("/bees")
    took = {}
    for path in ("/", "/bees?page=7", "/bees?name=77", "/bees/bee-500"):
        wall, since = time.monotonic(), time.process_time()
        answer = visitor.get(path)
        took[path] = round(time.process_time() - since, 3), round(time.monotonic() - wall, 3)
        assert answer.status_code == 200
        assert len(answer.content) < 100_000
    print("seconds of processor, on the wall:", took)

    assert "10" in visitor.get("/bees").text
    assert max(cpu for cpu, _ in took.values()) < 1.5


@pytest.mark.parametrize(
    ("read", "done", "expected", "reading", "label"),
    [
        (50, 20, None, True, "20 records settled of 50 read so far; how many there are is not known"),
        (50, 20, 40, True, "20 records settled of 50 read so far; how many there are is not known"),
        (50, 20, 200, True, "10 percent settled"),
        (50, 20, None, False, "40 percent settled"),
    ],
)
def test_no_part_is_drawn_of_a_whole_that_nobody_knows(read, done, expected, reading, label):
    drawn = charts.progress(read, done, expected, reading=reading)

    assert label in drawn
    assert ('class="done"' in drawn) == ("percent" in label)


def test_an_open_flight_is_measured_by_what_the_last_one_read(people, visit):
    folder = people.folder / "people"
    write(folder / "c.jsonl", [{"id": n} for n in range(500, 520)])
    flight = people.fly()
    page = visit(people, "viewer").get(f"/flights/{flight}").text

    assert "0 percent settled" in page
    assert Look(people.rt.db).expected(flight) == people.one("SELECT records_read FROM hive.tally")


class TestTrouble:
    """What is wrong with the hive itself, not with a bee, is told on the first page."""

    def first_page(self, visitor, words: str) -> str:
        """Once it has these words, which may come a moment late."""
        ends = time.monotonic() + 20
        while words not in (text := visitor.get("/").text):
            assert time.monotonic() < ends, text
            time.sleep(0.1)
        return text

    def test_a_broker_that_is_away(self, make_nest, visit):
        nest = make_nest(flower_login=f"operator:{PASSWORD}", redis_url=f"redis://127.0.0.1:{free_port()}/0")

        text = self.first_page(visit(nest, "operator"), "The broker does not answer")

        assert "<code>hive doctor</code>" in text

    def test_a_broker_that_answers(self, make_nest, visit, redis_url):
        nest = make_nest(flower_login=f"operator:{PASSWORD}", redis_url=redis_url)
        visitor = visit(nest, "operator")

        assert Broker(nest.settings).answers() is True
        assert not [one for one in range(3) if "The broker" in visitor.get("/").text]

    def test_nobody_who_makes_flights_of_schedules(self, people, visit):
        people.run("UPDATE hive.worker SET queues = '{bees.file}'")
        visitor = visit(people, "operator")

        text = self.first_page(visitor, "No scheduler lives")
        assert "All is well" not in text
        assert "summary bad" in text

        people.run("UPDATE hive.worker SET queues = '{}'")
        text = self.first_page(visitor, "No worker is there.")
        assert "No worker lives: nothing is read." in text
        assert "summary bad" in text

    def test_a_process_that_stands_still(self, people, visit):
        people.run(
            "INSERT INTO hive.worker (id, host, pid, queues, beat_at, alive_until) VALUES ('frozen:1:1', 'h', 1,"
            " '{nectar}', clock_timestamp() - interval '5 s', clock_timestamp() + interval '5 s')"
        )

        text = self.first_page(visit(people, "operator"), "1 process has given no heartbeat for some seconds")

        assert "1 not heard of" in text
        assert "summary bad" in text

    def test_a_configuration_that_was_refused(self, people, visit):
        file = people.folder / "hive.yaml"
        file.write_text("bees:\n  people: {type: local, evry: 1h, streems: {}}\n")
        with pytest.raises(ConfigProblems):
            people.hive.reload(file, secrets=False, note=True)

        text = self.first_page(visit(people, "operator"), "hive.yaml was refused")

        assert "evry" in text
        assert "more)" in text
        assert "summary bad" in text


@pytest.mark.parametrize(
    ("action", "page"),
    [("/bees/people/fly", "/bees/people"), ("/quarantine/7/drop", "/quarantine"), ("/flights/x/retry", "/flights/x")],
)
def test_who_must_log_in_first_comes_back_to_the_page_with_the_button(people, visit, action, page):
    moved = visit(people).post(action).headers["location"]

    assert moved == f"/login?next={urllib.parse.quote(page, safe='')}"


def test_words_between_backticks_stand_out_and_stay_text():
    assert words.coded("correct `<i>path</i>` & `b`") == (
        "correct <code>&lt;i&gt;path&lt;/i&gt;</code> &amp; <code>b</code>"
    )
    assert words.coded("one ` alone") == "one ` alone"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(3600, "1 h"), (3900, "1 h 05 min"), (86400, "1 d"), (90000, "1 d 1 h"), (59, "59 s")],
)
def test_a_span_names_no_part_that_is_nothing(seconds, told):
    assert words.span(seconds).replace("\u202f", " ") == told

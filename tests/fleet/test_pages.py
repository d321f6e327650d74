"""A person at a browser with a real hive: a bee is flown from its page, and Flower shows its tasks."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from hive.embedded.places import free_port
from tests.fleet.running import RunningHive, hive_folder, interrupt, wait_until
from tests.fleet.test_processes import flower_listens, get
from tests.servers.browser import SHOTS, browser
from tests.servers.nginx import proxying

__all__ = ["browser"]

pytestmark = [pytest.mark.fleet, pytest.mark.servers]
CONFIG = """
bees:
  letters:
    type: local
    source: {{path: {folder}}}
    streams: {{rows: {{patterns: "*.jsonl", key: id}}}}
    scrubbing: {{profile: gdpr_compliant}}
"""
MAIL = "zoe.canary@example.org"


@pytest.fixture(scope="module")
def hive() -> Iterator[RunningHive]:
    with hive_folder() as made:
        folder = made.folder / "in"
        folder.mkdir()
        (folder / "a.jsonl").write_text("".join(json.dumps({"id": n, "mail": MAIL}) + "\n" for n in range(40)))
        (made.folder / "bees.yaml").write_text(CONFIG.format(folder=folder))
        made.up("--config", "bees.yaml")
        yield made


def test_a_bee_is_flown_from_its_page_and_seen_in_flower(hive, browser):
    state = hive.settings.running()
    login = state["flower_login"]
    wait_until(lambda: flower_listens(state["flower"], "{user}:{password}".format(**login)), "the start of Flower")
    page: Any = browser.new_context(base_url=state["gateway"]).new_page()
    page.set_default_timeout(60_000)
    page.goto("/bees/letters")
    page.fill("[name=name]", login["user"])
    page.fill("[name=password]", login["password"])
    page.click("button.main")
    page.click("text=Fly now")
    page.wait_for_selector(".head .state >> text=complete")
    assert page.inner_text(".facts div:nth-child(2) dd") == "40"
    flower = page.get_by_role("link", name="Flower").get_attribute("href")
    page.context.close()
    assert flower == state["flower"]

    stranger = browser.new_context()
    assert stranger.request.get(flower).status == 401
    stranger.close()
    credentials = {"username": login["user"], "password": login["password"]}
    page = browser.new_context(base_url=flower, http_credentials=credentials).new_page()
    page.set_default_timeout(60_000)
    page.goto("/tasks")
    page.wait_for_selector("text=bees.collect")
    page.screenshot(path=SHOTS / "flower.png")
    assert MAIL not in page.content()
    assert refuses_to_act(page, flower, login)
    page.context.close()


def refuses_to_act(page: Any, flower: str, login: dict[str, str]) -> bool:
    """Flower lets nobody end a worker that is there, whoever has logged in."""
    told = base64.b64encode("{user}:{password}".format(**login).encode()).decode()
    asked = {"headers": {"Authorization": f"Basic {told}"}}
    workers = page.request.get(f"{flower}/api/workers?status=1", **asked).json()
    name = next(name for name in workers if "bees.file" in name)
    answer = page.request.post(f"{flower}/api/worker/shutdown/{name}", **asked)
    return bool(answer.status == 403 and "ead only" in answer.status_text + answer.text())


@pytest.fixture(scope="module")
def proxied(hive) -> Iterator[str]:
    """The hive's gateway, and a Flower that knows its path there, behind nginx with the configuration of `deploy/`."""
    state, port = hive.settings.running(), free_port()
    login = "{user}:{password}".format(**state["flower_login"])
    folder = hive.folder / "nginx"
    folder.mkdir()
    flower = hive.begin("flower", FLOWER_URL_PREFIX="flower", FLOWER_PORT=str(port))
    try:
        wait_until(lambda: flower_answers(f"http://127.0.0.1:{port}/flower/", login), "the start of Flower")
        with proxying(folder, state["gateway"].removeprefix("http://"), f"127.0.0.1:{port}") as address:
            yield address
    finally:
        interrupt(flower)


def flower_answers(address: str, login: str) -> bool:
    try:
        return get(address, login)[0] == 200
    except OSError:
        return False


def test_a_person_works_behind_the_proxy_of_deploy(hive, proxied, browser):
    login = hive.settings.running()["flower_login"]
    context = browser.new_context(base_url=proxied, ignore_https_errors=True)
    page: Any = context.new_page()
    page.set_default_timeout(60_000)
    page.goto("/bees/letters")
    page.fill("[name=name]", login["user"])
    page.fill("[name=password]", login["password"])
    page.click("button.main")
    page.wait_for_selector("#live[data-state=on]")  # its stream comes through, too
    [session] = [cookie for cookie in context.cookies() if cookie["name"] == "hive_session"]
    page.click("text=Pause")
    paused = page.inner_text(".said")
    wait_until(lambda: resumed(page), "the bee's flying again")

    assert "is paused" in paused
    assert session["secure"]
    assert session["httpOnly"]
    assert page.url.startswith(f"{proxied}/bees/letters")
    assert page.request.get("/metrics").status == 404
    assert page.request.get("/metrics/connectors").status == 200
    assert "max-age" in page.request.get("/healthz").headers["strict-transport-security"]
    context.close()


def resumed(page: Any) -> bool:
    """The first live look may still be of before, and the button another one: it is pressed when it is there."""
    button = page.get_by_role("button", name="Resume")
    if button.count():
        button.click()
        page.wait_for_load_state()
    return bool(page.locator(".said", has_text="flies again").count())


def test_flower_is_behind_the_proxy_with_its_login_and_looks_as_it_should(hive, proxied, browser):
    login = hive.settings.running()["flower_login"]
    stranger = browser.new_context(ignore_https_errors=True)
    assert stranger.request.get(f"{proxied}/flower/").status == 401
    for open_to_anybody in ("metrics", "healthcheck", "//metrics", "%6detrics"):
        assert stranger.request.get(f"{proxied}/flower/{open_to_anybody}").status == 404
    stranger.close()

    credentials = {"username": login["user"], "password": login["password"]}
    context = browser.new_context(ignore_https_errors=True, http_credentials=credentials)
    page: Any = context.new_page()
    page.set_default_timeout(60_000)
    failed: list[str] = []
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    page.goto(f"{proxied}/flower/")
    page.get_by_role("link", name="Tasks").click()
    page.wait_for_url(f"{proxied}/flower/tasks")
    page.wait_for_load_state("load")
    page.screenshot(path=SHOTS / "flower-proxied.png")

    assert not [url for url in failed if "favicon" not in url]
    assert refuses_to_act(page, f"{proxied}/flower", login)
    context.close()

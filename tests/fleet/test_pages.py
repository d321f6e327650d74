"""A person at a browser with a real hive: a bee is flown from its page, and Flower shows its tasks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fleet.running import RunningHive, hive_folder, wait_until
from tests.fleet.test_processes import flower_listens
from tests.servers.browser import SHOTS, browser

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
    queue = page.request.post(f"{flower}/api/worker/shutdown/any")
    assert queue.status in (401, 403, 404, 405)
    page.context.close()

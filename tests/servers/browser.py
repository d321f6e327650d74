"""A browser for tests: Debian's Chromium, unpacked and not installed, driven by Playwright; axe looks for barriers.

It sees this machine only: no proxy, no updates, no services of its maker.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.debian import environment, unpacked
from tests.servers.npm import installed

__all__ = ["SHOTS", "barriers", "browser"]

SHOTS = Path(__file__).parents[1] / "shots"
"""Where screenshots are kept; git ignores it."""
_SWITCHES = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, headless. It refuses its sandbox to root, as a kernel without user namespaces does."""
    from playwright.sync_api import sync_playwright

    folder = unpacked("chromium")
    SHOTS.mkdir(exist_ok=True)
    variables = {**environment(folder), "CHROME_CONFIG_HOME": str(SHOTS), "HOME": os.environ.get("HOME", "/tmp")}
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=str(folder / "usr/lib/chromium/chromium"),
            args=[*_SWITCHES, "--no-sandbox"],
            env=variables,
            timeout=60_000,
        )
        try:
            yield opened
        finally:
            opened.close()


def barriers(page: Any, *, leave_out: tuple[str, ...] = ()) -> list[str]:
    """What axe finds on a page that keeps somebody out, as `rule: first element`. WCAG 2.2, levels A and AA."""
    script = installed("axe-core@4.10.3") / "axe-core/axe.min.js"
    page.evaluate(script.read_text())  # not as a script of the page: its policy would rightly refuse that
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = page.evaluate("(tags) => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", tags)
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:160]} ({one['nodes'][0].get('failureSummary', '')[:200]})"
        for one in found["violations"]
        if one["id"] not in leave_out
    ]

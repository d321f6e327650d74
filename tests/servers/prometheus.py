"""A real Prometheus, out of Debian's package, with the project's own configuration."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.servers.debian import environment, unpacked

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A run of promtool in the folder of our rules."""
    folder = unpacked("prometheus")
    return subprocess.run(
        [str(folder / "usr/bin/promtool"), *arguments],
        cwd=DEPLOY, env=environment(folder), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


class Prometheus:
    """One that runs; `ask` gives the result of a query."""

    def __init__(self, address: str) -> None:
        self.address = address

    def api(self, path: str, **asked: str) -> Any:
        """What the API gives. Raises AssertionError with its own words for a query that it cannot read."""
        query = urllib.parse.urlencode(asked)
        try:
            with urllib.request.urlopen(f"{self.address}/api/v1/{path}?{query}", timeout=10) as answer:
                told = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{asked}: {error.read().decode()}") from None
        assert told["status"] == "success", told
        return told["data"]

    def ask(self, query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api("query", query=query)["result"]
        return found


@contextmanager
def scraping(folder: Path, target: str, interval: str = "1s") -> Iterator[Prometheus]:
    """A Prometheus that reads `target` (host:port) with our configuration and rules, but more often."""
    home = unpacked("prometheus")
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    config["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), interval)
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [target]
    config["rule_files"] = [str(DEPLOY / "alerts.yml")]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [
        str(home / "usr/bin/prometheus"), f"--config.file={folder / 'prometheus.yml'}",
        f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder / 'tsdb'}",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment(home), stdout=log, stderr=log, cwd=folder)
        try:
            _wait(address, process)
            yield Prometheus(address)
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, "Prometheus ended at its start"
        try:
            with urllib.request.urlopen(f"{address}/-/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("Prometheus was not ready within 30 seconds")

"""Google Drive for tests: the npm package google-drive-mock, which is not Google's, and a stub that gives tokens."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from hive.embedded.places import free_port
from tests.servers.npm import installed
from tests.servers.s3 import wait_for

__all__ = ["VALID", "DriveMock", "drive_mock", "exporting", "tokens"]

VALID = "valid-token"


class DriveMock:
    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {VALID}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers, method=method)) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith(b"{") else text

    def make(self, name: str, parent: str, mime: str, content: str = "") -> str:
        told = {"name": name, "parents": [parent], "mimeType": mime, "content": content}
        return str(self.ask("POST", "/drive/v3/files", told)["id"])


@pytest.fixture(scope="session")
def drive_mock() -> Iterator[DriveMock]:
    home = installed("google-drive-mock@1.2.0", "cors@2.8.5")
    port = free_port()
    script = f"require({json.dumps(str(home / 'google-drive-mock'))}).startServer({port}, '127.0.0.1')"
    with subprocess.Popen(["node", "-e", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port, process)
            yield DriveMock(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


@contextmanager
def tokens(*given: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A stub: its address, and the forms it was sent. It gives these tokens one by one, the last one for ever."""
    asked: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            asked.append({name: values[0] for name, values in form.items()})
            wrong = asked[-1].get("refresh_token") == "wrong-secret"
            told = (
                {"error": "invalid_grant"}
                if wrong
                else {"access_token": given[min(len(asked), len(given)) - 1], "expires_in": 3600}
            )
            body = json.dumps(told).encode()
            self.send_response(400 if wrong else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with _serving(Handler) as url:
        yield f"{url}/token", asked


@contextmanager
def exporting(mock: DriveMock) -> Iterator[str]:
    """A stub before the mock, which cannot export: it answers exports with content and type, and hands on the rest."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            try:
                if path.endswith("/export"):
                    kind = urllib.parse.parse_qs(query)["mimeType"][0]
                    text = mock.ask("GET", f"{path.removesuffix('/export')}?alt=media")
                    body = text + f" as {kind}".encode() if kind != "text/csv" else text
                else:
                    found = mock.ask("GET", self.path)
                    body = json.dumps(found).encode() if isinstance(found, dict) else found
            except urllib.error.HTTPError as error:
                self.send_error(error.code)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    with _serving(Handler) as url:
        yield url


@contextmanager
def _serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

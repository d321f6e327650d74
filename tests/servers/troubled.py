"""A relay before a real web server, which answers some requests in its place: with a status, half of it, or nothing."""

from __future__ import annotations

import http.client
import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

__all__ = ["HALF", "Relay", "Trouble", "troubled"]

Trouble = tuple[int, dict[str, str], bytes]
"""Status, headers and body of an answer."""
HALF: Trouble = (0, {}, b"")
"""In place of an answer: half of the server's own, and then the connection breaks."""
_OF_THE_HOP = ("connection", "transfer-encoding", "content-length")


@dataclass
class Relay:
    """`trouble` is asked for each request, by its method and path; None lets it pass. `seen` are those of all."""

    url: str
    trouble: Callable[[str, str], Trouble | None] = lambda *_: None
    seen: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def troubled(upstream: str) -> Iterator[Relay]:
    """A relay to the server of this address. Its own address has no path."""
    to = urlsplit(upstream)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            relay.seen.append((self.command, self.path))
            relay.headers.append(dict(self.headers.items()))
            found = relay.trouble(self.command, self.path)
            status, headers, data = self._asked(body) if found in (None, HALF) else found
            self.send_response_only(status)
            for name, value in ({"Content-Length": str(len(data))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(b"" if self.command == "HEAD" else data[: len(data) // 2] if found is HALF else data)
                if found is HALF:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_HEAD = do_POST = do_PROPFIND = answer  # noqa: N815 - the protocol's words

        def _asked(self, body: bytes) -> Trouble:
            there = http.client.HTTPConnection(to.hostname or "", to.port, timeout=30)
            try:
                sent = {n: v for n, v in self.headers.items() if n.lower() not in ("host", *_OF_THE_HOP)}
                there.request(self.command, self.path, body or None, sent)
                response = there.getresponse()
                data, told = response.read(), response.getheaders()
            finally:
                there.close()
            kept = {n: v for n, v in told if n.lower() not in _OF_THE_HOP}
            if self.command == "HEAD" and response.getheader("Content-Length"):
                kept["Content-Length"] = str(response.getheader("Content-Length"))
            return response.status, kept, data

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    relay = Relay(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

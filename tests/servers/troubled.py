"""A relay before a real web server, which answers some requests in its place: with a status, a part of it, nothing."""

from __future__ import annotations

import http.client
import http.server
import os
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

__all__ = ["HALF", "Cut", "Relay", "Trouble", "troubled"]

Trouble = tuple[int, dict[str, str], bytes]
"""Status, headers and body of an answer."""
HALF: Trouble = (0, {}, b"")
"""In place of an answer: half of the server's own, and then the connection breaks."""
_ABORT = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Cut:
    """The server's own answer, and after `sent` bytes of its body (-1: half of it) the connection breaks.

    `reset`: by a reset in place of an end. `told`: what was sent passes for all of it; the connection stays.
    """

    sent: int = -1
    reset: bool = False
    told: bool = False


_OF_THE_HOP = ("connection", "transfer-encoding", "content-length")


@dataclass
class Relay:
    """`trouble` is asked for each request, by its method and path; None lets it pass. `seen` are those of all.

    `harm` is asked for those that pass, by their headers too. `change` may change the headers of what the server
    answers, and gives its body. `without`: headers, in lower case, that the server is not told. `ranges`: parts are
    cut out here, of a server that gives none.
    """

    url: str
    trouble: Callable[[str, str], Trouble | None] = lambda *_: None
    harm: Callable[[str, str, dict[str, str]], Cut | Trouble | None] = lambda *_: None
    change: Callable[[str, str, dict[str, str], bytes], bytes] = lambda *given: given[3]
    without: tuple[str, ...] = ()
    ranges: bool = False
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
            found: Cut | Trouble | None = relay.trouble(self.command, self.path)
            if found is None:
                found = relay.harm(self.command, self.path, {n.lower(): v for n, v in self.headers.items()})
            cut = found if isinstance(found, Cut) else Cut() if found is HALF else None
            status, headers, data = found if isinstance(found, tuple) and not cut else self._asked(body)
            sent = data if cut is None else data[: len(data) // 2 if cut.sent < 0 else cut.sent]
            length = len(sent) if cut and cut.told else len(data)
            self.send_response_only(status)
            for name, value in ({"Content-Length": str(length)} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(b"" if self.command == "HEAD" else sent)
                if cut and not cut.told:
                    self._broken(reset=cut.reset)

        def _broken(self, *, reset: bool) -> None:
            self.close_connection = True
            if reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                os.close(self.connection.detach())
            else:
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_HEAD = do_POST = do_PROPFIND = answer  # noqa: N815 - the protocol's words

        def _asked(self, body: bytes) -> Trouble:
            there = http.client.HTTPConnection(to.hostname or "", to.port, timeout=30)
            try:
                sent = {
                    n: v for n, v in self.headers.items() if n.lower() not in ("host", *_OF_THE_HOP, *relay.without)
                }
                there.request(self.command, self.path, body or None, sent)
                response = there.getresponse()
                data, told = response.read(), response.getheaders()
            finally:
                there.close()
            kept = {n: v for n, v in told if n.lower() not in _OF_THE_HOP}
            if self.command == "HEAD" and response.getheader("Content-Length"):
                kept["Content-Length"] = str(response.getheader("Content-Length"))
            data = relay.change(self.command, self.path, kept, data)
            part = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if relay.ranges and part and response.status == 200:
                kept["Content-Range"] = f"bytes {part[1]}-{min(int(part[2]), len(data) - 1)}/{len(data)}"
                return 206, kept, data[int(part[1]) : int(part[2]) + 1]
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

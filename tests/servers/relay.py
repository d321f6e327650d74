"""One address for a service whose server changes: the standby takes the place of the one that died."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from contextlib import suppress
from typing import Any

_PATIENCE = 20.0


class Address:
    """Where clients find the service: connections go to whichever server has it now."""

    def __init__(self, port: int) -> None:
        self.to = port
        relay = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError), socket.create_connection(("127.0.0.1", relay.to), 5) as server:
                    server.settimeout(None)
                    there = threading.Thread(target=_pass, args=(self.request, server))
                    there.start()
                    _pass(server, self.request)
                    there.join()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _pass(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while some := source.recv(65536):
            to.sendall(some)
    for end in (source, to):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def until(done: Any) -> None:
    ends = time.monotonic() + _PATIENCE
    while not done():
        assert time.monotonic() < ends
        time.sleep(0.02)

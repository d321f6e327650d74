"""A relay to any server, whose connections can be cut, or made to say nothing more."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["Cable", "cable"]


class Cable:
    def __init__(self, to: int) -> None:
        """`made` counts the connections that came; each side's bytes are handed on while it is not `silent`."""
        self.made = 0
        self.silent = threading.Event()
        self._to = to
        self._ended = threading.Event()
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def cut(self) -> None:
        """End all connections that there are; others may come."""
        opened, self._open = self._open, []
        for one in opened:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._ended.set()
        self._listener.close()
        self.cut()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self.made += 1
                self._open += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._hand_on, args=pair, daemon=True).start()

    def _hand_on(self, source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while some := source.recv(65536):
                if self.silent.is_set():
                    self._ended.wait(60)
                to.sendall(some)
        with suppress(OSError):
            to.shutdown(socket.SHUT_RDWR)
        source.close()


@contextmanager
def cable(to: int) -> Iterator[Cable]:
    """A relay to the port of this machine."""
    made = Cable(to)
    try:
        yield made
    finally:
        made.close()

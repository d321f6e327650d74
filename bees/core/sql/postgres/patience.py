"""How long a server may be silent: its own `statement_timeout` says nothing of one that hangs as a whole.

A machine that was stopped, or a pooler whose server is gone, keeps its connections open and answers nothing. Who waits
for it longer than the statement may take, and `MORE`, cuts the connection.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MORE = 15.0
"""Seconds that a server has to end by itself what took too long."""
_CANCEL = 5.0
"""Seconds to ask it to do so."""
_LOOK = 1.0
"""Seconds between two looks at who waits."""
_OPEN = Path("/proc/self/fd")


class Session(psycopg.Connection[Any]):
    """A connection that gives up on a server which answers nothing for `patience` seconds."""

    patience: float | None = None

    def wait(self, gen: Any, *args: Any, **more: Any) -> Any:
        try:
            return super().wait(gen, *args, **{"timeout": self.patience} | more)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - it has no other name
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=_CANCEL)
            self.pgconn.finish()
            raise psycopg.errors.QueryCanceled("the server was silent for too long") from None


class Watch:
    """One thread, while anybody waits, that does what those who waited too long have asked for."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._waiting: dict[object, tuple[float, Callable[[], None]]] = {}
        self._running = False

    @contextmanager
    def within(self, seconds: float, otherwise: Callable[[], None]) -> Iterator[None]:
        """`otherwise` is called once, in another thread, if the block takes longer; the block ends only after it."""
        if self._process != os.getpid():
            self._begin()
        me = object()
        with self._lock:
            self._waiting[me] = (time.monotonic() + seconds, otherwise)
            if not self._running:
                self._running = True
                threading.Thread(target=self._look, name="patience", daemon=True).start()
        try:
            yield
        finally:
            with self._lock:
                self._waiting.pop(me, None)

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK)
            now = time.monotonic()
            with self._lock:
                for one in [one for one, (ends, _) in self._waiting.items() if ends <= now]:
                    self._waiting.pop(one)[1]()
                if not self._waiting:
                    self._running = False
                    return


WATCH = Watch()
_opening = threading.Lock()


def with_socket(opened: Callable[[], Any], port: int) -> tuple[Any, int | None]:
    """What `opened` gives, and the number of the socket to `port` that it made; None where that is not certain.

    For drivers that do not tell. Everything of one process that opens connections in this way does so one by one.
    """
    with _opening:
        before = _sockets(port)
        made = opened()
        new = _sockets(port) - before
    return made, new.pop() if len(new) == 1 else None


def cut(handle: int) -> None:
    """End a connection from both sides, whoever waits for it."""
    with suppress(OSError), socket.socket(fileno=os.dup(handle)) as end:
        end.shutdown(socket.SHUT_RDWR)


def _sockets(port: int) -> set[int]:
    """Numbers of this process's sockets to that port, or to that server's socket in some folder."""
    found = set()
    for link in _OPEN.iterdir() if _OPEN.is_dir() else ():
        with suppress(OSError):
            if not str(link.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(link.name))) as one:
                peer = one.getpeername()
            if str(peer).endswith(f".s.PGSQL.{port}") if isinstance(peer, str) else peer[1] == port:
                found.add(int(link.name))
    return found

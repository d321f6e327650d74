"""The fork server: one process that has loaded the code of the hive's parts, and of which each part is a fork.

Loading that code takes a second of a processor, a fork some milliseconds: a hive is ready sooner, a part that died
works again sooner, and the parts share the memory that the code takes. Nothing is loaded here that reads settings,
opens a connection or starts a thread; a part does that for itself, as if it had been executed.

The supervisor asks through a socket (`hive.starter`): a JSON object with `arguments` and `environment`, and with it the
log's descriptor. The answer is {"pid"} with a descriptor of the new process, or {"stale": true} where files of ours
changed since they were loaded: nothing is forked from then on, so that no part runs half old and half new code (nor
where the system gives no such descriptors).
{"code", "of"} tells how a part ended, once whatever it left in its session is killed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from hive.embedded import process

PRELOADED = (
    "celery.apps.beat", "celery.apps.worker", "celery.bin.beat", "celery.bin.worker", "celery.concurrency.prefork",
    "celery.worker.consumer", "kombu.transport.redis", "hive.cli", "hive.events", "hive.janitor", "hive.logs",
    "hive.manager", "hive.reloader", "hive.runtime", "hive.scheduler", "hive.worker", "jinja2", "nectar.scrub.scrubber",
    "starlette.applications", "uvicorn",
)  # fmt: skip
"""What parts need. Not `hive.celery`, which finds its broker as it is loaded, nor what the work on records needs:
polars starts threads."""

MESSAGE = 1 << 20
"""Bytes of a request at most."""


def serve(descriptor: int) -> None:
    """Serve on this socket; in a fork, run its command of `hive`."""
    _list_as("forkserver")
    sys.argv = ["hive", *_Server(socket.socket(fileno=descriptor)).serve()]
    from hive.cli import main

    main()


class _Server:
    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._files: dict[str, int] = {}

    def serve(self) -> list[str]:
        """Returns in a fork only, with the arguments of its command; it ends with the supervisor."""
        for module in PRELOADED:
            importlib.import_module(module)
        self._files = _files()
        gc.collect()
        gc.freeze()  # the collector's marks would copy pages that all parts share
        woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        self._say({"loaded": True} if _gives_handles() else {"stale": True})
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fd == woken:
                        with contextlib.suppress(BlockingIOError):
                            os.read(woken, 4096)
                    elif (arguments := self._answer()) is not None:
                        os.close(woken)
                        os.close(wakes)
                        return arguments
                self._bury()

    def _say(self, told: dict[str, Any], *descriptors: int) -> None:
        try:
            socket.send_fds(self._channel, [json.dumps(told).encode()], descriptors)
        except OSError:
            os._exit(0)  # the supervisor is gone

    def _answer(self) -> list[str] | None:
        """Fork as asked. In the fork: the arguments."""
        data, descriptors, _, _ = socket.recv_fds(self._channel, MESSAGE, 1)
        if not data:
            os._exit(0)
        asked = json.loads(data)
        if _files() != self._files:
            os.close(descriptors[0])
            self._say({"stale": True})
            return None
        ourselves = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._channel.close()
            _become(asked["arguments"], asked["environment"], descriptors[0], ourselves)
            return list(asked["arguments"])
        os.close(descriptors[0])
        handle = os.pidfd_open(pid)
        self._say({"pid": pid}, handle)
        os.close(handle)
        return None

    def _bury(self) -> None:
        """Parts that ended: first what they left behind goes, so that their numbers are nobody else's yet."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(ended.si_pid, signal.SIGKILL)
            _, status = os.waitpid(ended.si_pid, 0)
            self._say({"code": os.waitstatus_to_exitcode(status), "of": ended.si_pid})


def _gives_handles() -> bool:
    """Whether this system has handles of processes (Linux 5.3): else a fork's end cannot be seen from elsewhere."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _files() -> dict[str, int]:
    """When the files of our own modules changed that are loaded."""
    found = {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path is not None and name.partition(".")[0] in ("hive", "bees", "nectar"):
            with contextlib.suppress(OSError):
                found[path] = Path(path).stat().st_mtime_ns
    return found


def _become(arguments: list[str], environment: dict[str, str], log: int, parent: int) -> None:
    """What `hive.embedded.process.spawn` does for a process that is executed."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    process.dies_with(parent, signal.SIGTERM)()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(log)
    os.environ.clear()
    os.environ.update(environment)
    _list_as(*arguments)


def _list_as(*arguments: str) -> None:
    os.environ.update(os.environ.copy())  # each variable anew: what stands behind the arguments may be written over
    process.call_itself([sys.executable, "-m", "hive", *arguments])

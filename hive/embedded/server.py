"""What the embedded servers share: one folder, one owner, start, stop, and what a killed owner left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from hive.embedded import places, process
from hive.embedded.places import ServerError

if TYPE_CHECKING:
    import subprocess


class FolderInUse(ServerError):
    """A living server already works in this folder."""


class PortTaken(ServerError):
    """Another process took the port between our choice and the server's start."""


class Server(ABC):
    """A server from a wheel, a child of this process that ends with it.

    The folder belongs to one process at a time; a server that outlived its owner is ended by the next start.
    """

    name: ClassVar[str]
    stop_signal: ClassVar[int]
    quick_signal: ClassVar[int]
    """Ends the server and all its processes without tidying up; the next start recovers."""
    start_limit: ClassVar[float]

    def __init__(self, folder: Path, *, fast: bool = False) -> None:
        self.folder = Path(folder)
        self.fast = fast
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._port: int | None = None
        self._data: Path | None = None
        self._account = places.server_account()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.folder)!r})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """None while the server does not run."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    @property
    def port(self) -> int:
        if self._port is None:
            raise ServerError(f"the {self.name} server in {self.folder} was not started")
        return self._port

    @property
    def log_path(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def data_path(self) -> Path:
        """Where the data lies: in the folder, or outside where root's other account cannot reach it."""
        if self._data is None:
            self.folder = places.make_folder(self.folder)
            self._data = places.data_folder(self.folder, self.name, self._account)
        return self._data

    def start(self) -> str:
        """Start, wait until it answers, give its address with the password. The port stays over a restart if it can.

        Raises FolderInUse, or ServerError with the end of the log. Nothing is left running when it raises.
        """
        if self.pid is None:
            self._take()
            try:
                self._prepare(self.data_path)
                self._start_on_some_port()
            except BaseException:
                self._end((self.quick_signal, 2.0))
                raise
        return self.url()

    def stop(self) -> None:
        """End the server in good order, by force if it takes too long. Does nothing where none runs."""
        self._end((self.stop_signal, 8.0), (self.quick_signal, 2.0))

    def kill(self) -> None:
        """End the server as a crash would. Its data stays; the next start recovers it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._lock is not None and self._data is not None:
            process.empty_folder(self._data, (signal.SIGKILL,))
        self._release()

    def abandon(self) -> None:
        """Signal the server to end at once and wait for nothing: for a process that is about to exit."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, self.quick_signal)

    def destroy(self) -> None:
        """Stop, and remove the data wherever it lies. The password and the log stay in the folder."""
        self.stop()
        places.remove_data_folder(self.folder, self.name, self.data_path)
        self._data = None

    @abstractmethod
    def url(self) -> str: ...

    @abstractmethod
    def _prepare(self, data: Path) -> None:
        """Make the data folder where there is none."""

    @abstractmethod
    def _command(self, port: int) -> list[str]: ...

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server that was started is ready for work."""

    @abstractmethod
    def _complaint(self, said: str) -> type[ServerError]:
        """The class of error for a server that ended with these words."""

    def _take(self) -> None:
        self.folder = places.make_folder(self.folder)
        try:
            if self._lock is None:
                self._lock = places.lock(self.folder / f"{self.name}.lock")
        except places.LockHeld as held:
            raise FolderInUse(
                f"the folder {self.folder} already has a {self.name} server, of process {held.holder}: "
                "stop it with `hive down`, or use another folder"
            ) from None
        data = self.data_path
        # The lock is ours, so a server found here has lost its owner. It may be ending at this very moment.
        if not process.empty_folder(data, (self.stop_signal, self.quick_signal, signal.SIGKILL)):
            self._release()
            raise FolderInUse(f"a {self.name} server works in {data} and cannot be ended: end it, then start again")

    def _end(self, *steps: tuple[int, float]) -> None:
        """Signal after signal, each with its patience in seconds; then kill."""
        for signum, patience in steps:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(signum)
                process.ended(self._process, patience)
        self.kill()

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _start_on_some_port(self) -> None:
        for _attempt in range(10):
            if self._port is None or not places.port_is_free(self._port):
                self._port = places.free_port()
            with contextlib.suppress(PortTaken):
                return self._start_on(self._port)
        raise ServerError(f"the {self.name} server in {self.folder} found no free port in ten attempts")

    def _start_on(self, port: int) -> None:
        command = self._command(port)
        with process.open_log(self.log_path) as log:
            since = os.fstat(log.fileno()).st_size
            with process.undisturbed():
                self._process = process.spawn(
                    command,
                    log=log,
                    env=self._environment(),
                    account=self._account,
                    death_signal=self.stop_signal,
                )
        deadline = time.monotonic() + self.start_limit
        while not self._answers():
            if self._process.poll() is not None:
                said = process.last_lines(self.log_path, since=since)
                raise self._complaint(said)(f"the {self.name} server in {self.folder} did not start: {said}")
            if time.monotonic() > deadline:
                raise ServerError(
                    f"the {self.name} server in {self.folder} did not answer within {self.start_limit:.0f} s; "
                    f"its log is {self.log_path}"
                )
            time.sleep(0.01)

    def _environment(self) -> dict[str, str]:
        """Nothing of ours: the environment of a process may hold keys and passwords, and a server needs none."""
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

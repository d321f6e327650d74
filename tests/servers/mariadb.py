"""A MariaDB server of Debian's for tests: row-format binlog with GTIDs, root without a password on loopback only."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from hive.embedded.places import free_port
from hive.embedded.process import dies_with_us
from tests.servers.debian import environment, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "corr ect'horse\\%&@:/"
_PATIENCE = 30.0
_numbers = itertools.count(1)


class MariaDB:
    """One server, and databases with a reader of their own."""

    def __init__(self, folder: Path, *more: str) -> None:
        self._programs = unpacked("mariadb-server-core", "mariadb-client-core")
        self.folder = folder
        self._more = more
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the data folder where there is none, start the server, and wait until it answers."""
        data = self.folder / "data"
        user = ["--user=root"] if os.geteuid() == 0 else []
        base = self._programs / "usr"
        paths = [f"--basedir={base}", f"--datadir={data}", f"--lc-messages-dir={base}/share/mysql"]
        if not data.is_dir():
            self._run(
                base / "bin/mariadb-install-db", "--no-defaults", "--skip-test-db", "--skip-name-resolve",
                "--auth-root-authentication-method=normal", *paths, *user,
            )  # fmt: skip
        with (self.folder / "log").open("ab") as said:
            self.process = subprocess.Popen(
                [
                    base / "sbin/mariadbd", "--no-defaults", *paths, *user, f"--socket={self.folder}/s",
                    f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve", "--server-id=1",
                    "--log-bin=binlog", "--binlog-format=ROW", "--innodb-buffer-pool-size=64M",
                    "--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0", "--max-allowed-packet=256M",
                    "--innodb-log-file-size=512M",
                    "--log-bin-trust-function-creators=1", *self._more,
                ],
                env=environment(self._programs), stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                preexec_fn=dies_with_us(signal.SIGKILL),  # noqa: PLW1509 - two system calls
            )  # fmt: skip
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                self.root().close()
            except pymysql.Error:
                if time.monotonic() > until or self.process.poll() is not None:
                    said_last = (self.folder / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"MariaDB did not start: {said_last}") from None
                time.sleep(0.05)
            else:
                return

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(command, env=environment(self._programs), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"MariaDB's data folder was not made: {(done.stdout + done.stderr)[-2000:]}")

    def stop(self, *, hard: bool = False) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
            self.process.wait(timeout=_PATIENCE)
            self.process = None

    def root(self, database: str | None = None, **more: Any) -> pymysql.Connection[Any]:
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True, charset="utf8mb4", **more
        )


class Source:
    """A database of the test's own, and a user that may only read it."""

    def __init__(self, server: MariaDB, *grants: str) -> None:
        number = next(_numbers)
        self.server, self.name, self.user = server, f"source {number}", f"reader {number}"
        self.owner = server.root()
        self.run(
            f"CREATE DATABASE `{self.name}` CHARACTER SET utf8mb4",
            f"USE `{self.name}`",
            f"CREATE USER '{self.user}'@'%' IDENTIFIED BY {self.owner.escape(PASSWORD)}",
            f"GRANT SELECT, SHOW VIEW ON `{self.name}`.* TO '{self.user}'@'%'",
            *(f"GRANT {grant} TO '{self.user}'@'%'" for grant in grants),
        )

    def run(self, *statements: str, values: Any = None) -> None:
        with self.owner.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement, values)

    def many(self, statement: str, rows: list[Any]) -> None:
        with self.owner.cursor() as cursor:
            cursor.executemany(statement, rows)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.owner.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def options(self, **changed: Any) -> dict[str, Any]:
        plain = {"host": "127.0.0.1", "port": self.server.port, "database": self.name, "user": self.user}
        return plain | {"password": PASSWORD, "batch_rows": 3} | changed

    def sessions(self) -> int:
        return len(self.rows(f"SELECT 1 FROM information_schema.processlist WHERE user = '{self.user}'"))

    def close(self) -> None:
        with contextlib.suppress(pymysql.Error):
            self.run(f"DROP DATABASE IF EXISTS `{self.name}`", f"DROP USER IF EXISTS '{self.user}'@'%'")
            self.owner.close()


@pytest.fixture(scope="session")
def mariadb(servers_folder: Path) -> Iterator[MariaDB]:
    server = MariaDB(Path(tempfile.mkdtemp(prefix="mariadb-", dir=servers_folder)))  # each module may have its own
    try:
        server.start()
        yield server
    finally:
        server.stop(hard=True)

"""Debian's pgbouncer for tests, in transaction mode: sessions of the server go from client to client."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from hive.embedded.places import free_port, server_account
from tests.servers import short_folder
from tests.servers.debian import environment, unpacked
from tests.servers.postgres15 import reachable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hive.embedded import EmbeddedPostgres

_PATIENCE = 20.0
_SETTINGS = """\
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
logfile = {folder}/log
pidfile = {folder}/pid
"""


class PgBouncer:
    """One pooler before one server. It knows the roles that `know` names."""

    def __init__(self, folder: Path, server_port: int, size: int) -> None:
        self.folder = folder
        self.port = free_port()
        self._programs = reachable(unpacked("pgbouncer"), folder)
        self._account = server_account()
        self._users: dict[str, str] = {}
        (folder / "users").touch()
        settings = _SETTINGS.format(server=server_port, port=self.port, folder=folder, size=size)
        (folder / "pgbouncer.ini").write_text(settings)
        self.process: subprocess.Popen[bytes] | None = None

    def know(self, role: str, password: str) -> None:
        """Let a role in; its password is needed to log in at the server as well."""
        self._users[role] = password
        lines = ['"{}" "{}"\n'.format(*(t.replace('"', '""') for t in user)) for user in self._users.items()]
        (self.folder / "users").write_text("".join(lines))
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)
            time.sleep(0.3)

    def start(self) -> None:
        who: dict[str, Any] = {}
        if self._account:
            who = {"user": self._account.uid, "group": self._account.gid, "extra_groups": []}
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, self._account.uid, self._account.gid)
        with (self.folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                [self._programs / "usr/sbin/pgbouncer", str(self.folder / "pgbouncer.ini")],
                env=environment(self._programs), stdin=subprocess.DEVNULL, stdout=said, stderr=said, **who,
            )  # fmt: skip
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                psycopg.connect(host="127.0.0.1", port=self.port, user="nobody", dbname="x", connect_timeout=2).close()
            except psycopg.Error as error:
                if "refused" not in str(error):
                    return
                if self.process.poll() is not None or time.monotonic() > until:
                    said_last = (self.folder / "said").read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"pgbouncer did not start: {said_last}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=_PATIENCE)
            self.process = None


@pytest.fixture(scope="session")
def pgbouncer(postgres: EmbeddedPostgres) -> Iterator[PgBouncer]:
    """Before the session's own server, with two sessions for each database and role."""
    with short_folder() as folder:
        server_port = int(psycopg.conninfo.conninfo_to_dict(postgres.url())["port"] or 0)
        pooler = PgBouncer(folder, server_port, size=2)
        try:
            pooler.start()
            yield pooler
        finally:
            pooler.stop()

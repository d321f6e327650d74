"""Debian's PostgreSQL 15 for tests: with TLS and client certificates, which the embedded server's build has not.

Roles: `owner` (superuser), `plain` (reads over a connection without TLS alone), `ciphered` (over TLS alone), both with
PASSWORD, and `certified` (by a client certificate alone). The certificate of the server is for `localhost`.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hive.embedded.places import free_port, server_account
from tests.servers import short_folder
from tests.servers.debian import environment, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

PASSWORD = "corr ect'horse\\%&@:/"
_PATIENCE = 30.0
_RULES = """\
host      all all        127.0.0.1/32 scram-sha-256
"""
_FIRST_RULES = """\
hostssl   all certified  127.0.0.1/32 cert
host      all certified  127.0.0.1/32 reject
hostnossl all ciphered   127.0.0.1/32 reject
hostssl   all plain      127.0.0.1/32 reject
"""
_ROLES = f"""
CREATE ROLE plain LOGIN PASSWORD '{PASSWORD.replace("'", "''")}';
CREATE ROLE ciphered LOGIN PASSWORD '{PASSWORD.replace("'", "''")}';
CREATE ROLE certified LOGIN;
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 10) AS i;
GRANT SELECT ON t TO plain, ciphered, certified;
"""


def reachable(folder: Path, below: Path) -> Path:
    """The folder of the programs, or a copy below `below`, where the servers' own account can get at it."""
    closed = [p for p in (folder, *folder.parents) if not p.stat().st_mode & 0o001]
    if server_account() is None or not closed:
        return folder
    copy = below / folder.name
    shutil.copytree(folder, copy, symlinks=True)
    copy.chmod(0o755)
    return copy


class Postgres15:
    """One server; its files are in `folder`: ca.pem, client.pem, client.key, other-ca.pem."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._programs = reachable(unpacked("postgresql-15"), folder)
        self._account = server_account()
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def _command(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        as_who = {"user": self._account.uid, "group": self._account.gid, "extra_groups": []} if self._account else {}
        path = self._programs / "usr/lib/postgresql/15/bin" / program
        with (self.folder / "said").open("ab") as said:
            return subprocess.Popen(
                [path, *arguments], env=environment(self._programs), stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                cwd=self.folder, **as_who,
            )  # fmt: skip

    def start(self) -> None:
        data = self.folder / "data"
        if not data.exists():
            data.mkdir(mode=0o700)
            secret = self.folder / "secret"
            secret.write_text(PASSWORD)
            made = [data, secret]
            if self._account:
                for path in made:
                    os.chown(path, self._account.uid, self._account.gid)
            done = self._command(
                "initdb", "-D", str(data), "-U", "owner", f"--pwfile={secret}", "-A", "scram-sha-256", "-E", "UTF8",
                "--locale=C", "--no-sync",
            ).wait(_PATIENCE)  # fmt: skip
            self._complain_unless(done == 0)
            self._make_certificates(data)
            (data / "pg_hba.conf").write_text(_FIRST_RULES + _RULES)
        self.process = self._command(
            "postgres", "-D", str(data), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
            "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "ssl=on", "-c", "ssl_ca_file=ca.pem",
            "-c", "ssl_cert_file=server.pem", "-c", "ssl_key_file=server.key", "-c", "wal_level=logical",
            "-c", "max_connections=60", "-c", "log_min_messages=log",
        )  # fmt: skip
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                psycopg.connect(self.url()).close()
            except psycopg.Error:
                self._complain_unless(self.process.poll() is None and time.monotonic() < until)
                time.sleep(0.05)
            else:
                return

    def _complain_unless(self, well: bool) -> None:
        if not well:
            said = (self.folder / "said").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"PostgreSQL 15 did not start: {said}")

    def _make_certificates(self, data: Path) -> None:
        authority, signer = certificate("authority", None)
        other, _ = certificate("another authority", None)
        write(self.folder / "ca.pem", authority)
        write(self.folder / "other-ca.pem", other)
        write(data / "ca.pem", authority)
        server, key = certificate("localhost", (authority, signer))
        write(data / "server.pem", server)
        write(data / "server.key", key)
        if self._account:
            os.chown(data / "server.key", self._account.uid, self._account.gid)
        client, key = certificate("certified", (authority, signer))
        write(self.folder / "client.pem", client)
        write(self.folder / "client.key", key)
        write(self.folder / "locked.key", key, b"open sesame")

    def url(self, database: str = "postgres") -> str:
        return psycopg.conninfo.make_conninfo(
            host="127.0.0.1", port=self.port, dbname=database, user="owner", password=PASSWORD
        )

    def stop(self, *, hard: bool = False) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT if hard else signal.SIGINT)
            self.process.wait(timeout=_PATIENCE)
            self.process = None


def certificate(
    name: str, signed_by: tuple[x509.Certificate, EllipticCurvePrivateKey] | None
) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    """A certificate for a day, its own authority where nobody signs it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signed_by[0].subject if signed_by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=signed_by is None, path_length=None), critical=True)
        .sign(signed_by[1] if signed_by else key, hashes.SHA256())
    )
    return made, key


def write(path: Path, what: x509.Certificate | EllipticCurvePrivateKey, password: bytes | None = None) -> None:
    pem = serialization.Encoding.PEM
    if isinstance(what, x509.Certificate):
        path.write_bytes(what.public_bytes(pem))
        path.chmod(0o644)
        return
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path.touch(mode=0o600)
    path.write_bytes(what.private_bytes(pem, serialization.PrivateFormat.PKCS8, lock))


@pytest.fixture(scope="session")
def postgres15() -> Iterator[Postgres15]:
    with short_folder() as folder:
        server = Postgres15(folder)
        try:
            server.start()
            with psycopg.connect(server.url(), autocommit=True) as connection:
                connection.execute(_ROLES)
            yield server
        finally:
            server.stop(hard=True)

"""FTP servers for tests: pyftpdlib in a thread, and Debian's ProFTPD over TLS with a certificate of its own."""

from __future__ import annotations

import datetime as dt
import grp
import ipaddress
import os
import pwd
import shutil
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hive.embedded.places import free_port
from tests.servers import short_folder
from tests.servers.debian import environment, unpacked
from tests.servers.s3 import wait_for

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.11's asyncore, which pyftpdlib still loads there
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.handlers import FTPHandler
    from pyftpdlib.ioloop import IOLoop
    from pyftpdlib.servers import FTPServer

__all__ = ["PASSWORD", "FTPHandler", "certificate", "ftp_folder", "ftps_server", "serving"]

PASSWORD = "ftp-secret-example"
_HASHED = (  # of PASSWORD, by crypt
    "$6$beesalt$mxjGlxWQLOxqkQ2Dz6bvNxNGfflu2M.fVqiLL6dFIYy45IRL2TM1eyk644k3jq9VNU5Gk1ZwzM4.8gIWKMeHg1"
)


def certificate(folder: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key, as one PEM file; `ca.pem` beside it has no key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=9))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(public)
    (folder / "both.pem").write_bytes(public + private)
    return folder / "both.pem"


@contextmanager
def serving(folder: Path, handler: type[FTPHandler] = FTPHandler, most: int = 0) -> Iterator[int]:
    """The port of a server over the folder, with the user `bee`, who may have `most` connections; 0: any number."""
    authorizer = DummyAuthorizer()
    authorizer.add_user("bee", PASSWORD, str(folder), perm="elr")
    made = type("Handler", (handler,), {"authorizer": authorizer, "auth_failed_timeout": 0})
    loop = IOLoop()
    server = FTPServer(("127.0.0.1", 0), made, ioloop=loop)
    server.max_cons_per_ip = most
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            loop.loop(timeout=0.05, blocking=False)
        server.close_all()
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield server.address[1]
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def ftp_folder(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


_PROFTPD = """ServerType standalone
ServerName test
ModulePath {folder}/modules
LoadModule mod_tls.c
Port {port}
DefaultAddress 127.0.0.1
SocketBindTight on
PidFile {folder}/pid
ScoreboardFile {folder}/score
DelayEngine off
UseReverseDNS off
WtmpLog off
TransferLog none
SystemLog {folder}/log
AuthOrder mod_auth_file.c
AuthUserFile {folder}/users
RequireValidShell off
User {user}
Group {group}
TLSEngine on
TLSRequired on
TLSProtocol TLSv1.2 TLSv1.3
TLSECCertificateFile {folder}/both.pem
TLSECCertificateKeyFile {folder}/both.pem
"""


@pytest.fixture(scope="module")
def ftps_server() -> Iterator[tuple[Path, int]]:
    """Folder and port of a ProFTPD that speaks TLS only, and asks that data connections resume the session.

    It runs as the tests' user, or as `nobody` where that is root; `ca.pem` stands beside the folder.
    """
    home = unpacked("proftpd-core", "proftpd-mod-crypto")
    me = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    who = {"user": me[0], "group": me[1], "extra_groups": []} if os.geteuid() == 0 else {}
    with short_folder() as folder:
        port = free_port()
        for name in ("files", "modules"):
            (folder / name).mkdir()
        certificate(folder)
        shutil.copy(next(home.rglob("mod_tls.so")), folder / "modules")
        program = shutil.copy(home / "usr/sbin/proftpd", folder / "proftpd")
        (folder / "conf").write_text(
            _PROFTPD.format(
                folder=folder, port=port, user=pwd.getpwuid(me[0]).pw_name, group=grp.getgrgid(me[1]).gr_name
            )
        )
        (folder / "users").write_text(f"bee:{_HASHED}:{me[0]}:{me[1]}:bee:{folder}/files:/bin/sh\n")
        (folder / "users").chmod(0o600)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, *me)
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(
                [program, "-n", "-c", str(folder / "conf")], env=environment(home), stdin=subprocess.DEVNULL,
                stdout=said, stderr=said, start_new_session=True, **who,
            )  # fmt: skip
        try:
            wait_for(port, process)
            yield folder / "files", port
        finally:
            process.terminate()
            process.wait(10)

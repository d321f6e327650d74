"""An OpenSSH server of Debian's for tests, as the test's user, or as `nobody` where the tests run as root.

The account that it lets in, `bee`, is one of libnss-wrapper's: of the system nothing is changed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from hive.embedded.places import free_port
from tests.servers import short_folder
from tests.servers.debian import environment, unpacked
from tests.servers.s3 import wait_for

__all__ = ["SftpServer", "sftp_server"]


class SftpServer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.user = "bee"
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.root = folder / "files"
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.client_key = asyncssh.generate_private_key("ssh-ed25519")
        self.process: subprocess.Popen[bytes] | None = None
        self.root.mkdir()
        (folder / "host").write_bytes(self.host_key.export_private_key())
        (folder / "keys").write_bytes(self.client_key.export_public_key())
        (folder / "host").chmod(0o600)
        (folder / "config").write_text(
            f"HostKey {folder}/host\nAuthorizedKeysFile {folder}/keys\nPidFile none\nUsePAM no\nStrictModes no\n"
            "PasswordAuthentication no\nMaxStartups 100\nMaxSessions 100\n"
            "Subsystem sftp internal-sftp\nForceCommand internal-sftp\n"
        )
        (folder / "passwd").write_text(f"bee:x:{account.pw_uid}:{account.pw_gid}:bee:{folder}:/bin/sh\n")
        (folder / "shadow").write_text("bee:x:19000:0:99999:7:::\n")
        if os.geteuid() == 0:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, "nobody", "nogroup")

    def start(self) -> None:
        home = unpacked("libnss-wrapper", "openssh-server")
        who = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
        said = (self._folder / "log").open("ab")
        # Copied, because nobody may not pass through the folders above ours.
        program, wrapper = self._folder / "sshd", self._folder / "wrapper.so"
        if not program.exists():
            shutil.copy(home / "usr/sbin/sshd", program)
            shutil.copy(next(home.glob("usr/lib/*/libnss_wrapper.so")), wrapper)
        account = {
            "LD_PRELOAD": str(wrapper),
            "NSS_WRAPPER_PASSWD": f"{self._folder}/passwd", "NSS_WRAPPER_GROUP": "/etc/group",
            "NSS_WRAPPER_SHADOW": f"{self._folder}/shadow",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [str(program), "-D", "-e", "-f", f"{self._folder}/config", "-p", str(self.port), "-o",
             "ListenAddress=127.0.0.1"],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment(home) | account, **who,
        )  # fmt: skip
        said.close()
        wait_for(self.port, self.process)

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
            self.process = None

    def options(self, **more: Any) -> dict[str, Any]:
        key = self.client_key.export_private_key().decode()
        return {
            "host": "127.0.0.1", "port": self.port, "path": str(self.root), "allow_private": True,
            "auth": {"username": self.user, "private_key": key},
            "host_key": self.host_key.export_public_key().decode().strip(), **more,
        }  # fmt: skip


@pytest.fixture(scope="session")
def sftp_server() -> Iterator[SftpServer]:
    with short_folder() as folder:
        server = SftpServer(folder)
        try:
            server.start()
            yield server
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.stop()

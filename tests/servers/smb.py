"""A Samba server of Debian's for tests, for the account `bee` of libnss-wrapper: of the system nothing is changed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hive.embedded.places import free_port
from tests.servers import short_folder
from tests.servers.debian import environment, unpacked
from tests.servers.s3 import wait_for

__all__ = ["PASSWORD", "SmbServer", "smb_server"]

PASSWORD = "smb-secret-example"
_PARTS = ("private", "lock", "state", "cache", "pid", "ncalrpc")
_CONFIG = """[global]
workgroup = TEST
server role = standalone server
interfaces = 127.0.0.1
bind interfaces only = yes
smb ports = {port}
server min protocol = SMB2
server signing = mandatory
disable netbios = yes
load printers = no
passdb backend = smbpasswd:{folder}/private/smbpasswd
private dir = {folder}/private
lock directory = {folder}/lock
state directory = {folder}/state
cache directory = {folder}/cache
pid directory = {folder}/pid
ncalrpc dir = {folder}/ncalrpc
log file = {folder}/log
[files]
path = {folder}/files
read only = yes
[unmangled]
path = {folder}/files
read only = yes
mangled names = no
"""


class SmbServer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.root = folder / "files"
        self.process: subprocess.Popen[bytes] | None = None
        self.root.mkdir()
        self.root.chmod(0o755)
        for name in _PARTS:
            (folder / name).mkdir(mode=0o755)
        (folder / "smb.conf").write_text(_CONFIG.format(port=self.port, folder=folder))
        (folder / "passwd").write_text(Path("/etc/passwd").read_text() + "bee:x:65533:65533:bee:/:/bin/sh\n")
        (folder / "group").write_text(Path("/etc/group").read_text() + "bee:x:65533:\n")

    def start(self) -> None:
        home = unpacked("libnss-wrapper", "samba")
        wrapper = self._folder / "wrapper.so"
        if not wrapper.exists():
            shutil.copy(next(home.glob("usr/lib/*/libnss_wrapper.so")), wrapper)
        around = environment(home) | {
            "LD_PRELOAD": str(wrapper), "NSS_WRAPPER_PASSWD": f"{self._folder}/passwd",
            "NSS_WRAPPER_GROUP": f"{self._folder}/group",
        }  # fmt: skip
        config = str(self._folder / "smb.conf")
        made = subprocess.run(
            [home / "usr/bin/smbpasswd", "-c", config, "-s", "-a", "bee"], input=f"{PASSWORD}\n{PASSWORD}\n", text=True,
            capture_output=True, env=around, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout + made.stderr
        with (self._folder / "said").open("ab") as said:
            self.process = subprocess.Popen(
                [home / "usr/sbin/smbd", "--foreground", "--no-process-group", "-s", config], stdin=subprocess.DEVNULL,
                stdout=said, stderr=said, env=around, start_new_session=True,  # it ends its whole process group
            )  # fmt: skip
        wait_for(self.port, self.process)

    def stop(self) -> None:
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
            self.process = None

    def options(self, **more: Any) -> dict[str, Any]:
        auth = {"username": "bee", "password": PASSWORD}
        return {"host": "127.0.0.1", "port": self.port, "share": "files", "allow_private": True, "auth": auth, **more}


@pytest.fixture(scope="session")
def smb_server() -> Iterator[SmbServer]:
    if os.geteuid():
        pytest.skip("smbd runs as root only: run the tests as root to have it")
    with short_folder() as folder:
        server = SmbServer(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()

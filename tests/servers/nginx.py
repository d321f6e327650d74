"""A real nginx, out of Debian's package, with the project's own configuration."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hive.embedded.places import free_port
from tests.bees.certificates import certificate
from tests.servers.debian import environment, unpacked

__all__ = ["proxying"]

CONFIG = Path(__file__).parents[2] / "deploy" / "nginx" / "hive.conf"
_AROUND = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/hive.conf;
}}
"""
_START = 20.0


@contextmanager
def proxying(folder: Path, gateway: str, flower: str) -> Iterator[str]:
    """The address at which our configuration serves both (host:port each), under a certificate of its own."""
    home, port = unpacked("nginx"), free_port()
    pem = certificate(folder, "localhost")
    text = CONFIG.read_text()
    for ours, here in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/ssl/hive/fullchain.pem", str(pem)),
        ("/etc/ssl/hive/key.pem", str(pem)),
        ("127.0.0.1:8000", gateway),
        ("127.0.0.1:5555", flower),
    ):
        assert text.count(ours) == 1, ours
        text = text.replace(ours, here)
    (folder / "hive.conf").write_text(text)
    (folder / "nginx.conf").write_text(_AROUND.format(folder=folder))
    with (folder / "nginx.log").open("wb") as log:
        arguments = ["-p", str(folder), "-c", str(folder / "nginx.conf")]
        started = subprocess.Popen(
            [str(home / "usr/sbin/nginx"), *arguments], env=environment(home), stdout=log, stderr=log
        )
    try:
        _wait(started, port, folder / "nginx.log")
        yield f"https://localhost:{port}"
    finally:
        started.terminate()
        started.wait(10)


def _wait(started: subprocess.Popen[bytes], port: int, log: Path) -> None:
    ends = time.monotonic() + _START
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert started.poll() is None, log.read_text()
            assert time.monotonic() < ends, f"nginx does not listen within {_START:.0f} s"
            time.sleep(0.05)
        else:
            return

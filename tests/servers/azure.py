"""An Azure Blob server for tests: azurite, in memory, on a free port of this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from hive.embedded.places import free_port
from tests.servers.npm import installed
from tests.servers.s3 import wait_for

__all__ = ["ACCOUNT", "KEY", "azurite"]

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # azurite's own


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    program = installed("azurite@3.35.0") / "azurite/dist/src/blob/main.js"
    port = free_port()
    command = ["node", str(program), "--silent", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    with subprocess.Popen(
        [*command, "--skipApiVersionCheck", "--inMemoryPersistence", "--disableTelemetry"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            wait_for(port, process, 30)
            yield f"http://127.0.0.1:{port}/{ACCOUNT}"
        finally:
            process.terminate()

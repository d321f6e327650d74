"""Debian's packages are unpacked into a folder of our own, and what is in them runs from there."""

from __future__ import annotations

import subprocess

import pytest

from tests.servers import debian
from tests.servers.debian import NotUnpackedError, environment, unpack, unpacked

pytestmark = pytest.mark.servers


def test_a_server_runs_from_where_it_was_unpacked() -> None:
    folder = unpacked("mariadb-server-core", "mariadb-client-core")
    program = folder / "usr/sbin/mariadbd"
    done = subprocess.run([program, "--version"], env=environment(folder), capture_output=True, text=True, check=True)

    assert "MariaDB" in done.stdout
    assert unpack(["mariadb-client-core", "mariadb-server-core"]) == folder, "the order of packages means nothing"


def test_what_cannot_be_had_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian.shutil, "which", lambda _: None)
    with pytest.raises(NotUnpackedError, match=r"no-such-package.*Debian or Ubuntu"):
        unpack(["no-such-package"])
    monkeypatch.delenv("HIVE_TEST_STRICT", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-package"):
        unpacked("no-such-package")
    monkeypatch.setenv("HIVE_TEST_STRICT", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-package"):
        unpacked("no-such-package")


def test_installed_parts_of_a_server_are_unpacked_as_well() -> None:
    status = "Package: a\nStatus: install ok installed\nSource: big (1.2)\n\nPackage: b\nStatus: install ok installed\n"
    kept, dropped = debian._parted(status, {"big"})

    assert (kept, dropped) == ("Package: b\nStatus: install ok installed\n", ["a"])

"""Servers out of Debian's packages, unpacked into a folder of our own: nothing is installed and no root is needed.

apt's lists, cache and record of what is installed live under .venv/debian; of the system only its sources, its keys
and its record of packages are read. So this works on Debian and on what comes from it, as root and as a plain user.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HOME = Path(sys.prefix) / "debian"
_STATUS = Path("/var/lib/dpkg/status")
_DAY = 86400
_MINUTES = 600
_TOOLS = ("apt-get", "apt-cache", "dpkg")

# Read after the system's own settings: hooks that clean the system's cache and drop to another user are not for us.
_SETTINGS = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Keep-Downloaded-Packages "true";
APT::Get::Assume-Yes "true";
APT::Get::AllowUnauthenticated "false";
Acquire::Retries "3";
Acquire::Languages "none";
Debug::NoLocking "true";
Dir::State "{apt}/state";
Dir::State::status "{status}";
Dir::Cache "{apt}/cache";
Dir::Log "{apt}/log";
"""


class NotUnpackedError(RuntimeError):
    """Debian's packages could not be got here; the text says why and what to do."""


def unpacked(*packages: str) -> Path:
    """The folder that holds these packages and what they need beyond this system, each below its usual path.

    Got once for each choice of packages and kept under .venv/debian: remove that folder to get newer ones.
    Where they cannot be had the test is skipped with the reason, or fails if HIVE_TEST_STRICT is 1.
    """
    try:
        return unpack(packages)
    except NotUnpackedError as error:
        if os.environ.get("HIVE_TEST_STRICT") == "1":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


def environment(folder: Path) -> dict[str, str]:
    """The environment in which the unpacked programs find each other and their libraries."""
    programs = [str(folder / p) for p in ("usr/sbin", "usr/bin", "sbin", "bin") if (folder / p).is_dir()]
    libraries = {str(p.parent) for root in ("usr/lib", "lib") for p in (folder / root).rglob("lib*.so*")}
    perl = [str(p) for p in (folder / "usr/share/perl5", *folder.glob("usr/lib/*/perl5/*")) if p.is_dir()]
    return os.environ | {
        "PATH": os.pathsep.join([*programs, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]),
        "LD_LIBRARY_PATH": os.pathsep.join(sorted(libraries, key=lambda p: (p.count("/"), p))),
        "PERL5LIB": os.pathsep.join(perl),
        "LC_ALL": "C.UTF-8",
    }


def unpack(packages: Sequence[str]) -> Path:
    """As `unpacked`, outside of a test. Raises NotUnpackedError."""
    if strange := [p for p in packages if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", p)]:
        raise ValueError(f"not names of packages: {strange}")
    chosen = sorted(set(packages))
    digest = hashlib.sha256(" ".join(chosen).encode()).hexdigest()[:8]
    folder = _HOME / f"{chosen[0]}-{digest}"
    if folder.is_dir():
        return folder
    if missing := [t for t in _TOOLS if shutil.which(t) is None]:
        raise NotUnpackedError(
            f"{' '.join(chosen)}: this system has no {' and no '.join(missing)}. Run the test on Debian or Ubuntu."
        )
    with _alone():
        if not folder.is_dir():
            _fill(chosen, folder)
    return folder


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """One process at a time; the lock goes with the process, however it ends."""
    _HOME.mkdir(parents=True, exist_ok=True)
    with (_HOME / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _fill(packages: list[str], folder: Path) -> None:
    apt = _HOME / "apt"
    for needed in ("state/lists/partial", "cache/archives/partial", "log"):
        (apt / needed).mkdir(parents=True, exist_ok=True)
    status, settings = apt / "status", apt / "settings"
    settings.write_text(_SETTINGS.format(apt=apt, status=status))
    shutil.copyfile(_STATUS, status)
    _lists(apt, settings, packages)
    kept, dropped = _parted(status.read_text(), _sources(settings, packages))
    status.write_text(kept)
    archives = apt / "cache/archives"
    for old in archives.glob("*.deb"):
        old.unlink()
    download = ["apt-get", "-c", str(settings), "-q", "install", "--download-only", *sorted({*packages, *dropped})]
    try:
        _run(download, packages)
    except NotUnpackedError:
        # The mirror has gone on since the lists were read.
        _lists(apt, settings, packages, fresh=True)
        _run(download, packages)
    made = folder.with_name(folder.name + ".part")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    for archive in sorted(archives.glob("*.deb")):
        _run(["dpkg", "-x", str(archive), str(made)], packages)
        archive.unlink()
    made.rename(folder)


def _lists(apt: Path, settings: Path, packages: list[str], *, fresh: bool = False) -> None:
    done = apt / "lists-read"
    if fresh or not done.exists() or time.time() - done.stat().st_mtime > _DAY:
        _run(["apt-get", "-c", str(settings), "-q", "update"], packages)
        done.touch()


def _sources(settings: Path, packages: list[str]) -> set[str]:
    """The source packages of what is asked for."""
    text = _run(["apt-cache", "-c", str(settings), "show", "--no-all-versions", *packages], packages)
    paragraphs = [_fields(p) for p in text.split("\n\n") if p.strip()]
    return {_source(p) for p in paragraphs}


def _parted(status: str, sources: set[str]) -> tuple[str, list[str]]:
    """The record of installed packages without those that are built from `sources`, and the names of those.

    They are unpacked too: so the folder holds the whole server, also where the system happens to have a part of it.
    """
    paragraphs = [(_fields(p), p.strip("\n")) for p in status.split("\n\n") if p.strip()]
    kept = [text for fields, text in paragraphs if _source(fields) not in sources]
    installed = [f for f, _ in paragraphs if _source(f) in sources and f.get("Status", "").endswith(" installed")]
    return "\n\n".join(kept) + "\n", [f["Package"] for f in installed]


def _fields(paragraph: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z][A-Za-z-]*): *(.*)$", paragraph, re.MULTILINE))


def _source(fields: dict[str, str]) -> str:
    return fields.get("Source", fields.get("Package", "")).split(" ")[0]


def _run(command: list[str], packages: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_MINUTES, check=True, env=os.environ | {"LC_ALL": "C"}
        )
    except subprocess.TimeoutExpired:
        said = f"it took more than {_MINUTES} seconds"
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith(("E:", "dpkg"))]
        said = " ".join(lines[-3:]) or f"it ended with {error.returncode}"
    else:
        return done.stdout
    raise NotUnpackedError(
        f"{' '.join(packages)}: `{' '.join(command[:1] + command[3:5])}` failed: {said}. "
        f"Check the network, this system's apt sources and the room on the disk; then remove {_HOME} and try again."
    )

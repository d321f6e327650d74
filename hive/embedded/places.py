"""Where an embedded server lives: its port, its folders, and the account it runs under.

PostgreSQL refuses to run as root, so under root the servers run as `nobody`. That account must reach the binaries and
the data, and may not: a virtual environment or a clone often lies below a private home. Nothing above our own folders
is ever opened up for it; what it cannot reach is put elsewhere instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOPBACK = "127.0.0.1"
_SYSTEM_FOLDER = Path("/var/lib/worker-bees")
_UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class Account:
    """A user that a server runs as, other than ourselves."""

    name: str
    uid: int
    gid: int


class ServerError(RuntimeError):
    """An embedded server did not start, or there is no place for it. The message ends with what it said last."""


class LockHeld(RuntimeError):
    """Another process holds the lock; `holder` is what it wrote there."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is locked by process {holder or 'unknown'}")
        self.holder = holder


def server_account() -> Account | None:
    """The account to run servers under; None means our own."""
    if os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        raise ServerError(
            f"servers do not run as root, and this machine has no user {_UNPRIVILEGED}: "
            "add one, run as a plain user, or set HIVE_DATABASE_URL and HIVE_REDIS_URL"
        ) from None
    return Account(found.pw_name, found.pw_uid, found.pw_gid)


def free_port() -> int:
    """A loopback port that nobody listens on at this moment; another process may take it before you do."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port


def port_is_free(port: int, host: str = LOOPBACK) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def make_folder(folder: Path) -> Path:
    """Create our own folder where it is missing; a folder that exists keeps its mode.

    Under root others may pass through it (not list it), so that the server's account reaches its data inside.
    """
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return folder.resolve()


def make_private(folder: Path, account: Account | None) -> None:
    """Create a folder that only `account` (or we) can enter."""
    folder.mkdir(mode=0o700)
    folder.chmod(0o700)
    if account is not None:
        os.chown(folder, account.uid, account.gid)


def searchable_by_others(folder: Path) -> bool:
    """Whether any account can pass through `folder` and everything above it."""
    resolved = folder.resolve()
    return all(part.stat().st_mode & stat.S_IXOTH for part in (resolved, *resolved.parents))


def data_folder(folder: Path, name: str, account: Account | None) -> Path:
    """Where the server's data is, or shall be made; its parent exists.

    It is `<folder>/<name>` wherever the account can get there. Otherwise it is a folder outside, chosen once:
    `remember_data_folder` leaves a pointer in `<folder>` after the data was made.
    """
    inside = folder / name
    pointer = _pointer(folder, name)
    if inside.exists():
        return inside
    if pointer.exists():
        return Path(pointer.read_text().strip())
    if account is None or searchable_by_others(folder):
        return inside
    home = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=shared_folder()))
    home.chmod(0o711)
    return home / name


def remember_data_folder(folder: Path, name: str, data: Path) -> None:
    if data.parent != folder:
        write_secret(_pointer(folder, name), str(data))


def remove_data_folder(folder: Path, name: str, data: Path) -> None:
    """Remove the data and, where it lies outside, its home and the pointer to it."""
    shutil.rmtree(data, ignore_errors=True)
    if data.parent != folder:
        with contextlib.suppress(OSError):
            data.parent.rmdir()
    _pointer(folder, name).unlink(missing_ok=True)


def _pointer(folder: Path, name: str) -> Path:
    return folder / f"{name}.at"


def shared_folder() -> Path:
    """A folder of root's that any account can pass through and run programs from.

    A fixed place under /var/lib serves every clone and is not swept; where it cannot be had, the temp folder's own
    fixed place is taken only if it is root's and nobody else can write there, since anybody could have made it.
    """
    candidates = (_SYSTEM_FOLDER, Path(tempfile.gettempdir()) / "worker-bees-root")
    for folder in candidates:
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o711, exist_ok=True)
            found = folder.lstat()
            ours = stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022
            runs = not os.statvfs(folder).f_flag & os.ST_NOEXEC
            if ours and runs and searchable_by_others(folder):
                return folder
    listed = " or ".join(str(folder) for folder in candidates)
    raise ServerError(f"no folder for servers that run as {_UNPRIVILEGED}: root cannot make {listed}")


def programs(package: str, distribution: str, parts: Sequence[str], account: Account | None) -> Path:
    """The folder that holds `parts` of an installed package in their relative layout, runnable by `account`.

    Our own user runs them where they were installed. For another account they are copied once per version.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ServerError(f"the package {distribution} is not installed: run `make setup`, or give the hive a server")
    installed = Path(spec.origin).parent.parent
    if account is None:
        return installed
    base = shared_folder()
    target = base / f"{distribution}-{importlib.metadata.version(distribution)}"
    if not target.exists():
        _copy_programs(installed, parts, base, target)
    return target


def _copy_programs(installed: Path, parts: Sequence[str], base: Path, target: Path) -> None:
    """Copy aside, then rename: whoever sees the target sees all of it, however many copy at once."""
    staging = Path(tempfile.mkdtemp(prefix="programs-", dir=base))
    try:
        for part in parts:
            shutil.copytree(installed / part, staging / part)
        for path in (staging, *staging.rglob("*")):
            # What a strict umask took away when the package was installed is given back to the copy.
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        with contextlib.suppress(OSError):  # another process was first: its copy is as good
            staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_secret(path: Path, text: str, account: Account | None = None) -> None:
    """Write a file that only we (or `account`) can read, at once: a reader sees the old text or the new one."""
    staging = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            if account is not None:
                os.fchown(descriptor, account.uid, account.gid)
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def secret(path: Path) -> str:
    """The password in this file; a random one is made at the first call."""
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(24))
    return path.read_text().strip()


def lock(path: Path) -> int:
    """Take the lock of this file for our process and write our pid there; close the descriptor to give it back.

    The kernel gives it back when we die, however we die. Raises LockHeld where another process has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode().strip()
        os.close(descriptor)
        raise LockHeld(path, holder) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor

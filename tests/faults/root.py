"""What only root can do to a machine: a disk of our own that is full at once, a limit on memory that the kernel keeps.

The mounts are made in a mount namespace of the run (`unshare --mount`, see run.py), and end with it however it ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MOUNTS = "FAULTS_MOUNTS"
"""Set in a run's environment where it has a mount namespace of its own."""
NAMESPACE = ("unshare", "--mount", "--propagation", "private")


class Skipped(Exception):
    """What the fault needs is not to be had here; the message says what."""


def may_mount() -> bool:
    """Whether this process may have mounts of its own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode == 0


class Disk:
    """A folder, with all that is in it, on a small disk in memory. Make it in a namespace of our own."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self._size = folder, size
        about = folder.stat()
        owner = f"uid={about.st_uid},gid={about.st_gid},mode={about.st_mode & 0o777:o}"
        aside = folder.rename(folder.with_name(f"{folder.name}.before"))
        folder.mkdir()
        self._mount("-t", "tmpfs", "-o", f"size={size},{owner}", "tmpfs")
        subprocess.run(["cp", "--archive", f"{aside}/.", str(folder)], check=True)
        shutil.rmtree(aside)

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Not one byte more than what is there now."""
        used = shutil.disk_usage(self.folder).used
        self._mount("-o", f"remount,size={used}")
        try:
            with contextlib.suppress(OSError):
                (self.folder / "straw").write_bytes(bytes(1 << 20))
                raise RuntimeError(f"there is room left in {self.folder}")
            yield
        finally:
            self._mount("-o", f"remount,size={self._size}")
            (self.folder / "straw").unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True, check=False)

    def _mount(self, *how: str) -> None:
        subprocess.run(["mount", *how, str(self.folder)], capture_output=True, check=True)


@contextlib.contextmanager
def memory_group(name: str, limit: int) -> Iterator[Path]:
    """A control group with so many bytes: who writes its number into the file that this gives, belongs to it.

    Raises Skipped where we may not make one.
    """
    old = CGROUPS / "memory"
    parent, file = (old, "memory.limit_in_bytes") if old.is_dir() else (CGROUPS, "memory.max")
    group = parent / name
    try:
        group.mkdir()
        (group / file).write_text(str(limit))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        raise Skipped(f"no control group for memory: {error.strerror}") from None
    try:
        yield group / "cgroup.procs"
    finally:
        deadline = time.monotonic() + 10
        while group.is_dir() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                group.rmdir()
            time.sleep(0.1)

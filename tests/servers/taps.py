"""Singer taps of other people, from the package index: each in a virtual environment of its own under `.venv/taps`.

command = installed("tap-jsonl==0.3.1", "tap-jsonl")
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.servers.npm import absent

_ROOT = Path(sys.prefix) / "taps"
_SECONDS = 240


def installed(package: str, command: str) -> str:
    """The path of a package's command. Where it cannot be had the test is skipped, or fails if it must run."""
    folder = _ROOT / hashlib.sha256(package.encode()).hexdigest()[:16]
    if not folder.is_dir():
        _ROOT.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file is closed, also by a crash
            if not folder.is_dir():
                _install(folder, package)
    return str(folder / "bin" / command)


def _install(folder: Path, package: str) -> None:
    """An environment cannot be moved, so a half-done one is taken away again."""
    problem = ""
    try:
        _run(sys.executable, "-m", "venv", str(folder))
        _run(str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-cache-dir", package)
    except subprocess.CalledProcessError as error:
        problem = "".join(error.stderr.strip().splitlines()[-1:])[:200]
    except subprocess.TimeoutExpired:
        problem = f"not done in {_SECONDS} s"
    if problem:
        shutil.rmtree(folder, ignore_errors=True)
        absent(f"{package} cannot be installed: {problem}")


def _run(*command: str) -> None:
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS, env=environment)

"""Servers that come as npm packages, for tests: fetched by the user's own npm, each set into a folder of its own.

    folder = installed("json-server@0.17.4")
    subprocess.Popen(["node", folder / "json-server/lib/cli/bin.js", ...])

They are kept in `.venv/npm` and made once, however many processes ask at the same time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(sys.prefix) / "npm"
_SECONDS = 240


def installed(*packages: str) -> Path:
    """The folder `node_modules` with these packages, each `name@version`, and what they need.

    Where they cannot be had the test is skipped with the reason, or fails if HIVE_TEST_STRICT is 1.
    """
    name = hashlib.sha256("\n".join(sorted(packages)).encode()).hexdigest()[:16]
    folder = _ROOT / name
    if not (folder / "node_modules").is_dir():
        _ROOT.mkdir(parents=True, exist_ok=True)
        with (_ROOT / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file is closed, also by a crash
            if not (folder / "node_modules").is_dir():
                _install(folder, packages)
    return folder / "node_modules"


def absent(reason: str) -> None:
    """Leave the test: without its server it fails where everything must run, and is skipped by name elsewhere."""
    if os.environ.get("HIVE_TEST_STRICT") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _install(folder: Path, packages: tuple[str, ...]) -> None:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        absent("node and npm are not on this machine")
    made = folder.with_suffix(".new")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    wanted = dict(package.rsplit("@", 1) for package in packages)
    (made / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
    command = [str(npm), "install", "--omit-lockfile-registry-resolved", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=_SECONDS, check=False)
        problem = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    except subprocess.TimeoutExpired:
        problem = [f"not done in {_SECONDS} s"]
    if problem or not (made / "node_modules").is_dir():
        shutil.rmtree(made, ignore_errors=True)
        absent(f"npm cannot install {', '.join(packages)}: {''.join(problem)[:200]}")
    made.rename(folder)

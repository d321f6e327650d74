"""Processes that belong to a hive's folder: what a test must find gone at its end."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def left_behind(folder: Path) -> list[psutil.Process]:
    """Every live process that belongs to the folder: by its arguments, its working folder or its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            marks = (*process.cmdline(), process.cwd(), process.environ().get("HIVE_DATA_DIR", ""))
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if process.pid != os.getpid() and alive and any(str(folder) in mark for mark in marks):
            found.append(process)
    return found

"""How long does `hive --help` take?"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from report import Figure

HIVE = Path(sys.executable).with_name("hive")


def measure(*, quick: bool) -> list[Figure]:
    """Wall time, the first run (compiling, cold files) left out."""
    _seconds()
    runs = [_seconds() for _ in range(3 if quick else 10)]
    return [Figure("hive --help", "s", runs, at_most=0.3)]


def _seconds() -> float:
    began = time.perf_counter()
    subprocess.run([HIVE, "--help"], stdout=subprocess.DEVNULL, check=True, timeout=30)
    return time.perf_counter() - began

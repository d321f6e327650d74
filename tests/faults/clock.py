"""Another time for one process: a few lines of C before the C library, made with the machine's compiler.

Monotonic clocks stay as they are. What is wanted stands in CLOCK_SHIFT, in seconds.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.faults.root import Skipped

SOURCE = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
    const char *text = getenv("CLOCK_SHIFT");
    return text ? atol(text) : 0;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    int done = syscall(SYS_clock_gettime, id, at);
    if (done == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += shift();
    return done;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    int done = clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return done;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


def compiler() -> str | None:
    return shutil.which("cc")


def library(folder: Path) -> Path:
    """What LD_PRELOAD shall name. Raises Skipped where there is no compiler."""
    made = folder / "clock.so"
    if not made.exists():
        program = compiler()
        if program is None:
            raise Skipped("it takes a C compiler (cc), which this machine has not")
        source = folder / "clock.c"
        source.write_text(SOURCE)
        subprocess.run([program, "-shared", "-fPIC", "-O1", "-o", str(made), str(source)], check=True)
    return made


def told(environment: Mapping[str, str]) -> float:
    """Seconds since 1970 by the clock of a process with this environment."""
    argv = [sys.executable, "-c", "import time; print(time.time())"]
    return float(subprocess.run(argv, env=dict(environment), capture_output=True, text=True, check=True).stdout)

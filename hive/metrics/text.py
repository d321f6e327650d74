"""Prometheus' text format 0.0.4: https://prometheus.io/docs/instrumenting/exposition_formats/

Ten thousand bees make some 400,000 lines, so nothing here makes an object of a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Number = int | float
Samples = Iterable[tuple[str, Number | None]]
"""(what `labels` gives, value); one without a value is left out."""


def labels(**named: str) -> str:
    """`{name="value",...}`. Values may be any text."""
    return "{" + ",".join(f'{name}="{escaped(value)}"' for name, value in named.items()) + "}"


def escaped(value: str) -> str:
    """A label's value as it stands between its quotes."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def family(name: str, kind: Literal["counter", "gauge"], about: str, samples: Samples) -> str:
    """All lines of one metric; its HELP and TYPE stand there also where there is no sample.

    `about` is one line without a backslash.
    """
    lines = [f"{name}{at} {value}\n" for at, value in samples if value is not None]
    return f"{head(name, kind, about)}{''.join(lines)}"


def single(name: str, kind: Literal["counter", "gauge"], about: str, value: Number | None) -> str:
    """A metric without labels."""
    return family(name, kind, about, [("", value)])


def histogram(
    name: str, about: str, bounds: Sequence[float], samples: Iterable[tuple[str, Sequence[int], int, float]]
) -> str:
    """Samples are (labels, how many were at most each bound, how many there were, their sum)."""
    lines = []
    ends = [f'le="{bound:g}"' for bound in bounds]
    for at, counts, count, total in samples:
        start = f"{name}_bucket{at[:-1]}," if at else f"{name}_bucket{{"
        lines += [f"{start}{end}}} {n}\n" for end, n in zip(ends, counts, strict=True)]
        lines.append(f'{start}le="+Inf"}} {count}\n{name}_sum{at} {total}\n{name}_count{at} {count}\n')
    return f"{head(name, 'histogram', about)}{''.join(lines)}"


def head(name: str, kind: str, about: str) -> str:
    """HELP and TYPE, which stand before a metric's samples."""
    return f"# HELP {name} {about}\n# TYPE {name} {kind}\n"

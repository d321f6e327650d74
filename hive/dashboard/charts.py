"""Small charts as SVG, drawn by the server: attributes only, since the page's policy allows no inline style.

Each has a text for those who do not see it; numbers alone go into the markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from hive.dashboard import words

WIDTH, HEIGHT = 240.0, 48.0
SHOWN = 30
"""Flights in a history."""


def line(values: Sequence[float], label: str, *, height: float = HEIGHT, width: float = WIDTH) -> Markup:
    """A line over a filled area; its highest value touches the top."""
    top = max(values, default=0.0) or 1.0
    step = width / max(1, len(values) - 1)
    points = [(n * step, height - 1.5 - (height - 5) * value / top) for n, value in enumerate(values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    area = f"0,{height} {path} {width:.1f},{height}" if points else ""
    dot = f'<circle cx="{points[-1][0] - 2:.1f}" cy="{points[-1][1]:.1f}" r="2.5"/>' if points else ""
    inside = (
        f'<polygon points="{area}"/><polyline points="{path}" fill="none" vector-effect="non-scaling-stroke"/>{dot}'
    )
    return _svg(inside, label, "line", width, height)


def bars(
    values: Sequence[float], label: str, *, second: Sequence[float] = (), height: float = HEIGHT, width: float = WIDTH
) -> Markup:
    """A bar for each value; those of `second` stand on top of them in another colour."""
    above = list(second) or [0.0] * len(values)
    top = max((a + b for a, b in zip(values, above, strict=True)), default=0.0) or 1.0
    step = width / max(1, len(values))
    drawn = []
    for n, (low, high) in enumerate(zip(values, above, strict=True)):
        x, wide = n * step, max(1.0, step - 2)
        a, b = (height - 2) * low / top, (height - 2) * high / top
        if low + high == 0:
            drawn.append(f'<rect class="none" x="{x:.1f}" y="{height - 1:.1f}" width="{wide:.1f}" height="1"/>')
            continue
        a, b = (max(a, 2.0) if low else 0.0), (max(b, 2.0) if high else 0.0)
        if a:
            drawn.append(f'<rect x="{x:.1f}" y="{height - a:.1f}" width="{wide:.1f}" height="{a:.1f}" rx="1"/>')
        if b:
            y = height - a - b
            drawn.append(f'<rect class="bad" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{b:.1f}" rx="1"/>')
    return _svg("".join(drawn), label, "bars", width, height)


def progress(read: int, done: int, expected: int | None, *, reading: bool) -> Markup:
    """How far a flight is: what is settled over what is read over what is expected.

    While it reads and nobody knows how much there is, there is no whole to draw a part of: the bar says so.
    """
    if reading and not (expected and expected >= read):
        inside = '<rect class="whole" width="200" height="8"/>' + "".join(
            f'<path class="unknown" d="M{x},8 l8,-8 h8 l-8,8 z"/>' for x in range(-8, 200, 24)
        )
        label = f"{done} records settled of {read} read so far; how many there are is not known"
        return _svg(inside, label, "progress open", 200, 8)
    whole = max(read, done, (expected or 0) if reading else 0)
    settled, seen = (min(1.0, done / whole), min(1.0, read / whole)) if whole else (0.0, 0.0)
    inside = (
        '<rect class="whole" width="200" height="8"/>'
        f'<rect class="read" width="{200 * seen:.1f}" height="8"/>'
        f'<rect class="done" width="{200 * settled:.1f}" height="8"/>'
    )
    return _svg(inside, f"{round(100 * settled)} percent settled", "progress", 200, 8)


def outcomes(flights: Sequence[Any]) -> Markup:
    """How long each of these flights took, oldest first; those that failed in the other colour."""
    took = [float(flight.seconds or 0) for flight in flights]
    before = [0.0] * (SHOWN - len(took))
    failed = [flight.state == "failed" for flight in flights]
    least = max(took, default=0.0) / 20
    good = [0.0 if bad else max(seconds, least) for seconds, bad in zip(took, failed, strict=True)]
    bad = [max(seconds, least) if bad else 0.0 for seconds, bad in zip(took, failed, strict=True)]
    label = f"{len(took)} flights, {sum(failed)} of them failed, the longest took {words.span(max(took, default=0.0))}"
    return bars([*before, *good], label, second=[*before, *bad], width=480)


def _svg(inside: str, label: str, kind: str, width: float, height: float) -> Markup:
    drawn = (
        f'<svg class="chart {kind}" viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{inside}</svg>'
    )
    return Markup(drawn)  # noqa: S704 - numbers, and a label that is escaped

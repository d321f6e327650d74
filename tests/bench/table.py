"""The table of figures in the README: the newest answer to each question, held against its bound, missed ones too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from report import brief

BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of the figures -->"
_HEAD = ("| question | figure | measured | bound | | when, load |", "|---|---|---|---|---|---|")
_BARE = {"x", "x the time", "ratio", "times the time", "of its rate", "more", "share", "of its rows/s", ""}
"""Units that a figure's name says already."""
_MANY = 10


def write(readme: Path, results: Path, order: Iterable[str]) -> None:
    """Put the table between its marks; rows of questions of which there is no result stay as they are."""
    text = readme.read_text()
    marked = re.compile(f"(?s){re.escape(BEGIN)}(.*){re.escape(END)}")
    there = marked.search(text)
    if there is None:
        return
    answers = newest(results)
    old = there[1].splitlines()
    rows = []
    for name in order:
        rows += rows_of(name, answers[name]) if name in answers else [r for r in old if r.startswith(f"| {name} |")]
    below = machine_of(max(answers.values(), key=lambda a: str(a["date"]))["machine"]) if answers else ""
    written = "\n".join((BEGIN, *_HEAD, *rows, "", below, END))
    readme.write_text(marked.sub(lambda _: written, text))


def newest(results: Path) -> dict[str, dict[str, Any]]:
    """Question -> its newest answer that did not fail, with the date and the machine of that run."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(results.glob("*.json")):
        told = json.loads(path.read_text())
        for name, answer in told["questions"].items():
            if answer["figures"] and not answer["failure"]:
                found[name] = answer | {n: told[n] for n in ("date", "quick", "machine")}
    return found


def rows_of(name: str, answer: Mapping[str, Any]) -> list[str]:
    """A row for each figure that has a bound; of very many, one for each that missed it, and one for the others."""
    when = f"{answer['date'][:10]}, {answer['machine']['load']:.1f}{', quick' if answer['quick'] else ''}"
    bound = [figure for figure in answer["figures"] if figure["at_least"] is not None or figure["at_most"] is not None]
    kept = [figure for figure in bound if figure["kept"]]
    told = bound if len(bound) <= _MANY else [figure for figure in bound if not figure["kept"]]
    rows = [f"| {name} | {' | '.join(_cells(figure))} | {when} |" for figure in told]
    if len(told) < len(bound):
        rows.append(f"| {name} | {len(kept)} {'others' if told else 'figures'} | | | kept | {when} |")
    return rows


def _cells(figure: Mapping[str, Any]) -> tuple[str, str, str, str]:
    least, most = figure["at_least"], figure["at_most"]
    measured = brief(figure["value"]) + (f" {figure['unit']}" if figure["unit"] not in _BARE else "")
    bound = f"at most {most:g}" if least is None else f"at least {least:g}"
    return figure["name"], measured, bound, "kept" if figure["kept"] else "**missed**"


def machine_of(machine: Mapping[str, Any]) -> str:
    """The machine and the versions in a line, and what the last column means."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    where = (
        f"{machine['cpus']} processors, {machine['memory'] / 2**30:.0f} GiB, Python {machine['python']}; {versions}."
    )
    return f"{where} Load: processes that were busy in the minute before; quick: less data (`--quick`)."

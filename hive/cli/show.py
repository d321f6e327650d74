"""How commands print: one JSON document, or a table for people. Data goes to standard output, all else to the error."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from hive.config.model import FleetConfig

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_WIDE = 500


def document(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """Rows below their headings; `empty` is said where there are none."""
    from rich.table import Table
    from rich.text import Text

    if not rows:
        say(empty)
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    numeric = [all(isinstance(row[n], int | float) or row[n] is None for row in rows) for n in range(len(columns))]
    for name, number in zip(columns, numeric, strict=True):
        shown.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        shown.add_row(*[Text(cell(value)) for value in row])
    console().print(shown)


def trimmed(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """Without the last column, where no row has anything in it."""
    if any(row[-1] for row in rows):
        return columns, rows
    return columns[:-1], [row[:-1] for row in rows]


def fields(about: Mapping[str, Any]) -> None:
    """Names and values, one a line."""
    width = max(map(len, about))
    for name, value in about.items():
        print(f"{name:<{width}}  {cell(value)}")


def cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dt.datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {cell(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value))
    return str(value)


def counted(number: int, what: str) -> str:
    """`1 bee`, `2 bees`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def say(text: str) -> None:
    """A word to the person, beside the data."""
    print(text, file=sys.stderr)


def console(*, stderr: bool = False) -> Console:
    """Not wrapped where nobody looks: a pipe gets whole lines."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=_WIDE)


def error_text(error: Mapping[str, Any] | None) -> str:
    """A ledger's error as one line: what, where, and the next step."""
    if not error:
        return ""
    message = str(error.get("message") or error.get("code") or "unknown")
    where = f" (at {error['place']})" if error.get("place") else ""
    advice = f" - {error['advice']}" if error.get("advice") else ""
    return f"{message}{where}{advice}"


def unscrubbed(fleet: FleetConfig) -> None:
    """Warn of bees whose records land as they are: that must be meant."""
    bare = [name for name, bee in fleet.bees.items() if not bee.scrubbing.profile and not bee.scrubbing.custom_rules]
    if bare:
        say(f"warning: without `scrubbing`, records land as they are: {', '.join(bare)}")


class Line:
    """A line that moves on a terminal; nothing where the error output is none."""

    def __init__(self, status: Status | None) -> None:
        self._status = status

    def update(self, text: str) -> None:
        if self._status is not None:
            self._status.update(text)

    def end(self) -> None:
        """Make room for what is printed next."""
        if self._status is not None:
            self._status.stop()


def step(text: str) -> None:
    """A plain line where nobody sees what `working` shows: what was begun is named in a log."""
    if not sys.stderr.isatty():
        say(f"hive: {text}")


@contextmanager
def working(text: str) -> Iterator[Line]:
    """Show that something lasts."""
    if not sys.stderr.isatty():
        yield Line(None)
        return
    with console(stderr=True).status(text) as shown:
        yield Line(shown)


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    return str(value)

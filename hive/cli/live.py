"""`hive status` on a terminal: a screen that stays, one look a second, what needs a person first."""

from __future__ import annotations

import datetime as dt
import select
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hive.cli import show
from hive.condition import STATES, UNWELL

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

EVERY = 1.0
"""Seconds between two looks; a look that takes long is not repeated so soon."""
SILENCE = 2.0
"""Seconds after which a look that has not come back is told of."""
_GLANCE = 0.2
KEPT = 60
"""Looks that a sparkline goes back."""
_BARS = " ▁▂▃▄▅▆▇█"
_COLOURS = {
    "misconfigured": "bold magenta", "stuck": "bold red", "late": "bold red", "failing": "red", "lagging": "yellow",
    "quiet": "yellow", "waiting": "yellow", "rate_limited": "cyan", "breaker_open": "cyan", "paused": "blue",
    "flying": "bold green", "healthy": "green", "new": "dim", "disabled": "dim", "lost": "bold red",
    "running": "green", "idle": "dim",
}  # fmt: skip

_KEPT_WAITING = ("quiet", "waiting", "rate_limited", "breaker_open", "paused")
_ABOUT_NOW = ("stuck", "late", "lagging")
"""States that are not about an error: one that the bee has from before is not their reason."""
_LONGEST_NAME = 28
"""Characters of a bee's name that are shown beside what is said of it."""


@dataclass
class History:
    """What the last looks saw, for sparklines: figures by name, the newest last."""

    seen: dict[str, deque[float]] = field(default_factory=dict)
    _before: tuple[float, Mapping[str, float]] | None = None

    def note(self, found: Mapping[str, Any], at: float) -> None:
        """`at` is a monotonic clock's; `found["pace"]` holds totals, of which the growth a second is kept."""
        totals = {name: float(count) for name, count in found["pace"].items()}
        if self._before is not None and at > self._before[0]:
            for name, count in totals.items():
                self._add(name, max(0.0, count - self._before[1][name]) / (at - self._before[0]))
        self._before = at, totals
        for queue in found["queues"]:
            self._add(f"queue {queue['name']}", queue["due"])

    def of(self, name: str) -> Sequence[float]:
        return tuple(self.seen.get(name, ()))

    def _add(self, name: str, value: float) -> None:
        self.seen.setdefault(name, deque(maxlen=KEPT)).append(value)


def sparkline(values: Sequence[float], width: int = 30) -> str:
    """The last values as bars; the tallest is the largest of them, and no bar is exactly nothing."""
    shown = list(values)[-width:]
    most = max(shown, default=0.0)
    steps = len(_BARS) - 1
    bars = [0 if not value or not most else max(1, round(value / most * steps)) for value in shown]
    return "".join(_BARS[bar] for bar in bars).rjust(width)


def screen(found: Mapping[str, Any], history: History, height: int, now: dt.datetime) -> RenderableType:
    """The whole picture; tables are cut so that it fits into `height` lines."""
    from rich.console import Group

    bees = found["bees"]
    unwell = [bee for bee in bees if bee.get("state") in UNWELL]
    unwell.sort(key=lambda bee: STATES.index(bee["state"]))
    flying = [bee for bee in bees if bee.get("state") == "flying"]
    waiting = [bee for bee in bees if bee.get("state") in _KEPT_WAITING]
    waiting.sort(key=lambda bee: _KEPT_WAITING.index(bee["state"]))
    room = max(3, height - 12 - len(found["queues"]))
    troubles = list(_troubles(found))
    parts = [_head(found, now), _counts(bees), _pace(history), _workers(found["workers"]), *troubles]
    room = max(3, room - len(troubles))
    shown = unwell[: max(3, room // 2)]
    parts.append(_unwell(shown, len(unwell)))
    room -= len(shown) + 2
    if waiting and room > 3:
        parts.append(_waiting(waiting[: max(1, room // 3)], now))
        room -= min(len(waiting), max(1, room // 3)) + 2
    if found["queues"]:
        parts.append(_queues(found["queues"], history))
    if room > 3:
        parts.append(_coming(flying, bees, room - 2, now))
    return Group(*parts)


def _head(found: Mapping[str, Any], now: dt.datetime) -> RenderableType:
    from rich.text import Text

    told = f"configuration {found['config_version'] or '-'}   {found.get('gateway') or ''}   q or Ctrl-C ends this"
    return Text.assemble(
        ("Worker Bees ", "bold yellow"), (f"{found['version']}   ", "bold"), (told, "dim"), f"   {_clock(now)}"
    )


def _troubles(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What is wrong with the hive itself, a line each."""
    from rich.text import Text

    if found.get("broker_answers") is False:
        told = "the broker does not answer: workers hear of nothing; `hive doctor` says more"
        yield Text(told, style="bold red", overflow="ellipsis", no_wrap=True)
    if refused := found.get("config_refused"):
        told = f"the changed configuration was refused, the older one flies: {refused['problems'][0]}"
        yield Text(told, style="bold magenta", overflow="ellipsis", no_wrap=True)


def _counts(bees: Sequence[Mapping[str, Any]]) -> RenderableType:
    from rich.text import Text

    counts = Counter(str(bee.get("state")) for bee in bees)
    text = Text(f"{show.counted(len(bees), 'bee')}  ")
    for state in STATES:
        if counts[state]:
            text.append(f" {counts[state]} {state.replace('_', '-')} ", style=_COLOURS.get(state, ""))
    return text


def _pace(history: History) -> RenderableType:
    from rich.text import Text

    text = Text()
    for name, about in (("read", "read"), ("landed", "landed"), ("complete", "flights"), ("failed", "failed")):
        values = history.of(name)
        text.append(f"{about} ", style="dim")
        text.append(sparkline(values, 14), style="red" if name == "failed" else "green")
        text.append(f" {values[-1] if values else 0:,.0f}/s   ")
    return text


def _workers(workers: Sequence[Mapping[str, Any]]) -> RenderableType:
    from rich.text import Text

    counts = Counter(str(worker["status"]) for worker in workers if worker["queues"])
    text = Text("workers  ", style="dim")
    if not counts["running"] + counts["idle"]:
        text.append("none lives: start `hive worker` or `hive up` ", style="bold red")
    for status in ("running", "idle", "quiet", "lost"):
        if counts[status]:
            text.append(f" {counts[status]} {status} ", style=_COLOURS[status])
    if not any(worker["status"] not in ("lost", "quiet") and not worker["queues"] for worker in workers):
        text.append("  no scheduler lives: start `hive beat` or `hive up`", style="bold red")
    memory = sum(worker["rss"] for worker in workers if worker["alive"])
    text.append(f"   {memory >> 20} MB", style="dim")
    return text


def _unwell(bees: Sequence[Mapping[str, Any]], all_: int) -> RenderableType:
    from rich.text import Text

    if not bees:
        return Text("\nno bee needs a person", style="green")
    rows = []
    for bee in bees:
        told = str(bee["why"] if bee["state"] in _ABOUT_NOW else bee.get("message") or bee["why"])
        advice = str(bee.get("advice") or "`hive doctor` says more")
        rows.append((bee["name"], _state(bee["state"]), told, advice))
    return _table(f"{all_} need a person", ("bee", "state", "why", "what to do"), rows, ("why", "what to do"))


def _waiting(bees: Sequence[Mapping[str, Any]], now: dt.datetime) -> RenderableType:
    rows = []
    for bee in bees:
        left_alone = bee["state"] in ("rate_limited", "breaker_open")
        why = f"asked again {_span(bee['retry_at'], now)}" if left_alone else str(bee["why"])
        rows.append((bee["name"], _state(bee["state"]), why))
    return _table("waiting", ("bee", "state", "for"), rows, ("for",))


def _queues(queues: Sequence[Mapping[str, Any]], history: History) -> RenderableType:
    from rich.text import Text

    rows = []
    for queue in queues:
        age, line = queue["oldest"], sparkline(history.of(f"queue {queue['name']}"))
        cells = (queue["name"], str(queue["due"]), f"{age:.0f} s", str(queue["running"]), line)
        rows.append([Text(cell, style="red" if age > 60 else "") for cell in cells])
    return _table("queues", ("queue", "due", "oldest", "running", "last minute"), rows, ("last minute",))


def _coming(
    flying: Sequence[Mapping[str, Any]], bees: Sequence[Mapping[str, Any]], room: int, now: dt.datetime
) -> RenderableType:
    """What flies, then what flies next."""
    coming = sorted((bee for bee in bees if bee.get("next_slot") and bee not in flying), key=lambda b: b["next_slot"])
    rows = []
    for bee in [*flying, *coming][:room]:
        lag = bee.get("lag")
        rows.append((
            bee["name"], _state(bee["state"]), bee["last_state"] or "-", _span(bee["last_finished"], now),
            _span(bee["next_slot"], now), "-" if lag is None else _seconds(lag),
        ))  # fmt: skip
    return _table("flying and next", ("bee", "state", "last", "ended", "next", "behind"), rows, ("behind",))


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]], flexible: Collection[str]
) -> RenderableType:
    """What stands in `flexible` columns gives way on a narrow terminal; the others keep their width."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, title=f"\n{title}", title_justify="left", title_style="bold", expand=True)
    for place, name in enumerate(columns):
        widest = min(max([len(name), *(len(row[place]) for row in rows)]), _LONGEST_NAME)
        ratio, width = (1, None) if name in flexible else (None, widest)
        table.add_column(name, header_style="dim", no_wrap=True, overflow="ellipsis", ratio=ratio, width=width)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    return table


def _state(state: str) -> Any:
    from rich.text import Text

    return Text(state.replace("_", "-"), style=_COLOURS.get(state, ""))


def _span(at: dt.datetime | None, now: dt.datetime) -> str:
    """`in 12 s`, `3 min ago`."""
    if at is None:
        return "-"
    seconds = (at - now).total_seconds()
    return f"in {_seconds(seconds)}" if seconds >= 0 else f"{_seconds(-seconds)} ago"


def _seconds(seconds: float) -> str:
    for most, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < most:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:.0f} d"


def _clock(now: dt.datetime) -> str:
    return now.astimezone().strftime("%H:%M:%S")


def watch(look: Callable[[], Mapping[str, Any]], looks: int | None = None) -> None:
    """Show it until q or Ctrl-C, or for so many looks. One that fails or hangs says so; the next is tried."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    console, history = Console(highlight=False), History()
    last: RenderableType = Text("")
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as shown:
        while looks is None or looks > 0:
            began = time.monotonic()
            asked = _Asked(look)
            while not asked.done.wait(_GLANCE):
                if (waited := time.monotonic() - began) > SILENCE:
                    told = f"the ledger has not answered for {waited:.0f} s, and what is below is older: `hive doctor`"
                    shown.update(Group(Text(told, style="bold red"), last), refresh=True)
                if pressed(0.0):
                    return
            try:
                found = asked.result()
                history.note(found, began)
                now = dt.datetime.now(dt.UTC)
                last = screen(found, history, console.size.height, now)
                shown.update(last, refresh=True)
            except Exception as error:  # noqa: BLE001 - the ledger may be away for a while: that is what the screen is for
                told = f"the ledger does not answer ({type(error).__name__}): `hive doctor` says more; tried again"
                shown.update(Text(told, style="bold red"), refresh=True)
            looks = None if looks is None else looks - 1
            if pressed(max(EVERY, 3 * (time.monotonic() - began))):
                return


class _Asked:
    """One look, in a thread that nobody waits for when the screen ends."""

    def __init__(self, look: Callable[[], Mapping[str, Any]]) -> None:
        self.done = threading.Event()
        self._look = look
        self._found: Mapping[str, Any] | None = None
        self._error: Exception | None = None
        threading.Thread(target=self._run, name="look", daemon=True).start()

    def _run(self) -> None:
        try:
            self._found = self._look()
        except Exception as error:  # noqa: BLE001 - raised again where the result is asked for
            self._error = error
        self.done.set()

    def result(self) -> Mapping[str, Any]:
        if self._found is None:
            raise self._error or RuntimeError("no look was taken")
        return self._found


@contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Gives a function that waits so many seconds and says whether q was pressed meanwhile."""
    if not sys.stdin.isatty():
        yield _slept
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield _pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _slept(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _pressed(seconds: float) -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and sys.stdin.read(1) in ("q", "Q", "\x03", "\x1b")

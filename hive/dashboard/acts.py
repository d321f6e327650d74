"""What an operator does on the pages, through the functions that the command line uses. Each act is audited."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from hive.manager import HiveManager
from hive.runtime import Runtime

Act = Callable[["Acts", str], tuple[str, str]]
"""From a name or number to (what is said then, the path where it goes on; empty: where it came from)."""


class Acts:
    """Acts on one hive, one at a time."""

    def __init__(self, runtime: Callable[[], Runtime]) -> None:
        self._runtime = runtime
        self._one_at_a_time = threading.Lock()

    def do(self, action: str, what: str) -> tuple[str, str]:
        """Raises LookupError, HiveError or SourceError with words for the person."""
        with self._one_at_a_time:
            return ACTS[action](self, what)

    def _hive(self) -> HiveManager:
        return HiveManager(rt=self._runtime())

    def fly(self, bee: str) -> tuple[str, str]:
        flight = self._hive().fly(bee)
        return f"{bee} takes off.", f"/flights/{flight.id}"

    def pause(self, bee: str) -> tuple[str, str]:
        done = self._hive().pause(bee)
        return (f"{bee} is paused: neither schedules nor events fly it." if done else f"{bee} was paused already."), ""

    def resume(self, bee: str) -> tuple[str, str]:
        return (f"{bee} flies again." if self._hive().resume(bee) else f"{bee} was not paused."), ""

    def cancel(self, flight: str) -> tuple[str, str]:
        told = self._hive().cancel(flight)
        return f"The flight reads no more; {told.landing} batches that were read land.", ""

    def retry(self, flight: str) -> tuple[str, str]:
        told = self._hive().retry(flight)
        parts = [f"{told.landed} records landed from quarantine"] if told.landed else []
        parts += [f"{len(told.refused)} batches are refused again"] if told.refused else []
        parts += ["a new flight reads the rest"] if told.new_flight else []
        text = ", ".join(parts) or "everything was settled already"
        return f"{text[0].upper()}{text[1:]}.", f"/flights/{told.new_flight}" if told.new_flight else ""

    def retry_entry(self, number: str) -> tuple[str, str]:
        from hive.flight.retry import retry  # brings the recognisers along, which nobody else here needs

        told = retry(self._runtime(), _number(number))
        numbers = {
            "landed": told.landed,
            "older than what the jar holds": told.superseded,
            "refused again": told.failed,
        }
        parts = [f"{count} {what}" for what, count in numbers.items() if count]
        return f"Entry {number}: {', '.join(parts) or 'nothing was left to land'}.", ""

    def drop_entry(self, number: str) -> tuple[str, str]:
        from hive.jars.aside import drop  # brings polars along, which pages do not need

        drop(self._runtime().db, _number(number))
        return f"Entry {number} was given up, and its content destroyed.", ""


ACTS: Mapping[str, Act] = {
    "fly": Acts.fly,
    "pause": Acts.pause,
    "resume": Acts.resume,
    "cancel": Acts.cancel,
    "retry": Acts.retry,
    "quarantine:retry": Acts.retry_entry,
    "quarantine:drop": Acts.drop_entry,
}


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise LookupError(f"{text!r} is no number of a quarantined record")
    return int(text)

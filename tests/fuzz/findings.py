"""What a fuzz run counts, and what it must not find."""

from __future__ import annotations

from collections import Counter


class Findings:
    """What must not be, with the statement that shows it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.counts: Counter[str] = Counter()

    def add(self, what: str, text: str) -> None:
        self.counts[f"FOUND: {what}"] += 1
        self.lines.append(f"{what}: {text!r}")

"""What a source can answer, sorted by what to do about it.

SourceError
  RetryLater    the source may answer another time (`after` seconds, when it said so)
  GiveUp        a person must change something: credentials, address, rights, configuration
  SkipItem      this one item is unreadable; the run goes on

Messages name the thing, what was expected and the next step. They hold no secret and no value of a record, and
never repeat a server's own text, which may hold both.
"""

from __future__ import annotations


class SourceError(Exception):
    """`code` is a stable word for counting, `where` the field or address meant, `advice` the next step."""

    code = "source_error"
    status = 0
    """Of the HTTP answer that said so; 0: none did."""

    def __init__(self, message: str, *, code: str | None = None, where: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.code = code or self.code
        self.where = where
        self.advice = advice

    def __str__(self) -> str:
        parts = [super().__str__()]
        if self.where:
            parts.append(f"(at {self.where})")
        if self.advice:
            parts.append(f"- {self.advice}")
        return " ".join(parts)


class RetryLater(SourceError):
    code = "retry_later"

    def __init__(
        self, message: str, *, after: float | None = None, code: str | None = None, where: str = "", advice: str = ""
    ) -> None:
        super().__init__(message, code=code, where=where, advice=advice)
        self.after = after


class GiveUp(SourceError):
    code = "give_up"


class SkipItem(SourceError):
    code = "skip_item"

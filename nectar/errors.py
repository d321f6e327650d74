"""What can go wrong with one record.

NectarError
  SkipRecord    this record cannot be used: it goes to quarantine with its reason, the others go on
  BadProfile    a scrubbing profile or rule is wrong: a person must change it
  MissingKey    a profile pseudonymises, and no key was given
"""

from __future__ import annotations


class NectarError(Exception):
    """`code` is stable and may be counted; the message never holds a value of the record."""

    code = "nectar"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code:
            self.code = code


class SkipRecord(NectarError):
    code = "unusable_record"


class BadProfile(NectarError):
    code = "bad_profile"


class MissingKey(NectarError):
    code = "missing_key"

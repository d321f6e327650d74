"""Tokens that all who log in with one refresh token share: many servers take such a token once and give another one.

Who holds the turn is the only one that asks. A token that is used twice is taken for a stolen one, and everything that
came of it is withdrawn.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Tokens:
    """`ends`: of the access token, in Unix time."""

    access: str = field(repr=False)
    ends: float
    refresh: str = field(repr=False)


class Turn(Protocol):
    """The time in which nobody else asks for a token."""

    @property
    def tokens(self) -> Tokens | None:
        """What was kept last; None: nothing yet."""

    def keep(self, tokens: Tokens) -> None:
        """At once and for good: the ones before may be worth nothing any more."""


class TokenStore(Protocol):
    def turn(self) -> AbstractContextManager[Turn]:
        """Waits for those who have it."""


@runtime_checkable
class KeepsTokens(Protocol):
    """A gate that also knows where its bee's tokens are."""

    tokens: TokenStore | None

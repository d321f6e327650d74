"""How far a server has come, so that whoever reads there later knows that it has what was seen before.

Behind one address may stand several servers: a primary and its replicas, one of which is behind the others. A mark that
one of them gave says nothing of another one's rows, unless that one has come as far.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from bees.core.errors import GiveUp, RetryLater

Word = Literal["there", "behind", "other"]
_PATIENCE, _LOOK = 5.0, 0.2
"""Seconds for which a server that is behind is waited for, and between two looks."""


def await_progress(compared: Callable[[], Word], where: str) -> None:
    """Wait until the server of a session has come as far as the one that was asked before.

    Raises RetryLater where it stays behind, GiveUp where it cannot be told, because it is no copy of the other one.
    """
    until = time.monotonic() + _PATIENCE
    while (word := compared()) == "behind":
        if time.monotonic() >= until:
            raise RetryLater(
                "the server that answers now is a replica that is behind the one at which reading began",
                code="server_behind",
                where=where,
                advice="give `host` the address of one server, or wait until its replicas have caught up",
            )
        time.sleep(_LOOK)
    if word == "other":
        raise GiveUp(
            "another server answers than the one at which reading began, and what it has of it cannot be told",
            code="another_server",
            where=where,
            advice="give `host` the address of one server, and fly this bee with --full-refresh",
        )

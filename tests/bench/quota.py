"""Is a quota kept in every window, and used, when eight processes send requests of one credential?

A hundred requests in a minute (quick: in ten seconds), for two windows. A server that knows nothing of the quota counts
what comes in. Each process reads endless pages with a bee of its own and its own connection to the ledger, as workers
do.
"""

from __future__ import annotations

import bisect
import sys
from pathlib import Path

import nests
from report import Figure

sys.path.insert(0, str(Path(__file__).parents[2]))

from bees.core.resilience.quota import Quota
from tests.servers.counting import arrivals

MOST = 100


def measure(*, quick: bool) -> list[Figure]:
    """The fullest of all windows, and how much of the quota was used from the first request to that two windows on."""
    seconds = 10.0 if quick else 60.0
    with nests.folder() as home, nests.servers(home) as (database, _):
        times = arrivals(database, Quota(MOST, seconds), workers=8, most=2 * MOST + 1, limit=2 * seconds + 90)
    fullest = max(bisect.bisect_left(times, at + seconds) - n for n, at in enumerate(times))
    used = 2 * seconds / (times[2 * MOST] - times[0])
    return [
        Figure(f"requests in the fullest window of {seconds:g} s, of {MOST}", "", [fullest], at_most=MOST),
        Figure("share of the quota that is used", "", [used], at_least=0.95),
    ]

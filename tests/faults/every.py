"""All faults by name: whoever asks this module has loaded the modules that note them down."""

from tests.faults import (
    broker,
    busy,
    clocks,
    configs,
    database,
    deaths,
    hostile,
    nemesis,
    resources,
    schedulers,
    stops,
    upgrade,
    views,
)
from tests.faults.registry import FAULTS as NOTED

FAULTS = dict(sorted(NOTED.items(), key=lambda item: item[1].spoils))
"""Those last after which a fleet is of no more use."""

FULL_LENGTH = ("whole worker killed", "worker asleep longer than its lease", "redis asleep", "postgres tables locked")
"""Those that `FULL=1` runs with the durations and the leases that a hive has by itself."""

__all__ = [
    "FAULTS", "FULL_LENGTH", "broker", "busy", "clocks", "configs", "database", "deaths", "hostile", "nemesis",
    "resources", "schedulers", "stops", "upgrade", "views",
]  # fmt: skip

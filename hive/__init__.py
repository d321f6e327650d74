"""The manager: schedules flights, keeps the ledger, lands honey.

The only place that knows Celery, Redis and our database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hive.manager import HiveManager

__all__ = ["HiveManager"]


def __getattr__(name: str) -> Any:
    """Load on first use: `import hive` and `hive --help` stay quick."""
    if name == "HiveManager":
        from hive.manager import HiveManager

        return HiveManager
    raise AttributeError(f"module 'hive' has no attribute {name!r}")

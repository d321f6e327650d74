"""What bounds a pool of connections, and what is counted of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class PoolLimits:
    """Times in seconds. `per_source`: name -> (most, fewest connections); see `of` for the names."""

    max_total: int = 200
    connection_timeout: float = 30.0
    idle_timeout: float = 600.0
    lifetime: float = 1800.0
    interval: float = 60.0
    timeout: float = 5.0
    failure_threshold: int = 3
    per_source: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @classmethod
    def of_document(cls, hive_connection_pool: Mapping[str, Any]) -> PoolLimits:
        """The block `hive_connection_pool` of a `connection-pool.yml`, whose shape has been checked."""
        told = hive_connection_pool.get("global_settings") or {}
        checks = hive_connection_pool.get("health_checks") or {}
        given = {
            "max_total": told.get("max_total_connections"),
            "connection_timeout": told.get("connection_timeout"),
            "idle_timeout": told.get("idle_timeout"),
            "interval": checks.get("interval"),
            "timeout": checks.get("timeout"),
            "failure_threshold": checks.get("failure_threshold"),
        }
        sources = hive_connection_pool.get("per_source_limits") or {}
        most = int(given["max_total"] or cls.max_total)
        named = {
            str(name): (int(one.get("max_connections", most)), int(one.get("min_connections", 0)))
            for name, one in sources.items()
        }
        return cls(**{name: value for name, value in given.items() if value is not None}, per_source=named)

    def of(self, source: str) -> tuple[int, int]:
        """(most, fewest) connections to `host:port/database`, named by that address, the database or the host."""
        address, _, database = source.partition("/")
        for name in (source, database, address, address.rpartition(":")[0]):
            if name and name in self.per_source:
                return self.per_source[name]
        return self.max_total, 0


@dataclass
class ConnectionMetrics:
    """What happened in one pool so far."""

    checkouts: int = 0
    checkins: int = 0
    created: int = 0
    reused: int = 0
    closed: int = 0
    failed: int = 0
    exhausted: int = 0
    waited_seconds: float = 0.0

    def record_checkout(self, *, reused: bool) -> None:
        self.checkouts += 1
        self.reused += reused
        self.created += not reused

    def record_checkin(self) -> None:
        self.checkins += 1

    def get_pool_metrics(self) -> dict[str, float]:
        """All counts, and `reuse`: the part of checkouts that made no connection."""
        return vars(self) | {"reuse": round(self.reused / self.checkouts, 4) if self.checkouts else 0.0}

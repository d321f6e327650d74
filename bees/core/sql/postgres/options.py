"""What may be asked of the PostgreSQL bee where it follows changes."""

from __future__ import annotations

from pydantic import Field

from bees.core.bee import BeeOptions, Name


class CdcOptions(BeeOptions):
    """How changes are followed."""

    slot: str = Field(
        pattern=r"^[a-z0-9_]{1,40}$",
        description="what this bee's replication slots begin with, and the stream follows; for no other reader",
    )
    publication: Name = Field(description="publication at the source that tells of the tables")
    create_slot: bool = Field(False, description="make a slot that is missing, before a table is read the first time")
    wait: float = Field(
        0,
        ge=0,
        le=86_400,
        description="seconds to wait for more changes before a flight ends; 0: it ends at the log's end",
    )
    most_lag: int = Field(
        10 * 2**30, ge=2**20, description="bytes of log kept for a slot above which each flight warns"
    )

"""A tap that is built with the Singer SDK: two streams, one of them incremental; batch files where it is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from singer_sdk import Stream, Tap
from singer_sdk import typing as th


class Days(Stream):
    name = "days"
    primary_keys = ("id",)
    replication_key = "changed"
    is_sorted = True
    schema = th.PropertiesList(
        th.Property("id", th.IntegerType, required=True),
        th.Property("changed", th.DateTimeType),
        th.Property("weather", th.ObjectType(th.Property("sky", th.StringType), th.Property("degrees", th.NumberType))),
    ).to_dict()

    def get_records(self, context: Any) -> Iterable[dict[str, Any]]:
        since = self.get_starting_replication_key_value(context) or ""
        for number in range(1, self.config["count"] + 1):
            changed = f"2026-03-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}+00:00"
            if changed >= since:
                yield {"id": number, "changed": changed, "weather": {"sky": f"blue {number}", "degrees": number / 4}}


class Towns(Stream):
    name = "towns"
    primary_keys = ("name",)
    schema = th.PropertiesList(
        th.Property("name", th.StringType, required=True), th.Property("people", th.IntegerType)
    ).to_dict()

    def get_records(self, context: Any) -> Iterable[dict[str, Any]]:
        yield from ({"name": f"Town {n}", "people": n} for n in range(self.config["towns"]))


class TapBuilt(Tap):
    name = "tap-built"
    config_jsonschema = th.PropertiesList(
        th.Property("count", th.IntegerType, default=10),
        th.Property("towns", th.IntegerType, default=7),
        th.Property("token", th.StringType, secret=True),
    ).to_dict()

    def discover_streams(self) -> list[Stream]:
        return [Days(self), Towns(self)]


if __name__ == "__main__":
    TapBuilt.cli()

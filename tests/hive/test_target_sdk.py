"""The Singer SDK's own test classes for targets, held against target-hive.

The SDK drives a class of its own kind, so a thin one hands what it is given to ours, and our errors back in its words.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import IO, Any

import pytest
from singer_sdk import Target as SdkTarget
from singer_sdk.exceptions import MissingKeyPropertiesError, RecordsWithoutSchemaException
from singer_sdk.testing import get_target_test_class

from hive import events
from hive.singer_target import BadInput, Target
from tests.hive.nest import Nest, make_nest, nest

__all__ = ["make_nest", "nest"]

pytestmark = pytest.mark.servers
_WORDS = {"no SCHEMA message": RecordsWithoutSchemaException, "lacks a field of its key": MissingKeyPropertiesError}


class HiveTarget(SdkTarget):
    """Ours, as the SDK's classes want to see one."""

    name = "target-hive"
    config_jsonschema: dict[str, Any] = {"type": "object", "properties": {}}  # noqa: RUF012 - as the SDK writes it
    nest: Nest

    def process_lines(self, file_input: IO[str]) -> None:
        try:
            Target(self.nest.rt, {"name": "sdk"}, sys.stdout).listen(line.encode() for line in file_input)
        except BadInput as error:
            for words, kind in _WORDS.items():
                if words in str(error):
                    raise kind(str(error)) from error
            raise

    def process_endofpipe(self) -> None:
        while events.tick(self.nest.rt):
            self.nest.drain()


class TestSdk(get_target_test_class(HiveTarget, config={})):  # type: ignore[misc]
    @pytest.fixture(autouse=True)
    def _hive(self, nest: Nest) -> Iterator[None]:
        HiveTarget.nest = nest
        yield
        bad = nest.one("SELECT count(*) FROM hive.quarantine")
        assert bad == 0

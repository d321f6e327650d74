"""What every bee must do.

A connector's test subclasses `BeeContract` and gives it a source:

    class TestLocal(BeeContract):
        connector = "local"

        @pytest.fixture
        def source(self, tmp_path): ...    # a `Source`: options that work, options that must fail, what must come
"""

from __future__ import annotations

import gc
import importlib
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest

from bees.core.bee import WorkerBee
from bees.core.errors import GiveUp, RetryLater, SourceError
from nectar.batch import Batch


@dataclass
class Source:
    """A source made for a test.

    options        that read it in at least three small batches (set the page or batch size low)
    stream, keys   a stream, and the set of keys that a complete read gives, as `key_of` prints a row
    denied         options with wrong credentials, or None where the source knows none
    unreachable    options of a source that is not there
    secrets        strings that may appear nowhere
    fingerprint    the source's content as one value, to prove that reading changes nothing
    """

    options: Mapping[str, Any]
    stream: str
    keys: set[Any]
    key_of: Callable[[dict[str, Any]], Any]
    unreachable: Mapping[str, Any]
    denied: Mapping[str, Any] | None = None
    secrets: tuple[str, ...] = ()
    fingerprint: Callable[[], Any] = field(default=lambda: None)


def bee_class(connector: str) -> type[WorkerBee]:
    module = importlib.import_module(f"bees.{connector}")
    found = [
        c
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, WorkerBee) and c.__module__ == module.__name__
    ]
    assert len(found) == 1, f"bees/{connector}.py must define exactly one WorkerBee"
    return found[0]


def rows(batches: list[Batch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.table.to_pylist()]


def held(process: psutil.Process) -> tuple[int, int, int]:
    """Connections, descriptors and threads."""
    return len(process.net_connections()), process.num_fds(), process.num_threads()


class BeeContract:
    connector: str

    @pytest.fixture
    def source(self) -> Source:
        raise NotImplementedError

    def make(self, options: Mapping[str, Any]) -> WorkerBee:
        return bee_class(self.connector).from_options(options)

    def read(self, source: Source, cursor: Any = None) -> list[Batch]:
        with self.make(source.options) as bee:
            return list(bee.collect_nectar(source.stream, cursor))

    def test_every_record_comes(self, source: Source) -> None:
        assert {source.key_of(r) for r in rows(self.read(source))} == source.keys

    def test_the_flight_path_of_a_good_source_is_valid(self, source: Source) -> None:
        with self.make(source.options) as bee:
            assert bee.validate_flight_path() is None

    def test_the_stream_is_offered_in_the_schema(self, source: Source) -> None:
        with self.make(source.options) as bee:
            assert source.stream in {s.name for s in bee.get_pollen_schema()}

    def test_resuming_after_any_batch_loses_nothing(self, source: Source) -> None:
        batches = self.read(source)
        assert len(batches) >= 3, "give the contract a source that is read in three batches or more"
        for stop in range(len(batches)):
            rest = self.read(source, batches[stop].cursor)
            seen = {source.key_of(r) for r in rows(batches[: stop + 1]) + rows(rest)}
            assert seen == source.keys, f"lost after batch {stop}"

    def test_a_second_flight_from_the_last_cursor_loses_nothing_and_ends(self, source: Source) -> None:
        last = self.read(source)[-1].cursor
        again = {source.key_of(r) for r in rows(self.read(source, last))}
        assert again <= source.keys

    def test_cursors_are_plain_json(self, source: Source) -> None:
        import json

        for batch in self.read(source):
            assert json.loads(json.dumps(batch.cursor)) == batch.cursor

    def test_stopping_in_the_middle_closes_what_was_opened(self, source: Source) -> None:
        me = psutil.Process()
        self.read(source)  # whatever is opened once for good is open now
        gc.collect()
        before = held(me)
        with self.make(source.options) as bee:
            iterator = iter(bee.collect_nectar(source.stream, None))
            next(iterator)
            iterator.close()  # type: ignore[attr-defined]
        until = time.monotonic() + 5.0
        while any(now > then for now, then in zip(held(me), before, strict=True)) and time.monotonic() < until:
            gc.collect()
            time.sleep(0.02)  # a thread that was told to end does so a moment later
        assert all(now <= then for now, then in zip(held(me), before, strict=True)), (held(me), before)

    def test_closing_twice_is_fine(self, source: Source) -> None:
        bee = self.make(source.options)
        bee.close()
        assert bee.close() is None

    def test_wrong_credentials_are_for_a_person_to_mend(self, source: Source) -> None:
        if source.denied is None:
            return
        with self.make(source.denied) as bee, pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
        self.assert_clean(error.value, source)
        assert error.value.advice

    def test_an_unreachable_source_is_named_and_nothing_hangs(self, source: Source) -> None:
        with self.make(source.unreachable) as bee, pytest.raises((RetryLater, GiveUp)) as error:
            bee.validate_flight_path()
        self.assert_clean(error.value, source)
        with self.make(source.unreachable) as bee, pytest.raises(SourceError):
            list(bee.collect_nectar(source.stream, None))

    def test_no_secret_shows(self, source: Source) -> None:
        with self.make(source.options) as bee:
            shown = [repr(bee), str(bee), repr(bee.options), str(bee.dance_instructions())]
            shown += [bee.source_identity(), bee.stream_identity(source.stream)]
        for text in shown:
            assert not [s for s in source.secrets if s in text]

    def test_an_unknown_stream_is_named(self, source: Source) -> None:
        with self.make(source.options) as bee, pytest.raises(GiveUp, match="no-such-stream"):
            list(bee.collect_nectar("no-such-stream", None))

    def test_reading_leaves_the_source_as_it_was(self, source: Source) -> None:
        before = source.fingerprint()
        self.read(source)
        assert source.fingerprint() == before

    def assert_clean(self, error: BaseException, source: Source) -> None:
        text = "".join(traceback.format_exception(error))
        assert not [s for s in source.secrets if s in text], "a secret shows in the error"

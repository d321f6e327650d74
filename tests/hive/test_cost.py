"""What it costs to be seen: lines of the log and traces take next to nothing of a small flight."""

from __future__ import annotations

import time
import uuid
from types import SimpleNamespace

import structlog

from hive import logs
from hive.flight import told
from tests.hive.nest import make_nest, nest, write

__all__ = ["make_nest", "nest"]

FLIGHTS, LINES = 12, 300
MOST = 0.03


def test_the_lines_of_a_small_flight_cost_under_three_percent_of_it(nest, tmp_path, monkeypatch):
    """In processor time of this process, which stands for a worker's; the ledger's comes on top of the flight only."""
    folder = nest.register(scrubbing={"profile": "gdpr_compliant"})
    write(folder / "a.jsonl", [{"id": 1, "note": "first"}])
    nest.land()  # loads what all later ones use
    began = time.process_time()
    for n in range(FLIGHTS):
        write(folder / "a.jsonl", [{"id": 1, "note": f"line {n}"}])
        nest.land()
    flight = (time.process_time() - began) / FLIGHTS
    closed = SimpleNamespace(name="people", seconds=0.25)
    counts = {"read": 1, "bytes": 15, "landed": 1, "quarantined": 0}

    with (tmp_path / "log").open("w") as log:
        line = structlog.wrap_logger(
            structlog.PrintLogger(log), processors=logs.line_by_line(),
            wrapper_class=structlog.make_filtering_bound_logger(0),
        )  # fmt: skip
        monkeypatch.setattr(told, "log", line)
        monkeypatch.setattr(logs, "_on", True)
        began = time.process_time()
        for _ in range(LINES):
            number = uuid.uuid4()
            told.tell_created(number, "people", f"adhoc:{uuid.uuid4()}")
            told.tell_started(number, "people", f"adhoc:{uuid.uuid4()}")
            told.tell_ended(nest.rt.db, number, closed, "complete", None, counts)
        lines = (time.process_time() - began) / LINES
    print(f"a flight {1e3 * flight:.2f} ms, its lines {1e6 * lines:.0f} us: {lines / flight:.2%}")

    assert (tmp_path / "log").read_text().count("flight.ended") == LINES
    assert lines < MOST * flight

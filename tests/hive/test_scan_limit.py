"""A value whose search for personal data takes too long is set aside; what stands beside it lands."""

import hive.flight.process
from nectar.scrub import detect
from tests.hive.nest import make_nest, nest, write

__all__ = ["make_nest", "nest"]

SLOW = "a-" * 20_000 + "@b"
"""The pattern of addresses tries every beginning of it."""


def test_a_value_that_takes_too_long_is_quarantined_with_the_recognisers_name(nest, monkeypatch):
    detect(["warm@example.com"])
    monkeypatch.setattr(hive.flight.process, "SCAN_LIMIT", 2.0)
    rows = [{"id": 1, "name": "mail bob@example.com"}, {"id": 2, "name": SLOW}, {"id": 3, "name": "nobody"}]
    write(nest.register(scrubbing={"profile": "gdpr_compliant"}) / "a.jsonl", rows)

    result = nest.land()

    assert (result.records_landed, result.records_quarantined) == (2, 1)
    assert nest.rows("SELECT record_key FROM hive.honey ORDER BY 1") == [("1",), ("3",)]
    (line,) = nest.rows('SELECT code, records, "row", reason FROM hive.quarantine')
    assert line[:3] == ("scan_timed_out", 1, 1)
    assert "EmailRecognizer" in line[3]
    assert SLOW[:10] not in line[3]

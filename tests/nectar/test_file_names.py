"""Names of files are read twice: an address at the end of one is only an address without the file's ending."""

from __future__ import annotations

import pyarrow as pa

from nectar.file_names import look_again
from nectar.keys import InMemoryKeys
from nectar.scrub import DataScrubber


def test_what_the_second_look_finds_is_counted_with_what_the_first_found():
    scrubber = DataScrubber({"profile_id": "gdpr_compliant"}, InMemoryKeys())
    table = pa.table({"path": ["notes.txt", "mail ann@example.com to bob@example.org.txt"]})
    once = scrubber.scrub(table)

    twice = look_again(once, ["path"], scrubber)

    assert "example.com" not in once.table["path"][1].as_py()
    assert "bob@example.org" in once.table["path"][1].as_py()
    assert twice.table["path"][0].as_py() == "notes.txt"
    assert "example" not in twice.table["path"][1].as_py()
    assert twice.removed.to_pylist() == [{"row": 1, "field": "path", "kind": "EMAIL_ADDRESS", "count": 2}]

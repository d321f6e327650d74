"""Documents fly: text out of every format, the hostile one set aside alone, the scrubber over all that is told."""

from __future__ import annotations

from bees.local import LocalBee
from hive.preview import preview
from nectar.extract import extract
from nectar.keys import InMemoryKeys
from tests.hive.nest import make_nest
from tests.nectar import documents

__all__ = ["make_nest"]


def test_documents_land_as_text_and_a_locked_one_is_put_aside(make_nest):
    nest = make_nest()
    folder = nest.register(streams={"papers": {"format": "document"}}, scrubbing={"profile": "gdpr_compliant"})
    (folder / "a.docx").write_bytes(documents.docx("Write to jane@example.com", author="bob@example.com"))
    (folder / "b.pdf").write_bytes(documents.pdf("first page", "second page"))
    (folder / "c.pdf").write_bytes(documents.pdf("secret", locked=True))
    (folder / "d.zip").write_bytes(documents.zipped({"in/e.html": "<h1>Hi</h1><p>there"}))

    result = nest.land()

    assert result.state == "complete"
    found = {data["path"]: data for (data,) in nest.rows("SELECT data FROM hive.honey WHERE deleted_at IS NULL")}
    assert found.keys() == {"a.docx", "b.pdf", "d.zip/in/e.html"}
    assert (found["b.pdf"]["text"], found["b.pdf"]["pages"]) == ("first page\n\f\nsecond page", 2)
    assert found["d.zip/in/e.html"]["text"] == "# Hi\n\nthere"
    assert "@example.com" not in str(found)
    assert nest.rows("SELECT code FROM hive.quarantine") == [("password_protected",)]


def test_names_of_files_are_scrubbed_although_an_ending_hides_the_address(make_nest):
    nest = make_nest()
    folder = nest.register(
        streams={"papers": {"patterns": "*.txt"}, "rows": {"patterns": "*.csv"}, "packed": {"patterns": "*.zip"}},
        scrubbing={"profile": "gdpr_compliant"},
    )
    (folder / "to jane.doe@example.com.txt").write_text("a letter")
    (folder / "of bob@example.com.csv").write_text("n\n1\n")
    (folder / "about al@example.com.v2.zip").write_bytes(documents.zipped({"cy@example.org.tar.txt": "x"}))

    result = nest.land()

    assert (result.state, result.records_landed) == ("complete", 3)
    landed = str(nest.rows("SELECT data FROM hive.honey"))
    assert not [who for who in ("jane", "bob", "al@", "cy@", "example") if who in landed]
    assert landed.count(".txt") >= 2, "what says what it is stays"
    assert not nest.rows("SELECT FROM hive.honey WHERE record_key LIKE '%%@example%%'")
    assert sum(line["count"] for line in result.scrubbed) >= 6

    (folder / "to jane.doe@example.com.txt").unlink()
    assert nest.land().records_deleted == 1


def test_a_look_at_documents_reads_them_behind_the_wall_and_their_text_is_what_counts(tmp_path, monkeypatch):
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "jane@example.com.docx").write_bytes(documents.docx("write to ann@example.com"))
    monkeypatch.setitem(extract.__globals__, "read", None)  # nothing is read in this process

    with LocalBee.from_options({"path": str(folder)}) as bee:
        told = preview(bee, {"profile": "gdpr_compliant"}, InMemoryKeys(), rows=5)

    found = {(line.field, line.kind): line.count for line in told.lines}
    assert (told.rows, told.refused) == (1, {})
    assert found["text", "EMAIL_ADDRESS"] == found["path", "EMAIL_ADDRESS"] == 1

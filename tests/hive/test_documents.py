"""Documents fly: text out of every format, the hostile one set aside alone, the scrubber over all that is told."""

from __future__ import annotations

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

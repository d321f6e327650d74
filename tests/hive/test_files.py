"""Documents of a folder in a jar: what is changed, moved and deleted there is so in the jar."""

from __future__ import annotations

from pathlib import Path

from hive.jars.quarantine import open_entry
from tests.hive.nest import Nest, make_nest, nest
from tests.nectar.documents import zipped

__all__ = ["make_nest", "nest"]


def folder(nest: Nest) -> Path:
    return nest.register("papers", streams={"papers": {"patterns": "*.txt", "format": "document"}})


def held(nest: Nest) -> dict[str, str]:
    found = nest.rows("SELECT record_key, data FROM hive.honey WHERE deleted_at IS NULL ORDER BY 1")
    return {key: data["text"] for key, data in found}


def test_a_deleted_file_leaves_the_jar_and_a_moved_one_is_found_under_its_new_name(nest: Nest) -> None:
    root = folder(nest)
    for name in ("a", "b", "c"):
        (root / f"{name}.txt").write_text(f"text of {name}")
    nest.land("papers")
    assert held(nest) == {f"{name}.txt": f"text of {name}" for name in ("a", "b", "c")}
    (root / "a.txt").unlink()
    (root / "b.txt").rename(root / "z.txt")

    result = nest.land("papers")

    assert result.state == "complete"
    assert (result.records_read, result.records_landed, result.records_deleted) == (3, 1, 2)
    assert held(nest) == {"c.txt": "text of c", "z.txt": "text of b"}
    ((moved,),) = nest.rows("SELECT data->>'moved_from' FROM hive.honey WHERE record_key = 'z.txt'")
    assert moved == "b.txt"
    assert nest.land("papers").records_read == 0


def test_what_is_gone_when_everything_is_read_again_leaves_the_jar(nest: Nest) -> None:
    root = folder(nest)
    for name in ("a", "b"):
        (root / f"{name}.txt").write_text(f"text of {name}")
    nest.land("papers")
    (root / "a.txt").unlink()

    result = nest.land("papers", full_refresh=True)

    assert (result.state, result.records_read, result.records_deleted) == ("complete", 1, 1)
    assert held(nest) == {"b.txt": "text of b"}
    assert nest.rows("SELECT count(*) FROM hive.seen") == [(0,)]


def test_a_full_refresh_deletes_what_is_gone_though_a_document_is_set_aside(nest: Nest) -> None:
    root = folder(nest)
    for name in ("a", "b", "c"):
        (root / f"{name}.txt").write_text(f"text of {name}")
    nest.land("papers")
    (root / "a.txt").unlink()
    (root / "b.txt").write_bytes(b"\xff\xfe\xfd\x80 bytes of no text")

    result = nest.land("papers", full_refresh=True)

    assert (result.state, result.records_deleted, result.records_quarantined) == ("complete", 1, 1)
    assert held(nest) == {"b.txt": "text of b", "c.txt": "text of c"}
    (root / "b.txt").unlink()
    nest.land("papers")
    assert held(nest) == {"c.txt": "text of c"}
    assert {state for _, state, _ in aside(nest)} == {"dropped"}


def test_a_snapshot_holds_every_file_again(nest: Nest) -> None:
    root = folder(nest)
    (root / "a.txt").write_text("text of a")
    nest.land("papers")

    result = nest.land("papers", mode="snapshot")

    assert (result.state, result.records_landed) == ("complete", 1)


def aside(nest: Nest) -> list[tuple[str, str, str]]:
    """(code, state, place as the source named it) of each entry in quarantine."""
    found = nest.rows('SELECT code, state, checkpoint, seq, "row", body FROM hive.quarantine ORDER BY id')
    secret = nest.rt.keyring().key("quarantine")[1]
    return [
        (code, state, open_entry(secret, *place, bytes(body))[0] if state == "open" else "")
        for code, state, *place, body in found
    ]


def test_a_mended_file_ends_what_quarantine_holds_of_it(nest: Nest) -> None:
    streams = {"papers": {"patterns": ["*.txt", "*.xml"], "format": "document"}, "rows": {"patterns": "*.csv"}}
    root = nest.register("papers", streams=streams)
    (root / "a.txt").write_bytes(b"\xff\xfe\xfd\x80 bytes of no text")
    (root / "b.xml").write_text('<!DOCTYPE d [<!ENTITY x "y">]><d>&x;</d>')
    (root / "c.csv").write_text("a,b\n1,2,3\n4\n")
    nest.land("papers")
    assert sorted(aside(nest)) == [
        ("not_utf8", "open", "a.txt"), ("ragged_row", "open", "c.csv:2"), ("ragged_row", "open", "c.csv:3"),
        ("xml_entities", "open", "b.xml"),
    ]  # fmt: skip

    (root / "a.txt").write_text("now it is one")
    (root / "b.xml").write_text("<d>plain</d>")
    (root / "c.csv").write_text("a,b\n1,2\n4\n")
    mended = nest.land("papers")

    assert (mended.records_landed, mended.records_quarantined) == (3, 1)
    assert [place for _, state, place in aside(nest) if state == "open"] == ["c.csv:3"]
    (root / "c.csv").write_text("a,b\n1,2\n4,5\n")
    nest.land("papers")
    assert {state for _, state, _ in aside(nest)} == {"dropped"}


def test_what_is_said_of_an_archive_ends_when_documents_come_from_it(nest: Nest) -> None:
    root = nest.register("papers", streams={"papers": {"patterns": "*", "format": "document"}})
    (root / "c.txt").write_text("text of c")
    whole = zipped({"in/a.txt": b"text of a", "b.txt": b"text of b"})
    (root / "d").mkdir()
    for name in ("a", "z"):
        (root / "d" / f"{name}.zip").write_bytes(whole[:-30])
    nest.land("papers")
    assert [(state, place) for _, state, place in aside(nest)] == [("open", "d/a.zip"), ("open", "d/z.zip")]

    (root / "d" / "a.zip").write_bytes(whole)
    result = nest.land("papers")

    assert [(state, place) for _, state, place in aside(nest)] == [("dropped", ""), ("open", "d/z.zip")]
    assert result.state == "complete"
    assert sorted(held(nest)) == ["c.txt", "d/a.zip/b.txt", "d/a.zip/in/a.txt"]

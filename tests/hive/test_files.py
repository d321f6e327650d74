"""Documents of a folder in a jar: what is changed, moved and deleted there is so in the jar."""

from __future__ import annotations

from pathlib import Path

from tests.hive.nest import Nest, make_nest, nest

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


def test_a_snapshot_holds_every_file_again(nest: Nest) -> None:
    root = folder(nest)
    (root / "a.txt").write_text("text of a")
    nest.land("papers")

    result = nest.land("papers", mode="snapshot")

    assert (result.state, result.records_landed) == ("complete", 1)

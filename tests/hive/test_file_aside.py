"""What quarantine holds of files that are gone or were mended ends by itself, and no retry lands it."""

from __future__ import annotations

from typing import Any

import pytest

from bees.core.files import Folder
from hive.flight.retry import NotRetriable, retry
from hive.flight.verdict import Verdict
from hive.flight.work import put_back
from tests.hive.nest import Nest, make_nest, nest
from tests.hive.test_file_rows import folder, ids, left, table
from tests.nectar.documents import zipped

__all__ = ["make_nest", "nest"]


def aside(nest: Nest) -> list[tuple[str, str]]:
    """(code, state) of each entry in quarantine."""
    return nest.rows("SELECT code, state FROM hive.quarantine ORDER BY id")


def open_entries(nest: Nest) -> list[int]:
    return [number for (number,) in nest.rows("SELECT id FROM hive.quarantine WHERE state = 'open' ORDER BY id")]


def kill(nest: Nest) -> None:
    """The only sealed batch cannot be landed, whoever tries."""
    task = nest.claim(nest.due("process")[0])
    error = {"class": "X", "code": "unreadable_batch", "message": "", "place": "", "advice": ""}
    with nest.rt.db.transaction() as tx:
        put_back(tx, task.hold(tx), nest.rt, Verdict(retry=False, after=0, counts=True, error=error), crashed=False)


def roomier(nest: Nest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nest.rt, "settings", nest.settings.model_copy(update={"value_limit": 1000}))


@pytest.mark.parametrize("key", ["", "id"])
@pytest.mark.parametrize("how", ["gone", "shorter", "whole"])
def test_a_row_set_aside_whose_file_holds_it_no_more_is_not_landed_again(
    make_nest, monkeypatch: pytest.MonkeyPatch, key: str, how: str
) -> None:
    nest = make_nest(value_limit=100)
    root = folder(nest, key=key, max_deleted=1.0)
    (root / "a.csv").write_text(table(1, 2) + f"3,{'x' * 200}\n")
    (root / "b.csv").write_text(table(9))
    assert nest.land("rows").records_quarantined == 1
    (entry,) = open_entries(nest)

    (root / "a.csv").unlink() if how == "gone" else (root / "a.csv").write_text(table(1, 2))
    nest.land("rows", full_refresh=how == "whole")
    roomier(nest, monkeypatch)

    assert aside(nest) == [("too_large", "dropped")]
    with pytest.raises(NotRetriable):
        retry(nest.rt, entry)
    assert ids(nest) == ([9] if how == "gone" else [1, 2, 9])


def test_a_row_set_aside_whose_file_is_there_can_be_landed_again(make_nest, monkeypatch: pytest.MonkeyPatch) -> None:
    nest = make_nest(value_limit=100)
    root = folder(nest, max_deleted=1.0)
    (root / "a.csv").write_text(table(1, 2) + f"3,{'x' * 200}\n")
    nest.land("rows")
    (root / "b.csv").write_text(table(9))
    nest.land("rows")
    roomier(nest, monkeypatch)

    assert retry(nest.rt, open_entries(nest)[0]).landed == 1
    assert ids(nest) == [1, 2, 3, 9]
    (root / "a.csv").unlink()
    nest.land("rows")
    assert ids(nest) == [9]


@pytest.mark.parametrize("key", ["", "id"])
@pytest.mark.parametrize("mend", ["gone", "mended", "shorter"])
def test_lines_that_were_no_rows_are_told_of_until_their_file_is_mended_or_gone(
    nest: Nest, key: str, mend: str
) -> None:
    root = folder(nest, key=key, max_deleted=1.0)
    (root / "a.csv").write_text("id,name\n1,one\n2\n")
    (root / "b.csv").write_text("id,name\n3\n")
    (root / "c.csv").write_text("id,name\n" if key else "id,name\n4\n")
    nest.land("rows")
    assert [state for _, state in aside(nest)] == ["open"] * (2 if key else 3)

    if mend == "gone":
        (root / "a.csv").unlink()
        (root / "b.csv").unlink()
    else:
        (root / "a.csv").write_text("id,name\n1,one\n" + ("2,two\n" if mend == "mended" else ""))
        (root / "b.csv").write_text("id,name\n" + ("3,three\n" if mend == "mended" else ""))
    result = nest.land("rows")

    assert result.state == "complete"
    assert [state for _, state in aside(nest)] == ["dropped"] * 2 + ["open"] * (not key)
    assert ids(nest) == {"gone": [], "mended": [1, 2, 3], "shorter": [1]}[mend]


@pytest.mark.parametrize("broken", ["a.parquet", "a.csv"])
@pytest.mark.parametrize("key", ["", "id"])
def test_a_file_that_could_not_be_read_and_is_gone_is_told_of_no_more(nest: Nest, broken: str, key: str) -> None:
    root = folder(nest, key=key)
    (root / broken).write_bytes(b"PAR1" + bytes(100))
    (root / "b.csv").write_text(table(1))
    nest.land("rows")
    assert [state for _, state in aside(nest)] == ["open"]
    (root / broken).unlink()
    nest.land("rows")

    assert [state for _, state in aside(nest)] == ["dropped"]
    assert ids(nest) == [1]


@pytest.mark.parametrize("now", ["gone", "changed", "same"])
def test_a_batch_that_could_not_land_is_landed_again_only_as_far_as_its_files_are_as_they_were(
    nest: Nest, now: str
) -> None:
    root = folder(nest, max_deleted=1.0)
    (root / "a.csv").write_text(table(1, 2))
    (root / "b.csv").write_text(table(5))
    nest.fly("rows")
    nest.drain(kinds=["plan", "collect"])
    kill(nest)
    assert ids(nest) == []
    (entry,) = open_entries(nest)

    if now == "gone":
        (root / "a.csv").unlink()
    elif now == "changed":
        (root / "a.csv").write_text(table(7))
    nest.land("rows")
    done = retry(nest.rt, entry)

    assert done.landed == (3 if now == "same" else 1)
    assert ids(nest) == {"gone": [5], "changed": [5, 7], "same": [1, 2, 5]}[now]
    (root / "b.csv").unlink()
    nest.land("rows")
    assert ids(nest) == {"gone": [], "changed": [7], "same": [1, 2]}[now]


def test_a_batch_that_could_not_land_ends_when_its_last_file_is_read_anew(nest: Nest) -> None:
    root = folder(nest, max_deleted=1.0)
    (root / "a.csv").write_text(table(1, 2))
    nest.fly("rows")
    nest.drain(kinds=["plan", "collect"])
    kill(nest)
    nest.drain()
    (root / "a.csv").write_text(table(1))
    nest.land("rows")

    assert aside(nest) == [("dead_batch", "dropped")]
    assert (ids(nest), left(nest)) == ([1], (0, 1))


def test_a_damaged_document_in_an_archive_keeps_nothing_elsewhere_in_the_jar(nest: Nest) -> None:
    root = nest.register("papers", streams={"papers": {"patterns": "*", "format": "document"}})
    (root / "gone.txt").write_text("soon gone")
    (root / "x.zip").write_bytes(zipped({"a.txt": "a", "bad.txt": "b" * 99}))
    nest.land("papers")
    (root / "gone.txt").unlink()
    data = bytearray((root / "x.zip").read_bytes())
    at = data.index(b"bad.txt")
    data[at + 7 : at + 12] = b"\xff" * 5
    (root / "x.zip").write_bytes(bytes(data))

    result = nest.land("papers", full_refresh=True)

    assert (result.state, result.records_deleted, result.records_quarantined) == ("complete", 1, 1)
    keys = [key for (key,) in nest.rows("SELECT record_key FROM hive.honey WHERE deleted_at IS NULL ORDER BY 1")]
    assert keys == ["x.zip/a.txt", "x.zip/bad.txt"]


@pytest.mark.parametrize("stream", ["papers", "rows"])
@pytest.mark.parametrize("fault", ["archive", "folder"])
def test_a_full_refresh_keeps_what_it_could_not_look_into_and_nothing_else(
    nest: Nest, monkeypatch: pytest.MonkeyPatch, stream: str, fault: str
) -> None:
    ending, text = (".txt", "text") if stream == "papers" else (".csv", "id\n1\n")
    shape = {"patterns": "*", "format": "document"} if stream == "papers" else {"patterns": "*", "format": "csv"}
    root = nest.register("papers", streams={stream: shape}, source={"path": str(nest.folder / "papers")})
    (root / "in").mkdir()
    for name in ("gone", "stays", "in/a", "in/b"):
        (root / f"{name}{ending}").write_text(text)
    (root / "x.zip").write_bytes(zipped({f"p{ending}": text, f"q{ending}": text}))
    nest.land("papers")
    before = keys(nest)
    (root / f"gone{ending}").unlink()
    if fault == "archive":
        (root / "x.zip").write_bytes((root / "x.zip").read_bytes()[:-30])
    else:
        real = Folder.names

        def refusing(self: Folder, folder: str) -> Any:
            if folder:
                raise PermissionError(13, "denied")
            return real(self, folder)

        monkeypatch.setattr(Folder, "names", refusing)

    nest.land("papers", full_refresh=True)

    assert before - keys(nest) == {key for key in before if "gone" in key}
    assert len(before - keys(nest)) == 1
    assert nest.land("papers").state == "complete"
    assert len(before - keys(nest)) == 1


def test_a_full_refresh_needs_no_cursor_that_can_be_read(nest: Nest) -> None:
    root = folder(nest)
    (root / "a.csv").write_text(table(1, 2))
    nest.land("rows")
    with nest.rt.db.transaction() as tx:
        tx.psycopg.execute("UPDATE hive.checkpoint SET sealed_cursor = decode(repeat('00', 60), 'hex')")
    (root / "a.csv").write_text(table(2, 3))

    assert nest.land("rows", full_refresh=True).state == "complete"
    assert ids(nest) == [2, 3]


def keys(nest: Nest) -> set[str]:
    return {key for (key,) in nest.rows("SELECT record_key FROM hive.honey WHERE deleted_at IS NULL")}

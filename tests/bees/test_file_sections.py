"""What a file gave before leaves the jar only where the file was read whole: each way to read less says so."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bees.core.file_sections import LISTED
from bees.core.files import Folder
from bees.core.storage.memory import begun_anew
from bees.local import LocalStorage
from nectar.batch import Batch
from tests.bees.contract import rows
from tests.bees.file_systems import read as look
from tests.bees.file_systems import sections

TABLE = b"id,name\n" + b"".join(b"%d,name %d\n" % (n, n) for n in range(300))


def read(root: Path, cursor: Any = None, **options: Any) -> list[Batch]:
    return look("local", {"path": str(root)}, "records", cursor, **options)


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.csv", "b.csv"):
            archive.writestr(name, TABLE)
    return made.getvalue()


def tarred(mode: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]
        for name in ("a.csv", "b.csv"):
            info = tarfile.TarInfo(name)
            info.size = len(TABLE)
            archive.addfile(info, io.BytesIO(TABLE))
    return made.getvalue()


@pytest.mark.parametrize("head", [b'id,"na"me\n', b"id,na\xffme\n"], ids=["quoting", "bytes"])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "in an archive"])
def test_a_table_whose_first_row_breaks_keeps_what_it_gave(tmp_path: Path, head: bytes, packed: bool) -> None:
    def put(data: bytes) -> None:
        if packed:
            with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
                archive.writestr("a.csv", data)
        else:
            (tmp_path / "x.csv").write_bytes(data)

    name = "x.zip" if packed else "x.csv"
    put(TABLE)
    first = read(tmp_path, encoding="utf-8")
    put(head + TABLE.partition(b"\n")[2])

    second = read(tmp_path, first[-1].cursor, encoding="utf-8")

    assert sections(first) == [(name, 300, True, True)]
    assert (rows(second), len(second[0].rejects)) == ([], 1)
    assert sections(second) == [(name, 0, True, False)], "it begins, and is not read whole"


@pytest.mark.parametrize(
    ("name", "whole"),
    [("x.zip", zipped()), ("x.tar", tarred("w")), ("x.tar.gz", tarred("w:gz"))],
    ids=["zip", "tar", "tar.gz"],
)
def test_an_archive_that_is_cut_keeps_what_it_gave(tmp_path: Path, name: str, whole: bytes) -> None:
    (tmp_path / name).write_bytes(whole)
    cursor = read(tmp_path)[-1].cursor

    for size in (100, 700, len(whole) // 2, len(whole) * 4 // 5):
        (tmp_path / name).write_bytes(whole[:size])
        for mode in ("file_monitor", "bucket_snapshot"):
            told = read(tmp_path, cursor if mode == "file_monitor" else None, mode=mode)

            assert [ends for *_, ends in sections(told)] in ([], [False]), f"{size} bytes, {mode}"
            assert not any(batch.complete for batch in told), f"{size} bytes, {mode}"


def test_a_table_that_was_half_read_and_is_gone_is_told_by_the_next_flight(tmp_path: Path) -> None:
    """The other one comes before it and is half read when the flight ends."""
    (tmp_path / "b.csv").write_bytes(TABLE)
    half = read(tmp_path, batch_rows=100)[0]
    (tmp_path / "b.csv").unlink()
    (tmp_path / "c.csv").write_bytes(TABLE)
    other = read(tmp_path, half.cursor, batch_rows=100)[0]

    anew = begun_anew(json.loads(json.dumps(other.cursor)))
    told = sections(read(tmp_path, anew))

    assert other.cursor["doubtful"]
    assert ("b.csv", 0, True, True) in told


def test_what_another_mode_read_comes_anew_where_its_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE)
    followed = read(tmp_path)[-1].cursor
    matched = read(tmp_path, followed, mode="pattern_match")[-1].cursor

    again = read(tmp_path, matched)

    assert sections(again) == [("a.csv", 300, True, True)]


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz", "x.csv.gz", "x.parquet", "x.xlsx"])
def test_an_upload_that_has_just_begun_is_no_table_without_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()

    told = read(tmp_path)

    assert sections(told) == [(name, 0, True, False)]
    assert [reject.code for batch in told for reject in batch.rejects] == ["empty_file"]
    assert not told[-1].complete


@pytest.mark.parametrize("now", [b"", b'{"message": "Forbidden"}', b"Service Unavailable\n"])
def test_what_is_no_table_any_more_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: bytes) -> None:
    monkeypatch.setattr(LocalStorage, "grain", 0)
    (tmp_path / "a.csv").write_bytes(TABLE)
    cursor = read(tmp_path)[-1].cursor
    (tmp_path / "a.csv").write_bytes(now)

    first = read(tmp_path, cursor)
    again = read(tmp_path, first[-1].cursor)
    meant = read(tmp_path, again[-1].cursor, max_deleted=1)

    assert [reject.code for batch in first for reject in batch.rejects] == ["no_table_now"]
    assert [reject.code for batch in again for reject in batch.rejects] == []
    assert [ends for *_, ends in sections(first) + sections(again)] == [False, False]
    assert sections(meant)[-1][-1]


def test_a_reading_of_everything_tells_of_each_file_that_it_could_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no file counts as gone but those that were not listed."""
    for name in ("a.csv", "b.csv", "c.csv"):
        (tmp_path / name).write_bytes(TABLE)
    real = Folder.open

    def refusing(self: Folder, path: str) -> Any:
        if path != "b.csv":
            raise PermissionError(13, "denied") if path == "a.csv" else FileNotFoundError(2, "gone")
        return real(self, path)

    monkeypatch.setattr(Folder, "open", refusing)
    told = [(s.name, s.begins, s.ends) for batch in read(tmp_path) for s in batch.sections]

    assert told == [("a.csv", True, False), ("b.csv", True, True), ("c.csv", True, False), (LISTED, True, True)]


def test_where_a_folder_is_closed_nobody_says_that_every_file_was_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_bytes(TABLE)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.csv").write_bytes(TABLE)
    real = Folder.names

    def refusing(self: Folder, folder: str) -> Any:
        if folder:
            raise PermissionError(13, "denied")
        return real(self, folder)

    monkeypatch.setattr(Folder, "names", refusing)

    assert [s.name for batch in read(tmp_path) for s in batch.sections] == ["a.csv"]


@pytest.mark.parametrize(
    ("name", "whole", "cut"),
    [
        ("a.csv", TABLE, TABLE[: TABLE.index(b"100,") + 3]),
        ("a.csv", TABLE.decode().encode("utf-16"), TABLE.decode().encode("utf-16")[: 2 * TABLE.index(b"100,") + 6]),
        ("a.jsonl", b'{"id": 1}\n' * 9, b'{"id": 1}\n{"id'),
    ],
    ids=["csv", "utf-16", "jsonl"],
)
def test_a_table_that_ends_within_a_row_is_still_being_written(
    tmp_path: Path, name: str, whole: bytes, cut: bytes
) -> None:
    (tmp_path / name).write_bytes(whole)
    cursor = read(tmp_path)[-1].cursor
    (tmp_path / name).write_bytes(cut)
    half = read(tmp_path, cursor)
    (tmp_path / name).write_bytes(cut + b"\n\0"[: 1 + name.endswith("csv") * (whole[:2] == b"\xff\xfe")])
    ended = read(tmp_path, half[-1].cursor)

    assert [ends for *_, ends in sections(half)] == [False]
    assert [ends for *_, ends in sections(ended)] == [True], "a bad row at its end is a row"


def _brotli(data: bytes) -> bytes:
    import brotli

    return bytes(brotli.compress(data))


def _zstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": _zstd, "br": _brotli}


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("holds", [b"", b"\xef\xbb\xbf\n"], ids=["nothing", "blanks"])
def test_a_compressed_table_that_holds_nothing_is_what_an_empty_one_is(
    tmp_path: Path, ending: str, holds: bytes
) -> None:
    file = tmp_path / f"a.csv.{ending}"
    file.write_bytes(PACKERS[ending](TABLE))
    cursor = read(tmp_path)[-1].cursor

    file.write_bytes(PACKERS[ending](holds))
    emptied = read(tmp_path, cursor)
    file.write_bytes(PACKERS[ending](b"id,name\n"))
    only_names = read(tmp_path, emptied[-1].cursor)

    assert [reject.code for batch in emptied for reject in batch.rejects] == ["no_table_now"]
    assert [ends for *_, ends in sections(emptied)] == [False]
    assert [ends for *_, ends in sections(only_names)] == [True], "a table without rows is one"


@pytest.mark.parametrize("ending", PACKERS)
def test_a_compressed_table_that_is_cut_anywhere_keeps_what_it_gave(tmp_path: Path, ending: str) -> None:
    file, whole = tmp_path / f"a.csv.{ending}", PACKERS[ending](TABLE)

    for size in (0, 1, 2, 3, 4, 5, 9, 12, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:size])
        told = read(tmp_path)

        assert [ends for *_, ends in sections(told)] == [False], f"{size} bytes"
        assert [b.code for batch in told for b in batch.rejects][-1:] in (["truncated"], ["empty_file"]), (
            f"{size} bytes"
        )
        assert not any(batch.complete for batch in told), f"{size} bytes"


@pytest.mark.parametrize("now", [b"", b"PK", b"Service Unavailable\n", b"<html>busy</html>"])
def test_documents_of_an_archive_stay_while_it_is_none(tmp_path: Path, now: bytes) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("jane.txt", "Dear Jane")
    (tmp_path / "x.zip").write_bytes(made.getvalue())
    (tmp_path / "y.txt.gz").write_bytes(gzip.compress(b"Dear John"))

    def documents(cursor: Any = None) -> list[Batch]:
        return look("local", {"path": str(tmp_path)}, "documents", cursor)

    cursor = documents()[-1].cursor
    (tmp_path / "x.zip").write_bytes(now)
    (tmp_path / "y.txt.gz").write_bytes(now)
    broken = documents(cursor)
    again = documents(broken[-1].cursor)
    (tmp_path / "x.zip").write_bytes(zip_of_nothing())
    (tmp_path / "y.txt.gz").unlink()
    emptied = documents(broken[-1].cursor)

    assert rows(broken) == []
    assert [reject.position for batch in broken for reject in batch.rejects] == ["x.zip", "y.txt.gz"]
    assert not any(batch.complete for batch in broken)
    assert [reject for batch in again for reject in batch.rejects] == []
    assert {(row["path"], row["_op"]) for row in rows(emptied)} == {
        ("x.zip/jane.txt", "delete"), ("y.txt.gz/y.txt", "delete"),
    }  # fmt: skip


def zip_of_nothing() -> bytes:
    made = io.BytesIO()
    zipfile.ZipFile(made, "w").close()
    return made.getvalue()

"""Tables come out of archives, reading goes on in their middle, and a hostile archive ends soon."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import py7zr
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bees.core.formats import Reading, read_rows
from bees.core.formats import archives as core
from bees.core.formats.archives import numbered
from bees.core.formats.members import Member, members
from bees.local import LocalBee, LocalStorage
from nectar.batch import Reject
from tests.bees.test_formats_members import tarred
from tests.nectar.documents import docx, zipped


def sevened(entries: dict[str, bytes], **more: Any) -> bytes:
    held = io.BytesIO()
    with py7zr.SevenZipFile(held, "w", **more) as archive:
        for name, data in entries.items():
            archive.writestr(data, name)
    return held.getvalue()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    held = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), held)
    return held.getvalue()


TABLES = {
    "a.csv": b"n\n" + b"".join(b"%d\n" % n for n in range(40)),
    "in/b.jsonl": b"".join(b'{"n": %d}\n' % n for n in range(40, 60)),
    "notes.txt": b"no table",
    "c.parquet": parquet([{"n": n} for n in range(60, 80)]),
    "d.csv.gz": gzip.compress(b"n\n80\n81\n"),
}
ARCHIVES = {
    "z.zip": zipped(dict(TABLES)),
    "t.tar": tarred(TABLES),
    "t.tar.gz": gzip.compress(tarred(TABLES)),
    "s.7z": sevened(TABLES),
}


def numbers(batches: list[Any]) -> list[int]:
    return [int(row["n"]) for batch in batches for row in batch.table.to_pylist()]


@pytest.mark.parametrize("name", ARCHIVES)
def test_tables_within_an_archive_come_typed_and_with_their_place(name: str) -> None:
    parts = list(read_rows(io.BytesIO(ARCHIVES[name]), name, Reading()))

    found = [row for part in parts for row in part.table.to_pylist()]
    assert [int(row["n"]) for row in found] == list(range(82))
    inner = "t.tar.gz/t.tar" if name == "t.tar.gz" else name
    assert {row["source_file"] for row in found} == {
        f"{inner}/{path}" for path in TABLES if path != "notes.txt"
    }  # fmt: skip
    assert not [reject for part in parts for reject in part.rejects]


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("stream", ["records", "documents"])
def test_reading_goes_on_within_an_archive_one_batch_at_a_time(tmp_path: Path, name: str, stream: str) -> None:
    inner = zipped({"1.txt": "one", "2.txt": "two", "3.csv": "n\n82\n83\n"})
    whole = {**TABLES, "i.zip": inner, "last.txt": b"last"}
    made = {"z.zip": lambda: zipped(dict(whole)), "t.tar": lambda: tarred(whole)}
    made |= {"t.tar.gz": lambda: gzip.compress(tarred(whole)), "s.7z": lambda: sevened(whole)}
    (tmp_path / name).write_bytes(made[name]())
    cursor: Any = None
    batches: list[Any] = []
    for _ in range(100):
        with LocalBee.from_options({"path": str(tmp_path), "batch_rows": 30 if stream == "records" else 1}) as bee:
            batch = next(iter(bee.collect_nectar(stream, cursor)), None)
        if batch is None:
            break
        batches.append(batch)
        cursor = json.loads(json.dumps(batch.cursor))

    if stream == "records":
        assert numbers(batches) == list(range(84))
    else:
        paths = [row["path"].rpartition("/")[2] for batch in batches for row in batch.table.to_pylist()]
        assert paths == ["notes.txt", "1.txt", "2.txt", "last.txt"]
    assert not [reject for batch in batches for reject in batch.rejects]
    assert not batch


def test_one_damaged_member_costs_itself_only() -> None:
    data = bytearray(zipped({"a.csv": "n\n" + "1\n" * 9999, "b.csv": "n\n2\n"}))
    data[60:64] = b"\xff" * 4

    parts = list(read_rows(io.BytesIO(bytes(data)), "z.zip", Reading()))

    assert [(r.position, r.code) for part in parts for r in part.rejects] == [("z.zip/a.csv", "broken_archive")]
    assert numbers(parts)[-1] == 2


def test_a_spreadsheet_is_no_archive_and_an_archive_no_spreadsheet(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    book.active.append(["n"])
    book.active.append([7])
    book.save(tmp_path / "book.xlsx")
    sheet = (tmp_path / "book.xlsx").read_bytes()

    assert numbers(list(read_rows(io.BytesIO(sheet), "book", Reading()))) == [7]
    assert numbers(list(read_rows(io.BytesIO(zipped({"book.xlsx": sheet})), "z.zip", Reading()))) == [7]


def test_7z_gives_its_documents_and_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("py7zr.py7zr.check_archive_path", lambda _: True)  # of the writer here, not of the child
    entries = {"a.txt": b"x", "w.docx": docx("Dear Jane"), "../up.txt": b"out", "empty.txt": b""}

    found = list(members(io.BytesIO(sevened(entries)), "s.7z"))

    assert {m.path: m.data for m in found if isinstance(m, Member)} == {
        "s.7z/a.txt": b"x", "s.7z/w.docx": entries["w.docx"], "s.7z/empty.txt": b"",
    }  # fmt: skip
    assert [m.code for m in found if isinstance(m, Reject)] == ["unsafe_name"]
    for locked in (
        sevened({"a.txt": b"x"}, password="p"),
        sevened({"a.txt": b"x"}, password="p", header_encryption=True),
    ):
        [told] = members(io.BytesIO(locked), "s.7z")
        assert isinstance(told, Reject)
        assert told.code == "password_protected"
    [told] = members(io.BytesIO(sevened(entries)[:-30]), "s.7z")
    assert isinstance(told, Reject)
    assert told.code == "broken_archive"
    monkeypatch.setattr(core, "TOTAL", 8 << 20)
    monkeypatch.setattr(core, "RATIO", 1)
    bomb = sevened({f"{n}.txt": bytes(3 << 20) for n in range(9)})
    codes = [m.code if isinstance(m, Reject) else "" for m in members(io.BytesIO(bomb), "s.7z")]
    assert codes == ["", "", "too_much_inside"]
    rows = list(read_rows(io.BytesIO(bomb), "s.7z", Reading()))
    assert [r.code for part in rows for r in part.rejects] == ["too_much_inside"], "counted although nobody wants them"


def land(folder: Path, jar: set[str], cursor: Any, **options: Any) -> Any:
    """Read what is new into the jar, one batch a leg, as a hive would; gives the last cursor."""
    for _ in range(200):
        with LocalBee.from_options({"path": str(folder), **options}) as bee:
            batch = next(iter(bee.collect_nectar("documents", cursor)), None)
        if batch is None:
            break
        for row in batch.table.to_pylist():
            if row.get("_op") == "delete":
                jar.remove(row["path"])
            else:
                jar.add(row["path"])
        cursor = json.loads(json.dumps(batch.cursor))
    return cursor


@pytest.mark.parametrize("rows", [1, 1000])
def test_what_leaves_an_archive_leaves_the_jar_and_with_the_archive_all_of_it(tmp_path: Path, rows: int) -> None:
    """Beside names that sort between an archive and what is in it."""
    jar: set[str] = set()
    for name in ("a.zip-b.txt", "a.zip!.txt", "a.txt"):
        (tmp_path / name).write_text(name)
    others = {"a.zip-b.txt", "a.zip!.txt", "a.txt"}
    (tmp_path / "a.zip").write_bytes(zipped({"x.txt": "x", "in/y.txt": "y", "i.zip": zipped({"z.txt": "z"})}))
    cursor = land(tmp_path, jar, None, batch_rows=rows)
    inside = {"a.zip/x.txt", "a.zip/in/y.txt", "a.zip/i.zip/z.txt"}
    assert jar == others | inside
    assert land(tmp_path, jar, cursor, batch_rows=rows) == cursor

    (tmp_path / "a.zip").write_bytes(zipped({"x.txt": "x2", "i.zip": zipped({"w.txt": "w"})}))
    (tmp_path / "a.txt").unlink()
    cursor = land(tmp_path, jar, cursor, batch_rows=1000)
    assert jar == {"a.zip-b.txt", "a.zip!.txt", "a.zip/x.txt", "a.zip/i.zip/w.txt"}

    data = bytearray(zipped({"x.txt": "x" * 99, "n.txt": "new"}))
    data[36:40] = b"\xff" * 4
    (tmp_path / "a.zip").write_bytes(bytes(data))
    cursor = land(tmp_path, jar, cursor, batch_rows=1000)
    assert jar == {"a.zip-b.txt", "a.zip!.txt", "a.zip/x.txt", "a.zip/i.zip/w.txt", "a.zip/n.txt"}, (
        "a damaged one: unsure"
    )

    (tmp_path / "a.zip").unlink()
    cursor = land(tmp_path, jar, cursor, batch_rows=1000)
    assert jar == {"a.zip-b.txt", "a.zip!.txt"}
    (tmp_path / "a.zip").write_bytes(zipped({"x.txt": "x"}))
    cursor = land(tmp_path, jar, cursor)
    (tmp_path / "a.zip").write_text("a text by now")
    cursor = land(tmp_path, jar, cursor)
    assert jar == {"a.zip-b.txt", "a.zip!.txt", "a.zip/x.txt"}, "an error of whoever gives it, most likely"
    land(tmp_path, jar, cursor, max_deleted=1)
    assert jar == {"a.zip-b.txt", "a.zip!.txt", "a.zip"}


def quine() -> bytes:
    """A gzip file that holds itself (Russ Cox, "Zip Files All The Way Down"), in the sense that matters here: a zip
    whose one member is a zip whose one member is... deeper than anybody looks, at every level the same bytes.
    """
    data = b"end"
    for _ in range(50):
        data = zipped({"r/r.zip": data})
    return data


def test_an_archive_that_holds_itself_ends() -> None:
    [told] = members(io.BytesIO(quine()), "r.zip")

    assert isinstance(told, Reject)
    assert told.code == "nested_too_deep"


def test_a_zip_file_with_a_huge_list_of_members_is_not_opened() -> None:
    data = bytearray(zipped({"a.txt": "x"}))
    at = data.rfind(b"PK\x05\x06")
    struct.pack_into("<I", data, at + 12, 1 << 30)

    [told] = members(io.BytesIO(bytes(data)), "z.zip")

    assert isinstance(told, Reject)
    assert told.code == "too_much_inside"


def overlapping(count: int) -> bytes:
    """A bomb without recursion (David Fifield): each member's bytes are the next one's header and bytes."""
    body = zlib.compressobj(9, zlib.DEFLATED, -15)
    plain = bytes(1 << 20)
    packed = body.compress(plain) + body.flush()
    tail, sizes = b"", []
    for number in reversed(range(count)):
        what = (zlib.crc32(plain), len(packed), len(plain), 6, 0)
        local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, *what) + b"%02d.txt" % number
        sizes.append((number, what[:4], len(packed)))
        tail, plain = local + packed, local + plain
        packed = struct.pack("<BHH", 0, len(local), len(local) ^ 0xFFFF) + tail
    directory = b""
    for number, what4, size in sizes:
        at = len(tail) - size - 36
        entry = (b"PK\x01\x02", 20, 20, 0, 8, 0, 0, *what4, 0, 0, 0, 0, 0, at)
        directory += struct.pack("<4s6H3I5H2I", *entry) + b"%02d.txt" % number
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(tail), 0)
    return tail + directory + end


def test_members_that_overlap_are_counted_as_often_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "TOTAL", 4 << 20)
    monkeypatch.setattr(core, "RATIO", 1)
    data = overlapping(50)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.infolist()) == 50
        refused = archive.testzip() is not None  # newer Pythons read no member that overlaps another

    found = list(members(io.BytesIO(data), "z.zip"))

    assert (not refused) <= sum(isinstance(m, Member) for m in found) <= 4
    assert isinstance(found[-1], Reject)


def test_what_is_wrong_with_an_archive_is_told_once(tmp_path: Path) -> None:
    locked = bytearray(zipped({"a.csv": "n\n1\n", "b.txt": "x", "../up.txt": "x"}))
    with zipfile.ZipFile(io.BytesIO(bytes(locked))) as archive:
        places = [(info.header_offset, info.filename) for info in archive.infolist() if "up" not in info.filename]
        at = archive.start_dir
    for offset, name in places:
        locked[offset + 6] |= 1
        locked[at + 8] |= 1
        at += 46 + len(name)
    (tmp_path / "z.zip").write_bytes(bytes(locked))
    (tmp_path / "y.zip").write_bytes(zipped({"a.csv": "n\n1\n"})[:-9])

    with LocalBee.from_options({"path": str(tmp_path)}) as bee:
        told = {
            stream: [(r.position, r.code) for batch in bee.collect_nectar(stream, None) for r in batch.rejects]
            for stream in ("documents", "records")
        }

    assert told == {
        "documents": [
            ("y.zip", "broken_archive"), ("z.zip/b.txt", "password_protected"), ("z.zip", "unsafe_name"),
        ],
        "records": [("z.zip/a.csv", "password_protected")],
    }  # fmt: skip


def taken(folder: Path, jar: set[str], cursor: Any, most: int = 10**6) -> Any:
    """A new flight, which is over after so many batches; gives the last cursor."""
    with LocalBee.from_options({"path": str(folder), "batch_rows": 1}) as bee:
        cursor = LocalBee.begin_flight(cursor) if cursor else None
        for batch in itertools.islice(bee.collect_nectar("documents", cursor), most):
            for row in batch.table.to_pylist():
                (jar.discard if row.get("_op") else jar.add)(row["path"])
            cursor = json.loads(json.dumps(batch.cursor))
    return cursor


@pytest.mark.parametrize("then", ["changed", "gone"])
@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("again", [False, True])
def test_what_was_read_of_an_archive_that_changes_then_leaves_the_jar(
    tmp_path: Path, then: str, batches: int, again: bool
) -> None:
    jar: set[str] = set()
    (tmp_path / "a.txt").write_text("first")
    cursor = taken(tmp_path, jar, None)
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({"p.txt": "p", "q.txt": "q", "r.txt": "r"}))
    cursor = taken(tmp_path, jar, cursor, batches)
    assert len(jar) == 1 + batches

    if again:  # and once more before it is read to its end
        path.write_bytes(zipped({"s.txt": "s", "t.txt": "t", "u.txt": "u"}))
        cursor = taken(tmp_path, jar, cursor, 1)
    path.unlink()
    if then == "changed":
        path.write_bytes(zipped({"r.txt": "r"}))
    for _ in range(2):
        cursor = taken(tmp_path, jar, cursor)

    assert jar == ({"a.txt", "x.zip/r.txt"} if then == "changed" else {"a.txt"})


def test_what_left_an_archive_goes_though_the_pass_is_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalStorage, "grain", 0)  # nothing is too young to be known again
    jar: set[str] = set()
    (tmp_path / "x.zip").write_bytes(zipped({"p.txt": "p", "q.txt": "q"}))
    (tmp_path / "z.txt").write_text("last")
    cursor = taken(tmp_path, jar, None)
    (tmp_path / "x.zip").write_bytes(zipped({"p.txt": "p, changed"}))
    (tmp_path / "z.txt").write_text("last, changed")
    cursor = taken(tmp_path, jar, cursor, 2)
    assert len(jar) == 3

    taken(tmp_path, jar, cursor)

    assert jar == {"x.zip/p.txt", "z.txt"}


def test_an_archive_and_a_folder_of_its_name_may_take_each_others_place(tmp_path: Path) -> None:
    jar: set[str] = set()
    path = tmp_path / "x.zip"
    path.write_bytes(zipped({"a.txt": "a", "b.txt": "b"}))
    cursor = land(tmp_path, jar, None)

    path.unlink()
    path.mkdir()
    (path / "a.txt").write_text("a")
    cursor = land(tmp_path, jar, cursor)
    assert jar == {"x.zip/a.txt"}

    (path / "a.txt").unlink()
    path.rmdir()
    path.write_bytes(zipped({"a.txt": "a", "b.txt": "b"}))
    cursor = land(tmp_path, jar, cursor)
    assert jar == {"x.zip/a.txt", "x.zip/b.txt"}

    path.unlink()
    land(tmp_path, jar, cursor)
    assert jar == set()


def with_twins(name: str, entries: list[tuple[str, bytes]]) -> bytes:
    """An archive of these members, in this order; names may come again."""
    held = io.BytesIO()
    if name.endswith("zip"):
        with zipfile.ZipFile(held, "w") as zipped_file:
            for path, data in entries:
                zipped_file.writestr(path, data)
    elif name.endswith("7z"):
        with py7zr.SevenZipFile(held, "w") as seven:
            for path, data in entries:
                seven.writestr(data, path)
    else:
        data = b"".join(tarred({path: data})[: 512 + -(-len(data) // 512) * 512] for path, data in entries)
        held.write(gzip.compress(data + bytes(1024)) if name.endswith("tgz") else data + bytes(1024))
    return held.getvalue()


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tgz", "a.7z"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_never_mixed(name: str) -> None:
    first, second = [("d/a.csv", b"x\n1\n2\n3\n"), ("t", b"old text")], [("d/a.csv", b"x\n9\n"), ("t", b"new text")]
    data, inner = with_twins(name, first + second), "a.tgz/a.tar" if name == "a.tgz" else name
    twins = ("d/a (2).csv", "t (2)")

    rows = [row for part in read_rows(io.BytesIO(data), name, Reading()) for row in part.table.to_pylist()]
    table = {(row["source_file"], row["source_row"]): row["x"] for row in rows}
    texts = {m.path: m.data for m in members(io.BytesIO(data), name, rows_apart=True) if isinstance(m, Member)}

    if name == "a.zip":
        assert table == {("a.zip/d/a.csv", 2): "9"}
        assert texts == {"a.zip/t": b"new text"}
    else:
        assert [value for (file, _), value in table.items() if file == f"{inner}/d/a.csv"] == ["1", "2", "3"]
        assert [value for (file, _), value in table.items() if file == f"{inner}/{twins[0]}"] == ["9"]
        assert texts == {f"{inner}/t": b"old text", f"{inner}/{twins[1]}": b"new text"}


def test_very_many_members_that_nobody_wants_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, table = io.BytesIO(), tarred({"a.csv": b"id\n1\n"})
    for number in range(20_000):
        plain.write(tarfile.TarInfo(f"{number:050}.txt").tobuf())
    data = plain.getvalue() + table
    tracemalloc.start()
    try:
        parts = list(read_rows(io.BytesIO(data), "t.tar", Reading()))
        assert tracemalloc.get_traced_memory()[1] < 20_000 * 600
    finally:
        tracemalloc.stop()
    assert [row["id"] for part in parts for row in part.table.to_pylist()] == ["1"]
    monkeypatch.setattr(core, "LISTED", 10_000)
    cut = list(read_rows(io.BytesIO(data), "t.tar", Reading()))

    assert [reject.code for part in cut for reject in part.rejects] == ["too_much_inside"]


def test_very_many_members_of_one_name_take_no_longer_than_others() -> None:
    taken: dict[str, int] = {}
    names = [numbered("d.x/a.csv.gz" if n % 2 else "d.x/a (7).csv.gz", taken) for n in range(100_000)]

    assert len(set(names)) == 100_000
    assert all(name.startswith("d.x/a") and name.endswith(".csv.gz") for name in names)
    assert numbered("d.x/b", taken) == "d.x/b"
    assert numbered("d.x/b", taken) == "d.x/b (2)"
    assert numbered(".profile", {".profile": 1}) == ".profile (2)"

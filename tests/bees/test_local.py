"""Files of a folder: every version of every file comes, and only what changed comes again."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
import random
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core import files as core_files
from bees.core import tabular
from bees.core.errors import GiveUp, RetryLater
from bees.core.files import Folder, matcher, shown
from bees.core.storage.base import Entry
from bees.core.storage.memory import Memory
from bees.core.tabular import PLACE
from bees.local import LocalBee, LocalStorage
from nectar.extract import extract
from tests.bees.contract import BeeContract, Source, rows
from tests.nectar.documents import zipped

if TYPE_CHECKING:
    from nectar.batch import Batch

HOUR = 3600 * 10**9


def read(root: Path, stream: str = "documents", cursor: Any = None, **options: Any) -> list[Batch]:
    with LocalBee.from_options({"path": str(root), **options}) as bee:
        batches = list(bee.collect_nectar(stream, json.loads(json.dumps(cursor)) if cursor else cursor))
    tick()
    return batches


def tick() -> None:
    """Return when the file system's clock has moved: what changes from now on has other times than before."""
    with tempfile.TemporaryFile() as probe:
        first = os.fstat(probe.fileno()).st_ctime_ns
        while os.fstat(probe.fileno()).st_ctime_ns == first:
            os.utime(probe.fileno())


def paths(batches: list[Batch]) -> list[str]:
    return [row["path"] for row in rows(batches)]


def rejects(batches: list[Batch]) -> list[tuple[str, str]]:
    return [(r.position, r.code) for b in batches for r in b.rejects]


def write(root: Path, **contents: str | bytes) -> None:
    for name, content in contents.items():
        path = root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def fingerprint(root: Path) -> list[tuple[str, int, int, bytes]]:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return [(str(p), p.stat().st_mtime_ns, p.stat().st_ctime_ns, p.read_bytes()) for p in files]


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bee reads an hour after the files were written, so their times can be trusted."""
    now = time.time_ns
    monkeypatch.setattr("bees.core.storage.base.time.time_ns", lambda: now() + HOUR)


class LocalContract(BeeContract):
    connector = "local"


class TestDocuments(LocalContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        root = tmp_path / "root"
        write(root, a_md="# A", b__c_txt="C", b__d="D", z_md="")
        return Source(
            options={"path": str(root), "batch_rows": 1}, stream="documents", keys={"a.md", "b/c.txt", "b/d", "z.md"},
            key_of=lambda row: row["path"], unreachable={"path": str(tmp_path / "gone")},
            fingerprint=lambda: fingerprint(root),
        )  # fmt: skip


class TestCsv(LocalContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        root = tmp_path / "root"
        write(root, one_csv="id;name\n1;Ann\n2;Bo\n\n3;Cy\n", two__x_tsv="id\tname\n4\tDi\n5\tEd")
        return Source(
            options={"source_path": str(root), "batch_rows": 2}, stream="records",
            keys={("one.csv", 2), ("one.csv", 3), ("one.csv", 5), ("two/x.tsv", 2), ("two/x.tsv", 3)},
            key_of=lambda row: (row["source_file"], row["source_row"]), unreachable={"path": str(tmp_path / "gone")},
            fingerprint=lambda: fingerprint(root),
        )  # fmt: skip


class TestJsonLines(LocalContract):
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        root = tmp_path / "root"
        write(root, a_jsonl='{"id": 1}\n{"id": 2}\n', b_ndjson="\n".join(f'{{"id": {n}}}' for n in range(3, 9)))
        stream = {"format": "jsonl", "patterns": ["*.jsonl", "*.ndjson"], "key": "id"}
        return Source(
            options={"path": str(root), "batch_rows": 3, "streams": {"people": stream}}, stream="people",
            keys=set(range(1, 9)), key_of=lambda row: row["id"], unreachable={"path": str(root / "a.jsonl")},
            fingerprint=lambda: fingerprint(root),
        )  # fmt: skip


def test_a_document_tells_where_it_is_and_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path, in__a_md="# Hi\n")
    os.utime(tmp_path / "in/a.md", ns=(0, 1_700_000_000_123_456_789))

    [batch] = read(tmp_path)
    [row] = rows([batch])

    assert row["modified"].isoformat() == "2023-11-14T22:13:20.123456+00:00"
    assert {k: v for k, v in row.items() if k != "modified"} == {
        "path": "in/a.md", "name": "a.md", "size": 5, "media_type": "text/markdown", "moved_from": None,
        "content": b"# Hi\n",
    }  # fmt: skip
    assert batch.complete
    assert extract(batch.table)[0].column("title").to_pylist() == ["Hi"]


def test_added_and_changed_files_come_and_nothing_else(tmp_path: Path, later: None) -> None:
    write(tmp_path, a_txt="one", b_txt="two")
    first = read(tmp_path)
    assert read(tmp_path, cursor=first[-1].cursor) == []

    write(tmp_path, b_txt="two, changed", c_txt="three")
    second = read(tmp_path, cursor=first[-1].cursor)

    assert paths(second) == ["b.txt", "c.txt"]
    assert not second[-1].complete, "a part of the folder is not the folder"
    assert read(tmp_path, cursor=second[-1].cursor) == []


def test_a_touched_file_sends_nothing(tmp_path: Path, later: None) -> None:
    write(tmp_path, a_txt="one", b_csv="id\n1\n")
    for stream in ("documents", "records"):
        before = read(tmp_path, stream)
        os.utime(tmp_path / "a.txt")
        os.utime(tmp_path / "b.csv")

        again = read(tmp_path, stream, before[-1].cursor)

        assert rows(again) == []
        assert read(tmp_path, stream, again[-1].cursor) == []


def test_a_file_rewritten_with_its_old_times_and_size_comes(tmp_path: Path, later: None) -> None:
    write(tmp_path, a_txt="one", b_txt="111")
    times = (tmp_path / "a.txt").stat()
    first = read(tmp_path)

    write(tmp_path, a_txt="eno")
    os.utime(tmp_path / "a.txt", ns=(times.st_atime_ns, times.st_mtime_ns))
    write(tmp_path, b_txt="222")
    os.utime(tmp_path / "b.txt", ns=(0, 0))

    assert paths(read(tmp_path, cursor=first[-1].cursor)) == ["a.txt", "b.txt"]


def test_a_change_within_the_grain_of_the_clock_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, a_txt="one")
    first = read(tmp_path)
    monkeypatch.setattr(Memory, "version", lambda self, file: b"sameone")  # as if no time had passed

    write(tmp_path, a_txt="eno")

    assert paths(read(tmp_path, cursor=first[-1].cursor)) == ["a.txt"]


def test_a_file_that_goes_back_to_old_bytes_in_one_pass_comes_each_time(tmp_path: Path) -> None:
    write(tmp_path, a_txt="old", b_txt="x")
    end = read(tmp_path)[-1].cursor
    write(tmp_path, a_txt="new", b_txt="y")
    middle = read(tmp_path, cursor=end, batch_rows=1)[0]
    assert paths([middle]) == ["a.txt"]
    write(tmp_path, a_txt="old")

    rest = read(tmp_path, cursor=middle.cursor)
    assert (paths(rest), paths(read(tmp_path, cursor=rest[-1].cursor))) == (["b.txt"], ["a.txt"])


def test_a_renamed_file_and_a_moved_folder_come_under_their_new_names(tmp_path: Path, later: None) -> None:
    write(tmp_path / "root", a__b_txt="b", c_txt="c")
    write(tmp_path, old__d_txt="d")
    first = read(tmp_path / "root")
    (tmp_path / "root/c.txt").rename(tmp_path / "root/d.txt")
    (tmp_path / "old").rename(tmp_path / "root/old")

    found, gone = read(tmp_path / "root", cursor=first[-1].cursor)

    assert [(row["path"], row["moved_from"]) for row in rows([found])] == [("d.txt", "c.txt"), ("old/d.txt", None)]
    assert rows([gone]) == [{"path": "c.txt", "_op": "delete"}]
    assert read(tmp_path / "root", cursor=gone.cursor) == []


def test_an_empty_folder_is_read_completely_and_once(tmp_path: Path) -> None:
    [batch] = read(tmp_path)

    assert (batch.complete, batch.table.num_rows) == (True, 0)
    assert read(tmp_path, cursor=batch.cursor) == []


def test_other_settings_read_everything_again(tmp_path: Path, later: None) -> None:
    write(tmp_path, a_txt=b"caf\xe9")
    first = read(tmp_path)
    assert rejects(first) == [("a.txt", "not_utf8")]
    assert first[-1].complete, "what is set aside is known by its path"
    assert "encoding" in first[0].rejects[0].reason
    assert first[0].rejects[0].raw == b"caf\xe9"
    assert read(tmp_path, cursor=first[-1].cursor) == [], "told once, not each time"

    second = read(tmp_path, cursor=first[-1].cursor, encoding="latin-1")

    assert extract(second[0].table)[0].column("text").to_pylist() == ["café"]


def test_text_is_known_by_content_and_binaries_are_left_out(tmp_path: Path) -> None:
    write(
        tmp_path, photo_txt=b"\xff\xd8\xff\xe0" + bytes(range(256)), program_bin="print('words')\n" * 3,
        nul_txt=b"a NUL \0 stands in this text, and it is text", wide_txt="Grüße".encode("utf-16"), empty_txt="",
    )  # fmt: skip

    batches = read(tmp_path)

    assert paths(batches) == ["empty.txt", "nul.txt", "program.bin", "wide.txt"]
    assert rejects(batches) == [("photo.txt", "not_text")], "its name says otherwise"
    assert extract(batches[0].table)[1] == {}


def test_a_large_document_is_set_aside_once_but_rows_have_no_such_limit(tmp_path: Path, later: None) -> None:
    write(tmp_path, a_csv="id\n" + "1\n" * 100, a_txt="1\n" * 100, big_bin=bytes(300))
    batches = read(tmp_path, max_file_bytes=99)

    assert rejects(batches) == [("a.txt", "too_large")]
    assert read(tmp_path, cursor=batches[-1].cursor, max_file_bytes=99) == []
    assert len(rows(read(tmp_path, "records", max_file_bytes=99))) == 100


def test_of_the_streams_of_every_folder_a_file_is_in_one(tmp_path: Path, later: None) -> None:
    """A rule on a field must not be passed by in the file's text."""
    write(tmp_path, a_csv="id\n1\n", b_jsonl='{"id": 2}\n', c_txt="words")

    assert paths(read(tmp_path)) == ["c.txt"]
    assert {row["source_file"] for row in rows(read(tmp_path, "records"))} == {"a.csv", "b.jsonl"}


def refuse(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As if the file system denied `name`: root is denied nothing."""
    real = os.open

    def refusing(path: Any, *args: Any, **more: Any) -> int:
        if path == name:
            raise PermissionError(13, "denied")
        return real(path, *args, **more)

    monkeypatch.setattr(core_files.os, "open", refusing)


@pytest.mark.parametrize(("name", "left"), [("a.txt", ["b/c.txt"]), ("b", ["a.txt"])])
def test_what_may_not_be_read_is_told_once_and_read_when_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: None, name: str, left: list[str]
) -> None:
    write(tmp_path, a_txt="a", b__c_txt="c")
    with monkeypatch.context() as patch:
        refuse(patch, name)
        batches = read(tmp_path)
        again = read(tmp_path, cursor=batches[-1].cursor)

    assert (rejects(batches), paths(batches)) == ([(name, "unreadable")], left)
    assert batches[-1].complete == (name == "a.txt"), "of a file that is set aside its path is known"
    assert again == []
    found = read(tmp_path, cursor=batches[-1].cursor)
    assert {*left, *paths(found)} == {"a.txt", "b/c.txt"}
    assert [row for row in rows(found) if "_op" in row] == []


def test_a_file_without_rights_is_set_aside(tmp_path: Path) -> None:
    assert read(tmp_path)[-1].complete  # whatever is imported late is imported by now
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), a_txt="a", b_txt="b")
        (Path(folder) / "a.txt").chmod(0)
        Path(folder).chmod(0o755)
        me = os.geteuid()
        if me == 0:
            os.seteuid(65534)  # root may read everything
        try:
            batches = read(Path(folder))
        finally:
            os.seteuid(me)

    assert (rejects(batches), paths(batches)) == ([("a.txt", "unreadable")], ["b.txt"])


def test_nothing_outside_and_nothing_but_files_is_opened(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(tmp_path, secret__s_txt="outside", root__a_txt="inside")
    (root / "file").symlink_to(tmp_path / "secret/s.txt")
    (root / "folder").symlink_to(tmp_path / "secret")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "s"))

        assert paths(read(root)) == ["a.txt"]


@pytest.mark.parametrize("what", ["link", "linked folder", "pipe", "gone"])
def test_a_file_that_becomes_something_else_after_the_listing_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    root = tmp_path / "root"
    write(tmp_path, secret__s_txt="outside", root__in__s_txt="inside", root__z_txt="z")
    real = core_files.Folder.open

    def swapped(self: Any, path: str) -> Any:
        if path == "in/s.txt":
            (root / path).unlink()
            if what == "link":
                (root / path).symlink_to(tmp_path / "secret/s.txt")
            elif what == "pipe":
                os.mkfifo(root / path)
            elif what == "linked folder":
                (root / "in").rmdir()
                (root / "in").symlink_to(tmp_path / "secret")
        return real(self, path)

    monkeypatch.setattr(core_files.Folder, "open", swapped)

    batches = read(root)

    assert (paths(batches), rejects(batches)) == (["z.txt"], [])


@pytest.mark.parametrize("number", [errno.ENODEV, errno.ESTALE, errno.ENOTCONN])
def test_a_mount_that_broke_takes_nothing_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.txt").write_text("is there")
    [first] = read(tmp_path)

    def broken(*_: Any) -> int:
        raise OSError(number, "broken")

    (tmp_path / "z.txt").write_text("beside it")
    real = Folder._open
    monkeypatch.setattr(
        Folder, "_open", lambda self, path, *how: (broken if "inner" in path else real)(self, path, *how)
    )
    batches = read(tmp_path, cursor=first.cursor)
    monkeypatch.setattr(Folder, "names", broken)
    with pytest.raises(RetryLater, match=errno.errorcode[number]):
        read(tmp_path, cursor=first.cursor)

    assert (paths(batches), rejects(batches)) == (["z.txt"], [("inner", "unavailable")])
    assert errno.errorcode[number] in batches[0].rejects[0].reason


def test_names_that_are_no_text_are_shown_and_stay_apart(tmp_path: Path) -> None:
    for name in (b"caf\xe9.txt", b"caf\xe8.txt", "caf\ufffd.txt".encode(), "café.txt".encode()):
        (Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))).write_text(name.hex())

    found = {row["path"]: row["content"] for row in rows(read(tmp_path))}

    assert len(found) == 4
    assert "café.txt" in found
    assert all(path == shown(os.fsdecode(bytes.fromhex(content.decode()))) for path, content in found.items())


def test_rows_keep_their_text_nuls_and_line_breaks(tmp_path: Path) -> None:
    write(tmp_path, a_csv='\ufeffid,note,id\r\n007,"two\nlines, and ""quotes""",x\r\n8,a\0b,\r\n')

    [batch] = read(tmp_path, "records")

    assert batch.table.to_pylist() == [
        {"id": "007", "note": 'two\nlines, and "quotes"', "id_2": "x", "source_file": "a.csv", "source_row": 2},
        {"id": "8", "note": "a\0b", "id_2": "", "source_file": "a.csv", "source_row": 4},
    ]
    assert [str(t) for t in batch.table.schema.types] == ["string"] * 4 + ["int64"]


def test_broken_rows_are_set_aside_with_file_and_line_and_the_others_come(tmp_path: Path) -> None:
    write(tmp_path, a_csv=b'id,name\n1,Ann\n2\n3,"B"o\n4,caf\xe9\n5,Ed,x\n6,"F\nf"\n7,Gus\n8,"open\n9,Ira\n')

    batches = read(tmp_path, "records")

    assert [(r["id"], r["source_row"]) for r in rows(batches)] == [("1", 2), ("6", 7), ("7", 9)]
    assert rejects(batches) == [
        ("a.csv:3", "ragged_row"), ("a.csv:4", "broken_row"), ("a.csv:5", "not_utf8"), ("a.csv:6", "ragged_row"),
        ("a.csv:10", "unclosed_quote"),
    ]  # fmt: skip
    assert batches[0].rejects[0].raw == b"2\n"
    assert batches[0].rejects[-1].raw == b'8,"open\n9,Ira\n'
    assert not batches[-1].complete
    assert not [r for b in batches for r in b.rejects if "Ed" in r.reason or "caf" in r.reason]


def test_broken_lines_of_json_are_set_aside(tmp_path: Path) -> None:
    write(tmp_path, a_jsonl=b'{"id": 1}\n\n{"id": \n[2]\n{"id": "\xff"}\n{"id": NaN}\n{"id": 12345678901234567890.5}\n')

    batches = read(tmp_path, "records")

    assert [r["source_row"] for r in rows(batches)] == [1, 7]
    assert rows(batches)[1]["id"] == "12345678901234567890.5"
    assert rejects(batches) == [
        ("a.jsonl:3", "not_json"), ("a.jsonl:4", "not_object"), ("a.jsonl:5", "not_utf8"), ("a.jsonl:6", "not_json"),
    ]  # fmt: skip


def test_a_huge_line_is_set_aside_and_never_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular.Lines.__init__, "__defaults__", ("", 1 << 20))
    with (tmp_path / "a.jsonl").open("wb") as file:
        file.write(b'{"id": "')
        file.truncate(200 << 20)  # a hole: takes no room on the disk
        file.seek(0, os.SEEK_END)
        file.write(b'"}\n{"id": 2}\n')

    batches = read(tmp_path, "records")

    assert [r["id"] for r in rows(batches)] == [2]
    assert rejects(batches) == [("a.jsonl:1", "row_too_long")]
    assert len(batches[0].rejects[0].raw) <= 1 << 20


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.zip"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_csv_line_above_the_limit_is_one_row_unless_a_quote_may_reach_beyond_it(
    tmp_path: Path, name: str, quote: str
) -> None:
    """Also in a stream that cannot step back: nobody reads the line to its end to learn how the file is written."""
    noise = random.Random(1).randbytes(12 << 20).hex().encode()
    data = b"id,name\n1,Ann\n2," + quote.encode() + noise + noise + b"\n3,Cy\n"
    made = {"a.csv": lambda: data, "a.csv.gz": lambda: gzip.compress(data, 1), "a.zip": lambda: zipped({"a.csv": data})}
    (tmp_path / name).write_bytes(made[name]())

    batches = read(tmp_path, "records")

    path = "a.zip/a.csv" if name == "a.zip" else name
    assert [(r["id"], r["source_row"]) for r in rows(batches)] == [("1", 2)] + [("3", 4)] * (not quote)
    assert rejects(batches) == [(f"{path}:3", "unclosed_quote" if quote else "row_too_long")]


def test_a_row_above_the_limit_ends_a_csv_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "MAX_ROW", 1000)
    write(tmp_path, a_csv='id,name\n1,Ann\n2,"' + "x\n" * 2000 + "3,Cy\n")

    batches = read(tmp_path, "records", batch_rows=1)

    assert [r["id"] for r in rows(batches)] == ["1"]
    assert rejects(batches) == [("a.csv:3", "unclosed_quote")]
    for batch in batches:
        assert [r["id"] for r in rows(read(tmp_path, "records", batch.cursor))] == []


def test_long_fields_come_whole(tmp_path: Path) -> None:
    write(tmp_path, a_csv="id,note\n1," + "x" * 300_000 + "\n")

    assert len(rows(read(tmp_path, "records"))[0]["note"]) == 300_000


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "cp1252"])
def test_rows_in_other_encodings_are_read_and_resumed(tmp_path: Path, codec: str) -> None:
    # U+010A and U+0A41 hold the byte of a newline, where it is none.
    text = "id;name\n" + "".join(f"{n};é{'' if codec == 'cp1252' else 'Ċੁ'}\n" for n in range(9))
    write(tmp_path, a_csv=text.encode(codec))

    batches = read(tmp_path, "records", encoding=codec, batch_rows=2)
    rest = read(tmp_path, "records", batches[1].cursor, encoding=codec)

    assert [r["id"] for r in rows(batches)] == [str(n) for n in range(9)]
    assert {r["name"] for r in rows(batches)} == {text.split("\n")[1][2:]}
    assert [r["id"] for r in rows(rest)] == [str(n) for n in range(4, 9)]


@pytest.mark.parametrize("text", ["a,b\n1,2;3\n", "a;b\n1,5;2\n3,7;4\n", "a|b\n1|2,3,4\n", "a\tb\n1\t2\n"])
def test_the_delimiter_is_the_one_that_parts_all_rows_alike(tmp_path: Path, text: str) -> None:
    write(tmp_path, a_csv=text)

    assert set(rows(read(tmp_path, "records"))[0]) == {"a", "b", "source_file", "source_row"}


def test_columns_are_named_without_touching_reserved_names(tmp_path: Path) -> None:
    write(tmp_path, a_csv="_id,source_file,,x\n1,2,3,4\n", b_jsonl='{"_id": 1, "source_file": "mine"}\n')

    first, second = rows(read(tmp_path, "records"))

    assert first == {
        "underscore_id": "1", "source_file_2": "2", "column_3": "3", "x": "4", "source_file": "a.csv", "source_row": 2,
    }  # fmt: skip
    assert second == {"underscore_id": 1, "source_file_2": "mine", "source_file": "b.jsonl", "source_row": 1}


def test_files_with_other_columns_make_batches_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, a_csv="x\n1\n", b_csv="x\n2\n", c_csv="y\n3\n", d_csv="", e_jsonl='{"z": 1}\n')

    names = [b.table.column_names for b in read(tmp_path, "records", patterns="*.csv")]

    assert names == [["x", *PLACE], ["y", *PLACE]]
    assert len(rows(read(tmp_path, "records"))) == 4


LOCKS = ("~$book.xlsx", "in/~$letter.docx", "in/.~lock.sheet.ods#")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("stream", ["documents", "records"])
def test_lock_files_of_office_programs_are_left_out(tmp_path: Path, stream: str, packed: bool) -> None:
    """They stand beside a file as long as somebody has it open, and hold that person's name."""
    files = dict.fromkeys(LOCKS, "\x05Jane Doe") | {".~lock.people.csv#": ",jane,host", "~$note.txt": "Jane Doe"}
    files |= {"a.txt": "text", "b.csv": "id\n1\n", "in/.lock.txt": "text", "in/~c.csv": "id\n2\n"}
    for name, data in ({"all.zip": zipped(files)} if packed else {n: t.encode() for n, t in files.items()}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)

    batches = read(tmp_path, stream)

    found = {row.get("path") or row["source_file"] for row in rows(batches)}
    meant = {"a.txt", "in/.lock.txt"} if stream == "documents" else {"b.csv", "in/~c.csv"}
    assert ({path.removeprefix("all.zip/") for path in found}, rejects(batches)) == (meant, [])


@pytest.mark.parametrize(("pattern", "named"), [("~$*", LOCKS[:2]), ("in/.~lock.*#", LOCKS[2:])])
def test_a_lock_file_that_a_pattern_names_is_a_file(tmp_path: Path, pattern: str, named: tuple[str, ...]) -> None:
    for name in LOCKS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("Jane Doe")

    found = read(tmp_path, "s", streams={"s": {"patterns": [pattern, "*.txt"], "format": "document"}})

    assert sorted(paths(found)) == sorted(named)


def test_a_lock_file_that_came_before_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "~$note.txt").write_text("Jane Doe")
    (tmp_path / "note.txt").write_text("text")
    with monkeypatch.context() as before:
        before.setattr("bees.core.filebee.is_lock", lambda _: False)
        first = read(tmp_path)

    assert rows(read(tmp_path, cursor=first[-1].cursor)) == [{"path": "~$note.txt", "_op": "delete"}]


def test_a_configured_key_needs_no_place_and_a_missing_one_is_told(tmp_path: Path) -> None:
    stream = {"patterns": ["*.csv", "*.jsonl"], "key": ["_id"]}
    write(tmp_path, a_csv="_id,x\n1,2\n", b_csv="x\n2\n", c_jsonl='{"_id": 3}\n{"x": 4}\n')

    batches = read(tmp_path, "s", streams={"s": stream})

    assert rows(batches) == [{"underscore_id": "1", "x": "2"}, {"underscore_id": 3}]
    assert rejects(batches) == [("b.csv", "no_key"), ("c.jsonl:2", "no_key")]
    [offer] = LocalBee.from_options({"path": str(tmp_path), "streams": {"s": stream}}).get_pollen_schema()
    assert (offer.key, offer.document) == (("underscore_id",), False)


def test_a_file_without_header_has_numbered_columns(tmp_path: Path) -> None:
    write(tmp_path, a_dat="1|2\n3|4\n")

    stream = {"patterns": "*.dat", "format": "csv", "header": False, "key": "column_1"}
    batches = read(tmp_path, "s", streams={"s": stream})

    assert rows(batches) == [{"column_1": "1", "column_2": "2"}, {"column_1": "3", "column_2": "4"}]


def test_a_binary_with_a_name_of_rows_is_set_aside_whole(tmp_path: Path) -> None:
    write(tmp_path, a_csv=b"PK\x03\x04" + bytes(range(256)) * 20)

    assert rejects(read(tmp_path, "records")) == [("a.csv", "not_text")]


@pytest.mark.parametrize("late", [True, False])
def test_a_file_that_grows_while_it_is_read_is_read_to_its_end_and_wholly_next_time(
    tmp_path: Path, late: bool, request: pytest.FixtureRequest
) -> None:
    if late:
        request.getfixturevalue("later")
    write(tmp_path, a_csv="id\n" + "".join(f"{n}\n" for n in range(6)))
    middle = read(tmp_path, "records", batch_rows=3)[0]
    with (tmp_path / "a.csv").open("a") as file:
        file.write("6\n")

    rest = read(tmp_path, "records", middle.cursor)
    again = read(tmp_path, "records", rest[-1].cursor)

    assert [r["id"] for r in rows(rest)] == ["3", "4", "5", "6"]
    assert [r["id"] for r in rows(again)] == [str(n) for n in range(7)]
    assert rows(read(tmp_path, "records", again[-1].cursor)) == []


def test_a_file_rewritten_before_the_place_is_read_from_its_beginning(tmp_path: Path) -> None:
    write(tmp_path, a_csv="id\n1\n2\n3\n4\n")
    middle = read(tmp_path, "records", batch_rows=2)[0]
    write(tmp_path, a_csv="id\n1\n9\n3\n4\n")

    assert [r["id"] for r in rows(read(tmp_path, "records", middle.cursor))] == ["1", "9", "3", "4"]


def test_a_half_read_file_that_goes_back_to_its_old_bytes_comes_whole(tmp_path: Path) -> None:
    write(tmp_path, a_csv="id\n1\n2\n3\n")
    end = read(tmp_path, "records")[-1].cursor
    write(tmp_path, a_csv="id\n7\n8\n9\n")
    middle = read(tmp_path, "records", end, batch_rows=2)[0]
    write(tmp_path, a_csv="id\n1\n2\n3\n")

    assert [r["id"] for r in rows(read(tmp_path, "records", middle.cursor))] == ["1", "2", "3"]


@pytest.mark.parametrize("stops", [0, 1])
def test_a_file_that_comes_before_the_one_half_read_takes_nothing_from_it(tmp_path: Path, stops: int) -> None:
    """Its content is that of the half read one: it must not be gone on with in its place."""
    write(tmp_path, b_csv="id\n1\n2\n3\n")
    end = read(tmp_path, "records")[-1].cursor
    write(tmp_path, b_csv="id\n7\n8\n9\n")
    cursor = read(tmp_path, "records", end, batch_rows=2)[0].cursor
    write(tmp_path, a_csv="id\n7\n8\n9\n", b_csv="id\n1\n2\n3\n")
    seen: list[dict[str, Any]] = []
    for batch in read(tmp_path, "records", cursor, batch_rows=2)[:stops]:
        cursor, seen = batch.cursor, rows([batch])
    seen += rows(read(tmp_path, "records", cursor, batch_rows=2))

    assert [(r["source_file"], r["id"]) for r in seen] == [
        (file, id_) for file, ids in (("a.csv", "789"), ("b.csv", "123")) for id_ in ids
    ]


def test_a_complete_read_in_two_legs_says_so_at_its_end_only(tmp_path: Path) -> None:
    write(tmp_path, a_csv="id\n1\n2\n3\n", b_csv="id\n4\n")
    first = read(tmp_path, "records", batch_rows=2)
    rest = read(tmp_path, "records", first[0].cursor)

    assert [b.complete for b in first] == [False] * (len(first) - 1) + [True]
    assert [b.complete for b in rest] == [True]


@pytest.mark.parametrize("gone", ["a.txt", "z.txt"])
def test_what_goes_while_a_full_refresh_is_broken_off_leaves_the_jar(tmp_path: Path, gone: str) -> None:
    """Of what it met already the pass tells; the rest a complete reading did not meet, as the hive finds out."""
    write(tmp_path, a_txt="a", b_txt="b", z_txt="z")
    before = read(tmp_path, batch_rows=1)[-1].cursor
    begun = read(tmp_path, cursor=LocalBee.begin_anew(before), batch_rows=1)[0]
    assert (paths([begun]), begun.begins) == (["a.txt"], True)
    (tmp_path / gone).unlink()

    rest = read(tmp_path, cursor=LocalBee.begin_flight(begun.cursor), batch_rows=1)

    met = sorted({"a.txt", "b.txt", "z.txt"} - {gone})
    assert rest[-1].complete
    assert [r["path"] for r in rows(rest) if "_op" in r] == (["a.txt"] if gone == "a.txt" else [])
    assert sorted({"a.txt", *(r["path"] for r in rows(rest) if "_op" not in r)} - {gone}) == met


DEEDS = st.sampled_from(["write", "touch", "old times", "delete", "grow", "rename"])
CHANGES = st.tuples(DEEDS, st.integers(0, 3), st.integers(0, 3))


def change(root: Path, what: str, file: int, value: int) -> None:
    path = root / f"{file}.csv"
    old = path.stat() if path.exists() else None
    if what == "write" or old is None:
        path.write_text("id\n" + f"{value}\n" * (2 + file))
    elif what == "touch":
        os.utime(path)
    elif what == "old times":
        path.write_text("id\n" + f"{value}\n" * (2 + file))
        os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    elif what == "delete":
        path.unlink()
    elif what == "grow":
        path.write_text(path.read_text() + f"{value}\n")
    else:
        path.rename(root / f"{value}.csv")


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(["documents", "records"]),
    st.booleans(),
    st.lists(st.tuples(st.lists(CHANGES), st.integers(0, 9)), max_size=8),
)
def test_whatever_changes_and_wherever_reading_stops_the_jar_holds_what_the_files_hold(
    stream: str, aged: bool, legs: list[tuple[list[tuple[str, int, int]], int]]
) -> None:
    """A leg stops after some batches, the files change, the next one goes on; two undisturbed ones end it."""
    jar: dict[Any, Any] = {}
    cursor = None
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root, now = Path(folder), time.time_ns
        patch.setattr("bees.core.storage.base.time.time_ns", lambda: now() + HOUR * aged)
        for changes, stop in [*legs, ([], 10**6), ([], 10**6)]:
            for what in changes:
                change(root, *what)
            how = {stream: {"format": "document" if stream == "documents" else "csv"}}
            for batch in read(root, stream, cursor, batch_rows=2, streams=how)[:stop]:
                cursor = batch.cursor
                for row in batch.table.to_pylist():
                    if row.get("_op") == "delete":
                        jar.pop(row["path"], None)
                        continue
                    jar[row.get("path") or (row["source_file"], row["source_row"])] = row.get("content") or row["id"]
        if stream == "documents":
            assert jar.keys() == {path.name for path in root.iterdir()}
        for path in root.iterdir():
            if stream == "documents":
                assert jar[path.name] == path.read_bytes()
            else:
                lines = path.read_text().splitlines()
                assert [jar[path.name, n] for n in range(2, len(lines) + 1)] == lines[1:]


def test_ten_thousand_files_are_read_soon_and_remembered_in_little(tmp_path: Path, later: None) -> None:
    for folder in range(20):
        (tmp_path / str(folder)).mkdir()
        for number in range(500):
            opened = os.open(f"{tmp_path}/{folder}/{number}.txt", os.O_CREAT | os.O_WRONLY)
            os.write(opened, b"text %d" % number)
            os.close(opened)
    began = time.process_time()

    batches = read(tmp_path)
    assert read(tmp_path, cursor=batches[-1].cursor) == []

    assert time.process_time() - began < 3
    assert len(rows(batches)) == 10_000
    assert len(json.dumps(batches[-1].cursor)) < 27 * 10_000 + 100
    assert max(len(json.dumps(b.cursor)) for b in batches) < 27 * 10_000 + 500


def test_a_folder_with_too_many_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path, a="", b="", c="")

    with pytest.raises(GiveUp, match="more than 2 files") as error:
        read(tmp_path, max_files=2)
    assert error.value.code == "too_many_files"


@pytest.mark.parametrize("cursor", [{"files": ["no base64!"]}, {"files": ["AAAA"]}, {"pos": "%"}, {"files": 7}])
def test_a_cursor_that_nobody_understands_reads_everything(tmp_path: Path, cursor: dict[str, Any]) -> None:
    write(tmp_path, a_txt="a")

    assert paths(read(tmp_path, cursor=cursor)) == ["a.txt"]


def test_a_cursor_names_no_file(tmp_path: Path) -> None:
    write(tmp_path, ann_csv="id\n1\n2\n3\n")

    assert all("ann" not in json.dumps(b.cursor) for b in read(tmp_path, "records", batch_rows=1))


def test_a_folder_that_is_none_is_named_with_the_next_step(tmp_path: Path) -> None:
    write(tmp_path, a_txt="a")
    for path, word in ((tmp_path / "gone", "does not exist"), (tmp_path / "a.txt", "is no folder")):
        with pytest.raises(GiveUp, match=word) as error:
            LocalBee.from_options({"path": str(path)}).validate_flight_path()
        assert error.value.where == "path"
        assert "`path`" in error.value.advice


def test_the_root_may_be_a_link_and_identity_is_where_it_leads(tmp_path: Path) -> None:
    write(tmp_path, real__a_txt="a")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert paths(read(tmp_path / "link")) == ["a.txt"]
    assert LocalBee.from_options({"path": str(tmp_path / "link")}).source_identity() == f"local:{tmp_path / 'real'}"


@pytest.mark.parametrize(
    "options",
    [
        {"encoding": "klingon"}, {"encoding": "hex"}, {"encoding": "cp037"}, {"path": ""}, {"pattern": ["*"]},
        {"batch_rows": 0}, {"streams": {"s": {"format": "xlsx"}}},
        {"streams": {"s": {"delimiter": '"'}}}, {"streams": {"s": {"delimiter": ";;"}}}, {"path": "a\0"},
        {"streams": {"": {}}}, {"streams": {"a\nb": {}}}, {"streams": {"s": {"key": ["id", "id"]}}},
        {"streams": {"s": {"key": ""}}}, {"patterns": ["["]}, {"patterns": []}, {"patterns": [""]},
        {"patterns": "a[]"}, {"patterns": "[z-a]"}, {"streams": {"s": {"patterns": ["*", "x["]}}},
    ],
)  # fmt: skip
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError):
        LocalBee.from_options({"path": str(tmp_path), **options})


@pytest.mark.parametrize(
    ("pattern", "meant", "not_meant"),
    [
        ("*.md", ["a.md", "x/y/a.md", ".md"], ["a.mdx", "a.md/b"]),
        ("docs/*.md", ["docs/a.md"], ["docs/x/a.md", "x/docs/a.md"]),
        ("docs/**/*.md", ["docs/a.md", "docs/x/y/a.md"], ["docs.md"]),
        ("./docs/**", ["docs/a", "docs/x/y"], ["doc/a"]),
        ("[!a]?.txt", ["bc.txt", "]c.txt"], ["ac.txt", "b.txt"]),
        ("[a-c^].txt", ["b.txt", "^.txt"], ["d.txt"]),
        ("a+(b).txt", ["a+(b).txt"], ["aab.txt"]),
    ],
)
def test_patterns_are_globs(pattern: str, meant: list[str], not_meant: list[str]) -> None:
    wanted = matcher((pattern,))

    assert [p for p in meant if not wanted(p)] == []
    assert [p for p in not_meant if wanted(p)] == []


def test_a_key_that_documents_do_not_have_is_refused(tmp_path: Path) -> None:
    bee = LocalBee.from_options({"path": str(tmp_path), "streams": {"s": {"patterns": "*.md", "key": "id"}}})

    with pytest.raises(GiveUp, match="path") as error:
        bee.get_pollen_schema()
    assert error.value.where == "streams.s.key"


def test_folders_inside_are_left_alone_when_told(tmp_path: Path) -> None:
    write(tmp_path, a_txt="a", b__c_txt="c")

    assert paths(read(tmp_path, recursive=False)) == ["a.txt"]


def test_the_field_limit_of_csv_is_only_ever_raised(tmp_path: Path) -> None:
    write(tmp_path, a_csv="id\n1\n")
    old = csv.field_size_limit(1 << 30)
    try:
        read(tmp_path, "records")
        assert csv.field_size_limit() == 1 << 30
    finally:
        csv.field_size_limit(old)


@pytest.mark.parametrize(
    ("changed", "other"),
    [
        ({"patterns": ["*.csv"]}, True),
        ({"recursive": False}, True),
        ({"streams": {"s": {"patterns": ["*.md"]}}}, True),
        ({"streams": {"s": {"format": "jsonl"}}}, True),
        ({"batch_rows": 7}, False),
        ({"patterns": ["*.txt", "*.log", "*.txt"]}, False),
    ],
)
def test_a_stream_is_known_by_the_files_it_reads(tmp_path: Path, changed: dict[str, Any], other: bool) -> None:
    good = {"path": str(tmp_path), "patterns": ["*.log", "*.txt"], "streams": {"s": {}}}

    first = LocalBee.from_options(good).stream_identity("s")

    assert (first != LocalBee.from_options({**good, **changed}).stream_identity("s")) is other


def test_names_of_columns_are_clean_short_and_stay_apart(tmp_path: Path) -> None:
    long, twice = "x" * 300, "y" * 199
    names = ["a\0b", "a\x01b", long + "1", long + "2", twice, twice, "a\nb"]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([names, list("1234567")])
    write(tmp_path, b_jsonl=json.dumps(dict.fromkeys(names, "v")))

    from_csv, from_json = (batch.table for batch in read(tmp_path, "records"))

    assert [v for row in rows([*read(tmp_path, "records")])[:1] for v in list(row.values())[:7]] == list("1234567")
    for table, count in ((from_csv, 7), (from_json, 6)):
        columns = [name for name in table.column_names if name not in PLACE]
        assert len(set(columns)) == count
        assert all(len(name) <= 200 and name.isprintable() for name in columns)
        assert columns[0].startswith("a\ufffdb")


def test_a_key_with_control_characters_finds_its_column(tmp_path: Path) -> None:
    write(tmp_path, a_csv="a\x01b,c\n1,2\n")

    (batch,) = read(tmp_path, "s", streams={"s": {"patterns": "*.csv", "key": "a\x01b"}})

    with LocalBee.from_options(
        {"path": str(tmp_path), "streams": {"s": {"patterns": "*.csv", "key": "a\x01b"}}}
    ) as bee:
        assert bee.get_pollen_schema()[0].key == tuple(batch.table.column_names[:1])


def test_the_encoding_of_tables_and_texts_is_found_unless_it_is_said(tmp_path: Path) -> None:
    names = "id;name\n1;José Muñoz\n2;Zoë Müller\n"
    write(
        tmp_path, a_csv=names.encode("cp1252"), b_csv=names.encode("utf-16-le"),
        c_txt="Größe über alles".encode("cp1252"),
        d_html='<meta charset="cp1251"><p>Иван'.encode("cp1251"),
        mixed_csv="id;name\n1;José\n2;Łódź\n".encode() + "3;Müller\n".encode("latin-1"),
    )  # fmt: skip

    found, mixed = rows(read(tmp_path, "records")), read(tmp_path, "records", patterns="mixed.csv")
    texts = {row["path"]: row["text"] for batch in read(tmp_path) for row in extract(batch.table)[0].to_pylist()}

    assert [r["name"] for r in found if r["source_file"] != "mixed.csv"] == ["José Muñoz", "Zoë Müller"] * 2
    assert texts == {"c.txt": "Größe über alles", "d.html": "Иван"}
    assert [r["name"] for r in rows(mixed)] == ["José", "Łódź"]
    assert rejects(mixed) == [("mixed.csv:4", "not_utf8")]
    assert not rows(read(tmp_path, "records", patterns="a.csv", encoding="utf-8"))


def test_what_is_called_a_text_and_is_none_is_told(tmp_path: Path) -> None:
    write(tmp_path, **{"a.txt": b"\x00\xff\x01" * 300, "c.png": b"\x89PNG\x00" * 9, "d.txt": b"a text"})

    found = read(tmp_path)

    assert [row["path"] for row in rows(found)] == ["d.txt"]
    assert rejects(found) == [("a.txt", "not_text")]
    assert read(tmp_path, cursor=found[-1].cursor) == [], "told once"


def test_what_people_may_miss_is_told_and_stays_in_the_jar(tmp_path: Path, later: None) -> None:
    """A transfer that has begun, a disk that was full, a format that nothing here reads."""
    noise = b"\x00\xff\x01" * 300
    names = ["a.docx", "b.eml", "c.pdf"]
    write(tmp_path, **dict.fromkeys(names, b"once a text"))
    first = read(tmp_path)
    write(tmp_path, **{"a.docx": noise, "b.eml": noise, "c.pdf": b"", "d.msg": noise, "e.rar": noise, "f.bin": noise})
    write(tmp_path, **{"g.zip": zipped({"in.odt": noise, "in.docx": b"", "in.png": noise})})

    found = read(tmp_path, cursor=first[-1].cursor)

    assert paths(first) == names
    assert rejects(found) == [
        ("a.docx", "unreadable_document"), ("b.eml", "unreadable_document"), ("c.pdf", "empty_file"),
        ("d.msg", "unknown_format"), ("e.rar", "unknown_format"),
        ("g.zip/in.odt", "unreadable_document"), ("g.zip/in.docx", "empty_file"),
    ]  # fmt: skip
    assert rows(found) == []
    assert read(tmp_path, cursor=found[-1].cursor) == [], "told once"


def test_a_table_under_a_strange_name_is_read_or_told(tmp_path: Path) -> None:
    table = pa.table({"id": [7]})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    write(tmp_path, fake_zip=b"a text that is called an archive\n", data=sink.getvalue().to_pybytes())
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/sur\xff\xfe.csv")).write_bytes(b"id\n7\n")

    tables, texts = read(tmp_path, "records"), read(tmp_path)

    assert [r["id"] for r in rows(tables)] == ["7"]
    assert rejects(tables) == []
    assert [r["path"] for r in rows(texts)] == ["fake.zip"]
    assert rejects(texts) == [("data", "misnamed_table")]
    assert read(tmp_path, cursor=texts[-1].cursor) == [], "told once"


def test_files_are_looked_at_in_their_turn_and_only_names_are_held(tmp_path: Path) -> None:
    write(tmp_path, a_txt="a", b_txt="b", d__a_txt="in d", d__e__f_txt="deep", e_txt="e", f_txt="f")
    storage = LocalStorage(str(tmp_path))

    listed = storage.entries(b"", recursive=True)
    first = next(listed)
    write(tmp_path, b_txt="larger by now")
    (tmp_path / "e.txt").unlink()
    (tmp_path / "f.txt").unlink()
    (tmp_path / "f.txt").symlink_to("/etc/passwd")
    rest = list(listed)
    storage.close()

    assert [entry.path for entry in (first, *rest)] == ["a.txt", "b.txt", "d/a.txt", "d/e/f.txt"]
    assert isinstance(rest[0], Entry)
    assert rest[0].size == len("larger by now")


def test_the_encoding_of_a_large_table_is_found_where_it_begins_in_plain_letters(tmp_path: Path) -> None:
    plain = "".join(f"{n};plain\n" for n in range(20_000))
    for codec in ("cp1252", "utf-8"):
        write(tmp_path, a_csv=("id;name\n" + plain + "1;José Muñoz\n2;Zoë\n" * 5000).encode(codec))

        found = read(tmp_path, "records")

        assert {r["name"] for r in rows(found)} == {"plain", "José Muñoz", "Zoë"}, codec
        assert rejects(found) == [], codec


def test_a_card_in_another_encoding_is_read_as_texts_are(tmp_path: Path) -> None:
    people = "".join(f"BEGIN:VCARD\r\nFN:{name}\r\nEND:VCARD\r\n" for name in ("Jürgen Groß", "Käthe Müller"))
    (tmp_path / "old.vcf").write_bytes(people.encode("cp1252"))
    (tmp_path / "new.vcf").write_bytes(people.encode())

    table, failures = extract(read(tmp_path)[0].table)

    assert failures == {}
    assert table["text"].to_pylist() == ["fn: Jürgen Groß\n\nfn: Käthe Müller"] * 2

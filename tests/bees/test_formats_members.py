"""Documents come out of archives, at any depth within a limit, and hostile archives hurt nobody."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from bees.core.formats import Reading, read_rows
from bees.core.formats.archives import unsafe
from bees.core.formats.members import Member, is_archive, members
from bees.local import LocalBee
from nectar.batch import Reject
from tests.nectar.documents import docx, pdf, zipped


def taken(data: bytes, name: str) -> tuple[dict[str, bytes], list[tuple[str, str]]]:
    found = list(members(io.BytesIO(data), name))
    good = {m.path: m.data for m in found if isinstance(m, Member)}
    return good, [(r.position, r.code) for r in found if isinstance(r, Reject)]


def tarred(entries: dict[str, bytes], *, link: str = "") -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        if link:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = tarfile.SYMTYPE, link
            archive.addfile(info)
    return held.getvalue()


def test_archives_of_every_kind_give_their_documents() -> None:
    inner = zipped({"deep.txt": "deep"})
    word = docx("Dear Jane")

    assert taken(zipped({"a/b.txt": "x", "w.docx": word, "i.zip": inner}), "z.zip") == (
        {"z.zip/a/b.txt": b"x", "z.zip/w.docx": word, "z.zip/i.zip/deep.txt": b"deep"}, [],
    )  # fmt: skip
    assert taken(tarred({"a.txt": b"x"}, link="/etc/passwd"), "t.tar") == ({"t.tar/a.txt": b"x"}, [])
    assert taken(gzip.compress(tarred({"a.txt": b"x"})), "t.tgz") == ({"t.tgz/t.tar/a.txt": b"x"}, [])
    assert taken(gzip.compress(b"one"), "log.txt.gz") == ({"log.txt.gz/log.txt": b"one"}, [])


def test_names_that_lead_out_are_left_out() -> None:
    data = zipped({"../../etc/cron.d/x": "x", "/abs.txt": "x", "ok.txt": "y", "C:/x": "x", "a\\..\\..\\b": "x"})

    assert taken(data, "z.zip") == ({"z.zip/ok.txt": b"y"}, [("z.zip", "unsafe_name")] * 4)
    assert taken(tarred({"../x": b"x"}), "t.tar") == ({}, [("t.tar", "unsafe_name")])
    assert not unsafe("a..b/c.txt")


def test_nests_and_bombs_end(monkeypatch: pytest.MonkeyPatch) -> None:
    nest = b"end"
    for n in range(6):
        nest = zipped({f"{n}.zip" if n else "x.txt": nest})
    bomb = zipped({f"{n}.txt": bytes(40 << 20) for n in range(20)})

    assert [code for _, code in taken(nest, "n.zip")[1]] == ["nested_too_deep"]
    assert len(bomb) < 1 << 20
    good, told = taken(bomb, "b.zip")
    assert (len(good), told) == (12, [("b.zip", "too_much_inside")])
    assert taken(zipped({"big.txt": bytes(70 << 20)}), "b.zip") == ({}, [("b.zip/big.txt", "too_large")])
    assert taken(gzip.compress(bytes(70 << 20)), "b.txt.gz") == ({}, [("b.txt.gz/b.txt", "too_large")])


def test_damaged_and_locked_members_are_told_and_the_others_come() -> None:
    data = bytearray(zipped({"a.txt": "a" * 99, "b.txt": "b" * 99}))
    data[35:39] = b"\xff" * 4
    locked = bytearray(zipped({"a.txt": "x"}))
    with zipfile.ZipFile(io.BytesIO(bytes(locked))) as archive:
        at = archive.start_dir
    locked[6] |= 1
    locked[at + 8] |= 1

    assert taken(bytes(data), "z.zip") == ({"z.zip/b.txt": b"b" * 99}, [("z.zip/a.txt", "broken_archive")])
    assert taken(bytes(data)[:80], "z.zip") == ({}, [("z.zip", "broken_archive")])
    assert taken(bytes(locked), "z.zip") == ({}, [("z.zip/a.txt", "password_protected")])
    assert taken(gzip.compress(b"x" * 99)[:-9], "a.gz") == ({}, [("a.gz/a", "truncated")])
    assert taken(gzip.compress(b"x") + b"end", "a.gz") == ({"a.gz/a": b"x"}, [("a.gz/a", "trailing_data")])
    packed = gzip.compress(zipped({"a.txt": "a"})) + b"end"
    assert taken(packed, "z.zip.gz") == ({"z.zip.gz/z.zip/a.txt": b"a"}, [("z.zip.gz/z.zip", "trailing_data")])
    packed = gzip.compress(tarred({"a.txt": b"a"})) + b"end"
    assert taken(packed, "t.tgz") == ({"t.tgz/t.tar/a.txt": b"a"}, [("t.tgz", "trailing_data")])


def test_rows_within_an_archive_are_told_and_never_pass_as_text() -> None:
    assert taken(zipped({"people.csv": "email\na@example.com"}), "z.zip") == (
        {},
        [("z.zip/people.csv", "rows_in_archive")],
    )


def test_what_is_no_archive_is_none() -> None:
    assert not is_archive(b"plain text", "a.txt")
    assert is_archive(tarred({"a": b"x"}), "a")


def test_a_folder_of_documents_gives_those_in_archives_too(tmp_path: Path) -> None:
    (tmp_path / "letters.zip").write_bytes(
        zipped({"a.txt": "hello", "b.pdf": pdf("one"), "cat.png": b"\x89PNG" + bytes(50)})
    )
    (tmp_path / "w.docx").write_bytes(docx("Dear Jane"))
    (tmp_path / "sheet.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with LocalBee.from_options({"path": str(tmp_path)}) as bee:
        documents = [row for batch in bee.collect_nectar("documents", None) for row in batch.table.to_pylist()]
        batches = list(bee.collect_nectar("records", None))

    assert {row["path"]: row["media_type"].rpartition(".")[2] for row in documents} == {
        "letters.zip/a.txt": "text/plain", "letters.zip/b.pdf": "application/pdf", "w.docx": "document",
    }  # fmt: skip
    assert [(r["a"], r["b"]) for batch in batches for r in batch.table.to_pylist()] == [("1", "2")]


def test_very_many_members_that_are_left_out_are_counted() -> None:
    data = zipped({f"../{n}.txt": b"x" for n in range(250)} | {"good.txt": b"words"})

    found = list(members(io.BytesIO(data), "z.zip"))
    told = [item for item in found if isinstance(item, Reject)]

    assert [item.path for item in found if isinstance(item, Member)] == ["z.zip/good.txt"]
    assert (len(told), {reject.code for reject in told}) == (101, {"unsafe_name"})
    assert told[-1].reason.startswith("150 more: ")


def odd() -> bytes:
    """Documents of which each but the first is left out, for a reason of its own."""
    data = bytearray(
        zipped({"a.txt": "a", "../up.txt": "up", "t.csv": "id\n1\n", "bad.txt": "x" * 99, "lock.txt": "k"})
    )
    at = data.index(b"bad.txt")
    data[at + 7 : at + 12] = b"\xff" * 5
    at = data.rindex(b"lock.txt") - 46
    data[at + 8] |= 1
    return bytes(data)


def read(folder: Path, archive: bytes) -> tuple[list[str], bool, list[str]]:
    (folder / "z.zip").write_bytes(archive)
    streams = {"papers": {"patterns": "*", "format": "document"}}
    with LocalBee.from_options({"path": str(folder), "streams": streams}) as bee:
        found = list(bee.collect_nectar("papers", None))
    codes = [reject.code for batch in found for reject in batch.rejects]
    return [row["path"] for batch in found for row in batch.table.to_pylist()], found[-1].complete, codes


def test_an_archive_with_documents_that_cannot_be_read_is_read_completely(tmp_path: Path) -> None:
    """Each of them is known by its path, or was never one: so what is gone elsewhere may leave the jar."""
    paths, complete, codes = read(tmp_path, odd())

    assert (paths, complete) == (["z.zip/a.txt"], True)
    assert sorted(codes) == ["broken_archive", "password_protected", "rows_in_archive", "unsafe_name"]


@pytest.mark.parametrize("inner", ["i.zip", "i"])
def test_an_archive_whose_list_or_inner_archive_is_damaged_is_not(tmp_path: Path, inner: str) -> None:
    whole = zipped({"a.txt": "a", "b.txt": "b"})

    assert read(tmp_path, whole)[1]
    assert not read(tmp_path, whole[:-30])[1]
    assert not read(tmp_path, zipped({"a.txt": "a", inner: whole[:-30]}))[1]
    locked = bytearray(zipped({"a.txt": "a", "i.zip": whole}))
    locked[locked.rindex(b"i.zip") - 46 + 8] |= 1
    assert not read(tmp_path, bytes(locked))[1]


def double() -> bytes:
    """What macOS keeps of a file beside it: a header, entries, and the name of a web page it came from."""
    head = b"\0\5\x16\7\0\2\0\0Mac OS X        \0\2" + b"\0\0\0\x09\0\0\0\x32\0\0\0\xb0"
    return head + bytes(34) + b"ATTR" + bytes(60) + b"com.apple.metadata:kMDItemWhereFroms" + bytes(100)


@pytest.mark.parametrize("packed", [True, False], ids=["in an archive", "plain"])
def test_what_macos_writes_beside_a_file_is_left_out_and_no_fault(tmp_path: Path, packed: bool) -> None:
    held = {"a.txt": "a", "__MACOSX/._a.txt": double(), "b.csv": "id\n1\n", "__MACOSX/._b.csv": double()}
    if packed:
        (tmp_path / "z.zip").write_bytes(zipped(held))
    else:
        (tmp_path / "__MACOSX").mkdir()
        for name, data in held.items():
            (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    with LocalBee.from_options({"path": str(tmp_path)}) as bee:
        found = {name: list(bee.collect_nectar(name, None)) for name in ("documents", "records")}

    assert [reject for batches in found.values() for batch in batches for reject in batch.rejects] == []
    assert [batches[-1].complete for batches in found.values()] == [True, True]
    taken = {name: [row for batch in batches for row in batch.table.to_pylist()] for name, batches in found.items()}
    assert [row["path"].rpartition("/")[2] for row in taken["documents"]] == ["a.txt"]
    assert [row["id"] for row in taken["records"]] == ["1"]


@pytest.mark.parametrize("ending", ["tar", "tar.gz"])
def test_a_tar_file_of_the_oldest_kind_is_one(tmp_path: Path, ending: str) -> None:
    """As `tar --format=v7` writes it: without the word `ustar`."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("Dear Jane")
    (tmp_path / "in" / "b.csv").write_text("id\n1\n")
    name = tmp_path / f"x.{ending}"
    pack = ["tar", "--format=v7", "-a", "-C", str(tmp_path / "in"), "-cf", str(name), "a.txt", "b.csv"]
    subprocess.run(pack, check=True)
    assert b"ustar" not in (name.read_bytes() if ending == "tar" else gzip.decompress(name.read_bytes()))

    with LocalBee.from_options({"path": str(tmp_path), "patterns": ["x.*"]}) as bee:
        texts = [row for batch in bee.collect_nectar("documents", None) for row in batch.table.to_pylist()]
        rows = [row for batch in bee.collect_nectar("records", None) for row in batch.table.to_pylist()]

    assert [row["content"] for row in texts] == [b"Dear Jane"]
    assert [row["id"] for row in rows] == ["1"]


def broken_tar(how: str) -> bytes:
    """An archive of five members, of which the first three are there still, or two."""
    whole = tarred({f"{n}.txt": b"x" for n in range(5)})
    if how == "header":
        return whole[: 2 * 1024 + 148] + b"9999999\0" + whole[2 * 1024 + 156 :]
    if how == "hole":
        return whole[: 2 * 1024] + bytes(1024) + whole[3 * 1024 :]
    return whole[: 3 * 1024 + (100 if how == "cut in a header" else 0)]


@pytest.mark.parametrize("how", ["header", "cut", "cut in a header", "hole"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_tar_file_that_is_damaged_between_its_members_deletes_none(tmp_path: Path, how: str, packed: bool) -> None:
    name = tmp_path / ("x.tgz" if packed else "x.tar")
    pack = gzip.compress if packed else bytes
    name.write_bytes(pack(tarred({f"{n}.txt": b"x" for n in range(5)})))
    with LocalBee.from_options({"path": str(tmp_path)}) as bee:
        cursor = list(bee.collect_nectar("documents", None))[-1].cursor
        name.write_bytes(pack(broken_tar(how)))
        found = list(bee.collect_nectar("documents", cursor))

    texts = [row for batch in found for row in batch.table.to_pylist()]
    deleted = [row["path"].rpartition("/")[2] for row in texts if row.get("_op")]
    if how == "hole":  # the member is gone, and what stands behind it is read
        assert (deleted, len(texts)) == (["2.txt"], 5)
    else:
        assert (deleted, len(texts)) == ([], 2 if how == "header" else 3)
        assert [r.code for batch in found for r in batch.rejects] == ["broken_archive"]
        assert not found[-1].complete


def test_tar_files_that_were_joined_are_read_as_one() -> None:
    good, told = taken(tarred({"a.txt": b"a"}) + tarred({"b.txt": b"b"}), "t.tar")

    assert (good, told) == ({"t.tar/a.txt": b"a", "t.tar/b.txt": b"b"}, [])


def damaged_zip(how: str) -> bytes:
    """An archive whose second member cannot be opened, or whose bytes are no data of its packing."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_BZIP2) as archive:
        for name in ("a.txt", "b.txt"):
            archive.writestr(name, "words " * 99)
        places = [archive.getinfo(name).header_offset for name in ("a.txt", "b.txt")] + [archive.start_dir]
    data = bytearray(held.getvalue())
    if how == "place":
        # The list stands earlier than the end says, so that all places move: the first one before the file.
        del data[places[0] + 40 : places[0] + 60]
    else:
        data[places[1] + 35 : places[1] + 60] = bytes(25)
    return bytes(data)


@pytest.mark.parametrize("how", ["place", "data"])
def test_an_archive_with_a_damaged_member_keeps_no_file_from_being_read(tmp_path: Path, how: str) -> None:
    (tmp_path / "a.zip").write_bytes(damaged_zip(how))
    (tmp_path / "z.txt").write_text("last")
    with LocalBee.from_options({"path": str(tmp_path)}) as bee:
        found = list(bee.collect_nectar("documents", None))

    assert "z.txt" in [row["path"] for batch in found for row in batch.table.to_pylist()]
    assert {r.code for batch in found for r in batch.rejects} == {"broken_archive"}


def damaged_list(how: str) -> bytes:
    data = bytearray(zipped({"a.txt": "a", "b.txt": "b", "c.txt": "c"}))
    entry, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    if how == "a comment that swallows the rest":
        data[entry + 32 : entry + 34] = (end - entry - 46 - 5).to_bytes(2, "little")
    elif how == "a name of no letters":
        data[entry + 28 : entry + 34] = b"\0\0\0\0\5\0"  # the name's bytes count as a comment
    else:
        data[end + 8 :] = bytes(len(data) - end - 8)
    return bytes(data)


@pytest.mark.parametrize(
    ("how", "left"),
    [("a comment that swallows the rest", ["a"]), ("a name of no letters", ["b", "c"]), ("a hole at the end", [])],
)
def test_a_zip_file_whose_list_is_damaged_deletes_nothing_and_keeps_no_other_back(
    tmp_path: Path, how: str, left: list[str]
) -> None:
    (tmp_path / "x.zip").write_bytes(zipped({"a.txt": "a", "b.txt": "b", "c.txt": "c"}))
    with LocalBee.from_options({"path": str(tmp_path)}) as bee:
        cursor = list(bee.collect_nectar("documents", None))[-1].cursor
        (tmp_path / "x.zip").write_bytes(damaged_list(how))
        (tmp_path / "z.txt").write_text("z")
        found = list(bee.collect_nectar("documents", cursor))

    texts = [row for batch in found for row in batch.table.to_pylist()]
    assert [row for row in texts if row.get("_op")] == []
    assert [row["path"] for row in texts] == [*(f"x.zip/{name}.txt" for name in left), "z.txt"]
    assert [r.code for batch in found for r in batch.rejects] == ["broken_archive"]


def with_nul(*names: tuple[str, str, str]) -> bytes:
    """A zip file of members (name, what stands in it for a NUL, content)."""
    data = zipped({name: text for name, _, text in names})
    for name, mark, _ in names:
        data = data.replace(name.encode(), name.replace(mark, "\0").encode() if mark else name.encode())
    return data


def test_a_name_with_a_nul_is_told_and_hides_no_other() -> None:
    """Python ends such a name at the NUL: then several are one, and it has another ending."""
    data = with_nul(("a@b.txt", "@", "one"), ("a@c.csv", "@", "two"), ("a", "", "three"), ("@d.txt", "@", "four"))

    assert taken(data, "z.zip") == ({"z.zip/a": b"three"}, [("z.zip", "unsafe_name")] * 3)


BROKEN_HOLDERS = ("b.tgz", "b.tar", "b.tar.gz", "b.txt.xz", "b.gz", "b.zip", "b.7z", "b.tbz2")


@pytest.mark.parametrize("data", [b"\x1f", b"\x00\x01\x02 none"])
def test_what_is_called_an_archive_and_is_none_is_told_once(tmp_path: Path, data: bytes) -> None:
    for name in BROKEN_HOLDERS:
        (tmp_path / name).write_bytes(data)
    (tmp_path / "good.txt").write_text("good")
    told: list[str] = []
    for stream in ("documents", "records"):
        with LocalBee.from_options({"path": str(tmp_path)}) as bee:
            batches = list(bee.collect_nectar(stream, None))
        told += [reject.position for batch in batches for reject in batch.rejects]
        assert not batches[-1].complete
        assert [r["path"] for b in batches for r in b.table.to_pylist()] == ["good.txt"] * (stream == "documents")

    assert sorted(position.partition("/")[0] for position in told) == sorted(BROKEN_HOLDERS)


@pytest.mark.parametrize("ending", ["docx", "epub", "odt", "pptx"])
def test_an_empty_zip_file_that_is_called_a_document_is_told(tmp_path: Path, ending: str) -> None:
    from nectar.extract import extract

    (tmp_path / f"e.{ending}").write_bytes(zipped({}))
    with LocalBee.from_options({"path": str(tmp_path)}) as bee:
        (batch,) = bee.collect_nectar("documents", None)

    assert extract(batch.table)[1] == {0: "unreadable_document"}
    assert taken(zipped({"in.docx": zipped({})}), "z.zip") == ({"z.zip/in.docx": zipped({})}, [])


@pytest.mark.parametrize("spoilt", ["nul", "byte"])
def test_an_archive_that_is_spoilt_loses_nothing_that_it_gave(tmp_path: Path, spoilt: str) -> None:
    name = "a.zip" if spoilt == "nul" else "a.tgz"
    whole = {"a.txt": "one", "b.csv": "id\n1\n"}
    made = zipped(dict(whole)) if spoilt == "nul" else gzip.compress(tarred({k: v.encode() for k, v in whole.items()}))
    (tmp_path / name).write_bytes(made)
    ends = {}
    for stream in ("documents", "records"):
        with LocalBee.from_options({"path": str(tmp_path)}) as bee:
            ends[stream] = list(bee.collect_nectar(stream, None))[-1].cursor
    (tmp_path / name).write_bytes(with_nul(("a@b.txt", "@", "one")) if spoilt == "nul" else b"\x1f")
    told = 0
    for stream in ("documents", "records"):
        with LocalBee.from_options({"path": str(tmp_path)}) as bee:
            batches = list(bee.collect_nectar(stream, ends[stream]))
        told += sum(len(batch.rejects) for batch in batches)
        assert not [row for batch in batches for row in batch.table.to_pylist()]
        assert not [section for batch in batches for section in batch.sections if section.ends]

    assert told == 1


def linked(*entries: tuple[str, bytes | str]) -> bytes:
    """A tar file of (name, content), or (name, the name that it is another one of)."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for name, what in entries:
            info = tarfile.TarInfo(name)
            if isinstance(what, str):
                info.type, info.linkname = tarfile.LNKTYPE, what
                archive.addfile(info)
            else:
                info.size = len(what)
                archive.addfile(info, io.BytesIO(what))
    return held.getvalue()


LINKED = linked(
    ("a.txt", b"one"), ("b.txt", "a.txt"), ("c.txt", "b.txt"), ("a.csv", b"id\n1\n"), ("b.csv", "./a.csv"),
    ("up.txt", "../x"), ("../d.txt", "a.txt"), ("a.txt", b"two"), ("e.txt", "a.txt"), ("lost.txt", "nowhere.txt"),
)  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
def test_the_other_name_of_a_file_in_a_tar_file_gives_what_the_first_gave(packed: bool) -> None:
    name, path = ("t.tgz", "t.tgz/t.tar") if packed else ("t.tar", "t.tar")
    data = gzip.compress(LINKED) if packed else LINKED

    good, told = taken(data, name)

    wanted = {"a.txt": b"one", "b.txt": b"one", "c.txt": b"one", "a (2).txt": b"two", "e.txt": b"two"}
    assert good == {f"{path}/{member}": content for member, content in wanted.items()}
    assert sorted(told) == sorted(
        [(f"{path}/{member}.csv", "rows_in_archive") for member in "ab"]
        + [(f"{path}/{member}.txt", "linked_member") for member in ("up", "lost")]
        + [(path, "unsafe_name")]
    )


@pytest.mark.parametrize("packed", [False, True])
def test_the_other_name_of_a_table_in_a_tar_file_is_a_table(packed: bool) -> None:
    data = gzip.compress(LINKED) if packed else LINKED

    parts = list(read_rows(io.BytesIO(data), "t.tgz" if packed else "t.tar", Reading(rows_apart=True)))

    rows = [row for part in parts for row in part.table.to_pylist()]
    assert [(row["source_file"].rpartition("/")[2], row["id"]) for row in rows] == [("a.csv", "1"), ("b.csv", "1")]


def test_a_file_that_is_too_large_to_be_held_is_told_under_its_other_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bees.core.formats.archives.LINKED", 2)

    good, told = taken(gzip.compress(linked(("a.txt", b"one"), ("b.txt", "a.txt"), ("c.txt", b"c"))), "t.tgz")

    assert good == {"t.tgz/t.tar/a.txt": b"one", "t.tgz/t.tar/c.txt": b"c"}
    assert told == [("t.tgz/t.tar/b.txt", "linked_member")]


@pytest.mark.parametrize("name", ["t.tar", "t.tgz"])
def test_reading_goes_on_amid_the_other_names_of_files(tmp_path: Path, name: str) -> None:
    entries = [(f"{n}.txt", b"%d" % n) for n in range(4)] + [(f"l{n}.txt", f"{n % 2}.txt") for n in range(4)]
    data = linked(*entries)
    (tmp_path / name).write_bytes(gzip.compress(data) if name == "t.tgz" else data)
    cursor, found = None, []
    for _ in range(20):
        with LocalBee.from_options({"path": str(tmp_path), "batch_rows": 1}) as bee:
            batch = next(iter(bee.collect_nectar("documents", cursor)), None)
        if batch is None:
            break
        cursor = batch.cursor
        found += [row["path"].rpartition("/")[2] for row in batch.table.to_pylist()]

    assert sorted(found) == sorted(path for path, _ in entries)


@pytest.mark.parametrize("how", ["cut", "flipped", "inner"])
@pytest.mark.parametrize("name", ["t.tgz", "t.tar.gz"])
def test_a_packed_tar_file_that_is_damaged_deletes_no_rows_of_a_stream_of_rows_alone(
    tmp_path: Path, name: str, how: str
) -> None:
    """Nothing of it can be unpacked, so that it looks like one member that is no table."""
    whole = bytearray(gzip.compress(tarred({"a.csv": b"id\n1\n2\n"})))
    (tmp_path / name).write_bytes(whole)
    options = {"path": str(tmp_path), "streams": {"rows": {"patterns": ["*.tgz", "*.tar.gz"], "format": "csv"}}}
    with LocalBee.from_options(options) as bee:
        first = list(bee.collect_nectar("rows", None))
    assert [section.stop for section in first[0].sections[:1]] == [2]
    whole[30] ^= 8
    broken = {"cut": bytes(whole[:20]), "flipped": bytes(whole), "inner": gzip.compress(tarred({"b.tgz": whole[:9]}))}
    (tmp_path / name).write_bytes(broken[how])

    with LocalBee.from_options(options) as bee:
        second = list(bee.collect_nectar("rows", first[-1].cursor))

    assert not [section for batch in second for section in batch.sections if section.ends]
    codes = {"cut": "truncated", "flipped": "broken_compression", "inner": "truncated"}
    assert [reject.code for batch in second for reject in batch.rejects] == [codes[how]]


@pytest.mark.parametrize("name", ["t.tar", "t.tgz", "t\udce9.tar"])
def test_names_within_a_tar_file_that_are_no_text_are_shown_and_stay_apart(tmp_path: Path, name: str) -> None:
    """As programs of other encodings write them. Nothing that comes of them may be what no database takes."""
    odd = os.fsdecode(b"\xe9")
    members = {
        f"caf{odd}.csv": b"id\n1\n2\n",
        os.fsdecode(b"caf\xe8.csv"): b"id\n3\n",
        f"d{odd}/x.jsonl": b'{"id": "4"}\n',
    }
    members |= {f"i{odd}.zip": zipped({"i.csv": "id\n5\n"}), "n\nl.csv": b"id\n6\n", f"bad{odd}.parquet": b"PAR1"}
    members |= {f"caf{odd}.txt": b"7", f"p{odd}.csv.gz": gzip.compress(b"id\n8\n")[:-9]}
    data = tarred(members)
    (tmp_path / name).write_bytes(gzip.compress(data) if name == "t.tgz" else data)
    found: dict[str, list[dict[str, str]]] = {}
    told: dict[str, list[str]] = {}
    for stream in ("documents", "records"):
        with LocalBee.from_options({"path": str(tmp_path), "batch_rows": 1}) as bee:
            batches = list(bee.collect_nectar(stream, None))
            last = list(bee.collect_nectar(stream, batches[0].cursor))
        assert all(json.dumps(batch.cursor, ensure_ascii=False).encode() for batch in batches)
        found[stream] = [row for batch in batches for row in batch.table.to_pylist()]
        told[stream] = [reject.position for batch in batches for reject in batch.rejects]
        assert all(position.encode() for position in told[stream])
        assert [row for batch in batches[1:] for row in batch.table.to_pylist()] == [
            row for batch in last for row in batch.table.to_pylist()
        ]

    assert [row["id"] for row in found["records"]] == ["1", "2", "3", "4", "5", "6", "8"]
    assert len({row["source_file"] for row in found["records"]}) == 6
    assert [row["content"] for row in found["documents"]] == [b"7"]
    assert (len(told["records"]), told["documents"]) == (2, [])

"""A pass over a made-up file system: what fails, what is gone, and what is remembered of very many files."""

from __future__ import annotations

import errno
import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bees.core import file_inside
from bees.core.errors import GiveUp, RetryLater
from bees.core.file_inside import Told
from bees.core.filebee import FileBee, RemoteOptions
from bees.core.storage.base import Closed, Entry, Gone, Listed, Pile, Storage, Unreadable, walk
from bees.core.storage.memory import SENT, Memory, Record, begun_anew, pack, unpack
from nectar.batch import Batch
from tests.bees.contract import rows
from tests.bees.file_systems import sections


class MadeStorage(Storage):
    """`files` by path; `broken` raises when a file is read; `refused` folders may not be listed."""

    def __init__(self, files: dict[str, str]) -> None:
        super().__init__(1)
        self.files = files
        self.broken: dict[str, Exception] = {}
        self.listed: list[Listed] = []
        self.reads: list[str] = []

    def check(self) -> None: ...

    def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
        found: list[Listed] = [Entry(p, len(t), f"v {t}", 0) for p, t in self.files.items()]
        for item in sorted([*found, *self.listed], key=lambda item: item.key):
            if item.key > after:
                yield item
        if "end of listing" in self.broken:
            raise self.broken["end of listing"]

    def read(self, entry: Entry, start: int, size: int) -> bytes:
        self.reads.append(entry.path)
        if entry.path in self.broken:
            raise self.broken[entry.path]
        return self.files[entry.path].encode()[start : start + size]

    def look(self, path: str) -> Entry | None:
        return Entry(path, 0, "") if path in self.files else None


class MadeBee(FileBee):
    Options: ClassVar[type[RemoteOptions]] = RemoteOptions
    storage: MadeStorage

    def connect(self) -> Storage:
        return self.storage

    def source_identity(self) -> str:
        return "made"


def read(
    storage: MadeStorage, cursor: Any = None, stream: str = "documents", **options: Any
) -> tuple[list[Batch], Exception | None]:
    bee = MadeBee.from_options(options)
    bee.storage = storage
    got: list[Batch] = []
    try:
        got.extend(bee.collect_nectar(stream, json.loads(json.dumps(cursor)) if cursor else None))
    except (GiveUp, RetryLater) as error:
        return got, error
    return got, None


def deleted(batches: list[Batch]) -> list[str]:
    return [row["path"] for row in rows(batches) if row.get("_op") == "delete"]


def coded(batches: list[Batch]) -> list[tuple[str, str]]:
    return [(r.position, r.code) for b in batches for r in b.rejects]


def texts(number: int) -> dict[str, str]:
    return {f"{n:03}.txt": f"text {n}" for n in range(number)}


def test_when_very_many_are_gone_a_person_is_asked_and_everything_else_goes_on() -> None:
    storage = MadeStorage(texts(100))
    end = read(storage)[0][-1].cursor
    storage.files = {p: t for p, t in storage.files.items() if p < "060"} | {"new.txt": "new"}

    held, _ = read(storage, end)
    again, _ = read(storage, held[-1].cursor)
    allowed, _ = read(storage, held[-1].cursor, max_deleted=1)

    assert (deleted(held), coded(held)) == ([], [("documents", "too_many_gone")])
    assert [r["path"] for r in rows(held)] == ["new.txt"]
    assert again == [], "it is told once"
    assert len(deleted(allowed)) == 40


class Objects(MadeStorage):
    """A store without folders."""

    def is_there(self) -> bool:
        return bool(self.files)


def tables(number: int) -> dict[str, str]:
    return {f"{n}.csv": f"id\n{n}\n" for n in range(number)}


@pytest.mark.parametrize("number", [1, 3, 30])
@pytest.mark.parametrize(("stream", "made"), [("documents", texts), ("records", tables)])
def test_where_nothing_is_listed_under_a_prefix_nothing_is_deleted(
    stream: str, made: Callable[[int], dict[str, str]], number: int
) -> None:
    """A misspelt prefix looks as an empty one does."""
    storage = Objects(made(number))
    end = read(storage, stream=stream)[0][-1].cursor
    whole, storage.files = storage.files, {}

    held = read(storage, end, stream)[0]
    again = read(storage, held[-1].cursor, stream)[0]
    meant = read(storage, held[-1].cursor, stream, max_deleted=1)[0]
    refreshed = read(storage, MadeBee.begin_anew(held[-1].cursor), stream)[0]
    storage.files = whole
    back = read(storage, held[-1].cursor, stream)[0]

    assert (deleted(held), sections(held), coded(held)) == ([], [], [(stream, "nothing_listed")])
    assert "check `path`" in held[0].rejects[0].reason
    assert (again, refreshed[-1].complete, rows(back), coded(back)) == ([], True, [], [])
    assert len(deleted(meant) or sections(meant)) == number


@pytest.mark.parametrize("mode", ["file_monitor", "bucket_snapshot"])
def test_a_first_reading_of_nothing_under_a_prefix_is_not_complete(mode: str) -> None:
    """Where `path` was changed the bee knows nothing of what came before, and the hive would find all of it gone."""
    storage = Objects({})
    first = read(storage, mode=mode)[0]
    again = read(storage, first[-1].cursor, mode=mode)[0]
    refreshed = read(storage, MadeBee.begin_anew(first[-1].cursor), mode=mode)[0]
    meant = read(storage, first[-1].cursor, mode=mode, max_deleted=1)[0]
    storage.files = texts(2)
    found = read(storage, first[-1].cursor, mode=mode)[0]

    assert ([b.complete for b in first], coded(first)) == ([False], [("documents", "nothing_listed")])
    assert not any(b.complete or b.rejects for b in again), "it is told once"
    assert [b[-1].complete for b in (refreshed, meant, found)] == [True, True, True]
    assert (coded(refreshed), coded(meant), len(rows(found))) == ([], [], 2)


def test_where_no_file_is_wanted_under_a_prefix_what_is_gone_is_gone() -> None:
    storage = Objects(texts(3))
    end = read(storage)[0][-1].cursor
    storage.files = {"picture.csv": "id\n1\n"}

    assert len(deleted(read(storage, end)[0])) == 3


def test_what_comes_back_is_not_deleted() -> None:
    storage = MadeStorage(texts(100))
    end = read(storage)[0][-1].cursor
    whole, storage.files = storage.files, {}
    held, _ = read(storage, end)
    storage.files = whole

    batches, _ = read(storage, held[-1].cursor)

    assert (rows(batches), coded(batches)) == ([], [])


def test_a_listing_that_breaks_off_deletes_nothing_and_goes_on_where_it_was() -> None:
    storage = MadeStorage(texts(9))
    end = read(storage)[0][-1].cursor
    del storage.files["002.txt"]
    storage.files["007.txt"] = "changed"
    storage.broken["end of listing"] = RetryLater("the token expired", code="denied")

    first, error = read(storage, end)
    storage.broken.clear()
    storage.reads.clear()
    rest, _ = read(storage, first[-1].cursor)

    assert isinstance(error, RetryLater)
    assert (deleted(first), [r["path"] for r in rows(first)]) == ([], ["007.txt"])
    assert (deleted(rest), storage.reads) == (["002.txt"], [])


def test_nothing_counts_as_gone_in_a_folder_that_is_closed() -> None:
    storage = MadeStorage({"a/1.txt": "1", "a/b/2.txt": "2", "c.txt": "3"})
    end = read(storage)[0][-1].cursor
    storage.files = {}
    storage.listed = [Closed("a")]

    closed, _ = read(storage, end)
    storage.listed = []
    opened, _ = read(storage, closed[-1].cursor)

    assert (deleted(closed), coded(closed)) == (["c.txt"], [("a", "unreadable")])
    assert deleted(opened) == ["a/1.txt", "a/b/2.txt"]


@pytest.mark.parametrize("failure", [RetryLater("no answer", code="timeout"), OSError(errno.EINVAL, "odd")])
def test_one_file_that_fails_is_tried_again_and_then_told_and_the_rest_comes(failure: Exception) -> None:
    storage = MadeStorage(texts(4))
    storage.broken["001.txt"] = failure

    first, error = read(storage)
    second, _ = read(storage, first[-1].cursor)
    third, _ = read(storage, second[-1].cursor)
    storage.broken.clear()
    last, _ = read(storage, second[-1].cursor)

    assert error is None
    assert [r["path"] for r in rows(first)] == ["000.txt", "002.txt", "003.txt"]
    assert not first[-1].complete
    assert (coded(first), coded(second), coded(third)) == ([], [("001.txt", "unavailable")], [])
    assert [r["path"] for r in rows(last)] == ["001.txt"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_large_file_that_always_ends_early_keeps_no_other_from_being_read(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setattr(Storage, "block", 1 << 18)
    table = "id,text\n" + "".join(f"{n},{'x' * 100}\n" for n in range(60_000))
    storage = MadeStorage({"a.csv": table, "b.csv": "id\n1\n"})
    real = MadeStorage.read

    def short(self: MadeStorage, entry: Entry, start: int, size: int) -> bytes:
        if fails and entry.path == "a.csv" and start + size > 5_000_000:
            raise OSError(errno.EUCLEAN, "the file system is damaged here")
        return real(self, entry, start, size)[: max(5_000_000 - start, 0) if entry.path == "a.csv" else None]

    cursor: Any = None
    found: list[Batch] = []
    with monkeypatch.context() as broken:
        broken.setattr(MadeStorage, "read", short)
        for _ in range(4):  # legs
            batches, _ = read(storage, cursor, stream="records")
            found += batches
            cursor = found[-1].cursor
    mended, error = read(storage, cursor, stream="records")

    assert {row["source_file"] for row in rows(found)} == {"a.csv", "b.csv"}
    assert coded(found) == [("a.csv", "unavailable")]
    assert not any(ends for name, *_, ends in sections(found) if name == "a.csv")
    assert (error, len(rows(mended))) == (None, 60_000)
    assert [begins for _, _, begins, _ in sections(mended)].index(True) == 0
    assert sections(mended)[-1][-1], "read whole"


def legs(storage: MadeStorage, most: int, stream: str = "documents") -> tuple[list[Batch], list[Exception | None]]:
    """What a flight of at most so many legs gives, and how each of them ended."""
    cursor: Any = None
    found: list[Batch] = []
    ends: list[Exception | None] = []
    while len(ends) < most and not (ends and ends[-1] is None):
        batches, error = read(storage, cursor, stream)
        found += batches
        cursor = found[-1].cursor
        ends.append(error)
    return found, ends


def test_a_source_that_asks_to_wait_is_waited_for_and_no_file_is_passed_over() -> None:
    storage = MadeStorage(texts(6))
    slow = RetryLater("slow down", code="rate_limited", after=3)
    asked = iter([slow, slow, slow, None, slow, slow])
    real = storage.read

    def limited(entry: Entry, start: int, size: int) -> bytes:
        if entry.path >= "002.txt" and (problem := next(asked, None)):
            raise problem
        return real(entry, start, size)

    storage.read = limited  # type: ignore[method-assign]
    found, ends = legs(storage, 9)

    assert [r["path"] for r in rows(found)] == [f"{n:03}.txt" for n in range(6)]
    assert (ends, coded(found)) == ([slow] * 5 + [None], [])


def test_a_file_that_is_always_for_later_keeps_no_other_from_being_read() -> None:
    storage = MadeStorage(texts(6))
    storage.broken["000.txt"] = RetryLater("too many requests", code="rate_limited", after=3)

    found, ends = legs(storage, 9)

    assert ends[-1] is None
    assert [r["path"] for r in rows(found)] == [f"{n:03}.txt" for n in range(1, 6)]


@pytest.mark.parametrize("whole", [False, True], ids=["the file", "the source"])
def test_a_large_file_that_hangs_at_one_place_keeps_no_other_from_being_read(
    monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Where the source answers to nothing else either, the place in the file is kept."""
    monkeypatch.setattr(Storage, "block", 1 << 18)
    table = "id,text\n" + "".join(f"{n},{'x' * 100}\n" for n in range(60_000))
    storage = MadeStorage({"a.csv": table, "b.csv": "id\n1\n"})
    real, silent = MadeStorage.read, RetryLater("the server does not answer in time", code="timeout")

    def hanging(self: MadeStorage, entry: Entry, start: int, size: int) -> bytes:
        if entry.path == "a.csv" and start + size > 5_000_000:
            raise silent
        return real(self, entry, start, size)

    def check(self: MadeStorage) -> None:
        if whole:
            raise silent

    with monkeypatch.context() as broken:
        broken.setattr(MadeStorage, "read", hanging)
        broken.setattr(MadeStorage, "check", check)
        found, ends = legs(storage, 3, "records")
    mended, error = read(storage, found[-1].cursor, "records")

    assert ends == [silent] * 3 if whole else [silent, None]
    assert coded(found) == ([] if whole else [("a.csv", "unavailable")])
    assert (len(rows(found)) + len(rows(mended)) == 60_001) == whole, "no row comes twice where the source was away"
    assert error is None


def test_a_source_that_fails_keeps_what_was_read() -> None:
    storage = MadeStorage(texts(9))
    storage.broken = {f"{n:03}.txt": RetryLater("slow down", code="rate_limited") for n in range(4, 9)}

    first, error = read(storage)
    storage.broken.clear()
    rest, _ = read(storage, first[-1].cursor)
    last, _ = read(storage, rest[-1].cursor)

    assert isinstance(error, RetryLater)
    assert [r["path"] for r in rows(first)] == [f"{n:03}.txt" for n in range(4)]
    assert {r["path"] for r in rows(rest) + rows(last)} == {f"{n:03}.txt" for n in range(4, 9)}


@pytest.mark.parametrize(("error", "told"), [(Gone(), []), (Unreadable(), [("001.txt", "unreadable")])])
def test_one_file_that_is_gone_or_refused_hurts_nobody_else(error: Exception, told: list[Any]) -> None:
    storage = MadeStorage(texts(3))
    storage.broken["001.txt"] = error

    batches, failed = read(storage)

    assert failed is None
    assert ([r["path"] for r in rows(batches)], coded(batches)) == (["000.txt", "002.txt"], told)


@pytest.mark.parametrize("stream", ["documents", "records"])
def test_a_file_that_is_listed_and_never_there_is_told(stream: str) -> None:
    """Its name may be one that cannot be asked for: that it is not read shall be known."""
    name = "b.txt" if stream == "documents" else "b.csv"
    storage = MadeStorage({name.replace("b", n): f"id\n{n}\n" for n in "abc"})
    storage.broken[name] = Gone()
    flights: list[list[Batch]] = []
    for _ in range(4):
        flights.append(
            read(storage, flights[-1][-1].cursor if flights and flights[-1] else None, stream)[0] or flights[-1]
        )
    storage.broken.clear()
    mended, _ = read(storage, flights[1][-1].cursor, stream)

    assert [len(rows(found)) for found in flights[:2]] == [2, 0]
    assert [coded(found) for found in flights[:2]] == [[], [(name, "not_there")]]
    assert flights[1] is flights[2] is flights[3], "it is told once"
    assert len(rows(mended)) == 1


def test_a_file_that_goes_while_it_is_read_is_not_told() -> None:
    """Such as one that is written under another name first: each time it is another version."""
    storage = MadeStorage(texts(2))
    storage.broken["001.txt"] = Gone()
    first, _ = read(storage)
    storage.files["001.txt"] = "another text"
    second, _ = read(storage, first[-1].cursor)
    del storage.files["001.txt"]
    third, _ = read(storage, second[-1].cursor)

    assert [code for found in (first, second, third) for code in coded(found)] == []


def test_a_listing_in_no_order_is_refused() -> None:
    class Shuffled(MadeStorage):
        def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
            yield from (Entry(path, 1, "v") for path in ("b.txt", "a.txt"))

    _, error = read(Shuffled({"a.txt": "a", "b.txt": "b"}))

    assert isinstance(error, GiveUp)
    assert error.code == "unordered_listing"


def test_a_loop_of_folders_ends() -> None:
    found = list(walk(lambda path: ([], [f"{path}/x" if path else "x"]), b"", recursive=True))

    assert [(item.code, item.path.count("/")) for item in found if isinstance(item, Closed)] == [("too_deep", 63)]


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), unique=True, max_size=40))
def test_a_block_gives_back_what_it_was_made_of(paths: list[str]) -> None:
    keys = sorted(path.encode("utf-8", "surrogateescape") for path in paths)
    records = [Record(key, b"version", b"content", SENT)._replace(version=b"v" * 6, content=b"c" * 6) for key in keys]

    assert unpack(pack(records)) == records


def test_a_hundred_thousand_files_are_remembered_in_little_and_found_by_content() -> None:
    memory = Memory("", {})
    for number in range(100_000):
        key = b"docs/%03d/report-%07d.txt" % (number // 1000, number)
        print_ = memory.content(b"%d" % number)
        memory.keep(key, Record(key, print_, print_, SENT))
    end = memory.ended(forget=True)
    again = Memory("", json.loads(json.dumps(end)))

    assert len(json.dumps(end)) < 25 * 100_000
    assert sum(1 for _ in again.old()) == 100_000
    assert list(again.same_content(again.content(b"77777"))) == [b"docs/077/report-0077777.txt"]
    assert b"report" not in json.dumps(end).encode()


def test_an_unchanged_bucket_of_a_hundred_thousand_keys_is_not_read() -> None:
    storage = MadeStorage({f"{n:06}.txt": "same" for n in range(100_000)})
    memory = Memory(MadeBee.from_options({})._plan("documents").settings, {})
    for entry in storage.entries(b"", recursive=True):
        assert isinstance(entry, Entry)
        memory.keep(entry.key, Record(entry.key, memory.version(entry), memory.content(b"same"), SENT))

    assert read(storage, memory.ended(forget=True)) == ([], None)
    assert storage.reads == []


def test_a_pile_of_files_is_listed_as_a_list_of_them_is_and_takes_little() -> None:
    def listing(made: type, ref: str | None = "tag") -> Any:
        def listed(folder: str) -> Any:
            files, base = made(), f"{folder}/" if folder else ""
            for name in ("b", "a", "a.b", "é", "b", "\udcff", "a!", "b"):
                files.append(Entry(f"{base}{name}", len(name), f"v {name}", None, 2**63, ref=ref))
            return files, ["a!x", "in", "a"] if not folder else []

        return listed

    for after in (b"", b"a", b"a/b", b"in/a.b"):
        piled, plain = (list(walk(listing(kind), after, recursive=True)) for kind in (Pile, list))
        assert piled == plain
    for ref, told in (("tag", 0), (None, 1)):  # one of the same tag is the same file
        assert sum(isinstance(item, Closed) for item in walk(listing(Pile, ref), b"", recursive=False)) == told

    pile = Pile()
    tracemalloc.start()
    for number in range(50_000):
        pile.append(Entry(f"folder/file-{number:09}.txt", number, f"{number} {10**18 + number}", 10**15, 10**18))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / 50_000 < 200


@pytest.mark.parametrize("kind", [Pile, list])
def test_a_name_that_is_told_twice_stops_no_listing(kind: type) -> None:
    """Its neighbours stand between it and what is within a folder of that name."""

    def listed(folder: str) -> Any:
        files, base = kind(), f"{folder}/" if folder else ""
        for name, size in (("a", 1), ("a", 2), ("a-b", 1), ("a b", 1), ("a0", 1), ("z", 1), ("z", 1), ("z!", 1)):
            files.append(Entry(f"{base}{name}", size, f"ETag {size}"))
        return files, ["a"] if not folder else []

    found = list(walk(listed, b"", recursive=True))

    keys = [item.key for item in found]
    assert keys == sorted(set(keys))
    assert [item.path for item in found if isinstance(item, Closed)] == ["a", "a/a"], "the same file twice is one"
    assert [item.path for item in found if isinstance(item, Entry)][:5] == ["a", "a b", "a-b", "a/a", "a/a b"]


def test_a_key_that_a_server_lists_twice_is_read_once() -> None:
    class Doubling(MadeStorage):
        def entries(self, after: bytes, *, recursive: bool) -> Iterator[Listed]:
            for item in super().entries(after, recursive=recursive):
                yield from (item, item)

    batches, error = read(Doubling(texts(3)))

    assert error is None
    assert [row["path"] for row in rows(batches)] == ["000.txt", "001.txt", "002.txt"]


def test_a_long_listing_without_a_batch_tells_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of unchanged files, of files that no pattern wants, and of what is gone between them."""
    monkeypatch.setattr("bees.core.file_listing._UNWANTED", 3)
    storage = MadeStorage(texts(9) | {f"{n:03}.bin": "" for n in range(20, 40)} | {"050.txt": "last"})
    options: dict[str, Any] = {"patterns": ["*.txt"], "max_deleted": 1}
    end = read(storage, **options)[0][-1].cursor
    monkeypatch.setattr("bees.core.file_batches._QUIET", 0.0)

    told, _ = read(storage, end, **options)

    assert len({batch.cursor["pos"] for batch in told[:-1]}) >= 9 + 20 // 3
    assert (rows(told), coded(told), told[-1].cursor) == ([], [], end), "its end comes last, also where nothing changed"

    del storage.files["008.txt"]
    found, cursor = list[Batch](), end
    for _ in range(40):  # a leg that is handed over after each batch
        bee = MadeBee.from_options(options)
        bee.storage = storage
        batch = next(bee.collect_nectar("documents", json.loads(json.dumps(cursor))), None)
        if batch is None:
            break
        found.append(batch)
        cursor = batch.cursor
        if "pos" not in cursor:
            break

    assert "pos" not in cursor, "every leg gets further"
    assert deleted(found) == ["008.txt"]


def test_deletions_that_wait_are_told_once_also_by_a_long_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = MadeStorage(texts(100))
    end = read(storage)[0][-1].cursor
    storage.files = {p: t for p, t in storage.files.items() if p < "060"}
    held = read(storage, end)[0][-1].cursor
    monkeypatch.setattr("bees.core.file_batches._QUIET", 0.0)

    middle = read(storage, held)[0][20].cursor
    rest, _ = read(storage, middle)

    assert "pos" in middle
    assert coded(rest) == []


@pytest.mark.parametrize("mode", ["file_monitor", "bucket_snapshot"])
def test_a_pass_in_which_a_file_went_away_is_not_complete(mode: str) -> None:
    storage = MadeStorage(texts(4))
    storage.broken["002.txt"] = Gone()

    batches, _ = read(storage, mode=mode)

    assert len(rows(batches)) == 3
    assert not batches[-1].complete


@pytest.mark.parametrize("stream", ["documents", "records"])
def test_a_leg_that_ends_amid_deletions_is_followed_by_one_that_goes_on_behind_them(stream: str) -> None:
    ending = ".txt" if stream == "documents" else ".csv"
    storage = MadeStorage({f"{n:02}{ending}": "id,name\n1,a\n" for n in range(12)} | {f"z{ending}": "id,name\n2,b\n"})
    cursor = read(storage, stream=stream)[0][-1].cursor
    storage.files = {f"z{ending}": storage.files[f"z{ending}"]}
    told: list[str] = []

    for _ in range(4):  # each leg ends after its first batch
        batch = read(storage, cursor, stream, max_deleted=1, batch_rows=3)[0][0]
        told += deleted([batch]) or [s.name for s in batch.sections if s.begins and s.ends]
        cursor = batch.cursor

    assert told == [f"{n:02}{ending}" for n in range(12)]
    assert read(storage, cursor, stream, max_deleted=1) == ([], None)


def test_very_many_deletions_take_little_memory() -> None:
    bee = MadeBee.from_options({"max_deleted": 1, "max_file_bytes": 1000})
    memory = Memory(bee._plan("documents").settings, {})
    for number in range(40_000):
        memory.keep(b"docs/%07d.txt" % number, Record(b"docs/%07d.txt" % number, b"v" * 6, b"c" * 6, SENT))
    cursor, bee.storage = memory.ended(forget=True), MadeStorage({"docs/left.txt": "left"})
    read(MadeStorage({"a.txt": "what is imported takes memory once"}))
    tracemalloc.start()
    try:
        count = sum(batch.table.num_rows for batch in bee.collect_nectar("documents", cursor))
        assert tracemalloc.get_traced_memory()[1] < 200 * count
    finally:
        tracemalloc.stop()
    assert count == 40_001


def test_of_renamed_files_with_equal_contents_each_tells_a_name_of_its_own() -> None:
    storage = MadeStorage({f"{n}.txt": "equal" for n in range(8)})
    cursor = read(storage)[0][-1].cursor
    storage.files = {"5.txt": "equal", "new.txt": "new"} | {f"moved {n}.txt": "equal" for n in range(7)}

    batches = read(storage, cursor, max_deleted=1)[0]

    moved = [row["moved_from"] for row in rows(batches) if str(row["path"]).startswith("moved")]
    assert sorted(moved) == [f"{n}.txt" for n in (0, 1, 2, 3, 4, 6, 7)]
    assert [row["moved_from"] for row in rows(batches) if row["path"] == "new.txt"] == [None]


@pytest.mark.parametrize("flight", [False, True], ids=["legs", "flights"])
@pytest.mark.parametrize("stops", [1, 2, 5])
def test_an_old_name_belongs_to_one_new_name_wherever_reading_stops(stops: int, flight: bool) -> None:
    storage = MadeStorage({f"{n}.txt": "equal" for n in range(9)} | {"z.txt": "other"})
    cursor = read(storage)[0][-1].cursor
    storage.files = {"5.txt": "equal", "zz.txt": "other"} | {f"{at} {n}.txt": "equal" for at in "ax" for n in range(6)}
    batches: list[Batch] = []
    while len(batches) < 100:
        more = read(storage, cursor, max_deleted=1, batch_rows=1)[0][:stops]
        batches += more
        if not more:
            break
        cursor = begun_anew(more[-1].cursor) if flight else more[-1].cursor

    moved = [row["moved_from"] for row in rows(batches) if row.get("moved_from")]
    assert sorted(moved) == sorted([f"{n}.txt" for n in (0, 1, 2, 3, 4, 6, 7, 8)] + ["z.txt"])
    assert "moved" not in cursor


def test_a_thousand_renamed_files_are_told_in_little_time() -> None:
    """All of them alike: whoever looked at each old name for each new one would look a million times."""
    storage = MadeStorage({f"{n:04}.txt": "equal" for n in range(3000)})
    cursor = read(storage)[0][-1].cursor
    storage.files = {f"new {n:04}.txt": "equal" for n in range(3000)}
    batches: list[Batch] = []
    begun = time.process_time()
    while more := read(storage, cursor, max_deleted=1, batch_rows=500)[0][:1]:
        batches += more
        cursor = more[-1].cursor

    assert len({row["moved_from"] for row in rows(batches) if row.get("moved_from")}) == 3000
    assert time.process_time() - begun < 20


def test_names_that_were_told_are_packed_once_and_known_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_inside, "_TOGETHER", 10)
    packed: list[int] = []
    pack = file_inside.packed_keys
    monkeypatch.setattr(file_inside, "packed_keys", lambda keys: (packed.append(len(keys)), pack(keys))[1])
    told = Told(pack([b"older"]))
    for number in range(95):
        told.add(b"%d" % number)
        stored = told.stored()

    assert max(packed) <= 10
    again = Told(json.loads(json.dumps(stored)))
    assert all(key in again for key in [b"older", *(b"%d" % number for number in range(95))])
    assert b"95" not in again
    assert not Told(None)
    assert [b"a" in Told(text) for text in ("", "no pack", 7, [])] == [False] * 4

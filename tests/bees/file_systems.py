"""What the file bee must do on every file system, beside the contract of every bee.

class TestFtp(FileSystemContract):
    connector = "ftp"

    @pytest.fixture
    def disk(self, ...): ...    # a `Disk`: ways to change the files behind the server, and options to read them
"""

from __future__ import annotations

import inspect
import json
from abc import ABC, abstractmethod
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bees.core.file_sections import LISTED
from bees.core.storage.base import Storage
from nectar.batch import Batch
from tests.bees.contract import BeeContract, Source, bee_class, rows


class Disk(ABC):
    """The files behind a server. `options` read its folder `root`; `secrets` may show nowhere."""

    secrets: tuple[str, ...] = ()
    options: dict[str, Any]
    unreachable: dict[str, Any]
    denied: dict[str, Any] | None = None

    @abstractmethod
    def put(self, path: str, data: bytes) -> None:
        """Write `data` so that the version is another one, old enough to be trusted where times are all there is."""

    @abstractmethod
    def remove(self, path: str) -> None: ...

    @abstractmethod
    def files(self) -> dict[str, bytes]: ...


class FolderDisk(Disk):
    """A server over a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._second = 1_700_000_000

    def put(self, path: str, data: bytes) -> None:
        import os

        at = self.folder / path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(data)
        self._second += 1
        os.utime(at, (self._second, self._second))
        for made in (at, *at.parents):
            if made.is_relative_to(self.folder):
                made.chmod(0o755 if made.is_dir() else 0o644)

    def remove(self, path: str) -> None:
        (self.folder / path).unlink()

    def files(self) -> dict[str, bytes]:
        return {str(p.relative_to(self.folder)): p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}


def read(
    connector: str, options: dict[str, Any], stream: str = "documents", cursor: Any = None, **more: Any
) -> list[Batch]:
    with bee_class(connector).from_options(options | more) as bee:
        return list(bee.collect_nectar(stream, json.loads(json.dumps(cursor)) if cursor else cursor))


def sections(batches: list[Batch]) -> list[tuple[str, int, bool, bool]]:
    """(file, rows, begins, ends) in the order in which they are told."""
    return [(s.name, s.stop - s.start, s.begins, s.ends) for b in batches for s in b.sections if s.name != LISTED]


class FileSystemContract(BeeContract):
    row_bytes = 90
    odd_names: tuple[str, ...] = ("sp ace & per%cent+plus#hash?.txt", "ümläut.txt", "x" * 250 + ".txt")

    @pytest.fixture
    def disk(self) -> Disk:
        raise NotImplementedError

    @pytest.fixture
    def source(self, disk: Disk) -> Source:
        for path in ("a.md", "b/c.txt", "b.txt", "b/d/e.txt"):
            disk.put(path, path.encode())
        return Source(
            options=disk.options | {"batch_rows": 1}, stream="documents",
            keys={"a.md", "b/c.txt", "b.txt", "b/d/e.txt"},
            key_of=lambda row: row["path"], unreachable=disk.unreachable, denied=disk.denied, secrets=disk.secrets,
            fingerprint=disk.files,
        )  # fmt: skip

    def look(self, disk: Disk, stream: str = "documents", cursor: Any = None, **more: Any) -> list[Batch]:
        return read(self.connector, disk.options, stream, cursor, **more)

    def test_what_changed_comes_what_is_gone_is_deleted_and_a_new_name_tells_the_old_one(self, disk: Disk) -> None:
        for name, text in {"a.txt": b"one", "b.txt": b"two", "c.txt": b"three", "in/d.txt": b"four"}.items():
            disk.put(name, text)
        first = self.look(disk)
        assert first[-1].complete
        disk.put("b.txt", b"two, changed")
        disk.put("in/e.txt", b"three")
        disk.remove("c.txt")
        disk.remove("a.txt")

        second = self.look(disk, cursor=first[-1].cursor)

        assert [(r["path"], r["moved_from"]) for r in rows(second[:1])] == [("b.txt", None), ("in/e.txt", "c.txt")]
        assert rows(second[1:]) == [{"path": "a.txt", "_op": "delete"}, {"path": "c.txt", "_op": "delete"}]

    def test_a_table_that_changed_is_told_whole_and_one_that_is_gone_is_told(self, disk: Disk) -> None:
        disk.put("a.csv", b"id\n1\n2\n")
        disk.put("in/b.csv", b"id\n3\n")
        first = self.look(disk, "records")
        assert sections(first) == [("a.csv", 2, True, True), ("in/b.csv", 1, True, True)]
        disk.put("a.csv", b"id\n1\n")
        disk.remove("in/b.csv")

        second = self.look(disk, "records", first[-1].cursor)

        assert sections(second) == [("a.csv", 1, True, True), ("in/b.csv", 0, True, True)]
        assert self.look(disk, "records", second[-1].cursor) == []

    def test_unchanged_files_are_listed_and_not_read(self, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, text in {
            "a.txt": b"one",
            "b.csv": b"id\n1\n2\n",
            "c/d.txt": b"x",
            "c/e.jsonl": b'{"id": 3}\n',
        }.items():
            disk.put(name, text)
        streams = ("documents", "records")
        ends = {stream: self.look(disk, stream)[-1].cursor for stream in streams}
        asked: list[Any] = []
        for kind in _kinds(Storage):
            for name in ("open", "fetch", "ahead", "read"):
                if name in vars(kind):
                    monkeypatch.setattr(kind, name, lambda *args: asked.append(args))

        assert [self.look(disk, stream, ends[stream]) for stream in streams] == [[], []]
        assert asked == []

    @pytest.mark.parametrize("stream", ["documents", "records"])
    def test_a_transfer_that_ends_early_is_not_the_file(
        self, disk: Disk, monkeypatch: pytest.MonkeyPatch, stream: str
    ) -> None:
        name = "b.txt" if stream == "documents" else "b.csv"
        disk.put(name.replace("b", "a"), b"id\n1\n")
        disk.put(name, b"id\n2\n3\n4\n")
        disk.put(name.replace("b", "c"), b"id\n5\n")
        with monkeypatch.context() as broken:
            cut_short(broken, b"id\n2\n3\n4\n")
            first = self.look(disk, stream)
            second = self.look(disk, stream, first[-1].cursor)
        mended = self.look(disk, stream, second[-1].cursor)

        assert len(rows(first)) == 2, "the others come"
        assert (sections(first)[1:2], first[-1].complete) == ([(name, 0, True, False)] * (stream == "records"), False)
        assert ([r for batch in first for r in batch.rejects], rows(second)) == ([], [])
        assert [(r.position, r.code) for batch in second for r in batch.rejects] == [(name, "unavailable")]
        assert "cut_short" in second[0].rejects[0].reason
        assert len(rows(mended)) == (1 if stream == "documents" else 3)

    def test_rows_are_resumed_within_a_file(self, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bees.core.file_pass.SMALL", 1000)
        disk.put(
            "big.csv", b"\n".join([b"id,text", *(b"%d,%s" % (n, b"x" * self.row_bytes) for n in range(2000)), b""])
        )
        batches = self.look(disk, "records", batch_rows=700)

        rest = self.look(disk, "records", batches[1].cursor, batch_rows=700)

        assert [r["id"] for r in rows(batches)] == [str(n) for n in range(2000)]
        assert [r["id"] for r in rows(rest)] == [str(n) for n in range(1400, 2000)]

    def test_names_that_mean_something_to_protocols_are_names(self, disk: Disk) -> None:
        for name in self.odd_names:
            disk.put(name, name.encode())

        found = {row["path"]: row["content"].decode() for row in rows(self.look(disk, batch_rows=2))}

        assert found == {name: name for name in self.odd_names}

    def test_a_folder_that_is_not_there_is_named(self, disk: Disk) -> None:
        from bees.core.errors import GiveUp

        disk.put("a.txt", b"a")
        path = disk.options.get("path", "/").rstrip("/") + "/no such folder"
        with bee_class(self.connector).from_options(disk.options | {"path": path}) as bee:
            with pytest.raises(GiveUp) as error:
                bee.validate_flight_path()
            assert (error.value.code, error.value.where) == ("no_folder", "path")
            with pytest.raises(GiveUp):
                list(bee.collect_nectar("documents", None))

    def test_a_private_address_needs_the_operators_word(self, disk: Disk) -> None:
        from bees.core.errors import GiveUp

        bee = bee_class(self.connector).from_options(disk.options | {"allow_private": False})
        with bee, pytest.raises(GiveUp) as error:
            bee.validate_flight_path()
        assert error.value.code == "private_address"


def cut_short(monkeypatch: pytest.MonkeyPatch, whole: bytes) -> None:
    """Let every way in which adapters get these bytes give the half of them, and no error."""

    def half(given: Any) -> Any:
        if isinstance(given, tuple):
            return (half(given[0]), *given[1:])
        for field in ("body", "data"):  # of an answer, or of a part of a file
            if is_dataclass(given) and hasattr(given, field):
                return replace(given, **{field: half(getattr(given, field))})
        return given[: len(whole) // 2] if given == whole else given

    def patched(real: Any) -> Any:
        if inspect.iscoroutinefunction(real):

            async def later(*args: Any) -> Any:
                return half(await real(*args))

            return later
        return lambda *args, **more: half(real(*args, **more))

    for kind in _kinds(Storage):
        for name in ("_part", "ask") if {"_part", "ask"} & vars(kind).keys() else ("read",):
            if name in vars(kind) and not getattr(vars(kind)[name], "__isabstractmethod__", False):
                monkeypatch.setattr(kind, name, patched(vars(kind)[name]))


def _kinds(kind: type) -> list[type]:
    return [kind, *(inner for below in kind.__subclasses__() for inner in _kinds(below))]

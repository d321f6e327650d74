"""Parquet, Arrow, Avro and spreadsheets: what the child answers. Runs behind the wall; see `bees.core.sandbox`."""

from __future__ import annotations

import base64
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import pyarrow as pa

from bees.core.formats.avro import records
from bees.core.formats.packed import RATIO, SURE
from bees.core.formats.part import Part, Place, sliced
from bees.core.formats.sparse_sheets import BROKEN, Row, sparse_sheets
from bees.core.formats.typed import house, is_sound, rows_table, undecodable
from bees.core.tabular import PLACE, unique
from nectar.batch import Reject
from nectar.extract.office import ENCRYPTED
from nectar.jsonrows import escape

_TOO_MUCH = f"the file gives more than {RATIO} times its size"
_HEAD = 16 << 10
_PICTURE = ".svg"
"""Parts that no reader of values looks at, and in which drawing programs declare namespaces as entities."""
_LARGEST = 128 << 20
"""Bytes of one part, which goes to the parent in one frame."""


class Unreadable(Exception):
    """The file, or the rest of it, cannot be read: `code`, and a sentence without anything of the file."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code)
        self.code, self.reason = code, reason


def answer_rows(handle: int, request: Mapping[str, Any]) -> Iterator[bytes]:
    """For each part two frames: place and rejects as JSON, and the table as an Arrow stream."""
    with os.fdopen(os.dup(handle), "rb") as file:
        for whole in rows_of(file, request):
            part = whole
            if part.table.nbytes > _LARGEST:
                reject = Reject(request["name"], "row_too_long", f"rows of more than {_LARGEST} bytes were left out")
                part = replace(part, table=pa.table({}), rejects=(*part.rejects, reject))
            rejects = [(r.position, r.code, r.reason, base64.b64encode(r.raw).decode()) for r in part.rejects]
            yield json.dumps({"place": part.place, "rejects": rejects, "size": part.size}).encode()
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, part.table.schema) as writer:
                writer.write_table(part.table)
            yield sink.getvalue().to_pybytes()


def parts_of(frames: Iterator[bytes]) -> Iterator[Part]:
    """The parts of an answer."""
    for head, body in zip(frames, frames, strict=False):
        told = json.loads(head)
        rejects = tuple(Reject(p, c, r, base64.b64decode(raw)) for p, c, r, raw in told["rejects"])
        yield Part(pa.ipc.open_stream(body).read_all(), told["place"], rejects, told["size"])


def rows_of(file: BinaryIO, request: Mapping[str, Any]) -> Iterator[Part]:
    """The parts of a file from `request["place"]` on; at a broken place a last one says so."""
    name, place = request["name"], request["place"] or {}
    reader = {"parquet": _parquet, "arrow": _arrow, "avro": _avro, "excel": _excel, "xml": _xml}[request["format"]]
    try:
        yield from reader(file, request, place)
    except Unreadable as error:
        yield Part(pa.table({}), place, (Reject(name, error.code, error.reason),))
    except ImportError:
        reason = "a library for this format is not installed: pip install worker-bees[documents]"
        yield Part(pa.table({}), place, (Reject(name, "reader_missing", reason),))


def _parquet(file: BinaryIO, request: Mapping[str, Any], place: Place) -> Iterator[Part]:
    import pyarrow.parquet as pq

    try:
        read = pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True)
        groups = read.num_row_groups
    except (pa.ArrowException, OSError, ValueError) as error:
        locked = "encrypt" in str(error).lower()
        code = "password_protected" if locked else "broken_footer"
        raise Unreadable(
            code, "the file is encrypted" if locked else "the end of the file, which tells its columns, is damaged"
        ) from None
    if read.metadata.num_rows * read.metadata.num_columns > _most(file):
        raise Unreadable("too_much_inside", _TOO_MUCH)
    seen, number = int(place.get("row", 0)), int(place.get("number", 0))
    for group in range(int(place.get("group", 0)), groups):
        size = read.metadata.row_group(group).total_byte_size // max(read.metadata.row_group(group).num_rows, 1)
        skipped = 0
        try:
            for batch in read.iter_batches(request["batch_rows"], row_groups=[group], use_threads=False):
                fresh = batch.slice(max(0, seen - skipped))
                skipped += batch.num_rows
                if not fresh.num_rows:
                    continue
                for piece in _pieces(pa.Table.from_batches([fresh]), request):
                    seen += piece.num_rows
                    at = {"group": group, "row": seen, "number": number + piece.num_rows}
                    yield Part(*_decoded(piece, request, number, at), piece.num_rows * size)
                    number += piece.num_rows
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, ValueError):
            reject = Reject(f"{request['name']}, row group {group + 1}", "broken_group", "the row group is damaged")
            number += read.metadata.row_group(group).num_rows - seen
            yield Part(pa.table({}), {"group": group + 1, "row": 0, "number": number}, (reject,))
        seen = 0


def _arrow(file: BinaryIO, request: Mapping[str, Any], place: Place) -> Iterator[Part]:
    number = 0
    start = int(place.get("number", 0))
    try:
        head = file.read(8)
        file.seek(0)
        reader = pa.ipc.open_file(file) if head.startswith(b"ARROW1") else pa.ipc.open_stream(file)
        count = reader.num_record_batches if head.startswith(b"ARROW1") else None
    except (pa.ArrowException, OSError, ValueError):
        raise Unreadable("broken_file", "the beginning or end of the Arrow file is damaged") from None
    index = 0
    while count is None or index < count:
        try:
            batch = reader.read_next_batch() if count is None else reader.get_batch(index)
            sound = is_sound(batch)
        except StopIteration:
            return
        except MemoryError:
            raise
        except (pa.ArrowException, OSError, ValueError):
            at = {"number": number}
            reject = Reject(
                f"{request['name']}, batch {index + 1}", "broken_batch", "the batch is damaged: the rest was left out"
            )
            yield Part(pa.table({}), at, (reject,))
            return
        index += 1
        whole = pa.Table.from_batches([batch])
        fresh = whole.slice(max(0, min(start - number, len(whole))))
        number += len(whole) - len(fresh)
        if not len(fresh):
            continue
        for piece in _pieces(fresh, request):
            at = {"number": number + len(piece)}
            if sound:
                yield Part(_placed(house(piece), request, number), at, (), piece.nbytes)
            else:
                yield Part(*_decoded(piece, request, number, at), piece.nbytes)
            number += len(piece)


def _avro(file: BinaryIO, request: Mapping[str, Any], place: Place) -> Iterator[Part]:
    broken = (
        ValueError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        OverflowError,
        OSError,
        AttributeError,
        ArithmeticError,
    )
    try:
        reader, unpacks = records(file)
    except broken:
        raise Unreadable(
            "broken_file", "the head of the Avro file is damaged, or packed in a way that is not known"
        ) from None
    if not unpacks:
        raise Unreadable("unknown_compression", "the blocks are packed in a way that is not read here: use deflate")
    start = number = int(place.get("number", 0))
    rows: list[dict[str, Any]] = []
    index = 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            break
        except broken:
            reject = Reject(
                f"{request['name']}, row {index + 1}", "broken_block", "the block is damaged: the rest was left out"
            )
            yield _of_rows(rows, request, number, (reject,))
            return
        index += 1
        if index <= start:
            continue
        rows.append(row if isinstance(row, dict) else {"value": row})
        if len(rows) >= request["batch_rows"]:
            yield _of_rows(rows, request, number)
            number, rows = number + len(rows), []
    if rows:
        yield _of_rows(rows, request, number)


def _excel(file: BinaryIO, request: Mapping[str, Any], place: Place) -> Iterator[Part]:
    """Sheet after sheet; formulas give the value that was stored with them. Rows without a value are none."""
    import python_calamine as calamine

    if _unpacked_size(file) > _most(file):
        raise Unreadable("too_much_inside", _TOO_MUCH)
    if _declares_entities(file):
        raise Unreadable("xml_entities", "the file declares entities of its own, which are not expanded")
    try:
        book = calamine.load_workbook(file)
    except calamine.PasswordError:
        raise Unreadable("password_protected", "the file is locked with a password") from None
    except (calamine.CalamineError, calamine.ZipError, calamine.XmlError, OSError, ValueError):
        if _is_locked(file):
            raise Unreadable("password_protected", "the file is locked with a password") from None
        raise Unreadable("broken_file", "the file is damaged, locked, or no spreadsheet") from None
    if not book.sheet_names:  # the reader leaves out what it does not find
        raise Unreadable("broken_file", "the spreadsheet is damaged: it names no sheet")
    sparse = sparse_sheets(file)
    for index in range(int(place.get("sheet", 0)), len(book.sheet_names)):
        where = f"{request['name']}#{book.sheet_names[index]}"
        try:
            cells = sparse[index]() if index in sparse else _laid_out(book.get_sheet_by_index(index))
        except (calamine.CalamineError, calamine.WorksheetNotFound, OSError, ValueError):
            by_cells = sparse_sheets(file, above=-1).get(index)  # one that is odd for the quick reader
            if by_cells is None:
                yield _broken_sheet(where, index, "the sheet is damaged or no table")
                continue
            cells = by_cells()
        asked = {**request, "name": where}
        start = int(place.get("number", 0)) if index == int(place.get("sheet", 0)) else 0
        try:
            for rows, numbers in _sheet(cells, request["header"], start, request["batch_rows"]):
                made = _named_rows(rows, asked, numbers)
                yield Part(made, {"sheet": index, "number": numbers[-1]}, (), len(rows) * 64)
        except (*BROKEN, ValueError):
            yield _broken_sheet(where, index, "the sheet is damaged: rows were left out")


def _broken_sheet(where: str, index: int, reason: str) -> Part:
    return Part(pa.table({}), {"sheet": index + 1, "number": 0}, (Reject(where, "broken_sheet", reason),))


def _most(file: BinaryIO) -> int:
    """Bytes, or values, that a file of this size may give."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return max(SURE, RATIO * size)


def _unpacked_size(file: BinaryIO) -> int:
    """Bytes of all parts of a spreadsheet that is a zip file, as it says; of one that lies, memory is bounded."""
    try:
        with zipfile.ZipFile(file) as parts:
            size = sum(info.file_size for info in parts.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        size = 0
    file.seek(0)
    return size


def _is_locked(file: BinaryIO) -> bool:
    """Whether what cannot be read names the part that holds a locked spreadsheet (MS-OFFCRYPTO, 2.3)."""
    file.seek(0)
    before = b""
    while block := file.read(1 << 20):
        if ENCRYPTED in before + block:
            return True
        before = block[-len(ENCRYPTED) :]
    return False


def _declares_entities(file: BinaryIO) -> bool:
    """Whether a part of a spreadsheet does so where it begins: the reader would leave out what they stand for."""
    try:
        with zipfile.ZipFile(file) as parts:
            for info in parts.infolist():
                if info.filename.lower().endswith(_PICTURE):
                    continue
                with parts.open(info) as part:
                    if b"<!ENTITY" in part.read(_HEAD).replace(b"\0", b""):  # of UTF-16
                        return True
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError, RuntimeError, EOFError):
        pass  # of a damaged or locked one the reader says so
    finally:
        file.seek(0)
    return False


def _xml(file: BinaryIO, request: Mapping[str, Any], place: Place) -> Iterator[Part]:
    from bees.core.formats.xml_rows import xml_parts

    yield from xml_parts(file, request, place, _of_rows, Unreadable)


def _laid_out(sheet: Any) -> Iterator[Row]:
    """The rows of a sheet that is a rectangle; a first one has all of its columns."""
    told = False
    for number, cells in enumerate(sheet.iter_rows(), 1):
        values = {n: value for n, value in enumerate(map(_cell, cells), 1) if value is not None or not told}
        if any(value is not None for value in values.values()):
            told = True
            yield number, values


def _sheet(
    found: Iterator[Row], header: bool, start: int, most: int
) -> Iterator[tuple[list[dict[str, Any]], list[int]]]:
    """Rows by column name, with their numbers as the spreadsheet shows them."""
    names: dict[int, str] = {}
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number, cells in found:
        if not names:
            fields = cells if header else dict.fromkeys(cells)
            told = [escape(str(v).strip()) if v is not None else f"column_{n}" for n, v in fields.items()]
            names = dict(zip(fields, unique(told), strict=True))
            if header:
                continue
        if number <= start:
            continue
        if unknown := cells.keys() - names.keys():
            taken = set(names.values())
            names |= {n: _free(f"column_{n}", taken) for n in sorted(unknown)}
        rows.append({name: cells.get(n) for n, name in names.items()})
        numbers.append(number)
        if len(rows) >= most:
            yield rows, numbers
            rows, numbers = [], []
    if rows:
        yield rows, numbers


def _free(name: str, taken: set[str]) -> str:
    return name if name not in taken else _free(f"{name}_", taken)


def _cell(value: Any) -> Any:
    if value == "":
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)  # a spreadsheet knows no other numbers than doubles
    return value


def _pieces(whole: pa.Table, request: Mapping[str, Any]) -> Sequence[pa.Table]:
    rows = max(1, request["batch_bytes"] // max(1, whole.nbytes // max(len(whole), 1)))
    return sliced(whole, min(rows, request["batch_rows"]))


def _placed(made: pa.Table, request: Mapping[str, Any], before: int) -> pa.Table:
    return made if request["key"] else _with_place(made, request["name"], range(before + 1, before + 1 + len(made)))


def _decoded(
    piece: pa.Table, request: Mapping[str, Any], before: int, at: Place
) -> tuple[pa.Table, Place, tuple[Reject, ...]]:
    """The rows, without those with a text that is none: the format does not look, and some programs write any bytes."""
    name, odd = request["name"], undecodable(piece)
    reason = "a text of the row is not UTF-8, as the file says: write it anew, or the column as binary"
    rejects = tuple(Reject(f"{name}:{before + row + 1}", "not_utf8", reason) for row in sorted(odd))
    if not odd:
        return _placed(house(piece), request, before), at, rejects
    rows = [row for row in range(len(piece)) if row not in odd]
    made = house(piece.take(pa.array(rows, pa.int64())))
    return made if request["key"] else _with_place(made, name, [before + row + 1 for row in rows]), at, rejects


def _with_place(made: pa.Table, name: str, numbers: Sequence[int]) -> pa.Table:
    own = unique(made.column_names, PLACE)
    made = made.rename_columns(list(own))
    made = made.add_column(0, PLACE[1], pa.array(numbers, pa.int64()))
    return made.add_column(0, PLACE[0], pa.array([name] * len(made), pa.string()))


def _of_rows(
    rows: list[dict[str, Any]], request: Mapping[str, Any], before: int, rejects: tuple[Reject, ...] = ()
) -> Part:
    made = _named_rows(
        [{escape(str(k)): v for k, v in row.items()} for row in rows],
        request,
        range(before + 1, before + 1 + len(rows)),
    )
    return Part(made, {"number": before + len(rows)}, rejects, len(rows) * 64)


def _named_rows(rows: list[dict[str, Any]], request: Mapping[str, Any], numbers: Sequence[int]) -> pa.Table:
    made = rows_table(rows)
    return made if request["key"] or not rows else _with_place(made, request["name"], numbers)

"""PDF by pypdfium2: the text of each page, and how many pages are pictures only."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from nectar.extract.document import MAX_TEXT, PAGE, Document, NoText, Within, none_within, not_read
from nectar.extract.text import normalised

MAX_PAGES = 20_000
MAX_FILES = 1000
MAX_TOTAL = 64 << 20
"""Bytes of all files that are attached."""
_LONGEST_NAME = 2000
_FIELDS = {4, 5, 6}
"""Kinds of fields with words in them: choices, lists and texts (`FPDF_FORMFIELD_COMBOBOX` and those after it)."""
_SILENT = {0, 2, 16, 20}
"""Annotations without words of their own: unknown ones, links, windows of notes, fields."""
_DATE = re.compile(r"D:(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:(Z)|([+-])(\d\d)'?(\d\d)?)?")
_FILLED = ("0000", "01", "01", "00", "00", "00")


def pdf(content: bytes, _charset: str = "", within: Within = none_within) -> Document:
    try:
        import pypdfium2 as pdfium
    except ImportError:
        raise NoText("reader_missing") from None
    try:
        file = pdfium.PdfDocument(content)
    except pdfium.PdfiumError as error:
        locked = getattr(error, "err_code", None) in {4, 5} or "password" in str(error).lower()
        raise NoText("password_protected" if locked else "unreadable_document") from None
    try:
        return _read(file, _Files(within), pdfium.PdfiumError)
    except pdfium.PdfiumError:
        raise NoText("unreadable_document") from None
    finally:
        file.close()


def _read(file: Any, files: _Files, broken: type[Exception]) -> Document:
    count = len(file)
    if file.get_formtype():
        with contextlib.suppress(broken):  # a form that cannot be read costs its values only
            file.init_forms()
    if count > MAX_PAGES:
        raise NoText("too_much_inside")
    pages: list[str] = []
    scanned = size = 0
    for number in range(count):
        try:
            text, pictured = _page(file, number, files)
        except broken:  # the other pages are read still
            text, pictured = not_read("unreadable_document"), False
        size += len(text)
        if size > MAX_TEXT:
            raise NoText("too_much_text")
        scanned += pictured
        pages.append(text)
    files.take_all(file)
    told = file.get_metadata_dict()
    text = "\n\n".join(filter(None, [f"\n{PAGE}\n".join(pages), *files.blocks]))
    return Document(
        text, told.get("Title", "").strip(), told.get("Author", "").strip(),
        _date(told.get("CreationDate", "")), _language(file), count, scanned,
    )  # fmt: skip


def _page(file: Any, number: int, files: _Files) -> tuple[str, bool]:
    """A page's text, with what was filled in and noted there, and whether it is a picture without any."""
    from pypdfium2 import raw

    page = file[number]
    try:
        held = page.get_textpage()
        try:
            text = normalised(held.get_text_range()).replace("\ufffe", "-").strip()
        finally:
            held.close()
        pictured = not text and next(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3), None) is not None
        return "\n".join([*filter(None, [text]), *_written(file, page, files)]), pictured
    finally:
        page.close()


def _written(file: Any, page: Any, files: _Files) -> Iterator[str]:
    """What was written on a page: values of its form, words and notes set upon it. A text page has none of them.

    A file that is pinned to the page goes to `files`.
    """
    from pypdfium2 import raw

    for number in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        try:
            kind = raw.FPDFAnnot_GetSubtype(annotation)
            if kind == raw.FPDF_ANNOT_WIDGET and file.formenv:
                form = file.formenv.raw
                if raw.FPDFAnnot_GetFormFieldType(form, annotation) in _FIELDS:
                    yield from _lines(partial(raw.FPDFAnnot_GetFormFieldValue, form, annotation))
            elif kind not in _SILENT:
                if kind == raw.FPDF_ANNOT_FILEATTACHMENT and (pinned := raw.FPDFAnnot_GetFileAttachment(annotation)):
                    files.take(pinned)
                yield from _lines(partial(raw.FPDFAnnot_GetStringValue, annotation, b"Contents"))
        finally:
            raw.FPDFPage_CloseAnnot(annotation)


class _Files:
    """Files that are attached to a document or pinned to its pages, each under a heading with its name."""

    def __init__(self, within: Within) -> None:
        self._within = within
        self._met: set[tuple[str, bytes]] = set()
        self._left = MAX_TOTAL
        self.blocks: list[str] = []

    def take_all(self, file: Any) -> None:
        from pypdfium2 import raw

        for number in range(min(raw.FPDFDoc_GetAttachmentCount(file), MAX_FILES + 1)):
            if attachment := raw.FPDFDoc_GetAttachment(file, number):
                self.take(attachment)

    def take(self, attachment: Any) -> None:
        from pypdfium2 import raw

        name = " ".join(_asked(partial(raw.FPDFAttachment_GetName, attachment), _LONGEST_NAME).split()) or "attachment"
        size = ctypes.c_ulong()
        raw.FPDFAttachment_GetFile(attachment, None, 0, size)
        if size.value > self._left or len(self.blocks) >= MAX_FILES:
            self.blocks.append(f"## {name}\n\n{not_read('too_much_inside')}")
            return
        held = ctypes.create_string_buffer(size.value)
        if size.value and not raw.FPDFAttachment_GetFile(attachment, held, size.value, size):
            self.blocks.append(f"## {name}\n\n{not_read('unreadable_document')}")
            return
        data = bytes(memoryview(held)[: size.value])
        self._left -= len(data)
        mark = name, hashlib.blake2b(data).digest()
        if mark not in self._met:  # one may be both attached and pinned
            self._met.add(mark)
            text = self._within(data, name).strip()
            self.blocks.append(f"## {name}\n\n{text}" if text else f"## {name}")


def _lines(ask: Callable[[Any, int], int]) -> list[str]:
    """A text, if there is one, of a function that writes UTF-16 into room for so many bytes and gives how many."""
    text = normalised(_asked(ask, 2 * MAX_TEXT)).strip()
    return [text] if text else []


def _asked(ask: Callable[[Any, int], int], most: int) -> str:
    from pypdfium2 import raw

    size = ask(None, 0)
    if not 2 < size <= most:
        return ""
    held = ctypes.create_string_buffer(size)
    ask(ctypes.cast(held, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return held.raw[: size - 2].decode("utf-16-le", "ignore")


def _language(file: Any) -> str:
    from pypdfium2 import raw

    if not hasattr(raw, "FPDFCatalog_GetLanguage"):
        return ""
    return _asked(partial(raw.FPDFCatalog_GetLanguage, file.raw), 200)


def _date(written: str) -> str:
    """ISO 8601 of a date as PDF writes it, `D:20240131120000+01'00'`; empty where it is none."""
    found = _DATE.match(written)
    if not found:
        return ""
    year, month, day, hour, minute, second = (found[n] or _FILLED[n - 1] for n in range(1, 7))
    zone = "Z" if found[7] else f"{found[8]}{found[9]}:{found[10] or '00'}" if found[8] else ""
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}{zone}"

"""PDF by pypdfium2: the text of each page, and how many pages are pictures only."""

from __future__ import annotations

import re
from typing import Any

from nectar.extract.document import MAX_TEXT, PAGE, Document, NoText
from nectar.extract.text import normalised

MAX_PAGES = 20_000
_DATE = re.compile(r"D:(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:(Z)|([+-])(\d\d)'?(\d\d)?)?")
_FILLED = ("0000", "01", "01", "00", "00", "00")


def pdf(content: bytes, _charset: str = "") -> Document:
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
        return _read(file, pdfium.PdfiumError)
    except pdfium.PdfiumError:
        raise NoText("unreadable_document") from None
    finally:
        file.close()


def _read(file: Any, broken: type[Exception]) -> Document:
    count = len(file)
    if count > MAX_PAGES:
        raise NoText("too_much_inside")
    pages: list[str] = []
    scanned = size = 0
    for number in range(count):
        try:
            text, pictured = _page(file[number])
        except broken:  # the other pages are read still
            text, pictured = "", False
        size += len(text)
        if size > MAX_TEXT:
            raise NoText("too_much_text")
        scanned += pictured
        pages.append(text)
    told = file.get_metadata_dict()
    return Document(
        f"\n{PAGE}\n".join(pages), told.get("Title", "").strip(), told.get("Author", "").strip(),
        _date(told.get("CreationDate", "")), _language(file), count, scanned,
    )  # fmt: skip


def _page(page: Any) -> tuple[str, bool]:
    """A page's text, and whether it is a picture without any."""
    from pypdfium2 import raw

    try:
        held = page.get_textpage()
        try:
            text = normalised(held.get_text_range()).replace("\ufffe", "-").strip()
        finally:
            held.close()
        pictured = not text and next(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3), None) is not None
        return text, pictured
    finally:
        page.close()


def _language(file: Any) -> str:
    import ctypes

    from pypdfium2 import raw

    if not hasattr(raw, "FPDFCatalog_GetLanguage"):
        return ""
    size = raw.FPDFCatalog_GetLanguage(file.raw, None, 0)
    if not 2 < size <= 200:
        return ""
    held = ctypes.create_string_buffer(size)
    raw.FPDFCatalog_GetLanguage(file.raw, ctypes.cast(held, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return held.raw[: size - 2].decode("utf-16-le", "ignore")


def _date(written: str) -> str:
    """ISO 8601 of a date as PDF writes it, `D:20240131120000+01'00'`; empty where it is none."""
    found = _DATE.match(written)
    if not found:
        return ""
    year, month, day, hour, minute, second = (found[n] or _FILLED[n - 1] for n in range(1, 7))
    zone = "Z" if found[7] else f"{found[8]}{found[9]}:{found[10] or '00'}" if found[8] else ""
    return f"{year}-{month}-{day}T{hour}:{minute}:{second}{zone}"

"""Documents made by other programs than those that read them, or byte by byte where no other program is at hand.

Word and PowerPoint: python-docx, python-pptx. Messages: the standard library's writer. PDF, OpenDocument, EPUB, RTF,
calendars and cards are written here by hand, after their formats.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from email.message import EmailMessage


def docx(*paragraphs: str, title: str = "", author: str = "") -> bytes:
    """Paragraphs that begin with `# ` are headings, with `- ` items, with `|` rows of one table."""
    import docx as word

    made = word.Document()
    made.core_properties.title, made.core_properties.author = title, author
    for text in paragraphs:
        if text.startswith("# "):
            made.add_heading(text[2:], 1)
        elif text.startswith("- "):
            made.add_paragraph(text[2:], style="List Bullet")
        elif text.startswith("|"):
            cells = text.strip("|").split("|")
            row = made.add_table(1, len(cells)).rows[0]
            for cell, value in zip(row.cells, cells, strict=True):
                cell.text = value
        else:
            made.add_paragraph(text)
    return _saved(made)


def pptx(*slides: tuple[str, str, str]) -> bytes:
    """(title, body, notes) of each slide."""
    import pptx as powerpoint

    made = powerpoint.Presentation()
    for title, body, notes in slides:
        slide = made.slides.add_slide(made.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
        slide.notes_slide.notes_text_frame.text = notes
    return _saved(made)


def _saved(made: object) -> bytes:
    held = io.BytesIO()
    made.save(held)  # type: ignore[attr-defined]
    return held.getvalue()


def zipped(parts: dict[str, bytes | str]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        for name, data in parts.items():
            kind = zipfile.ZIP_STORED if name == "mimetype" else zipfile.ZIP_DEFLATED
            file.writestr(name, data, compress_type=kind)
    return held.getvalue()


def odt(body: str, meta: str = "", *, manifest: str = "<m/>") -> bytes:
    spaces = " ".join(
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
        for short, name in (
            ("office", "office"),
            ("text", "text"),
            ("table", "table"),
            ("meta", "meta"),
            ("draw", "drawing"),
        )
    )
    spaces += ' xmlns:dc="http://purl.org/dc/elements/1.1/"'
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"<office:document {spaces}><office:body>{body}</office:body></office:document>",
            "meta.xml": f"<office:document-meta {spaces}><office:meta>{meta}</office:meta></office:document-meta>",
            "META-INF/manifest.xml": manifest,
        }
    )


def epub(title: str, author: str, *chapters: str) -> bytes:
    items = "".join(f'<item id="c{n}" href="c{n}.xhtml"/>' for n in range(len(chapters)))
    order = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    opf = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        f"<dc:title>{title}</dc:title><dc:creator>{author}</dc:creator><dc:language>en</dc:language></metadata>"
        f"<manifest>{items}</manifest><spine>{order}</spine></package>"
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="book/content.opf"/></rootfiles></container>'
    )
    pages = {f"book/c{n}.xhtml": f"<html><body>{text}</body></html>" for n, text in enumerate(chapters)}
    return zipped(
        {"mimetype": "application/epub+zip", "META-INF/container.xml": container, "book/content.opf": opf, **pages}
    )


def message(body: str, *, html: str = "", attached: Sequence[tuple[str, bytes]] = (), **headers: str) -> bytes:
    made = EmailMessage()
    for name, value in headers.items():
        made[name] = value
    made.set_content(body)
    if html:
        made.add_alternative(html, subtype="html")
    for name, data in attached:
        made.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return made.as_bytes()


def pdf(*pages: str | None, title: str = "", author: str = "", locked: bool = False, loop: bool = False) -> bytes:
    """A PDF of these pages; None is a page that is a picture. `loop`: the tree of its pages leads into itself."""
    objects: list[bytes] = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    objects.append(
        b"<< /Title (%s) /Author (%s) /CreationDate (D:20240131120000+01'00') >>" % (title.encode(), author.encode())
    )
    objects.append(
        _stream(
            b"/Type /XObject /Subtype /Image /Width 2 /Height 2 /ColorSpace /DeviceGray /BitsPerComponent 8",
            b"\0\xff\0\xff",
        )
    )
    kids = []
    for text in pages:
        drawn = b"q 100 0 0 100 0 0 cm /I Do Q" if text is None else _drawn(text)
        objects.append(_stream(b"", drawn))
        contents = len(objects)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F 3 0 R >> /XObject << /I 5 0 R >> >> >>" % contents
        )
        kids.append(b"%d 0 R" % len(objects))
    if loop:
        kids += [b"2 0 R"] * 3
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids) + (10**6 if loop else 0))
    return _pdf_file(objects, locked=locked)


def written_pdf(text: str, *, field: str, inherited: str, box: str, note: str) -> bytes:
    """A PDF of one page with a form that was filled in, a box of text, a note, and a link."""
    on_page = (
        f"/Subtype /Widget /FT /Tx /T (a) /V ({field})", "/Subtype /Widget /Parent 5 0 R",
        f"/Subtype /FreeText /Contents ({box}) /DA (/F 12 Tf)", f"/Subtype /Text /Contents ({note})",
        "/Subtype /Link /Contents (a link)",
    )  # fmt: skip
    return _pdf_file(
        [
            b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [7 0 R 5 0 R] /DA (/F 12 Tf) >> >>",
            b"<< /Type /Pages /Kids [6 0 R] /Count 1 >>",
            b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
            _stream(b"", _drawn(text)),
            b"<< /FT /Tx /T (b) /V (%s) /Kids [8 0 R] >>" % inherited.encode(),
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Annots [%s] "
            b"/Resources << /Font << /F 3 0 R >> >> >>" % b" ".join(b"%d 0 R" % n for n in range(7, 7 + len(on_page))),
            *(b"<< /Type /Annot /Rect [100 600 300 620] %s >>" % told.encode() for told in on_page),
        ]
    )


def pdf_with_files(text: str, files: Sequence[tuple[str, bytes]], pinned: Sequence[tuple[str, bytes]] = ()) -> bytes:
    """A PDF of one page with files attached to it, and others pinned to its page as notes are."""
    objects = [
        b"", b"<< /Type /Pages /Kids [5 0 R] /Count 1 >>", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        _stream(b"", _drawn(text)), b"",
    ]  # fmt: skip
    specs = []
    for name, data in (*files, *pinned):
        objects.append(_stream(b"/Type /EmbeddedFile", data))
        objects.append(b"<< /Type /Filespec /F (%s) /EF << /F %d 0 R >> >>" % (name.encode(), len(objects)))
        specs.append(len(objects))
    notes = []
    for spec in specs[len(files) :]:
        objects.append(b"<< /Type /Annot /Subtype /FileAttachment /Rect [9 9 20 20] /FS %d 0 R >>" % spec)
        notes.append(len(objects))
    names = b" ".join(b"(%06d) %d 0 R" % (spec, spec) for spec in specs[: len(files)])
    objects[0] = b"<< /Type /Catalog /Pages 2 0 R /Names << /EmbeddedFiles << /Names [%s] >> >> >>" % names
    objects[4] = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Annots [%s] "
        b"/Resources << /Font << /F 3 0 R >> >> >>" % b" ".join(b"%d 0 R" % note for note in notes)
    )
    return _pdf_file(objects)


def _drawn(text: str) -> bytes:
    lines = [line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)") for line in text.split("\n")]
    return (
        b"BT /F 12 Tf 72 720 Td 14 TL " + b" ".join(b"(%s) Tj T*" % line.encode("latin-1") for line in lines) + b" ET"
    )


def _stream(head: bytes, data: bytes) -> bytes:
    packed = zlib.compress(data)
    return b"<< %s /Filter /FlateDecode /Length %d >>\nstream\n%s\nendstream" % (head, len(packed), packed)


def _pdf_file(objects: Sequence[bytes], *, locked: bool = False) -> bytes:
    made = bytearray(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, data in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, data)
    start = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    made += b"".join(b"%010d 00000 n \n" % place for place in places)
    made += b"trailer << /Size %d /Root 1 0 R /Info 4 0 R " % (len(objects) + 1)
    if locked:  # keys that no empty password gives
        made += b"/Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O <%s> /U <%s> >> /ID [<00><00>] " % (
            b"ab" * 32,
            b"cd" * 32,
        )
    return bytes(made + b">>\nstartxref\n%d\n%%%%EOF\n" % start)

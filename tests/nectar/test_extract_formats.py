"""Documents of every format become text with what they say of themselves, and hostile ones a reason."""

from __future__ import annotations

import base64
import io
import quopri
import zipfile

import pyarrow as pa
import pytest

from nectar.extract import extract
from nectar.extract.document import REASONS, Document, NoText
from nectar.extract.kinds import DOCX, EPUB, LOCKED, ODT, PPTX, media_type
from nectar.extract.read import read
from tests.nectar import documents


def text_of(data: bytes, name: str) -> Document:
    kind = media_type(data, name)
    assert kind is not None
    return read(data, kind)


def reason(data: bytes, name: str, kind: str | None = None) -> str:
    with pytest.raises(NoText) as error:
        read(data, kind or media_type(data, name) or "")
    assert error.value.code in REASONS
    assert str(error.value) == error.value.code
    return error.value.code


def test_word_keeps_headings_lists_tables_and_who_wrote_it() -> None:
    made = text_of(
        documents.docx("# Plan", "Dear Jane", "- milk", "|a|b|", title="The plan", author="Ann Lee"), "plan.docx"
    )

    assert made.text == "# Plan\n\nDear Jane\n\n- milk\n\na | b"
    assert (made.title, made.author, made.pages) == ("The plan", "Ann Lee", None)
    assert made.created.startswith("2013")  # python-docx's template says so


def test_slides_are_pages_and_their_notes_follow() -> None:
    made = text_of(documents.pptx(("One", "first", "say hello"), ("Two", "second\nline", "")), "deck.pptx")

    assert made.text == "# One\n\nfirst\n\nsay hello\n\f\n# Two\n\nsecond\nline"
    assert made.pages == 2


def test_opendocument_keeps_headings_spaces_and_tables() -> None:
    body = (
        '<office:text><text:h text:outline-level="2">Plan</text:h>'
        '<text:p>a<text:s text:c="2"/>b<text:line-break/>c</text:p>'
        "<table:table><table:table-row><table:table-cell><text:p>x</text:p></table:table-cell><table:table-cell>"
        "<text:p>y</text:p></table:table-cell></table:table-row></table:table>"
        "<text:list><text:list-item><text:p>milk</text:p></text:list-item></text:list></office:text>"
    )
    made = text_of(
        documents.odt(body, "<dc:title>T</dc:title><meta:initial-creator>Ann</meta:initial-creator>"), "x.odt"
    )

    assert made.text == "## Plan\n\na  b\nc\n\nx | y\n\n- milk"
    assert (made.title, made.author) == ("T", "Ann")


def test_a_book_is_read_in_its_own_order() -> None:
    made = text_of(documents.epub("Moby", "Herman", "<h1>One</h1><p>Call me</p>", "<p>Two</p>"), "moby.epub")

    assert made.text == "# One\n\nCall me\n\nTwo"
    assert (made.title, made.author, made.language) == ("Moby", "Herman", "en")


def test_chapters_of_a_book_are_found_by_links_and_read_as_the_xml_that_they_are() -> None:
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="a" href="one%20%C3%BC.xhtml"/>'
        '<item id="b" href="two.xhtml#top"/></manifest><spine><itemref idref="a"/><itemref idref="b"/></spine>'
        "</package>"
    )
    book = {
        "META-INF/container.xml": '<c xmlns="urn:oasis"><rootfile full-path="in/book.opf"/></c>',
        "in/book.opf": package,
        "in/one ü.xhtml": "<html><head><title/><script/></head><body><p/>first<a id='x'/></body></html>",
        "in/two.xhtml": "<?xml version='1.0'?><html><body>second</body></html>",
    }
    of_fonts = '<e xmlns="urn:oasis"><EncryptedData/><CipherReference URI="in/serif.otf"/></e>'
    of_text = of_fonts.replace("serif.otf", "two.xhtml")

    assert text_of(documents.zipped(book), "b.epub").text == "first\n\nsecond"
    assert text_of(documents.zipped(book | {"META-INF/encryption.xml": of_fonts}), "b.epub").text == "first\n\nsecond"
    with pytest.raises(NoText, match="password_protected"):
        text_of(documents.zipped(book | {"META-INF/encryption.xml": of_text}), "b.epub")


def test_what_stands_above_and_below_the_pages_of_an_opendocument_text_is_text() -> None:
    names = 'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
    around = "<header><text:p>above</text:p></header><footer><text:p>below</text:p></footer>"
    page = f"<master-page {names}>{around}</master-page>"
    styles = f"<styles>{page}{page.replace('below', 'beside')}</styles>"
    content = f"<o {names}><text:p>body</text:p></o>"

    made = text_of(documents.zipped({"mimetype": ODT, "content.xml": content, "styles.xml": styles}), "a.odt")

    assert made.text == "body\n\nabove\n\nbelow\n\nbeside"


@pytest.mark.parametrize(
    ("label", "codec", "text"),
    [
        ("iso-8859-1", "cp1252", "“Käse”"), ("gb2312", "gb18030", "中文镕"), ("Shift_JIS", "cp932", "①㈱"),
        ("utf-16", "utf-8", "Käse"), ("utf-8", "cp1252", "Käse und Brötchen, größer"),
    ],
)  # fmt: skip
def test_letters_of_pages_and_messages_that_name_too_small_an_encoding_are_not_lost(
    label: str, codec: str, text: str
) -> None:
    head = f'<html><head><meta http-equiv="Content-Type" content="text/html; charset={label}"></head><body>'
    xhtml = f'<?xml version="1.0" encoding="{label}"?><html><body>'
    mail = f"Content-Type: text/plain; charset={label}\nContent-Transfer-Encoding: 8bit\n\n"

    for begins, name in ((head, "a.html"), (xhtml, "a.xhtml")):
        assert text_of((begins + text).encode(codec), name).text == text
    if label != "utf-16":
        assert text_of((mail + text).encode(codec), "a.eml").text == text


def test_pdf_keeps_pages_and_tells_scanned_ones() -> None:
    made = text_of(documents.pdf("Page one (a)\nsecond line", None, "Page three", title="T", author="Ann"), "x.pdf")

    assert made.text.split("\n\f\n") == ["Page one (a)\nsecond line", "", "Page three"]
    assert (made.pages, made.scanned) == (3, 1)
    assert (made.title, made.author, made.created) == ("T", "Ann", "2024-01-31T12:00:00+01:00")


def test_html_gives_what_a_reader_sees() -> None:
    page = (
        "<!DOCTYPE html><html lang=de><head><title>Grüße</title><meta name=author content='Ann'>"
        "<style>p{}</style></head>"
        "<body><h2>Hi</h2><p>one <b>two</b><br>three<!-- not this --><script>no()</script></p><ul><li>a<li>b</ul>"
        "<table><tr><th>x<td>y</table><pre>k\n  v</pre></body></html>"
    )
    made = text_of(page.encode(), "x.html")

    assert made.text == "## Hi\n\none two\nthree\n\n- a\n\n- b\n\nx | y\n\nk\n  v"
    assert (made.title, made.author, made.language) == ("Grüße", "Ann", "de")
    assert read(page.encode("latin-1"), "text/html; charset=latin-1").title == "Grüße"
    assert read("<p>caf\xe9".encode("cp1252"), "text/html").text == "café"


def test_what_was_written_into_and_upon_a_pdf_is_text() -> None:
    data = documents.written_pdf("Name:", field="Jane Roe", inherited="Bonn", box="typed here", note="call her")

    assert text_of(data, "x.pdf").text == "Name:\nJane Roe\nBonn\ntyped here\ncall her"


def test_lines_of_code_keep_their_indents_and_formulas_and_drawings_their_words() -> None:
    code = "<p>a</p><pre>  def f():\r\n    return  1\r\n\r\n</pre><pre><div>x:</div><div>   y</div></pre>"
    formula = "<p>If <math><mi>E</mi><mo>=</mo><mi>m</mi><annotation>tex</annotation></math>.</p>"
    drawing = "<svg><title>icon</title><style>x</style><g><text>left</text><text>right</text></g></svg>"

    assert text_of(code.encode(), "x.html").text == "a\n\n  def f():\n    return  1\n\nx:\n\n   y"
    assert text_of((formula + drawing).encode(), "x.html").text == "If E=m.\n\nleft\n\nright"


def test_a_message_gives_headers_the_plain_body_and_attachments() -> None:
    raw = documents.message(
        "plain body", html="<p>not this</p>", From="Ann <ann@example.com>", To="bob@example.com", Subject="Grüße",
        Date="Mon, 01 Jan 2024 10:00:00 +0200",
        attached=[("plan.docx", documents.docx("Dear Jane")), ("cat.png", b"\x89PNG\r\n\x1a\n" + bytes(40)),
                  ("note.eml", documents.message("inner", Subject="In"))],
    )  # fmt: skip
    made = text_of(raw, "x.eml")

    assert made.text.split("\n\n") == [
        "From: Ann <ann@example.com>\nTo: bob@example.com\nDate: Mon, 01 Jan 2024 10:00:00 +0200\nSubject: Grüße",
        "plain body", "## plan.docx", "Dear Jane", "## cat.png", "## note.eml", "Subject: In", "inner",
    ]  # fmt: skip
    assert (made.title, made.author, made.created) == ("Grüße", "Ann <ann@example.com>", "2024-01-01T08:00:00+00:00")


def parted(kind: str, *parts: str) -> str:
    """A part of several parts; each gives its headers, an empty line and its body."""
    mark = f"mark-{kind}"
    inside = "".join(f"--{mark}\r\n{part}\r\n" for part in parts)
    return f'Content-Type: multipart/{kind}; boundary="{mark}"\r\n\r\n{inside}--{mark}--\r\n'


_PLAIN, _PAGE = "Content-Type: text/plain\r\n\r\nplain", "Content-Type: text/html\r\n\r\n<p>page</p>"
_CALL = "Content-Type: text/calendar\r\n\r\nBEGIN:VCALENDAR"
_NOTE = 'Content-Type: text/plain; name="n.txt"\r\nContent-Disposition: attachment; filename="n.txt"\r\n\r\nnote'
_LOGO = 'Content-Type: image/png; name="logo.png"\r\nContent-ID: <1>\r\n\r\n\x89PNG'


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (parted("alternative", _PLAIN, _PAGE), "plain"),
        (parted("alternative", "Content-Type: text/plain\r\n\r\n \r\n", _PAGE, _CALL), "page"),
        (parted("alternative", _PLAIN, parted("related", _PAGE, _LOGO)), "plain"),
        (parted("alternative", _PLAIN, parted("mixed", _PAGE, _NOTE, _PAGE)), "plain\n\n## n.txt\n\nnote"),
    ],
    ids=["plain", "empty", "pictures", "attached"],
)
def test_of_a_text_in_two_forms_nothing_is_lost(body: str, text: str) -> None:
    """Some programs leave the plain form empty, Apple's puts what is attached into the other one."""
    raw = f"Subject: Hi\r\nMIME-Version: 1.0\r\n{body}".encode("latin-1")

    assert text_of(raw, "x.eml").text == f"Subject: Hi\n\n{text}"


@pytest.mark.parametrize("how", ["base64", "quoted-printable", "7bit"])
def test_a_message_within_is_read_however_it_was_encoded(how: str) -> None:
    inner = "Subject: Grüße\r\n\r\ninner body".encode()
    packed = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}.get(how, bytes)(inner).decode()
    part = f"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: {how}\r\n\r\n{packed}"
    raw = f"Subject: Hi\r\nMIME-Version: 1.0\r\n{parted('mixed', _PLAIN, part)}".encode()

    assert text_of(raw, "x.eml").text.endswith("## message.eml\n\nSubject: Grüße\n\ninner body")


def test_letters_that_nobody_declared_are_found_out() -> None:
    said = "Größe und Maß für Jürgen, schöne Grüße"

    for head in ("", "Content-Type: text/plain; charset=x-unknown\r\n", "Content-Type: text/html\r\n"):
        raw = f"Subject: {said}\r\n{head}\r\n{said}".encode("cp1252")
        assert text_of(raw, "x.eml").text == f"Subject: {said}\n\n{said}", head


def test_what_is_attached_to_a_message_is_read_or_said_not_to_be() -> None:
    """The message is read without it, so nobody else can tell."""
    kind, file = "text/plain", "Content-Disposition: attachment; filename={}\r\n\r\n"
    parts = [
        f"Content-Type: {kind}\r\n{file.format('a.txt')}café",
        f"Content-Type: {kind}; charset=cp1250\r\n{file.format('b.txt')}mí\x9a",
        f"Content-Type: application/octet-stream\r\n{file.format('c.txt')}Größe und Maß für Jürgen",
        f"Content-Type: application/pdf\r\n{file.format('d.pdf')}%PDF-1.4 broken",
        f"Content-Type: application/zip\r\n{file.format('e.zip')}PK\x03\x04...",
        f"Content-Type: image/png\r\n{file.format('f.png')}\x89PNG",
    ]
    raw = f"Subject: Hi\r\nMIME-Version: 1.0\r\n{parted('mixed', _PLAIN, *parts)}".encode("latin-1")

    assert text_of(raw, "x.eml").text.split("\n\n")[2:] == [
        "## a.txt", "café", "## b.txt", "míš", "## c.txt", "Größe und Maß für Jürgen",
        "## d.pdf", "(not read: the file is damaged, or no document of its kind)",
        "## e.zip", "(not read: no reader is there for this format)", "## f.png",
    ]  # fmt: skip


def test_messages_within_one_another_end_with_a_word_that_they_go_on() -> None:
    raw = b"Subject: end\r\n\r\nlast"
    for n in range(7):
        raw = f"Subject: {n}\r\nContent-Type: message/rfc822\r\n\r\n".encode() + raw

    assert text_of(raw, "x.eml").text.endswith("(not read: it is a document within too many others)")


def test_a_line_of_a_letter_that_begins_as_messages_do_parts_nothing() -> None:
    begins = "From {}@x.org Mon Jan  1 10:00:00 2024\nSubject: {}\n\n"
    box = begins.format("a", "one") + "Dear Jane\n\nFrom the desk of John\n\n" + begins.format("b", "two") + "other\n"

    assert text_of(box.encode(), "a.mbox").text.split("\n\f\n") == [
        "Subject: one\n\nDear Jane\n\nFrom the desk of John", "Subject: two\n\nother",
    ]  # fmt: skip


_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def word(body: str, *, main: str = "word/document.xml", space: str = _WORD) -> bytes:
    """A Word file of a body in XML, with prefixes as Word writes them."""
    mc = 'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    document = f'<w:document xmlns:w="{space}" {mc}><w:body>{body}</w:body></w:document>'
    relation = f'<Relationship Id="r1" Type="{_RELATION}/officeDocument" Target="{main}"/>'
    relations = f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{relation}'
    return documents.zipped(
        {"[Content_Types].xml": "<Types/>", "_rels/.rels": f"{relations}</Relationships>", main: document}
    )


def para(*runs: str) -> str:
    return "<w:p>" + "".join(f"<w:r>{r if r.startswith('<') else f'<w:t>{r}</w:t>'}</w:r>" for r in runs) + "</w:p>"


def test_what_word_writes_twice_is_read_once() -> None:
    """A box stands within a paragraph in two forms, a table in a cell; moved text is still where it was."""
    box = f"<w:txbxContent>{para('in the box')}</w:txbxContent>"
    twice = f"<mc:AlternateContent><mc:Choice>{box}</mc:Choice><mc:Fallback>{box}</mc:Fallback></mc:AlternateContent>"
    inner = f"<w:tbl><w:tr><w:tc>{para('inner')}</w:tc></w:tr></w:tbl>"
    table = f"<w:tbl><w:tr><w:tc>{para('a')}{inner}</w:tc><w:tc>{para('b')}</w:tc></w:tr></w:tbl>"
    moved = "<w:p><w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom><w:r><w:t>stays</w:t></w:r></w:p>"
    there = "<w:p><w:moveTo><w:r><w:t>moved</w:t></w:r></w:moveTo></w:p>"

    made = text_of(word(para("before", twice, "after") + table + moved + there), "x.docx")

    assert made.text.split("\n\n") == ["beforeafter", "in the box", "a inner | b", "stays", "moved"]


@pytest.mark.parametrize("space", [_WORD, "http://purl.oclc.org/ooxml/wordprocessingml/main"], ids=["usual", "strict"])
@pytest.mark.parametrize("main", ["word/document.xml", "word/document2.xml"])
def test_a_word_file_of_a_server_or_in_the_strict_form_is_read(main: str, space: str) -> None:
    data = word(para("Dear Jane"), main=main, space=space)

    assert media_type(data, "x.docx") == DOCX
    assert text_of(data, "x.docx").text == "Dear Jane"


_DRAWN = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
_CHART = (
    f'<c:chartSpace xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart" {_DRAWN}><c:title>'
    "<a:p><a:r><a:t>Sales</a:t></a:r></a:p></c:title><c:ser><c:tx><c:strCache><c:v>North</c:v></c:strCache></c:tx>"
    "<c:cat><c:strCache><c:v>May</c:v></c:strCache></c:cat><c:val><c:numCache><c:v>7</c:v></c:numCache></c:val></c:ser>"
    "<c:ser><c:cat><c:strCache><c:v>May</c:v></c:strCache></c:cat></c:ser></c:chartSpace>"
)


def test_formulas_and_charts_of_a_word_file_are_text() -> None:
    word = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    math = 'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"'
    body = "<w:p><w:r><w:t>as</w:t><w:ptab/></w:r><m:oMath><m:r><m:t>x=1</m:t></m:r></m:oMath></w:p>"
    document = f"<w:document {word} {math}><w:body>{body}</w:body></w:document>"
    made = documents.zipped({"word/document.xml": document, "word/charts/chart1.xml": _CHART})

    assert text_of(made, "a.docx").text == "as\tx=1\n\nSales\nNorth\nMay"


def test_comments_and_charts_of_a_slide_are_text_of_the_slide() -> None:
    related = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    parts = {
        "ppt/slides/_rels/slide1.xml.rels": f'<r><x Id="a" Type="{related}/comments" Target="../comments/c1.xml"/>'
        f'<x Id="b" Type="{related}/chart" Target="../charts/chart1.xml"/></r>',
        "ppt/comments/c1.xml": '<p:cmLst xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"><p:cm>'
        "<p:text>too long</p:text></p:cm></p:cmLst>",
        "ppt/charts/chart1.xml": _CHART,
    }
    slides = io.BytesIO(documents.pptx(("title", "body", "")))
    with zipfile.ZipFile(slides) as packed:
        whole = {name: packed.read(name) for name in packed.namelist()} | {
            n: text.encode() for n, text in parts.items()
        }

    assert text_of(documents.zipped(whole), "a.pptx").text.endswith("Sales\nNorth\nMay\n\ntoo long")


def test_words_of_a_diagram_on_a_slide_are_text_of_the_slide() -> None:
    """SmartArt keeps them in a part beside the slide."""
    drawing = "http://schemas.openxmlformats.org/drawingml/2006/"
    points = "".join(f"<d:pt><d:t><a:p><a:r><a:t>{w}</a:t></a:r></a:p></d:t></d:pt>" for w in ("Plan", "Do"))
    data = f'<d:dataModel xmlns:d="{drawing}diagram" xmlns:a="{drawing}main"><d:ptLst>{points}</d:ptLst></d:dataModel>'
    relation = f'<Relationship Id="d1" Type="{_RELATION}/diagramData" Target="../diagrams/data1.xml"/></Relationships>'
    with zipfile.ZipFile(io.BytesIO(documents.pptx(("Title", "body", "notes")))) as deck:
        parts: dict[str, bytes | str] = {name: deck.read(name) for name in deck.namelist()}
    relations = "ppt/slides/_rels/slide1.xml.rels"
    parts[relations] = bytes(parts[relations]).replace(b"</Relationships>", relation.encode())
    parts["ppt/diagrams/data1.xml"] = data

    assert text_of(documents.zipped(parts), "x.pptx").text.split("\n\n") == ["# Title", "body", "Plan\nDo", "notes"]


def test_a_box_a_comment_and_a_table_within_a_table_are_read_once_in_opendocument() -> None:
    box = "<draw:frame><draw:text-box><text:p>box</text:p></draw:text-box></draw:frame>"
    comment = "<office:annotation><dc:creator>Ann</dc:creator><text:p>comment</text:p></office:annotation>"
    cell = "<table:table-cell>{}</table:table-cell>"
    inner = f"<table:table><table:table-row>{cell.format('<text:p>inner</text:p>')}</table:table-row></table:table>"
    row = f"<table:table-row>{cell.format('<text:p>a</text:p>' + inner)}{cell.format('<text:p>b</text:p>')}"
    body = f"<text:p>one{box} two{comment}</text:p><table:table>{row}</table:table-row></table:table>"

    made = text_of(documents.odt(f"<office:text>{body}</office:text>"), "x.odt")

    assert made.text.split("\n\n") == ["one two", "box", "comment", "a inner | b"]


def test_messages_of_a_mailbox_are_pages() -> None:
    box = b"From a@x Mon\nSubject: one\n\nbody\n>From here\n\nFrom b@x Tue\nSubject: two\n\nother\n"

    assert text_of(box, "a.mbox").text.split("\n\f\n") == ["Subject: one\n\nbody\nFrom here", "Subject: two\n\nother"]
    assert media_type(box, "a.txt") == "text/plain"


_ONE, _TWO = b"From a@x Mon Jan  1 10:00:00 2024\n", b"From b@x Tue Jan  2 10:00:00 2024\n"


@pytest.mark.parametrize(
    ("box", "pages"),
    [
        (b"\n" + _ONE + b"Subject: one\n\nbody\n", ["Subject: one\n\nbody"]),
        (b"\xef\xbb\xbf" + _ONE + b"Subject: one\n\nbody\n", ["Subject: one\n\nbody"]),
        ((_ONE + b"Subject: one\n\nbody\n").replace(b"\n", b"\r"), ["Subject: one\n\nbody"]),
        (b"Subject: one\n\nbody\n", ["Subject: one\n\nbody"]),
        (
            b"Subject: nil\n\nn\n\n" + _ONE + b"Subject: one\n\nFrom me\n\nFrom me\n",
            ["Subject: nil\n\nn", "Subject: one\n\nFrom me\n\nFrom me"],
        ),
        (
            _ONE + b"Subject: one\n\nbody\n" + _TWO + b"Subject: two\n\nother\n",
            ["Subject: one\n\nbody", "Subject: two\n\nother"],
        ),
        (
            _ONE + b"Subject: one\n\nsee\n" + _TWO + b"and so on\n",
            ["Subject: one\n\nsee\n" + _TWO.decode() + "and so on"],
        ),
    ],
)
def test_a_mailbox_whose_lines_between_messages_are_broken_loses_nothing(box: bytes, pages: list[str]) -> None:
    made = text_of(box, "a.mbox")

    assert (made.text.split("\n\f\n"), made.pages) == (pages, len(pages))


def test_a_mailbox_without_a_message_is_empty() -> None:
    assert (text_of(b"\n", "a.mbox").text, text_of(b"\n", "a.mbox").pages) == ("", 0)


def test_times_of_a_calendar_tell_their_zone_and_rules_for_clocks_are_none_of_it() -> None:
    made = text_of(
        b"BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nTZID:Europe/Rome\nBEGIN:STANDARD\nDTSTART:19701025T030000\nEND:STANDARD\n"
        b"END:VTIMEZONE\nBEGIN:VEVENT\nSUMMARY:a\nDTSTART;TZID=Europe/Rome:20240102T100000\nEND:VEVENT\n"
        b"BEGIN:VFREEBUSY\nFREEBUSY:20240101/P1D\nEND:VFREEBUSY\nEND:VCALENDAR\n",
        "a.ics",
    )

    assert made.text == "summary: a\ndtstart: 20240102T100000 Europe/Rome\n\nfreebusy: 20240101/P1D"


@pytest.mark.parametrize("charset", [";CHARSET=ISO-8859-1", ""])
def test_letters_of_old_cards_are_in_the_encoding_that_they_tell_or_seem_to_be_in(charset: str) -> None:
    card = f"BEGIN:VCARD\nVERSION:2.1\nFN{charset};ENCODING=QUOTED-PRINTABLE:J=FCrgen Gr=F6=DFe\nEND:VCARD\n"

    assert text_of(card.encode(), "a.vcf").text == "fn: Jürgen Größe"


def test_calendars_and_cards_give_their_properties() -> None:
    event = (
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Team \r\n meeting\r\n"
        'ATTENDEE;CN="Doe: Jane":mailto:jane@example.com\r\nDESCRIPTION:a\\nb\\, c\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n'
    )
    card = "BEGIN:VCARD\nN;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;Jo\nFN:Jo\nPHOTO;ENCODING=B:xyz\nEND:VCARD\n"

    assert (
        text_of(event.encode(), "a.ics").text
        == "summary: Team meeting\nattendee: Doe: Jane mailto:jane@example.com\ndescription: a b, c"
    )
    assert text_of(card.encode(), "a.vcf").text == "n: Müller Jo\nfn: Jo"


def test_cards_are_read_where_lines_are_folded_within_a_letter_and_marks_are_escaped() -> None:
    whole = "BEGIN:VCARD\r\nFN:Jürgen\r\nNOTE:a\\;b\\\\nc\\nd;e\r\nEND:VCARD\r\n".encode()
    at = whole.index("ü".encode()) + 1

    assert text_of(whole, "a.vcf").text == "fn: Jürgen\nnote: a;b\\nc d e"
    assert text_of(whole[:at] + b"\r\n " + whole[at:], "a.vcf").text == "fn: Jürgen\nnote: a;b\\nc d e"


def test_rtf_and_xml_give_their_text() -> None:
    made = text_of(rb"{\rtf1\ansi{\info{\title Caf\'e9}{\author Ann}}Dear \b Jane\b0\par\par next}", "x.rtf")

    assert (made.text, made.title, made.author) == ("Dear Jane\n\nnext", "Café", "Ann")
    assert text_of(b'<?xml version="1.0"?><r xmlns="u"><a id="7">t</a></r>', "x.xml").text == "a: t\na.id: 7"


def test_rtf_gives_its_tables_boxes_and_what_it_says_of_itself() -> None:
    made = text_of(
        rb"{\rtf1\ansi{\info{\title {\uc1 \u1055?}\u1088?}{\author J\'fc}{\creatim\yr2024\mo1\dy2\hr3\min4}}"
        rb"{\header above\par}\trowd a|b\cell c\cell\row\pard x|y\par{\shp{\*\shpinst{\sp{\sn shapeType}{\sv 202}}"
        rb"{\shptxt boxed\par}}{\shprslt{\*\do{\dptxbxtext boxed}}}}end}",
        "x.rtf",
    )

    assert made.text == "above\na|b | c\nx|y\n\nboxed\nend"
    assert (made.title, made.author, made.created) == ("Пр", "Jü", "2024-01-02T03:04:00")


@pytest.mark.parametrize(
    ("data", "name", "kind"),
    [
        (documents.docx("x"), "renamed.bin", DOCX),
        (documents.pptx(("a", "b", "c")), "x.zip", PPTX),
        (documents.odt("<office:text/>"), "x", ODT),
        (documents.epub("a", "b", "c"), "x.txt", EPUB),
        (b"\n%PDF-1.7", "x.txt", "application/pdf"),
        (b"junk\n%PDF-1.7", "x.pdf", "application/pdf"),
        (b"junk\n%PDF-1.7", "x", "application/pdf"),
        (b"PDF files begin with %PDF-1.7", "x.txt", "text/plain"),
        (b"Subject: Files\n\nThey begin with %PDF-1.7", "x.eml", "message/rfc822"),
        (b"<HTML>", "x.txt", "text/html"),
        (b"# x", "x.md", "text/markdown"),
        (b"x", "x", "text/plain"),
        (b"<?xml?>", "x.svg", "text/plain"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "x.docx", LOCKED),
        (documents.zipped({"a.txt": "x"}), "x.zip", None),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "x.txt", None),
        (b"\x7fELF" + bytes(60), "x", None),
    ],
)
def test_a_kind_is_known_by_content_first(data: bytes, name: str, kind: str | None) -> None:
    assert media_type(data, name) == kind


def test_hostile_and_broken_documents_are_reasons() -> None:
    word = documents.docx("x" * 500)
    entity = '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>'
    laughs = '<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><r>&b;</r>'

    assert reason(word[: len(word) // 2], "x.docx") == "unreadable_document"
    assert reason(documents.zipped({"word/document.xml": entity}), "x.docx") == "xml_entities"
    assert reason(documents.zipped({"word/document.xml": laughs}), "x.docx") == "xml_entities"
    assert reason(entity.encode(), "x.xml") == "xml_entities"
    assert reason(documents.zipped({"word/document.xml": "<w><p></w>"}), "x.docx") == "unreadable_document"
    assert reason(documents.pdf("x", locked=True), "x.pdf") == "password_protected"
    assert reason(b"%PDF-1.7 nothing", "x.pdf") == "unreadable_document"
    assert (
        reason(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "x.docx")
        == "password_protected"
    )
    assert reason(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "x.doc") == "unknown_format"
    assert reason(documents.odt("", manifest="<m><encryption-data/></m>"), "x.odt") == "password_protected"


def test_what_is_nested_too_deep_is_told_and_not_cut_off() -> None:
    assert reason(b"<p>" + b"<b>x" * 3000, "x.html") == "too_much_inside"
    assert text_of(b"<p>" + b"<b>x" * 1000, "x.html").text.count("x") == 1000


def test_a_zip_bomb_within_a_document_stops_soon() -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("word/document.xml", b"<" + b"a" * (70 << 20))

    assert len(held.getvalue()) < 1 << 20
    assert reason(held.getvalue(), "x.docx") == "too_much_inside"


def test_a_table_of_documents_keeps_its_rows_and_gets_the_same_columns_for_every_format() -> None:
    table = pa.table(
        {
            "path": ["a", "b", "c"],
            "media_type": ["text/plain", "application/pdf", "application/pdf"],
            "content": [b"plain", documents.pdf("one", "two", author="Ann"), b"%PDF-broken"],
        }
    )
    made, failed = extract(table)

    assert failed == {2: "unreadable_document"}
    assert made.column_names == [
        "path", "media_type", "text", "title", "characters", "author", "created", "language", "pages", "scanned_pages",
    ]  # fmt: skip
    assert made["pages"].to_pylist() == [None, 2, None]
    assert made["author"].to_pylist() == [None, "Ann", None]
    assert made["text"].to_pylist() == ["plain", "one\n\f\ntwo", None]


def test_notes_come_once_and_what_was_deleted_does_not() -> None:
    body = (
        "<office:text><text:tracked-changes><text:changed-region><text:deletion><text:p>gone</text:p></text:deletion>"
        "</text:changed-region></text:tracked-changes><text:p>one<text:note><text:note-citation>1</text:note-citation>"
        "<text:note-body><text:p>note</text:p></text:note-body></text:note> more</text:p></office:text>"
    )
    rtf = rb"{\rtf1\ansi one{\super\chftn}{\*\footnote\chftn note\par} more}"

    assert text_of(documents.odt(body), "x.odt").text == "one more\n\nnote"
    assert "note" in text_of(rtf, "x.rtf").text
    assert text_of(b"<html><ul><li><p>milk</p><li>eggs<ul><li>brown</ul></ul>end", "x.html").text == (
        "- milk\n\n- eggs\n\n- brown\n\nend"
    )


def test_whom_an_answer_goes_to_and_who_got_a_blind_copy_is_read() -> None:
    headers = {"From": "a@x.org", "To": "b@x.org", "Bcc": "Cy <c@x.org>", "Reply-To": "d@x.org", "Subject": "Hi"}

    made = text_of(documents.message("Hello", **headers), "m.eml").text

    assert made == "From: a@x.org\nReply-To: d@x.org\nTo: b@x.org\nBcc: Cy <c@x.org>\nSubject: Hi\n\nHello"


def test_files_that_are_attached_to_a_pdf_are_read_once() -> None:
    deep = documents.pdf_with_files("inner", [("deep.txt", b"deepest")])
    files = [("a.txt", b"first"), ("in.pdf", deep), ("p.png", b"\x89PNG\r\n"), ("z.zip", documents.zipped({"a": "b"}))]
    data = documents.pdf_with_files("on the page", files, pinned=[("note.docx", documents.docx("Dear Jane")), files[0]])

    made = text_of(data, "x.pdf")

    wanted = [
        "on the page",
        "## note.docx\n\nDear Jane",
        "## a.txt\n\nfirst",
        "## in.pdf\n\ninner\n\n## deep.txt\n\ndeepest",
    ]
    wanted += ["## p.png", "## z.zip\n\n(not read: no reader is there for this format)"]
    assert sorted(made.text.split("\n\n")) == sorted("\n\n".join(wanted).split("\n\n"))
    assert made.pages == 1


def test_files_attached_to_a_pdf_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    large = documents.pdf_with_files("page", [("a.txt", b"a" * 900), ("b.txt", b"b" * 900), ("c.txt", b"c")])
    nested = b"the end"
    for _ in range(7):
        nested = documents.pdf_with_files("page", [("in.pdf" if nested[:4] == b"%PDF" else "in.txt", nested)])

    assert f"(not read: {REASONS['nested_too_deep']})" in text_of(nested, "x.pdf").text
    monkeypatch.setattr("nectar.extract.pdf.MAX_TOTAL", 1000)
    assert text_of(large, "x.pdf").text.split("\n\n")[1:] == [
        "## a.txt", "a" * 900, "## b.txt", f"(not read: {REASONS['too_much_inside']})", "## c.txt", "c",
    ]  # fmt: skip


def test_the_words_of_drawings_and_of_imported_parts_of_word_are_read() -> None:
    namespaces = (
        'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
        'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
        'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
    )
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/aFChunk"
    chunks = {
        "one": ("html.htm", b"<html><body><p>a page</p></body></html>"),
        "two": ("m.mht", documents.message("", html="<p>a message</p>")),
        "three": ("in.docx", documents.docx("a letter")),
    }
    relations = "".join(f'<Relationship Id="{n}" Type="{kind}" Target="{f}"/>' for n, (f, _) in chunks.items())
    body = "".join(f'<w:altChunk r:id="{name}"/>' for name in ("two", "one", "three", "lost"))
    data = documents.zipped(
        {
            "word/document.xml": f"<w:document {namespaces}><w:p><w:r><w:t>Hi</w:t></w:r></w:p>{body}</w:document>",
            "word/_rels/document.xml.rels": f"<Relationships>{relations}</Relationships>",
            "word/diagrams/data1.xml": f"<d {namespaces}><a:p><a:r><a:t>a box</a:t></a:r></a:p><a:p/></d>",
            **{f"word/{file}": chunk for file, chunk in chunks.values()},
        }
    )

    assert text_of(data, "x.docx").text.split("\n\n") == ["Hi", "a message", "a page", "a letter", "a box"]

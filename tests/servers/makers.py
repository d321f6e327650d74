"""Programs of Debian that write documents and archives: what others made is read otherwise than what we made."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

from tests.servers.debian import environment, unpacked

MARKDOWN = """\
---
title: The plan
author: Ann Lee
lang: en
---

# Garden

Dear *Jane*, write to [us](https://example.com)[^1] soon.

- milk
- eggs
    - brown ones

| name | price |
|------|-------|
| hen  | 7     |

## Second

Last words of Zoë.

[^1]: A footnote.
"""
_TROFF = (
    ".TL\nThe plan\n.AU\nAnn Lee\n.NH\nGarden\n.PP\nDear Jane, write to us soon.\n.bp\n.NH\nSecond\n.PP\nLast words.\n"
)


def by_pandoc(folder: Path, *endings: str) -> dict[str, bytes]:
    """`MARKDOWN` in the formats of these endings, such as `.docx`."""
    home = unpacked("pandoc")
    (folder / "in.md").write_text(MARKDOWN)
    made = {}
    shared = home / "usr/share/pandoc"
    for ending in endings:
        asked = ("-s", "--data-dir", shared / "data", "in.md", "-o", f"out{ending}")
        _run(home, "usr/bin/pandoc", *asked, cwd=folder, more={"pandoc_datadir": str(shared)})
        made[ending] = (folder / f"out{ending}").read_bytes()
    return made


def by_groff() -> bytes:
    """A PDF of two pages."""
    home = unpacked("groff")
    (shared,) = (home / "usr/share/groff").glob("1.*")
    places = {
        "GROFF_FONT_PATH": str(shared / "font"), "GROFF_BIN_PATH": str(home / "usr/bin"),
        "GROFF_TMAC_PATH": f"{shared / 'tmac'}:{home / 'usr/share/groff/site-tmac'}",
    }  # fmt: skip
    return _run(home, "usr/bin/groff", "-ms", "-Tpdf", typed=_TROFF.encode(), more=places)


def by_qpdf(folder: Path, pdf: bytes, *options: str) -> bytes:
    """The PDF written anew."""
    home = unpacked("qpdf")
    (folder / "in.pdf").write_bytes(pdf)
    _run(home, "usr/bin/qpdf", *options, "in.pdf", "out.pdf", cwd=folder)
    return (folder / "out.pdf").read_bytes()


def by_7z(folder: Path, name: str, files: dict[str, bytes], *options: str) -> bytes:
    """An archive of the kind that `name` ends with."""
    home = unpacked("p7zip-full")
    for path, data in files.items():
        (folder / path).write_bytes(data)
    program = next(p for p in ("usr/lib/p7zip/7z", "usr/lib/7zip/7z", "usr/bin/7z") if (home / p).is_file())
    _run(home, program, "a", *options, name, *files, cwd=folder)
    return (folder / name).read_bytes()


_OFFICE = (
    '<?xml version="1.0"?><office:document office:version="1.2" office:mimetype="application/vnd.oasis.opendocument.{}"'
    ' xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
    ' xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
    ' xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
    ' xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"'
    ' xmlns:svg="urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0"'
    ' xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0"'
    ' xmlns:number="urn:oasis:names:tc:opendocument:xmlns:datastyle:1.0"'
    ' xmlns:of="urn:oasis:names:tc:opendocument:xmlns:of:1.2"'
    ' xmlns:meta="urn:oasis:names:tc:opendocument:xmlns:meta:1.0" xmlns:dc="http://purl.org/dc/elements/1.1/">'
    "<office:meta><dc:title>The plan</dc:title><meta:initial-creator>Ann Lee</meta:initial-creator></office:meta>{}"
    "</office:document>"
)
_TEXT = (
    '<office:body><office:text><text:h text:outline-level="1">Garden</text:h><text:p>Dear Jane, write to us.</text:p>'
    "<text:list><text:list-item><text:p>milk</text:p></text:list-item></text:list><table:table><table:table-row>"
    "<table:table-cell><text:p>hen</text:p></table:table-cell><table:table-cell><text:p>7</text:p></table:table-cell>"
    "</table:table-row></table:table><text:p>Last words of Zoë.</text:p></office:text></office:body>"
)
_SLIDE = (
    '<draw:page><draw:frame svg:width="9cm" svg:height="3cm"><draw:text-box><text:p>Slide {}, dear Jane.</text:p>'
    "</draw:text-box></draw:frame></draw:page>"
)
_SLIDES = f"<office:body><office:presentation>{_SLIDE.format(1)}{_SLIDE.format(2)}</office:presentation></office:body>"
_DAYS = (
    '<office:automatic-styles><number:date-style style:name="N1"><number:year number:style="long"/><number:text>-'
    '</number:text><number:month number:style="long"/><number:text>-</number:text><number:day number:style="long"/>'
    '</number:date-style><style:style style:name="day" style:family="table-cell" style:data-style-name="N1"/>'
    "</office:automatic-styles>"
)


def _cell(text: str) -> str:
    """`=formula|value`, a day such as `2024-01-31`, a number, nothing, or text."""
    if not text:
        return "<table:table-cell/>"
    if text.startswith("="):
        formula, _, value = text.partition("|")
        return f'<table:table-cell table:formula="of:{formula}" office:value-type="float" office:value="{value}"/>'
    if text.startswith("2024-"):
        return f'<table:table-cell office:value-type="date" office:date-value="{text}" table:style-name="day"/>'
    if text.replace(".", "").isdecimal():
        return f'<table:table-cell office:value-type="float" office:value="{text}"/>'
    return f'<table:table-cell office:value-type="string"><text:p>{text}</text:p></table:table-cell>'


def _sheets(sheets: dict[str, list[list[str]]]) -> str:
    made = "".join(
        f'<table:table table:name="{name}">'
        + "".join(f"<table:table-row>{''.join(map(_cell, row))}</table:table-row>" for row in rows)
        + "</table:table>"
        for name, rows in sheets.items()
    )
    return f"{_DAYS}<office:body><office:spreadsheet>{made}</office:spreadsheet></office:body>"


def by_libreoffice(folder: Path, sheets: dict[str, list[list[str]]], *endings: str) -> dict[str, bytes]:
    """A text, two slides, or these sheets, as the endings say: `.docx`, `.pptx`, `.xlsx` and their like."""
    home = unpacked("libreoffice-calc-nogui", "libreoffice-impress-nogui", "libreoffice-writer-nogui")
    office = home / "usr/lib/libreoffice"
    told = office / "program/fundamentalrc"  # it names the places of an installed one
    here = told.read_text().replace("=file:///usr/lib/libreoffice\n", f"={office.as_uri()}\n")
    here = here.replace("file:///etc/libreoffice/registry", (office / "share/.registry").as_uri())
    if here != told.read_text():
        told.write_text(here)
    kinds = {".docx": "text", ".odt": "text", ".rtf": "text", ".pptx": "presentation", ".odp": "presentation"}
    bodies = {"text": _TEXT, "presentation": _SLIDES, "spreadsheet": _sheets(sheets)}
    libraries = {"LD_LIBRARY_PATH": f"{office / 'program'}:{environment(home)['LD_LIBRARY_PATH']}", "HOME": str(folder)}
    made = {}
    for ending in endings:
        kind = kinds.get(ending, "spreadsheet")
        (folder / "in.xml").write_text(_OFFICE.format(kind, bodies[kind]))
        asked = (
            f"-env:UserInstallation={(folder / 'profile').as_uri()}",
            "--headless",
            "--convert-to",
            ending[1:],
            "in.xml",
        )
        for _ in range(2):  # the first time it makes its profile and asks to be started again
            with contextlib.suppress(AssertionError):
                _run(home, "usr/lib/libreoffice/program/soffice.bin", *asked, cwd=folder, more=libraries)
            if (folder / f"in{ending}").exists():
                break
        made[ending] = (folder / f"in{ending}").read_bytes()
    return made


def _run(
    home: Path, program: str, *arguments: str | Path, typed: bytes = b"", cwd: Path | None = None,
    more: dict[str, str] | None = None,
) -> bytes:  # fmt: skip
    done = subprocess.run(
        [str(home / program), *map(str, arguments)], input=typed, cwd=cwd, env=environment(home) | (more or {}),
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout

"""Programs of Debian that write documents and archives: what others made is read otherwise than what we made."""

from __future__ import annotations

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

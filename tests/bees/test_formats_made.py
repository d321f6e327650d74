"""Documents and archives that other programs wrote: pandoc, groff, qpdf, 7z."""

from __future__ import annotations

from pathlib import Path

import pytest

from bees.local import LocalBee
from nectar.extract.document import NoText
from nectar.extract.kinds import media_type
from nectar.extract.read import read
from tests.bees.contract import rows
from tests.servers.makers import by_7z, by_groff, by_libreoffice, by_pandoc, by_qpdf

pytestmark = pytest.mark.servers


def test_what_pandoc_writes_is_read_with_its_parts_and_its_author(tmp_path: Path) -> None:
    made = by_pandoc(tmp_path, ".docx", ".odt", ".epub", ".html", ".pptx", ".rtf")
    found = {ending: read(data, str(media_type(data, f"x{ending}"))) for ending, data in made.items()}

    for ending, document in found.items():
        assert document.text.count("A footnote.") == document.text.count("Last words of Zoë.") == 1, ending
        assert document.title == "The plan", ending
        assert all(word in document.text for word in ("Dear Jane, write to us", "milk", "brown ones", "hen")), ending
    for ending in (".docx", ".odt", ".epub", ".html"):
        assert "# Garden\n\nDear Jane" in found[ending].text, ending
        assert "- milk\n\n- eggs\n\n- brown ones\n\nname | price\n\nhen | 7\n\n## Second" in found[ending].text, ending
        assert (found[ending].author, found[ending].language) == ("Ann Lee", "en"), ending
    assert found[".pptx"].pages == found[".pptx"].text.count("\f") + 1 > 1


def test_what_groff_and_qpdf_write_is_read_by_pages_or_told_to_be_locked(tmp_path: Path) -> None:
    plain = by_groff()
    others = [by_qpdf(tmp_path, plain, how) for how in ("--linearize", "--object-streams=generate")]
    others.append(by_qpdf(tmp_path, plain, "--encrypt", "", "owner", "256", "--"))  # locked against changes only

    for data in (plain, *others):
        document = read(data, "application/pdf")
        first, second = document.text.split("\f")
        assert "Dear Jane, write to us soon." in first
        assert "Last words." in second
        assert (document.title, document.pages, document.scanned) == ("The plan", 2, 0)
        assert document.created.startswith("20")
    with pytest.raises(NoText, match="password_protected"):
        read(by_qpdf(tmp_path, plain, "--encrypt", "secret", "owner", "256", "--"), "application/pdf")


def test_what_7z_writes_is_read_member_by_member_or_told_to_be_locked(tmp_path: Path) -> None:
    work, files = tmp_path / "work", {"a.csv": b"id\n7\n", "b.txt": b"words"}
    folder = tmp_path / "in"
    work.mkdir()
    folder.mkdir()
    for name in ("a.7z", "b.zip", "c.tar"):
        (folder / name).write_bytes(by_7z(work, name, files))
    for name, options in (
        ("l.7z", ("-psecret",)),
        ("m.7z", ("-psecret", "-mhe=on")),
        ("n.zip", ("-psecret", "-mem=AES256")),
    ):
        (folder / name).write_bytes(by_7z(work, name, files, *options))

    with LocalBee.from_options({"path": str(folder)}) as bee:
        tables, texts = list(bee.collect_nectar("records", None)), list(bee.collect_nectar("documents", None))

    assert [(r["source_file"], r["id"]) for r in rows(tables)] == [
        (f"{n}/a.csv", "7") for n in ("a.7z", "b.zip", "c.tar")
    ]
    assert [r["path"] for r in rows(texts)] == [f"{n}/b.txt" for n in ("a.7z", "b.zip", "c.tar")]
    told = [(r.position, r.code) for batch in (*tables, *texts) for r in batch.rejects]
    assert {code for _, code in told} == {"password_protected"}
    assert {position.partition("/")[0] for position, _ in told} == {"l.7z", "m.7z", "n.zip"}


SHEETS = {
    "First": [
        ["id", "day", "name", "price", "sum"],
        ["1", "2024-01-31", "Zoë", "1.5", "=[.A2]+1|2"],
        [],
        ["2", "", "", "2"],
    ],
    "More": [["k"], ["v"]],
}


def test_what_libreoffice_writes_is_read_as_it_was_meant(tmp_path: Path) -> None:
    office = tmp_path / "office"
    office.mkdir()
    made = by_libreoffice(office, SHEETS, ".docx", ".pptx", ".xlsx", ".ods")
    texts = {ending: read(data, str(media_type(data, f"x{ending}"))) for ending, data in list(made.items())[:2]}

    words = texts[".docx"].text
    assert all(part in words for part in ("Garden", "Dear Jane, write to us.", "milk", "hen", "Last words of Zoë."))
    assert (texts[".docx"].title, texts[".docx"].author) == ("The plan", "Ann Lee")
    assert [page.strip() for page in texts[".pptx"].text.split("\f")] == ["Slide 1, dear Jane.", "Slide 2, dear Jane."]
    assert texts[".pptx"].pages == 2

    for ending in (".xlsx", ".ods"):
        (tmp_path / "sheets").mkdir(exist_ok=True)
        (tmp_path / "sheets" / f"book{ending}").write_bytes(made[ending])
    with LocalBee.from_options({"path": str(tmp_path / "sheets")}) as bee:
        found = rows(list(bee.collect_nectar("records", None)))
    for ending in (".ods", ".xlsx"):
        first, second, more = (row for row in found if row["source_file"].startswith(f"book{ending}"))
        assert (first["id"], first["name"], str(first["price"]), first["sum"]) == (1, "Zoë", "1.5", 2), ending
        assert str(first["day"]).startswith("2024-01-31"), ending
        assert (second["id"], second["day"], str(second["price"]), second["source_row"]) == (2, None, "2", 4), ending
        assert (more["k"], more["source_file"]) == ("v", f"book{ending}#More"), ending

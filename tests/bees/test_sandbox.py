"""Untrusted files are read by a child that can do nothing else: whatever kills it, the next file is read."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import psutil
import pyarrow as pa
import pytest

from bees.core.sandbox import Limits
from bees.core.sandbox.documents import Extractor
from nectar.extract.document import NoText
from nectar.extract.kinds import media_type
from nectar.extract.read import read
from nectar.pipeline import refine
from tests.nectar import documents

ALL = {
    "a.docx": documents.docx("# Plan", "Dear Jane", "|a|b|"),
    "a.pptx": documents.pptx(("One", "x", "y")),
    "a.odt": documents.odt("<office:text><text:p>odt</text:p></office:text>"),
    "a.epub": documents.epub("T", "A", "<p>one</p>"),
    "a.pdf": documents.pdf("one", None, title="T"),
    "a.html": "<html><body><p>Grüße".encode(),
    "a.xml": b'<?xml version="1.0"?><r><a>x</a></r>',
    "a.rtf": rb"{\rtf1\ansi Caf\'e9}",
    "a.eml": documents.message("hello", html="<p>x", Subject="Grüße", attached=[("b.docx", documents.docx("inner"))]),
    "a.mbox": b"From a Mon\nSubject: =?koi8-r?B?8NLJ18XU?=\nContent-Type: text/plain; charset=shift_jis\n\n\x82\xa0\n",
    "a.ics": b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:x\nEND:VEVENT\nEND:VCALENDAR\n",
    "a.vcf": b"BEGIN:VCARD\nN;ENCODING=QUOTED-PRINTABLE:M=C3=BCller\nEND:VCARD\n",
}


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    made = Extractor(Limits(memory=512 << 20, seconds=20))
    yield made
    made.close()


@pytest.mark.parametrize("name", ALL)
def test_every_format_reads_the_same_behind_the_wall(extractor: Extractor, name: str) -> None:
    kind = media_type(ALL[name], name) or ""

    assert extractor.read(ALL[name], kind) == read(ALL[name], kind)


def test_a_reason_is_the_same_and_the_child_stays(extractor: Extractor) -> None:
    extractor.read(ALL["a.html"], "text/html")
    child = extractor._sandbox._child
    for data, code in ((documents.pdf("x", locked=True), "password_protected"), (b"%PDF-", "unreadable_document")):
        with pytest.raises(NoText) as error:
            extractor.read(data, "application/pdf")
        assert error.value.code == code

    assert child is not None
    assert extractor._sandbox._child is child


def test_a_document_that_takes_too_long_is_a_reason_and_the_next_is_read() -> None:
    extractor = Extractor(Limits(memory=512 << 20, seconds=2))
    slow = b"<html><body>" + b"<table><tr><td>" * 100_000
    try:
        extractor.read(ALL["a.html"], "text/html")
        with pytest.raises(NoText) as error:
            extractor.read(b"{\\rtf1" + b"{\\*\\a" * 4_000_000, "text/rtf")
        assert error.value.code in {
            "extraction_timeout",
            "extraction_memory",
            "unreadable_document",
            "extraction_crashed",
        }
        assert extractor.read(ALL["a.html"], "text/html").text == "Grüße"
        assert len(extractor.read(slow[:2000], "text/html").text) < 2000
    finally:
        extractor.close()


def test_memory_is_bounded_and_the_next_document_is_read() -> None:
    extractor = Extractor(Limits(memory=64 << 20, seconds=20))
    try:
        with pytest.raises(NoText) as error:
            extractor.read(b"<p>" + b"<i>x</i> " * 4_000_000, "text/html")
        assert error.value.code == "extraction_memory"
        assert extractor.read(ALL["a.html"], "text/html").text == "Grüße"
    finally:
        extractor.close()


def test_a_pdf_whose_pages_lead_into_themselves_ends(extractor: Extractor) -> None:
    with pytest.raises(NoText) as error:
        extractor.read(documents.pdf("one", loop=True), "application/pdf")

    assert error.value.code == "too_much_inside"  # it says that it has a million pages


def test_a_child_that_is_killed_is_a_reason_and_another_takes_its_place(extractor: Extractor) -> None:
    extractor.read(ALL["a.html"], "text/html")
    child = extractor._sandbox._child
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)  # it is in the middle of a document for as long as we like
    threading.Timer(0.3, os.kill, (child.pid, signal.SIGKILL)).start()
    with pytest.raises(NoText) as error:
        extractor.read(ALL["a.html"], "text/html")

    assert error.value.code == "extraction_crashed"
    assert extractor.read(ALL["a.html"], "text/html").text == "Grüße"


def test_a_child_that_stands_still_is_given_up() -> None:
    extractor = Extractor(Limits(memory=512 << 20, seconds=1))
    extractor.read(ALL["a.html"], "text/html")
    child = extractor._sandbox._child
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(NoText) as error:
        extractor.read(ALL["a.html"], "text/html")

    assert error.value.code == "extraction_timeout"
    assert not psutil.pid_exists(child.pid)
    extractor.close()


def test_the_child_has_no_environment_and_no_open_file_of_ours(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIVE_KEY", "secret-hive-key")
    extractor.close()
    extractor.read(ALL["a.html"], "text/html")
    child = extractor._sandbox._child
    assert child is not None
    seen = psutil.Process(child.pid)

    assert "HIVE_KEY" not in seen.environ()
    assert seen.cwd() == "/"
    assert not [f for f in seen.open_files() if "site-packages" not in f.path]
    extractor.close()
    assert child.poll() is not None


def test_the_confined_process_opens_nothing_and_starts_nothing() -> None:
    program = """
import os, socket, subprocess
from bees.core.sandbox.confine import limit, refuse_calls
limit(256 << 20)
if not refuse_calls():
    print("unknown machine")
    raise SystemExit
def refused(call):
    try:
        call()
    except PermissionError:
        return True
    return False
read, write = os.pipe()
print(refused(lambda: open("/etc/passwd")), refused(socket.socket), refused(lambda: os.execv("/bin/true", ["true"])),
      refused(lambda: os.unlink("/tmp/none")), refused(lambda: os.kill(1, 0)))
try:
    bytearray(1 << 30)
except MemoryError:
    print("bounded")
"""
    root = str(Path(__file__).parents[2])
    made = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=root, timeout=60, check=True
    )

    assert made.stdout.split("\n")[:2] in (["True True True True True", "bounded"], ["unknown machine", ""])


def test_a_stream_without_a_descriptor_is_handed_over_whole(extractor: Extractor) -> None:
    data = b"<p>" + b"word " * 100_000
    frames = list(extractor._sandbox.ask({"do": "document", "said": "text/html"}, io.BytesIO(data)))

    assert len(frames[1]) == 499_999


def test_only_the_hostile_document_of_a_batch_is_set_aside(extractor: Extractor) -> None:
    class Plain:
        def scrub(self, table: pa.Table, deadline: object = None) -> object:
            class Done:
                failed: ClassVar[dict[int, str]] = {}
                removed = pa.table({"row": pa.array([], pa.int32())})

            Done.table = table  # type: ignore[attr-defined]
            return Done

    kinds = ["application/pdf", "text/html", "application/pdf"]
    contents = [ALL["a.pdf"], ALL["a.html"], documents.pdf("x", locked=True)]
    table = pa.table({"path": ["a", "b", "c"], "media_type": kinds, "content": contents})
    made = refine(table, Plain(), document=True, value_limit=1 << 20, extractor=extractor)

    assert made.table["text"].to_pylist() == ["one\n\f\n", "Grüße"]
    assert made.failed == {2: "password_protected"}
    assert made.reasons == {2: "the file is locked with a password"}


def test_limits_are_the_kernels(extractor: Extractor) -> None:
    extractor.read(ALL["a.html"], "text/html")
    child = extractor._sandbox._child
    assert child is not None
    limits = resource.prlimit(child.pid, resource.RLIMIT_AS), resource.prlimit(child.pid, resource.RLIMIT_FSIZE)

    assert limits[0][0] < 8 << 30
    assert limits[1] == (0, 0)

"""What takes too long, is too long or breaks a recogniser fails alone; what is remembered is no text."""

from __future__ import annotations

import os
import time

import pyarrow as pa
import pytest

from nectar.deadline import Deadline
from nectar.errors import SkipRecord
from nectar.keys import InMemoryKeys
from nectar.scrub import DataScrubber, detect, recognisers
from nectar.scrub.find import engine, patience
from nectar.scrub.find.engine import scan_texts
from nectar.scrub.find.findings import Hit, ScanError
from nectar.scrub.find.remembered import LONGEST, Remembered

GDPR = frozenset({"EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "US_SSN"})
MAIL = "bob@example.com"
MANY = " ".join(f"user{i}@example.com" for i in range(50))


@pytest.fixture(autouse=True)
def empty_cache():
    engine.cache.clear()


class Clock:
    """Each look at it takes a second."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


# Time


def test_a_text_that_takes_too_long_fails_and_others_do_not():
    scans = scan_texts([MAIL, MANY, "call 202-555-0143"], GDPR, deadline=Deadline(60.0, Clock()))

    assert str(scans[MANY]) == "scan_timed_out"
    assert scans[MANY].rule == "EmailRecognizer"
    assert [hit.entity for hit in scans[MAIL]] == ["EMAIL_ADDRESS"]
    assert [hit.entity for hit in scans["call 202-555-0143"]] == ["PHONE_NUMBER"]


def test_a_scan_that_failed_is_not_remembered():
    for _ in range(3):
        assert isinstance(scan_texts([MANY], GDPR, deadline=Deadline(60.0, Clock()))[MANY], ScanError)
    assert len(scan_texts([MANY], GDPR)[MANY]) == 50


def test_detect_takes_a_deadline_and_says_who_was_slow_but_not_on_what():
    with pytest.raises(SkipRecord) as caught:
        detect([MANY], sorted(GDPR), deadline=Deadline(60.0, Clock()))

    assert caught.value.code == "scan_timed_out"
    assert "EmailRecognizer" in str(caught.value)
    assert "example" not in str(caught.value)


def test_a_scrubber_fails_the_row_whose_value_takes_too_long():
    table = pa.table({"note": [MAIL, MANY, "x"]})

    scrubbed = DataScrubber({"profile": "gdpr_compliant"}, InMemoryKeys()).scrub(table, Deadline(60.0, Clock()))

    assert scrubbed.failed == {1: "scan_timed_out"}
    assert MAIL not in str(scrubbed.table.to_pylist())


def test_an_endless_pattern_ends_with_the_deadline():
    started = time.monotonic()
    scan = scan_texts(["a-" * 20_000 + "@b"], GDPR, deadline=Deadline(0.3, time.monotonic))

    assert [str(failure) for failure in scan.values()] == ["scan_timed_out"]
    assert time.monotonic() - started < 8


def test_a_pattern_has_what_is_left_of_the_time():
    clock = Clock()
    assert patience.seconds(10.0) == 10.0
    spent = patience.Spent(Deadline(5.0, clock))
    spent.begin(0)
    assert patience.seconds(10.0) < 5.0
    assert patience.seconds(0.5) == 0.5
    spent.end()
    assert patience.seconds(10.0) == 10.0


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_deadline_needs_time(seconds):
    with pytest.raises(ValueError, match="above zero"):
        Deadline(seconds, time.monotonic)


# Size


def test_a_text_that_is_too_long_fails_alone():
    long = "x" * (engine.LONGEST + 1)

    scans = scan_texts([long, MAIL], GDPR)

    assert str(scans[long]) == "text_too_long"
    assert len(scans[MAIL]) == 1


def test_what_grows_when_it_is_written_plainly_fails_too(monkeypatch):
    monkeypatch.setattr(engine, "LONGEST", 100)
    assert [str(scan) for scan in scan_texts(["\ufdfa" * 20], GDPR).values()] == ["text_too_long"]


@pytest.mark.parametrize("filler", ["a=b(c[12],'d');", "7", "1 ", "\x00", "ü\uff14", "@"])
def test_a_long_line_with_one_address_takes_time_in_proportion(filler):
    def seconds(characters):
        text = filler * (characters // len(filler)) + " bob@example.com"
        started = time.process_time()
        (scan,) = scan_texts([text], frozenset({"EMAIL_ADDRESS", "CREDIT_CARD", "US_SSN"})).values()
        assert any(hit.entity == "EMAIL_ADDRESS" for hit in scan)
        return time.process_time() - started

    seconds(1000)
    small = min(seconds(100_000 + i) for i in range(3))
    assert seconds(800_000) < max(0.5, 30 * small)


def test_digits_without_end_do_not_take_memory_for_every_sequence():
    (scan,) = scan_texts(["1 " * 300_000], frozenset({"PHONE_NUMBER"}), deadline=Deadline(1.0, time.monotonic)).values()
    assert scan == () or str(scan) == "scan_timed_out"


# What breaks


@pytest.mark.parametrize("text", ["\ud800 " + MAIL, MAIL + " \udfff", "\x00" + MAIL, "\uff14\ud800 " + MAIL])
def test_odd_characters_hide_nothing(text):
    assert [text[h.start : h.end] for h in scan_texts([text], GDPR)[text]] == [MAIL]


@pytest.mark.parametrize("error", [RuntimeError(MAIL), ScanError("recogniser_failed"), RecursionError()])
def test_a_recogniser_that_raises_fails_the_text_with_its_name(monkeypatch, error):
    recogniser = next(r for r in recognisers.recognisers() if r.name == "EmailRecognizer")

    def find(text):
        if "!" in text:
            raise error
        return [Hit("EMAIL_ADDRESS", 0, 3, 1.0)]

    monkeypatch.setitem(recogniser.__dict__, "find", find)

    scans = scan_texts(["! " + MAIL, f"!{MAIL}", MAIL], GDPR)

    assert str(scans[f"!{MAIL}"]) == "recogniser_failed"
    assert scans[f"!{MAIL}"].rule == "EmailRecognizer"
    assert MAIL not in repr(scans[f"!{MAIL}"])
    assert len(scans[MAIL]) == 1


# Memory


def test_what_nobody_foresaw_fails_the_text_it_is_about_and_no_other(monkeypatch):
    from nectar.scrub.find import prefilter

    look_up = prefilter.look_up

    def breaks(texts, *question):
        if "poison" in texts:
            raise TypeError(MAIL)
        return look_up(texts, *question)

    monkeypatch.setattr(prefilter, "look_up", breaks)
    others = [f"user{i}@example.com" for i in range(20)]
    scans = scan_texts([*others[:7], "poison", *others[7:]], GDPR)

    assert str(scans.pop("poison")) == "scan_failed"
    assert [[hit.entity for hit in scan] for scan in scans.values()] == [["EMAIL_ADDRESS"]] * 20
    table = pa.table({"a": ["poison", MAIL]})
    assert DataScrubber({"profile": "gdpr_compliant"}, InMemoryKeys()).scrub(table).failed == {0: "scan_failed"}


def test_many_short_numbers_are_looked_at_together():
    assert detect([f"row {10000 + i}" for i in range(800)], entities=["PHONE_NUMBER"])[0] == []


def test_a_text_is_remembered_from_its_second_coming():
    for _ in range(2):
        assert len(engine.cache) == 0
        first = scan_texts([MAIL], GDPR)
    assert len(engine.cache) == 1
    assert scan_texts([MAIL], GDPR) == first


def test_what_is_remembered_holds_no_text():
    for _ in range(3):
        scan_texts([MAIL], GDPR)

    held = [engine.cache._young, engine.cache._old, engine.cache._seen]
    assert len(engine.cache) == 1
    assert "bob" not in repr(held)
    assert all(len(key) == 16 for key in engine.cache._young)
    assert "bob" not in repr(engine.cache)


def test_questions_are_not_mixed_up():
    for _ in range(3):
        assert scan_texts(["123456788"], frozenset({"US_SSN"}))["123456788"] == ()
        lifted = scan_texts(["123456788"], frozenset({"US_SSN"}), frozenset({"US_SSN"}))
        assert [hit.entity for hit in lifted["123456788"]] == ["US_SSN"]


def test_two_processes_do_not_share_keys():
    one, other = Remembered(), Remembered()
    keys = {memory.key(MAIL, "q") for memory in (one, other) for _ in range(2)} - {None}
    assert len(keys) == 2


def test_memory_is_bounded():
    memory = Remembered()
    for number in range(250_000):
        key = memory.key(f"text {number}", "q")
        assert key is None
    assert memory._seen.itemsize * len(memory._seen) <= 1 << 20
    for number in range(120_000):
        memory.put(number.to_bytes(16, "big"), ())
    assert len(memory) <= 20_000
    assert memory.key("x" * (LONGEST + 1), "q") is None
    memory.put(b"many", tuple(Hit("URL", i, i + 1, 1.0) for i in range(100)))
    assert memory.get(b"many") is None


def test_a_child_process_scans_as_its_parent_does():
    expected = scan_texts([MAIL, MANY], GDPR)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:  # pragma: no cover  another process
        same = scan_texts([MAIL, MANY], GDPR) == expected
        os.write(writing, b"y" if same else b"n")
        os._exit(0)
    assert os.read(reading, 1) == b"y"
    assert os.waitpid(child, 0)[1] == 0

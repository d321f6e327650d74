"""Expressions over digits, asked about many strings at once, say what `re` says."""

import os
import random
import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import phonenumbers
import pyarrow as pa
import pytest

from nectar.scrub.find import digits
from nectar.scrub.phones import automaton as numbers_of
from nectar.scrub.phones import numbering
from nectar.scrub.phones.automaton import Automaton
from nectar.scrub.phones.phones import REGIONS, e164

PATTERNS = [
    "",
    "[2-46]",
    r"^(?:0|90)?(?:1[245]|2\d{2,4})$",
    r"^(?!12|3[4-6]$)(?=\d{2,5}$)\d*[^7]",
    r"(?:(?=.{4}\Z|.{6}\Z)(?:1\d+|[5-9]{4,6}))\Z",
    r"^(?:00|(?:55)?(?:(?:0|1){0,2}(?:7\d{3})$|0(?:12)(\d{2,3})))",
    "a|7[a-z]?8",
]


def drawn(count, longest, seed):
    pick = random.Random(seed)
    return ["".join(pick.choices("0123456789", k=pick.randint(0, longest))) for _ in range(count)]


@pytest.fixture
def often_interrupted():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_that_make_one_together_get_the_same_answers(often_interrupted):
    pattern = numbering.closer(REGIONS)._pattern
    compiled = re.compile(pattern)
    parts = [drawn(300, 14, seed) for seed in range(4)]
    expected = [[compiled.match(string) is not None for string in part] for part in parts]
    asked = [pa.array(part) for part in parts]

    for _ in range(3):
        automaton = Automaton(pattern)
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(automaton.matches_strings, asked))
        assert [answers.tolist() for answers in found] == expected
        assert [automaton.matches_strings(strings).tolist() for strings in asked] == expected


def test_a_child_that_is_forked_off_while_a_thread_works_out_states_goes_on():
    automaton = Automaton("1(?:2|3)4")
    with numbers_of._numbering:  # as a thread holds it that the child does not have
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            os._exit(0 if automaton.match("124") and not automaton.match("114") else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("pattern", [*PATTERNS, numbering.closer(REGIONS)._pattern])
def test_it_says_what_re_says(pattern):
    automaton, compiled = Automaton(pattern), re.compile(pattern)
    strings = [*drawn(2_000, 5, 1), *drawn(4_000, 20, 2)]
    expected = [compiled.match(string) is not None for string in strings]

    assert automaton.matches_strings(pa.array(strings)).tolist() == expected
    assert [automaton.match(string) for string in strings[::7]] == expected[::7]
    assert automaton.matches_strings(pa.array(strings)[500:700]).tolist() == expected[500:700]


def test_what_is_no_expression_over_digits_is_refused():
    with pytest.raises(ValueError, match="cannot have"):
        Automaton(r"(\d)\1")


def test_what_is_left_of_other_digits_begins_anew_and_stays_right(monkeypatch):
    monkeypatch.setattr("nectar.scrub.phones.automaton._MOST", 50)
    monkeypatch.setattr("nectar.scrub.phones.automaton._REMEMBERED", 10)
    pattern = numbering.closer(REGIONS)._pattern
    automaton, compiled = Automaton(pattern), re.compile(pattern)
    for seed in range(5):
        strings = drawn(200, 14, seed)
        assert automaton.matches_strings(pa.array(strings)).tolist() == [bool(compiled.match(s)) for s in strings]


def reference(text):
    for region in REGIONS:
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return None


def test_the_written_form_is_the_librarys():
    forms = ("{}", "+{}", "+1{}", "1{}", "+1 ({0:.3}) {0:.7}", "({0:.3}) 555-{0:.4} ext 12", "+1{}x7", "+44 {}")
    texts = [form.format(string) for string in drawn(250, 12, 3) if len(string) > 8 for form in forms]
    assert len(texts) > 300
    assert [e164(text) for text in texts] == [reference(text) for text in texts]


@pytest.mark.parametrize(
    "line", ["1 " * 60, "123-45-6789, ", "call 202-555-0143 x12 or\n", '{"a": 4111111111111111, "b": 20}', "+1 ", "x"]
)
def test_parts_of_a_text_are_cut_where_no_number_is(line, monkeypatch):
    whole = (line * (400 // len(line) + 1) + "\n" + "9" * 70).encode()
    monkeypatch.setattr(digits, "_PART", 50)
    parts = list(digits.parts(whole))

    assert [start for start, _, _ in parts] == [0, *(stop for _, stop, _ in parts[:-1])]
    assert parts[-1][1] == len(whole)
    for start, stop, looked_at in parts:
        assert looked_at or b"\n" not in whole[start : stop - 1]
    for _, cut, _ in parts[:-1]:
        runs = digits.runs_in(np.frombuffer(whole, dtype=np.uint8))
        starts, stops, _ = runs.chains
        assert not ((starts < cut) & (cut < stops)).any()

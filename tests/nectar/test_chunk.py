"""Pieces of text: nothing lost, never too large, cut where a reader would, the same again after an edit elsewhere."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nectar.chunk import BYTES_PER_TOKEN, LIMIT, Chunk, chunks

_WRITTEN = ["a", "b", " ", "\n", "\n\n", "\n# ", "- ", " | ", "\f", ". ", "é", "漢", "😀", "\0"]
TEXT = st.lists(st.one_of(st.sampled_from(_WRITTEN), st.characters(codec="utf-8")), max_size=300).map("".join)


@given(TEXT, st.integers(1, 60), st.integers(0, 20))
def test_pieces_joined_are_the_text_and_keep_the_budget(text: str, tokens: int, overlap: int) -> None:
    overlap = min(overlap, tokens - 1)
    found = chunks(text, tokens=tokens, overlap=overlap)

    assert "".join(text[c.own : c.end] for c in found) == text
    assert all(c.text == text[c.start : c.end] and c.start <= c.own < c.end for c in found)
    assert [c.own for c in found[1:]] == [c.end for c in found[:-1]]
    assert all(len(text[c.own : c.end].encode()) <= tokens * BYTES_PER_TOKEN for c in found)
    assert all(len(text[c.start : c.own].encode()) <= overlap * BYTES_PER_TOKEN for c in found)
    assert found == chunks(text, tokens=tokens, overlap=overlap)


def test_no_text_gives_no_piece_and_a_short_one_is_whole() -> None:
    assert chunks("") == []
    assert chunks("Ein Satz.\n\nNoch einer.") == [Chunk(0, 22, "Ein Satz.\n\nNoch einer.")]


def test_headings_part_before_paragraphs_and_paragraphs_before_sentences_and_words() -> None:
    one, two = "aaa bbb. " * 4, "ccc ddd. " * 4
    text = f"# One\n\n{one}\n\n{one}\n\n# Two\n\n{two}"

    assert [c.text[:5] for c in chunks(text, tokens=25)] == ["# One", "# Two"]
    assert [c.text for c in chunks(f"{one}\n\n{two}", tokens=12)] == [f"{one}\n\n", two]
    assert all(c.text.endswith(". ") for c in chunks(one * 9, tokens=12))
    assert all(c.text.endswith(" ") for c in chunks("word " * 40, tokens=12))


def test_rows_of_a_table_and_items_of_a_list_stay_whole() -> None:
    rows = [f"name {n} | street {n} | {n}" for n in range(60)]

    for c in chunks("\n".join(rows), tokens=40):
        assert set(c.text.strip("\n").split("\n")) <= set(rows)


def test_a_heading_stays_with_what_is_below_it() -> None:
    text = "\n\n".join(f"## Part {n}\n\n" + "word " * 60 for n in range(9))

    assert not [c for c in chunks(text, tokens=100) if c.text.strip().split("\n")[-1].startswith("#")]


def test_a_piece_tells_its_page() -> None:
    text = "\n\f\n".join(f"page {n} " + "word " * 50 for n in range(1, 6))

    assert [(c.page, c.text.strip()[:6]) for c in chunks(text, tokens=70)] == [(n, f"page {n}") for n in range(1, 6)]


def test_overlap_begins_with_a_sentence_or_word_of_the_piece_before() -> None:
    text = "One two three four. Five six seven eight. Nine ten eleven twelve. Thirteen."
    found = chunks(text, tokens=6, overlap=5)

    assert len(found) > 2
    for before, after in itertools.pairwise(found):
        assert text[after.start - 1].isspace()
        assert after.start >= before.own


_WORDS = ["alpha", "beta", "gamma", "delta", "river", "stone", "light"]


def _paragraph(rng: random.Random) -> str:
    return " ".join(f"{rng.choice(_WORDS)}{rng.randrange(99)}" for _ in range(rng.randrange(8, 90))) + "."


def test_an_edit_in_one_paragraph_changes_its_pieces_only() -> None:
    rng = random.Random(5)
    paragraphs = [("## " if n % 11 == 0 else "") + _paragraph(rng) for n in range(300)]
    before = {c.text for c in chunks("\n\n".join(paragraphs))}
    changed = []
    for n in range(150):
        edited = list(paragraphs)
        at = rng.randrange(len(edited))
        if n % 3 == 0:
            edited.insert(at, _paragraph(rng))
        else:
            edited[at] = _paragraph(rng) if n % 3 == 1 else edited[at] + " One more sentence."
        changed.append(len({c.text for c in chunks("\n\n".join(edited))} - before))

    assert len(before) > 60
    assert max(changed) <= 6
    assert sum(changed) / len(changed) < 2.5


def _pages(rng: random.Random) -> list[str]:
    """Each with the same head and foot."""
    body = ["\n\n".join(_paragraph(rng) for _ in range(2)) for _ in range(200)]
    return [f"Company confidential\n\n{text}\n\nAcme Inc., draft\n\f\n" for text in body]


def _notes(rng: random.Random) -> list[str]:
    """Each under the same heading."""
    return ["## Notes\n\n" + "".join(f"{_paragraph(rng)}\n\n" for _ in range(2)) for _ in range(200)]


@pytest.mark.parametrize("made", [_pages, _notes])
def test_an_edit_in_one_of_many_parts_that_begin_alike_changes_its_pieces_only(
    made: Callable[[random.Random], list[str]],
) -> None:
    rng = random.Random(7)
    parts = made(rng)
    before = {c.text for c in chunks("".join(parts))}
    changed = []
    for n in range(60):
        edited = list(parts)
        at = rng.randrange(len(edited))
        if n % 3 == 0:
            del edited[at]
        elif n % 3 == 1:
            edited.insert(at, made(rng)[0])
        else:
            edited[at] = edited[at].replace(".", ". Changed.", 1)
        changed.append(len({c.text for c in chunks("".join(edited))} - before))

    assert len(before) > 60
    assert max(changed) <= 6
    assert sum(changed) / len(changed) < 2.5


def test_a_book_without_a_blank_and_a_log_of_equal_lines_are_cut_soon() -> None:
    began = time.process_time()
    book, log = chunks("漢" * 300_000, tokens=60_000), chunks("- the same line\n" * 100_000)

    assert time.process_time() - began < 10
    assert max(len(c.text.encode()) for c in [*book, *log]) <= LIMIT
    assert len(log) < 4000


def test_half_a_surrogate_pair_does_not_stop_it() -> None:
    assert "".join(c.text for c in chunks("\ud800" * 9, tokens=1)) == "\ud800" * 9


@pytest.mark.parametrize("sizes", [{"tokens": 0}, {"tokens": 10, "overlap": 10}, {"tokens": 10**6}])
def test_sizes_that_cannot_be_kept_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="tokens must be 1 or more"):
        chunks("a", **sizes)

"""Pieces of text: nothing lost, never too large, cut where a reader would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nectar.chunk import LIMIT, Chunk, chunks

TEXT = st.text(st.one_of(st.sampled_from("ab \n\t.é漢😀\0"), st.characters(codec="utf-8")), max_size=400)


@given(TEXT, st.integers(1, 60), st.integers(4, 120))
def test_pieces_joined_are_the_text_and_keep_both_limits(text: str, size: int, limit: int) -> None:
    found = chunks(text, size=size, limit=limit)

    assert "".join(c.text for c in found) == text
    assert all(c.text == text[c.start : c.end] for c in found)
    assert [c.start for c in found[1:]] == [c.end for c in found[:-1]]
    assert all(0 < len(c.text) <= size and len(c.text.encode()) <= limit for c in found)
    assert found == chunks(text, size=size, limit=limit)


def test_no_text_gives_no_piece() -> None:
    assert chunks("") == []


def test_a_short_text_is_one_piece() -> None:
    assert chunks("Ein Satz.\n\nNoch einer.") == [Chunk(0, 22, "Ein Satz.\n\nNoch einer.")]


def test_paragraphs_are_kept_whole_before_lines_and_lines_before_words() -> None:
    assert [c.text for c in chunks("aaa aaa\nbbb\n\nccc ccc ccc", size=16)] == ["aaa aaa\nbbb\n\n", "ccc ccc ccc"]
    assert [c.text for c in chunks("aaa aaa\nbbb ccc ddd", size=10)] == ["aaa aaa\n", "bbb ccc ", "ddd"]
    assert [c.text for c in chunks("aaaa bbbb cccc", size=10)] == ["aaaa bbbb ", "cccc"]
    assert [c.text for c in chunks("abcdefgh", size=3)] == ["abc", "def", "gh"]


def test_a_heading_stays_with_the_paragraph_below() -> None:
    text = "# Heading\n\n" + "word " * 30

    assert chunks(text, size=100)[0].text.startswith("# Heading\n\nword")


def test_a_book_without_a_blank_stays_below_the_limit_of_bytes() -> None:
    found = chunks("漢" * 300_000, size=10**9)

    assert "".join(c.text for c in found) == "漢" * 300_000
    assert max(len(c.text.encode()) for c in found) <= LIMIT
    assert len(found) == 4


def test_half_a_surrogate_pair_does_not_stop_it() -> None:
    assert "".join(c.text for c in chunks("\ud800" * 9, size=4, limit=8)) == "\ud800" * 9


def test_sizes_without_room_for_a_character_are_refused() -> None:
    with pytest.raises(ValueError, match="room for one character"):
        chunks("a", limit=3)
    with pytest.raises(ValueError, match="room for one character"):
        chunks("a", size=0)

"""Messages of pgoutput are decoded as the server's documentation has them; what is none is refused, whatever it is."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bees.core.sql.postgres.cdc import Stand, stand_of
from bees.core.sql.postgres.decoded import moment
from bees.core.sql.postgres.feed import lsn_number, lsn_text
from bees.core.sql.postgres.pgoutput import (
    EPOCH,
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Insert,
    MalformedError,
    Relation,
    RelationColumn,
    Truncate,
    Update,
    decode,
)
from bees.core.sql.postgres.slots import slot_name


def row(*values: object) -> bytes:
    """A row as the server writes it."""
    found = struct.pack(">H", len(values))
    for value in values:
        if isinstance(value, bytes):
            found += b"t" + struct.pack(">I", len(value)) + value
        else:
            found += b"n" if value is None else b"u"
    return found


AN_OID = struct.pack(">I", 7)


class TestMessages:
    def test_a_transaction(self) -> None:
        assert decode(b"B" + struct.pack(">QqI", 5, 1, 9)) == Begin(5, EPOCH + 1, 9)
        assert decode(b"C" + struct.pack(">BQQq", 0, 5, 6, 1)) == Commit(5, 6, EPOCH + 1)

    def test_a_table(self) -> None:
        columns = b"\1id\0" + struct.pack(">Ii", 23, -1) + b"\0na me\0" + struct.pack(">Ii", 25, -1)
        raw = b"R" + AN_OID + b"public\0t\xc3\xa4ble\0d" + struct.pack(">H", 2) + columns
        named = (RelationColumn("id", 23, -1, identity=True), RelationColumn("na me", 25, -1, identity=False))
        assert decode(raw) == Relation(7, "public", "täble", "d", named)

    def test_rows(self) -> None:
        assert decode(b"I" + AN_OID + b"N" + row(b"1", None)) == Insert(7, (b"1", None))
        assert decode(b"U" + AN_OID + b"N" + row(b"1", UNCHANGED)) == Update(7, None, False, (b"1", UNCHANGED))
        update = b"U" + AN_OID + b"K" + row(b"1", None) + b"N" + row(b"2", b"")
        assert decode(update) == Update(7, (b"1", None), False, (b"2", b""))
        assert decode(b"D" + AN_OID + b"O" + row(b"1", b"x")) == Delete(7, (b"1", b"x"), True)

    def test_a_truncate_of_two_tables(self) -> None:
        assert decode(b"T" + struct.pack(">IBII", 2, 0, 7, 8)) == Truncate((7, 8))

    @pytest.mark.parametrize("kind", [b"O", b"Y", b"M"])
    def test_what_says_nothing_of_rows(self, kind: bytes) -> None:
        assert decode(kind + b"whatever") is None

    @given(st.lists(st.one_of(st.none(), st.binary(max_size=40), st.just(UNCHANGED)), max_size=6))
    def test_any_row_comes_back(self, values: list[object]) -> None:
        assert decode(b"I" + AN_OID + b"N" + row(*values)) == Insert(7, tuple(values))  # type: ignore[arg-type]

    @given(st.binary(max_size=60))
    def test_other_bytes_are_refused_or_read_and_never_crash(self, raw: bytes) -> None:
        try:
            decode(raw)
        except MalformedError:
            return

    @given(st.integers(min_value=0, max_value=30))
    def test_a_message_cut_short_is_refused(self, end: int) -> None:
        whole = b"U" + AN_OID + b"K" + row(b"1", None) + b"N" + row(b"22", b"333")
        if end < len(whole):
            with pytest.raises(MalformedError):
                decode(whole[:end])


class TestPlaces:
    @given(st.integers(min_value=0, max_value=2**64 - 1))
    def test_a_place_in_the_log_is_written_as_the_server_does(self, lsn: int) -> None:
        assert lsn_number(lsn_text(lsn)) == lsn
        assert lsn_text(0x16_B374D848) == "16/B374D848"

    def test_a_cursor_tells_its_stand(self) -> None:
        assert stand_of(Stand(5, 6, 7, 8).cursor("a")) == Stand(5, 6, 7, 8)


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("2026-01-02 03:04:05.5+00", "2026-01-02T03:04:05.5+00:00"),
        ("2026-01-02 03:04:05", "2026-01-02T03:04:05"),
        ("0044-03-15 00:00:00+00 BC", "0044-03-15T00:00:00+00:00 BC"),
        ("2026-01-02", "2026-01-02"),
        ("-infinity", "-infinity"),
    ],
)
def test_a_moment_is_written_as_a_full_read_has_it(sent: str, told: str) -> None:
    assert moment(sent) == told


def test_slots_have_names_that_the_server_takes_and_that_differ() -> None:
    streams = ["orders", "Orders", "sales.orders", "sales_orders", "ünï", "x" * 80, "x" * 81]
    names = [slot_name("bee", stream) for stream in streams]
    assert len(set(names)) == len(streams)
    assert names[0] == "bee_orders"
    assert all(len(name) <= 63 and name.isascii() and name == name.lower() for name in names)

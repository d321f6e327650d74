"""Lines out of a tap's pipe: the same ones, however they are cut on their way."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest

from bees.core.singer.messages import read, several
from bees.core.singer.process import Tap, TooLong
from nectar.errors import SkipRecord

PIECES = """
import os, random, sys
dice, data, at = random.Random(int(sys.argv[2])), open(sys.argv[1], "rb").read(), 0
while at < len(data):
    size = dice.choice([1, 7, 500, 70_000, 400_000])
    os.write(1, data[at:at + size])
    at += size
"""
LIMIT = 100_000


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("end", [b"\n", b""])
def test_they_come_out_whole_and_in_order(tmp_path: Path, seed: int, end: bytes) -> None:
    dice = random.Random(seed)
    sizes = [dice.choice([0, 1, 30, 2_000, LIMIT, LIMIT + 1, 3 * LIMIT]) for _ in range(120)]
    lines = [bytes(dice.choice(b"ab{}\0\r") for _ in range(min(size, 40))).ljust(size, b"x") for size in sizes] + [b"z"]
    (tmp_path / "said").write_bytes(b"\n".join(lines) + end)
    (tmp_path / "tap.py").write_text(PIECES)
    command = [sys.executable, str(tmp_path / "tap.py"), str(tmp_path / "said"), str(seed)]
    with Tap(command, {}, environment={}, silence=20, line_limit=LIMIT) as tap:
        found = list(tap.lines())
        tap.finish()

    assert len(found) == len(lines)
    for line, wanted in zip(found, lines, strict=True):
        if len(wanted) > LIMIT:
            assert isinstance(line, TooLong)
            assert wanted.startswith(line.head)
        else:
            assert line == wanted


def test_many_are_read_as_one_by_one() -> None:
    lines = [
        b'{"type":"RECORD","record":{"v":1.5}}',
        b"hello",
        b"",
        b'{"type":5}',
        b"[1]",
        b'{"type":"RECORD","record":{"t":"\\ud800"}}',
        b'{"type":"RECORD","record":{"v":12345678901234567890123}}',
        b'{"type":"RECORD","record":{"v":1.50}}',
    ]

    def alone(line: bytes) -> str:
        try:
            return json.dumps(read(line), default=str)
        except SkipRecord as error:
            return f"{error.code}: {error}"

    for some in (lines, lines[:6]):  # with and without a number that only the exact parser keeps
        found = [
            f"{one.code}: {one}" if isinstance(one, SkipRecord) else json.dumps(one, default=str)
            for one in several(some)
        ]
        assert found == [alone(line) for line in some]

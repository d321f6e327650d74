"""The fuzz run itself: it finds nothing, says the same for a seed, and would find what it looks for."""

from __future__ import annotations

import pytest

from tests.bees.sql_queries import statements
from tests.fuzz import postgres
from tests.fuzz.findings import Findings
from tests.fuzz.mutants import Mutants, tokens
from tests.fuzz.run import PARTS


def fuzzed(part: str, seed: int, count: int) -> Findings:
    found = Findings()
    PARTS[part](seed, lambda number: number < count, found)
    return found


@pytest.mark.parametrize(("part", "count"), [("guard", 400), ("filters", 150)])
def test_nothing_is_found(part: str, count: int) -> None:
    found = fuzzed(part, 77, count)
    assert found.lines == []
    assert found.counts["let in"] + found.counts["the same rows"] > count / 10


@pytest.mark.servers
def test_nothing_is_found_in_mysql() -> None:
    found = fuzzed("mysql", 77, 400)
    assert found.lines == []
    assert found.counts["let in, and answered"] > 20


def test_a_guard_that_lets_everything_in_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    harmful = ["UPDATE orders SET total = 0", "SELECT * FROM orders FOR UPDATE", "SELECT nextval('counter')"]
    monkeypatch.setattr(postgres, "statements", lambda _: harmful)
    monkeypatch.setattr(postgres, "check_query", lambda text: text)
    found = fuzzed("guard", 5, 60)
    assert {line.partition(":")[0] for line in found.lines} >= {"let in, and writes", "let in, and leaves a trace"}


def test_a_seed_gives_the_same_statements() -> None:
    reads, writes = statements("postgres_reads"), statements("postgres_writes")
    made = [[Mutants(reads, writes, seed).one() for seed in range(50)] for _ in range(2)]
    assert made[0] == made[1]
    assert len(set(made[0])) > 45


def test_no_character_of_a_statement_is_lost_in_its_tokens() -> None:
    for text in statements("postgres_reads") + statements("mysql_writes"):
        assert "".join(tokens(text)) == text

"""The published table of `make faults`: written once each fault has a result, with the baseline beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.faults.check import KINDS
from tests.faults.every import FAULTS
from tests.faults.table import publish

FIRST = next(iter(FAULTS))


def keep(folder: Path, name: str, seed: int, **told: Any) -> None:
    path = folder / name.replace("/", "-") / f"{seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    result = dict.fromkeys(KINDS, 0) | {"fault": name, "seed": seed, "good": True, "rule": "", "first": 1.0, "all": 2.0}
    path.write_text(json.dumps(result | {"day": "2026-11-22"} | told))


def row_of(table: Path, name: str, number: int = 0) -> list[str]:
    rows = [line for line in table.read_text().splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in rows[number].strip("|").split("|")]


def test_nothing_is_published_while_a_fault_was_not_run(tmp_path: Path) -> None:
    for name in list(FAULTS)[1:]:
        keep(tmp_path / "x0.1", name, 1)

    assert not publish(tmp_path / "x0.1", 0.1, tmp_path / "TABLE.md")
    assert not (tmp_path / "TABLE.md").exists()


def test_counts_are_summed_and_the_slowest_seed_is_told(tmp_path: Path) -> None:
    for name in FAULTS:
        keep(tmp_path / "x0.1", name, 1)
    keep(tmp_path / "x0.1", FIRST, 2, lost=3, good=False, first=5.5)

    assert publish(tmp_path / "x0.1", 0.1, tmp_path / "TABLE.md")
    found = row_of(tmp_path / "TABLE.md", FIRST)
    assert found[1] == "2"
    assert found[2 + KINDS.index("lost")] == "3"
    assert found[-4].endswith("/5.5")
    assert found[-1] == "WRONG"
    assert row_of(tmp_path / "TABLE.md", list(FAULTS)[1])[-1] == "ok"


def test_what_plain_celery_lost_and_what_was_run_at_full_length_stand_beside(tmp_path: Path) -> None:
    for name in FAULTS:
        keep(tmp_path / "x0.1", name, 1)
    keep(tmp_path / "x0.1" / "plain", FIRST, 1, lost=7, dup=2, offered=300)
    keep(tmp_path / "x1", FIRST, 1, all=90.0)

    assert publish(tmp_path / "x0.1", 0.1, tmp_path / "TABLE.md")
    assert "At full length" in (tmp_path / "TABLE.md").read_text()
    assert row_of(tmp_path / "TABLE.md", FIRST, 1)[-2] == "90.0/90.0/90.0"
    assert row_of(tmp_path / "TABLE.md", FIRST, 2) == [FIRST, "1", "0", "0", "1", "7", "2", "300"]


def test_a_fault_that_plain_celery_could_not_be_given_is_named_and_the_code_is_told(tmp_path: Path) -> None:
    for name in FAULTS:
        keep(tmp_path / "x0.1", name, 1, code="abc1234")
    keep(tmp_path / "x0.1", FIRST, 2, code="def5678-dirty")
    keep(tmp_path / "x0.1" / "plain", FIRST, 1, good=False, rule="could not be run")

    assert publish(tmp_path / "x0.1", 0.1, tmp_path / "TABLE.md")
    assert row_of(tmp_path / "TABLE.md", FIRST, 1)[4] == "could not be run"
    assert "Code: abc1234, def5678-dirty." in (tmp_path / "TABLE.md").read_text()

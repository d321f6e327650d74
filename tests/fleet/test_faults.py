"""A few of the faults of `make faults`, each with one seed, on one fleet of real processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.check import KINDS, dresses
from tests.faults.run import place

pytestmark = pytest.mark.fleet

ROOT = Path(__file__).parents[2]
QUICK = (
    "child of the lander killed",
    "whole worker killed",
    "worker asleep longer than its lease",
    "redis killed, without its data",
    "redis connections reset",
    "postgres restarted, immediate",
    "connection cut after a statement was sent",
    "every message ten times, out of order",
)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("faults")
    asked = [sys.executable, "-m", "tests.faults.run", "--exactly", json.dumps(QUICK), "--results", str(folder)]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False, timeout=480)
    paths = [place(name, 1, folder) for name in QUICK]
    assert all(path.exists() for path in paths), done.stdout[-2000:] + done.stderr[-2000:]
    return {name: json.loads(path.read_text()) for name, path in zip(QUICK, paths, strict=True)}


@pytest.mark.parametrize("name", QUICK)
def test_a_fault_costs_nothing(results, name):
    result = results[name]

    assert result["rule"] == "", result
    assert {kind: result[kind] for kind in KINDS} == dict.fromkeys(KINDS, 0), result
    assert result["first"] is not None


def test_a_word_is_found_in_each_of_its_dresses():
    import base64

    for before in range(4):
        text = base64.b64encode(b"x" * before + b"a:secret/word" + b"y" * 5).decode()
        assert any(dress in text for dress in dresses("a:secret/word"))
    assert "a%3Asecret%2Fword" in dresses("a:secret/word")

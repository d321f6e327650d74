"""A few of the faults of `make faults`, each with one seed, on one fleet of real processes."""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults import nemesis, run
from tests.faults.check import KINDS
from tests.faults.every import FAULTS
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
    "postgres says nothing any more",
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


class TestNemesis:
    def test_a_seed_gives_the_same_actions_whatever_happens_meanwhile(self):
        first = nemesis.plan(random.Random("nemesis 7"), 0.1)

        assert first == nemesis.plan(random.Random("nemesis 7"), 0.1)
        assert first != nemesis.plan(random.Random("nemesis 8"), 0.1)
        assert len(first) >= nemesis.SMALLEST
        assert {FAULTS[name].group for name, _ in first} <= set(nemesis.GROUPS)

    @given(st.integers(2, 40), st.data())
    def test_of_a_failing_mix_the_few_are_found_that_it_takes(self, count, data):
        actions = [(f"action {n}", n) for n in range(count)]
        guilty = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=3))
        tried = []

        def fails(some: list[nemesis.Action]) -> bool:
            tried.append(some)
            return guilty <= {seed for _, seed in some}

        left = nemesis.shrink(actions, fails, tries=1000)

        assert [seed for _, seed in left] == sorted(guilty)
        assert [] not in tried

    def test_a_run_that_went_wrong_is_tried_again_with_fewer_actions(self, tmp_path, monkeypatch):
        """Here fleets are not real: a run fails where its actions hold a certain one."""
        actions = nemesis.plan(random.Random(3), 0.2)
        guilty = actions[4]

        def fly(todo, asked, results, given=""):
            done = [tuple(action) for action in json.loads(given)] if given else actions
            good = guilty not in done
            run.keep({"fault": "nemesis", "seed": 3, "good": good, "actions": done}, results)

        monkeypatch.setattr(run, "_fleet", fly)
        fly([("nemesis", 3)], None, tmp_path)
        run._shrink(("nemesis", 3), argparse.Namespace(), tmp_path)

        assert json.loads(place("nemesis", 3, tmp_path).read_text())["shrunk"] == [list(guilty)]

    def test_it_takes_no_more_tries_than_it_may(self):
        tried = []
        left = nemesis.shrink([("a", n) for n in range(50)], lambda some: bool(tried.append(some)), tries=7)

        assert (len(tried), len(left)) == (7, 50)

"""`hive reload`: which file it takes when none is named."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.hive.command import bare_hive, hive_command

__all__ = ["bare_hive", "hive_command"]


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Writes a configuration with bees of these names into the folder where commands run."""
    monkeypatch.chdir(tmp_path)

    def write(name, *bees):
        block = {"type": "local", "source": {"path": str(tmp_path)}, "scrubbing": {"profile": "gdpr_compliant"}}
        (tmp_path / name).write_text(yaml.safe_dump({"bees": dict.fromkeys(bees, block)}))
        return name

    return write


def names(hive):
    return {bee["name"] for bee in hive("bees", "--json").json}


def test_the_file_that_was_read_last_is_read_again_wherever_one_stands(hive, file, tmp_path, monkeypatch):
    hive("reload", "--config", file("first.yaml", "one"))
    assert hive("reload", "--config", file("second.yaml", "two")).code == 0
    file("second.yaml", "two", "three")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    said = hive("reload")

    assert (said.code, names(hive)) == (0, {"two", "three"})
    assert "version 3 of the configuration, 2 bees\n" in said.err


def test_hive_config_comes_first(hive, file):
    hive("reload", "--config", file("first.yaml", "one"))
    hive.set({"HIVE_CONFIG": file("second.yaml", "two")})

    assert "version 2 of the configuration, 1 bee\n" in hive("reload").err
    assert names(hive) == {"two"}


def test_a_running_hive_s_own_file_is_taken_where_the_last_one_is_gone(hive, file, tmp_path):
    hive("reload", "--config", file("first.yaml", "one"))
    (tmp_path / "first.yaml").unlink()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "hive.json").write_text(json.dumps({"config": str(tmp_path / file("own.yaml", "two"))}))
    hive.set({"HIVE_DATA_DIR": tmp_path / "data"})

    assert hive("reload").code == 0
    assert names(hive) == {"two"}


def test_without_any_file_it_says_what_to_name(hive):
    said = hive("reload")

    assert said.code == 2
    assert "HIVE_CONFIG" in said.err

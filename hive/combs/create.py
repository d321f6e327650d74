"""A bee out of a comb, registered: checked as a whole first, then it is written down, then its secrets are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hive import versions
from hive.combs.library import CombLibrary
from hive.config.load import from_mapping
from hive.config.problems import ConfigProblems, Problem
from hive.runtime import Runtime
from hive.settings import environment


def create(
    rt: Runtime,
    comb_id: str,
    name: str,
    parameters: Mapping[str, Any],
    *,
    mode: str | None = None,
    jar: str | None = None,
    replace: bool = False,
    library: CombLibrary | None = None,
) -> str:
    """Register the bee; gives its name. Raises UnknownComb or ConfigProblems, and has changed nothing then."""
    made = (library or CombLibrary()).plan(comb_id, parameters, name=name, mode=mode, jar=jar)
    vault = rt.vault()
    bee = from_mapping(
        name, made.block, connector=made.connector, environ=environment(), vault=made.vault(vault.text)
    )  # fmt: skip
    with rt.db.single() as tx:
        row = tx.psycopg.execute("SELECT origin FROM hive.bee WHERE name = %s", [name]).fetchone()
    if row is not None and row[0] != versions.GONE and (not replace or row[0] == "file"):
        advice = "another name" if row[0] == "file" else "another name, or --replace"
        whose = "a configuration file has a bee of this name" if row[0] == "file" else "there is a bee of this name"
        raise ConfigProblems([Problem(whose, bee=name, expected=advice)])
    versions.register(rt, name, bee, made.secrets)
    return name

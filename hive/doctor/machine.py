"""What this machine and the environment say: settings, variables, the data folder and the hive key."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from hive.config.explain import plain
from hive.config.problems import did_you_mean
from hive.doctor.finding import Finding, waiting, wrong
from hive.settings import Settings, environment
from hive.vault.key import HiveKey, KeyFileRefused, MissingHiveKey, hive_key

LEAST_DISK = 1 << 30
KILLED = "the hive was killed"
_TESTS = "HIVE_TEST_"


def setting(told: Any) -> Finding:
    """A setting that cannot be read, as pydantic tells it."""
    name = "HIVE_" + "_".join(map(str, told["loc"])).upper()
    return wrong("a setting cannot be read", name, plain(told), f"unset {name}")


def variables(referred: set[str]) -> list[Finding]:
    """Variables that look like settings and are none; those that a bee's configuration refers to are no mistake."""
    known = {f"HIVE_{name.upper()}" for name in Settings.model_fields}
    return [
        waiting(
            "an environment variable is no setting of the hive", name,
            f"nothing reads it{did_you_mean(name, known)}", f"unset {name}",
        )
        for name in sorted(environment())
        if name.startswith("HIVE_") and name not in known | referred and not name.startswith(_TESTS)
    ]  # fmt: skip


def examine_machine(chosen: Settings) -> list[Finding]:
    """The data folder: a hive that was killed, and the disk of embedded servers."""
    found = []
    try:
        state = chosen.running()
    except (OSError, json.JSONDecodeError) as error:
        state = {}
        why = f"it cannot be read ({type(error).__name__}), so no command finds the hive's addresses"
        found.append(wrong("the state file is broken", str(chosen.state_path), why, "hive down"))
    pid = state.get("pid")
    if pid is not None and not Path(f"/proc/{pid}").exists():
        why = f"its process {pid} is gone and left its state file behind: it was killed, or runs in another container"
        found.append(wrong(KILLED, str(chosen.data_dir), why, "hive up"))
    if chosen.data_dir.is_dir() and (chosen.database_url is None or chosen.redis_url is None):
        free = shutil.disk_usage(chosen.data_dir).free
        if free < LEAST_DISK:
            why = f"{free >> 20} MB are free, and a database that runs out of space stops"
            if chosen.database_url is None and free < chosen.disk_reserve:
                why += "; below HIVE_DISK_RESERVE nothing is read, and what was read lands"
            found.append(wrong("the disk is nearly full", str(chosen.data_dir), why, f"df -h {chosen.data_dir}"))
    return found


def examine_key(chosen: Settings) -> tuple[HiveKey | None, list[Finding]]:
    """The hive key, if it is there: a missing one is not made."""
    where = "HIVE_KEY" if chosen.key is not None else str(chosen.key_path)
    if chosen.key is None and not chosen.key_path.exists() and chosen.key_file is None and chosen.database_url is None:
        why = "without it nothing that was sealed opens again, and a new one would not help"
        return None, [wrong("the hive key is missing", where, why, f"put its backup at {where}, mode 0600")]
    try:
        return hive_key(chosen), []
    except MissingHiveKey as error:
        return None, [wrong("the hive key is missing", where, str(error), "export HIVE_KEY_FILE=PATH")]
    except KeyFileRefused as error:
        return None, [wrong("the hive key cannot be used", where, str(error), f"chmod 600 {chosen.key_path}")]

"""A new version beside the old one: its migration while the old one works, then part after part is started anew.

The new version is a copy of this one with one migration more, which adds a column.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.fleet import EVERY, ROOT, Fleet, wait
from tests.faults.registry import Broken, fault, for_a_while, soon

MIGRATE = "from hive.ledger.migrate import migrate; from hive.settings import settings; migrate(settings().database())"
MIGRATION = """
from alembic import op

revision = "{number}"
down_revision = "{before}"


def upgrade():
    for table in ("task", "batch", "flight", "receipt"):
        op.execute("ALTER TABLE hive." + table + " ADD COLUMN word_{number} text NOT NULL DEFAULT 'new'")
"""
PACKAGES = ("hive", "bees", "nectar")


def next_version(folder: Path, number: str) -> Path:
    """A copy of our packages that knows one migration more."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").symlink_to(ROOT / "tests")  # the connector of the tests comes from there
    versions = folder / "hive" / "ledger" / "migrations" / "versions"
    before = max(path.name.partition("_")[0] for path in versions.glob("[0-9]*.py"))
    (versions / f"{number}_next.py").write_text(MIGRATION.format(number=number, before=before))
    return folder


@fault("rolling upgrade with a migration", "upgrade", 15, spoils=True)
def upgrade(fleet: Fleet, chance: random.Random) -> None:
    """The old version lands on after the migration, beside the new one, and loses a child meanwhile."""
    soon(chance)
    new = next_version(fleet.home / "next", "9001")
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", MIGRATE], env=fleet.environment, cwd=new, check=True, timeout=60)
    fleet.say(f"the migration took {time.monotonic() - began:.1f} s")
    stays = max(2.0 * EVERY, for_a_while(chance, fleet, 30))
    landed = fleet.rows("SELECT count(*) FROM hive.receipt")[0][0]
    time.sleep(stays)
    if fleet.rows("SELECT count(*) FROM hive.receipt")[0][0] == landed:
        raise Broken(f"the old version landed nothing in {stays:.0f} s after the migration")
    for name in ("lander", "reader", "beat", "janitor", "gateway"):
        old = fleet.pid(name)
        fleet.move_to(name, new)
        if name == "reader":
            for pid in fleet.pool(name)[:1]:
                fleet.say(f"kill {pid}, a child of the old reader")
                fleet.kill(pid)
            time.sleep(stays)
        fleet.kill(old, 15)
        with contextlib.suppress(TimeoutError):
            wait("its end", lambda name=name, old=old: fleet.pid(name) != old, limit=30)
        time.sleep(stays / 4)
    fleet.wait_ready()
    where = {name: Path(f"/proc/{fleet.pid(name)}/cwd").resolve() for name in ("lander", "reader", "beat", "janitor")}
    if set(where.values()) != {new}:
        raise Broken(f"not all of it is of the new version: {where}")

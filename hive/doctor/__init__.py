"""What is stuck, waiting or wrong, why, and the one safe command to run next.

A finding is `wrong` when nothing changes until somebody does something, and `waiting` when it goes on by itself or was
asked for. Nothing is changed by looking: no key is made, no schema is brought up to date. Each look at the ledger is a
short statement of its own with a time limit, so one that cannot be made hides no other.
"""

from __future__ import annotations

from pydantic import ValidationError

from hive.doctor.broker import examine_broker
from hive.doctor.finding import Finding, arranged, wrong
from hive.doctor.ledger import examine_ledger, is_away
from hive.doctor.machine import KILLED, examine_key, examine_machine, setting, variables
from hive.ledger.db import Database
from hive.settings import NotRunning, Settings

__all__ = ["Finding", "examine"]


def examine() -> list[Finding]:
    """Everything that can be found out from here; what is wrong comes first."""
    try:
        chosen = Settings()
    except ValidationError as error:
        return [setting(told) for told in error.errors(include_url=False, include_input=False)]
    found = examine_machine(chosen)
    try:
        url = chosen.database()
    except NotRunning as error:
        why, _, _ = str(error).partition(": ")
        found.append(wrong("no hive is running", str(chosen.data_dir.absolute()), why, "hive up"))
        return arranged(found + variables(set()))
    key, told = examine_key(chosen)
    found += told
    db = Database(url, pool_size=1, transaction_pooling=chosen.transaction_pooling)
    try:
        ledger, referred = examine_ledger(db, chosen, url, key)
        found += ledger + variables(referred)
        found += examine_broker(chosen, db if not is_away(ledger) else None)
    finally:
        db.close()
    return arranged(_without_what_follows(found, chosen))


def _without_what_follows(found: list[Finding], chosen: Settings) -> list[Finding]:
    """The servers of a hive that was killed are gone with it: one command brings all of them back."""
    if not any(finding.what == KILLED for finding in found):
        return found
    given = {"the database cannot be reached": chosen.database_url, "the broker cannot be reached": chosen.redis_url}
    return [finding for finding in found if given.get(finding.what, finding) is not None]

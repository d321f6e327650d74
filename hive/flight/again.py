"""A flight that failed or was cancelled, once more.

What was read and could not land lies in quarantine and is landed from there, with the pos it was collected at: no
source is asked for it again. What was not read is read by a new flight, which goes on from the last seal. The old
flight stays as it ended: its key is destroyed, so nothing of it can be opened again.

A snapshot that did not end well is gone with its jar. It is flown anew from its beginning, and what it left in
quarantine is dropped: the new one reads that again.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any, cast

from psycopg.rows import namedtuple_row

from hive.config.model import RemovedBee
from hive.flight.create import Bee, fly_now
from hive.flight.retry import retry
from hive.flight.verdict import describe
from hive.ledger.db import UNREACHABLE
from hive.runtime import Runtime

_FLIGHT = """
SELECT f.day, f.state, f.mode, f.full_refresh, f.error, b.id, b.name, b.tenant, b.queue, b.config_version, b.origin,
       coalesce(b.config -> 'honey_jar' ->> 'name', b.config ->> 'honey_jar', b.name) AS jar,
       EXISTS (SELECT FROM hive.task t WHERE t.day = f.day AND t.flight = f.id AND t.kind IN ('plan', 'collect')
                  AND t.state = 'dead') AS unread
  FROM hive.flight f JOIN hive.bee b ON b.id = f.bee WHERE f.id = %s
"""
_DEAD = "SELECT id FROM hive.quarantine WHERE flight = %s AND state = 'open' AND code = 'dead_batch' ORDER BY id"
_DROP = """
WITH gone AS (
    UPDATE hive.quarantine SET state = 'dropped', body = '' WHERE flight = %s AND state = 'open' RETURNING records
) SELECT coalesce(sum(records), 0)::int FROM gone
"""


class NothingToRetry(LookupError):
    """The flight is open, or complete."""


@dataclass(frozen=True)
class Again:
    """What `hive retry` did. Numbers are records out of quarantine; `refused` says why the others stay there.

    `new_flight` is None where everything had been read; `again`: that flight was begun by an earlier retry. `dropped`
    are those of a snapshot, whose jar is gone: the new flight reads them again.
    """

    flight: str
    bee: str
    landed: int
    superseded: int
    refused: tuple[dict[str, Any], ...]
    new_flight: str | None
    again: bool
    dropped: int = 0


def fly_again(rt: Runtime, flight: uuid.UUID) -> Again:
    """Land the dead batches of a closed flight, and fly its bee if something was left unread, or for a snapshot.

    A flight is retried once: a second call gives the flight that the first one made. Raises NothingToRetry, or
    RemovedBee where a bee would have to fly that was removed, and then has changed nothing.
    """
    with rt.db.single() as tx:
        rows = tx.psycopg.cursor(row_factory=namedtuple_row)
        found = cast("Any", rows.execute(_FLIGHT, [flight]).fetchone())
        if found is None:
            raise LookupError(f"no flight has the id {flight}; `hive flights` lists them")
        if found.state in ("queued", "running"):
            raise NothingToRetry(f"flight {flight} is {found.state}: its tasks are tried again by themselves")
        if found.state == "complete":
            raise NothingToRetry(f"flight {flight} is complete: there is nothing to try again")
        anew = found.mode == "snapshot"
        dead = [] if anew else [number for (number,) in tx.psycopg.execute(_DEAD, [flight])]
    flies = found.unread or found.state == "cancelled" or not dead
    if flies and found.origin == "gone":
        raise RemovedBee(found.name)
    landed = superseded = 0
    refused: list[dict[str, Any]] = []
    for number in dead:
        try:
            done = retry(rt, number)
        except UNREACHABLE:
            raise
        except Exception as error:  # noqa: BLE001 - what killed the batch once may do so again; the others are tried
            refused.append({"id": number, "message": _told(error)})
            continue
        landed, superseded = landed + done.landed, superseded + done.superseded
        if done.failed:
            refused.append({"id": number, "message": f"{done.failed} records were refused again"})
    new, again, dropped = None, False, 0
    if flies:
        bee = Bee(found.id, found.name, found.tenant, found.queue, found.config_version, found.jar)
        request = f"retry:{flight}"
        with rt.db.single() as tx:
            again = _made_before(tx.psycopg, bee.id, request)
        new = str(fly_now(rt, bee, mode=found.mode, full_refresh=found.full_refresh, request=request))
    if anew:  # after the new flight was made, for until then nobody else has what lies there
        with rt.db.single() as tx:
            row = tx.psycopg.execute(_DROP, [flight]).fetchone()
        dropped = row[0] if row else 0
    return Again(str(flight), found.name, landed, superseded, tuple(refused), new, again, dropped)


def _made_before(connection: Any, bee: int, request: str) -> bool:
    query = "SELECT FROM hive.slot WHERE bee = %s AND slot_key = %s"
    return connection.execute(query, [bee, f"adhoc:{request}"]).fetchone() is not None


def _told(error: Exception) -> str:
    if isinstance(error, LookupError):
        return str(error)
    told = describe(error)
    return f"{told['message']}{' - ' + told['advice'] if told['advice'] else ''}"

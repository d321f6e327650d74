"""The ledger's PostgreSQL restarted, locked, slow, silent, or gone in the middle of a statement."""

from __future__ import annotations

import contextlib
import random
import signal
import time

from tests.faults.fleet import Fleet
from tests.faults.registry import Broken, away, fault, for_a_while, goes_on, misbehave, soon


@fault("postgres restarted, fast", "postgres", 10)
def postgres_fast(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.restart_postgres(signal.SIGINT, lambda: away(fleet, for_a_while(chance, fleet, 20), ready=503))


@fault("postgres restarted, immediate", "postgres", 10)
def postgres_immediate(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.restart_postgres(signal.SIGQUIT, lambda: away(fleet, for_a_while(chance, fleet, 20), ready=503))


@fault("postgres killed", "postgres", 10)
def postgres_killed(fleet: Fleet, chance: random.Random) -> None:
    soon(chance)
    fleet.postgres.kill()
    away(fleet, for_a_while(chance, fleet, 20), ready=503)
    fleet.postgres.start()
    fleet.to_postgres.lead_to(fleet.postgres.port)


@fault("postgres backends terminated", "postgres", 10)
def backends_terminated(fleet: Fleet, chance: random.Random) -> None:
    """Of clients inside of a transaction first, then of all."""
    ended = 0
    end = time.monotonic() + for_a_while(chance, fleet, 30)
    while goes_on(end, done=ended > 0):
        busy = "" if chance.random() < 0.2 else "AND state <> 'idle' "
        found = fleet.rows(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'hive' {busy}"
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        ended += sum(done for (done,) in found)
        time.sleep(chance.uniform(0.01, 0.2))
    if not ended:
        raise Broken("no backend was terminated")
    fleet.say(f"{ended} backends were terminated")


NAP = """
CREATE OR REPLACE FUNCTION faults.nap() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER nap AFTER INSERT ON hive.receipt DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION faults.nap()
"""


@fault("postgres backend terminated inside COMMIT", "postgres", 10)
def commit_terminated(fleet: Fleet, chance: random.Random) -> None:
    """Of landings, which a trigger holds there: nothing of them stands, and who sent the COMMIT hears of nothing."""
    import psycopg

    soon(chance)
    ended: list[str] = []
    with psycopg.connect(fleet.database, autocommit=True) as connection:
        connection.execute(NAP)
        end = time.monotonic() + max(3.0, for_a_while(chance, fleet, 30))
        try:
            while goes_on(end, done=bool(ended)):
                began = time.monotonic()
                found = fleet.rows(
                    "SELECT pid, application_name FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'"
                    " AND wait_event = 'PgSleep' AND query_start > clock_timestamp() - interval '0.3 s'"
                )
                for pid, name in found if chance.random() < 0.7 else []:
                    done = fleet.rows("SELECT pg_terminate_backend(%s, 1000)", pid)[0][0]
                    if done and time.monotonic() < began + 0.6:  # it slept until then
                        ended.append(name)
                time.sleep(0.05)
        finally:
            connection.execute("DROP TRIGGER nap ON hive.receipt")
    fleet.say(f"{len(ended)} backends were terminated inside COMMIT")
    if not ended:
        raise Broken("no backend was terminated inside COMMIT")
    done = fleet.rows(
        "SELECT id FROM hive.task WHERE state = 'done'"
        " AND 'hive:' || to_char(day, 'YYYYMMDD') || '.' || id || ':' || fence = ANY (%s)",
        ended,
    )
    if done:
        raise Broken(f"these COMMITs were never done, and the tasks are: {done}")


@fault("postgres tables locked", "postgres", 10)
def tables_locked(fleet: Fleet, chance: random.Random) -> None:
    import psycopg

    soon(chance)
    table = chance.choice(["task", "honey", "batch", "checkpoint", "flight", "worker", "slot"])
    fleet.say(f"{table} is locked")
    with psycopg.connect(fleet.database) as connection:
        connection.execute(f"LOCK TABLE hive.{table} IN ACCESS EXCLUSIVE MODE".encode())
        end = time.monotonic() + for_a_while(chance, fleet, 30)
        waited = 0
        while goes_on(end, done=waited > 0):
            waited = max(waited, fleet.rows("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0])
            time.sleep(0.1)
    if not waited:
        raise Broken(f"{table} was locked, and nobody waited for it")
    fleet.say(f"{waited} waited for it")


@fault("postgres takes no more connections", "postgres", 10)
def pool_exhausted(fleet: Fleet, chance: random.Random) -> None:
    """Every place is taken, and those who have one lose it to us."""
    import psycopg

    full = 0
    end = time.monotonic() + max(3.0, for_a_while(chance, fleet, 30))
    with contextlib.ExitStack() as held:
        first = held.enter_context(psycopg.connect(fleet.database, autocommit=True, application_name="faults"))
        while goes_on(end, done=full > 0):
            first.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'hive'"
                " AND application_name <> 'faults' AND backend_type = 'client backend'"
            )
            try:
                while goes_on(end, done=full > 0):
                    held.enter_context(psycopg.connect(fleet.database, autocommit=True, application_name="faults"))
            except psycopg.OperationalError:
                full += 1
            time.sleep(0.1)
    if not full:
        raise Broken("there was always one more place")
    fleet.say(f"{full} times every place was taken")


@fault("postgres slow by 500 ms", "postgres", 10)
def postgres_slow(fleet: Fleet, chance: random.Random) -> None:
    misbehave(fleet, fleet.to_postgres, "delay", for_a_while(chance, fleet, 60), seconds=0.5)


@fault("postgres hangs", "postgres", 10)
def postgres_hangs(fleet: Fleet, chance: random.Random) -> None:
    """All that was sent meanwhile is delivered afterwards."""
    soon(chance)
    misbehave(fleet, fleet.to_postgres, "hang", for_a_while(chance, fleet, 60))


@fault("postgres connections reset", "postgres", 10)
def postgres_reset(fleet: Fleet, chance: random.Random) -> None:
    seed = chance.getrandbits(32)
    misbehave(fleet, fleet.to_postgres, "reset", for_a_while(chance, fleet, 60), seconds=1.0, seed=seed)


@fault("postgres half-open", "postgres", 45)
def postgres_vanished(fleet: Fleet, chance: random.Random) -> None:
    """Both kernels give a silent connection up after 25 s, as `hive/ledger/db.py` asks them to."""
    soon(chance)
    misbehave(fleet, fleet.to_postgres, "vanish", for_a_while(chance, fleet, 60), seconds=25.0)


@fault("postgres says nothing any more", "postgres", 20)
def postgres_silent(fleet: Fleet, chance: random.Random) -> None:
    """The network answers and the database does not, on any connection that was open: HIVE_ANSWER_LIMIT ends them."""
    soon(chance)
    misbehave(fleet, fleet.to_postgres, "vanish", for_a_while(chance, fleet, 60))


@fault("connection cut after COMMIT was sent", "postgres", 10)
def commit_unknown(fleet: Fleet, chance: random.Random) -> None:
    """The server does it and nobody hears of it: every other COMMIT ends like this."""
    how = {"word": "COMMIT", "chance": 0.5, "seed": chance.getrandbits(32)}
    misbehave(fleet, fleet.to_postgres, "lose", for_a_while(chance, fleet, 60), **how)


@fault("connection cut after a statement was sent", "postgres", 10)
def statement_unknown(fleet: Fleet, chance: random.Random) -> None:
    """The same for claims, seals and landings, which are one statement each: prepared ones are sent as `Bind`."""
    how = {"word": "", "chance": 0.05, "seed": chance.getrandbits(32)}
    misbehave(fleet, fleet.to_postgres, "lose", for_a_while(chance, fleet, 60), **how)

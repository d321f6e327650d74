"""What is stuck, waiting or wrong, why, and the one safe command to run next.

A finding is `wrong` when nothing changes until somebody does something, and `waiting` when it goes on by itself or was
asked for. Nothing is changed by looking: no key is made, no schema is brought up to date. Each look at the ledger is a
short statement of its own with a time limit, so one that cannot be made hides no other.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import psycopg
from pydantic import ValidationError
from sqlalchemy.engine import make_url

from hive import versions
from hive.config.explain import plain
from hive.config.problems import did_you_mean
from hive.config.references import BadReference, references
from hive.ledger.db import UNREACHABLE, Database, Transaction
from hive.ledger.migrate import known_schemas
from hive.registry import connectors
from hive.settings import NotRunning, Settings, environment
from hive.vault.key import HiveKey, KeyFileRefused, MissingHiveKey, hive_key

STATEMENT_LIMIT = "3s"
LOOKING = 8.0
"""Seconds after which no further question is asked."""
LATE_SLOT = 30.0
"""Seconds after which a due slot without a flight says that no scheduler runs."""
STALE_HINT = 90.0
"""Seconds after which a hint that is in no queue should have been sent again."""
TAKE_BACK = 30.0
"""Seconds within which the tasks of a dead worker should have been taken back."""
UNREAD = 600.0
"""Seconds within which a flight should have come for messages, beside ten times the bee's `debounce`."""
IDLE = 600.0
"""Seconds without a batch or a landing after which an open flight is called stuck."""
USUAL = 5
"""An open flight that has lasted so many times its bee's usual time is told of."""
MOST_CONNECTIONS = 0.85
LEAST_DISK = 1 << 30
MOST_ALIKE = 20
_NAMED = 5
"""Disabled bees that are named: they are meant to be."""
_TESTS = "HIVE_TEST_"


@dataclass(frozen=True)
class Finding:
    """`what` is wrong or waits, at which place (`where`), `why`, and the `next` command."""

    level: Literal["wrong", "waiting"]
    what: str
    where: str
    why: str
    next: str

    def json(self) -> dict[str, str]:
        return asdict(self)


def examine() -> list[Finding]:
    """Everything that can be found out from here; what is wrong comes first."""
    try:
        chosen = Settings()
    except ValidationError as error:
        return [_setting(told) for told in error.errors(include_url=False, include_input=False)]
    found = _machine(chosen)
    try:
        url = chosen.database()
    except NotRunning as error:
        why, _, _ = str(error).partition(": ")
        found.append(_wrong("no hive is running", str(chosen.data_dir.absolute()), why, "hive up"))
        return _sorted(found + _variables(set()))
    key, told = _key(chosen)
    found += told
    db = Database(url, pool_size=1, transaction_pooling=chosen.transaction_pooling)
    try:
        ledger, referred = _ledger(db, chosen, url, key)
        found += ledger + _variables(referred)
        found += _broker(chosen, db if not _is_away(ledger) else None)
    finally:
        db.close()
    return _sorted(found)


def _sorted(found: list[Finding]) -> list[Finding]:
    """What is wrong first; of very many alike only the first ones, and how many more there are."""
    alike: dict[tuple[str, str], list[Finding]] = {}
    for finding in found:
        alike.setdefault((finding.level, finding.what), []).append(finding)
    told = []
    for group in alike.values():
        told += group[:MOST_ALIKE]
        if len(group) > MOST_ALIKE:
            told.append(
                replace(group[MOST_ALIKE], where=f"{group[MOST_ALIKE].where}, and {len(group) - MOST_ALIKE - 1} more")
            )
    return sorted(told, key=lambda finding: finding.level != "wrong")


def _wrong(what: str, where: str, why: str, then: str) -> Finding:
    return Finding("wrong", what, where, why, then)


def _waiting(what: str, where: str, why: str, then: str) -> Finding:
    return Finding("waiting", what, where, why, then)


# What this machine and the environment say


def _setting(told: Any) -> Finding:
    name = "HIVE_" + "_".join(map(str, told["loc"])).upper()
    return _wrong("a setting cannot be read", name, plain(told), f"unset {name}")


def _variables(referred: set[str]) -> list[Finding]:
    """Variables that look like settings and are none; those that a bee's configuration refers to are no mistake."""
    known = {f"HIVE_{name.upper()}" for name in Settings.model_fields}
    return [
        _waiting(
            "an environment variable is no setting of the hive", name,
            f"nothing reads it{did_you_mean(name, known)}", f"unset {name}",
        )
        for name in sorted(environment())
        if name.startswith("HIVE_") and name not in known | referred and not name.startswith(_TESTS)
    ]  # fmt: skip


def _machine(chosen: Settings) -> list[Finding]:
    """The data folder: a hive that was killed, and the disk of embedded servers."""
    found = []
    try:
        state = chosen.running()
    except (OSError, json.JSONDecodeError) as error:
        state = {}
        why = f"it cannot be read ({type(error).__name__}), so no command finds the hive's addresses"
        found.append(_wrong("the state file is broken", str(chosen.state_path), why, "hive down"))
    pid = state.get("pid")
    if pid is not None and not Path(f"/proc/{pid}").exists():
        why = f"its process {pid} is gone and left its state file behind: it was killed, or runs in another container"
        found.append(_wrong("the hive was killed", str(chosen.data_dir), why, "hive up"))
    if chosen.data_dir.is_dir() and (chosen.database_url is None or chosen.redis_url is None):
        free = shutil.disk_usage(chosen.data_dir).free
        if free < LEAST_DISK:
            why = f"{free >> 20} MB are free, and a database that runs out of space stops"
            found.append(_wrong("the disk is nearly full", str(chosen.data_dir), why, f"df -h {chosen.data_dir}"))
    return found


def _key(chosen: Settings) -> tuple[HiveKey | None, list[Finding]]:
    """The hive key, if it is there: a missing one is not made."""
    where = "HIVE_KEY" if chosen.key is not None else str(chosen.key_path)
    if chosen.key is None and not chosen.key_path.exists() and chosen.key_file is None and chosen.database_url is None:
        why = "without it nothing that was sealed opens again, and a new one would not help"
        return None, [_wrong("the hive key is missing", where, why, f"put its backup at {where}, mode 0600")]
    try:
        return hive_key(chosen), []
    except MissingHiveKey as error:
        return None, [_wrong("the hive key is missing", where, str(error), "export HIVE_KEY_FILE=PATH")]
    except KeyFileRefused as error:
        return None, [_wrong("the hive key cannot be used", where, str(error), f"chmod 600 {chosen.key_path}")]


# What the ledger says


def _ledger(db: Database, chosen: Settings, url: str, key: HiveKey | None) -> tuple[list[Finding], set[str]]:
    """(findings, environment variables that bees refer to)."""
    address = make_url(url)
    where = f"{address.database} at {address.host}:{address.port or 5432}"
    try:
        with db.single() as tx:
            there = tx.psycopg.execute("SELECT to_regclass('hive.alembic_version') IS NOT NULL").fetchone()
            named = tx.psycopg.execute("SELECT version_num FROM hive.alembic_version") if there and there[0] else None
            row = named.fetchone() if named is not None else None
    except UNREACHABLE:
        embedded = chosen.database_url is None
        why = "nobody answers there, or the user and password are refused"
        log = chosen.data_dir.absolute() / "postgres.log"
        then = f"tail -n 20 {log}" if embedded else f"pg_isready -h {address.host} -p {address.port or 5432}"
        return [_wrong("the database cannot be reached", where, why, then)], set()
    except psycopg.Error as error:
        why = f"it refuses the question for its schema ({type(error).__name__})"
        return [_wrong("the database cannot be used", where, why, f"psql '{address.render_as_string()}'")], set()
    known = known_schemas()
    version = row[0] if row else None
    if version is None:
        return [_wrong("the database has no schema", where, "no hive has run on it yet", "hive up")], set()
    if version not in known:
        why = f"it is at schema {version}, and this installation knows them up to {known[-1]}"
        return [
            _wrong("the database belongs to a newer version", where, why, "pip install --upgrade worker-bees")
        ], set()
    if version != known[-1]:
        why = (
            f"it is at schema {version}, and this installation works with {known[-1]}: any command but this updates it"
        )
        return [_wrong("the database has an older schema", where, why, "hive status")], set()
    found: list[Finding] = []
    ends = time.monotonic() + LOOKING
    for look in (*LOOKS, lambda tx: _wrong_key(tx, key), lambda tx: _backpressure(tx, chosen)):
        if time.monotonic() > ends:
            why = f"it took longer than {LOOKING:.0f} s to answer the first questions, so the others were not asked"
            found.append(_wrong("the database is very slow", where, why, "hive status"))
            break
        found += _looked(db, look, where)
    referred: set[str] = set()
    with contextlib.suppress(*UNREACHABLE, psycopg.Error), db.single() as tx:
        referred = _referred(tx)
    return found, referred


def _is_away(found: Iterable[Finding]) -> bool:
    return any(finding.what.startswith("the database ") for finding in found)


def _looked(db: Database, look: Callable[[Transaction], list[Finding]], where: str) -> list[Finding]:
    try:
        with db.transaction() as tx:
            tx.psycopg.execute("SELECT set_config('statement_timeout', %s, true)", [STATEMENT_LIMIT])
            return look(tx)
    except UNREACHABLE:
        return [_wrong("the database left in the middle", where, "it answered a moment ago", "hive doctor")]
    except psycopg.Error as error:
        name = getattr(look, "__name__", "look").strip("_").replace("_", " ")
        why = f"the look at {name} ended with {type(error).__name__}"
        return [_wrong("the database does not answer a question", where, why, "hive status")]


def _all(tx: Transaction, statement: str, **values: Any) -> list[Any]:
    return tx.run(statement, **values).fetchall()


def _referred(tx: Transaction) -> set[str]:
    names: set[str] = set()
    for (config,) in tx.psycopg.execute("SELECT config FROM hive.bee"):
        with contextlib.suppress(BadReference):
            names |= {reference.name for reference in references(config) if reference.kind == "environment"}
    return names


def _wrong_key(tx: Transaction, key: HiveKey | None) -> list[Finding]:
    if key is None:
        return []
    used = [name for (name,) in tx.psycopg.execute("SELECT DISTINCT key_id FROM hive.vault_secret ORDER BY 1")]
    if not used or used == [key.key_id]:
        return []
    why = f"the vault is sealed with the hive key {', '.join(used)}, and this process has the hive key {key.key_id}"
    return [_wrong("the hive key is not the one that sealed the vault", "HIVE_KEY", why, "export HIVE_KEY_FILE=PATH")]


def _bees(tx: Transaction) -> list[Finding]:
    rows = _all(tx, "look_bees")
    found = _left_out(tx)
    if not rows and not found:
        why = "no configuration was applied and no bee was registered"
        return [_wrong("there are no bees", "the ledger", why, "hive reload --config FILE")]
    known = connectors()
    disabled = [bee.name for bee in rows if not bee.enabled]
    if disabled:
        why = "their configuration says so: neither schedules nor events fly them"
        more = f" and {len(disabled) - _NAMED} more" if len(disabled) > _NAMED else ""
        where = f"{', '.join(disabled[:_NAMED])}{more}"
        found.append(_waiting("bees are disabled", where, why, "hive config history"))
    for bee in rows:
        where = f"bee {bee.name}"
        missing = known[bee.connector].missing if bee.connector in known else "its connector is not installed"
        if missing and bee.enabled:
            why = f"the connector {bee.connector!r} cannot be loaded here: {missing}"
            found.append(_wrong("a bee cannot fly", where, why, missing if "install" in missing else "hive connectors"))
        if bee.enabled and bee.paused_at is not None:
            why = f"somebody paused it at {_at(bee.paused_at)}"
            found.append(_waiting("a bee is paused", where, why, f"hive resume {bee.name}"))
        if bee.patient:
            why = f"its source asked to be left alone until {_at(bee.retry_at)}; then it flies on by itself"
            found.append(_waiting("a bee waits for its source", where, why, f"hive flights {bee.name}"))
    return found


def _left_out(tx: Transaction) -> list[Finding]:
    """Bees that the configuration names and that cannot fly."""
    grounded, source = versions.grounded_bees_of(tx)
    check = f"hive config check {source.replace(', ', ' ')}" if source != versions.ENVIRONMENT else "hive config check"
    return [
        _waiting(
            "a bee of the configuration cannot fly", f"bee {name}", "; ".join(told["reasons"]),
            "hive connectors" if str(told["reasons"][0]).startswith("connector ") else check,
        )
        for name, told in sorted(grounded.items())
        if told["enabled"]
    ]  # fmt: skip


def _refused(tx: Transaction) -> list[Finding]:
    """A configuration that somebody changed, and that a hive which watches it did not take."""
    told = versions.refused(tx)
    if told is None:
        return []
    more = f" (and {told['count'] - 1} more)" if told["count"] > 1 else ""
    why = f"at {_at(told['at'])}, and the older one flies on: {told['problems'][0]}{more}"
    files = str(told["source"]).replace(", ", " ")
    return [_wrong("the changed configuration was refused", told["source"], why, f"hive config check {files}")]


def _queues(tx: Transaction) -> list[Finding]:
    rows = _all(tx, "look_unheard")
    return [
        _wrong(
            "due work has no worker", f"queue {row.queue}",
            f"{row.tasks} tasks are due, the oldest for {row.oldest} s, and no live worker listens to the queue",
            f"hive worker --queues {row.queue}",
        )
        for row in rows
    ]  # fmt: skip


def _keepers(tx: Transaction) -> list[Finding]:
    """Beat and janitors: worker rows that listen to no queue."""
    row = _all(tx, "look_keepers", late=LATE_SLOT)[0]
    if row.late:
        why = (
            f"{row.late} schedules have a slot that is due for more than {LATE_SLOT:.0f} s: no scheduler makes flights"
        )
        return [_wrong("schedules are missed", "the scheduler", why, "hive beat")]
    if row.open and not row.keeper:
        why = "flights are open, and neither beat nor a janitor is alive to take back and close what others leave"
        return [_wrong("nobody looks after the flights", "the janitor", why, "hive janitor")]
    return []


def _orphans(tx: Transaction) -> list[Finding]:
    rows = _all(tx, "look_orphans")
    found = []
    for row in rows:
        last = f"its last heartbeat was at {_at(row.beat_at)}" if row.beat_at else "nothing is known of it any more"
        why = f"{row.tasks} tasks are in its hands, and {last}"
        make = _wrong if row.age > TAKE_BACK else _waiting
        found.append(make("a dead worker holds tasks", f"worker {row.owner}", why, "hive balance"))
    return found


def _leases(tx: Transaction) -> list[Finding]:
    rows = _all(tx, "look_leases")
    found = [
        _wrong(
            "a lease is held by nobody", f"bee {row.bee}, stream {row.stream}",
            f"it was taken at {_at(row.taken_at)} by a task that does not run, so nobody else may read the stream",
            f"hive lease release {row.bee}",
        )
        for row in rows
    ]  # fmt: skip
    slots = _all(tx, "look_source_slots")
    return found + [
        _wrong(
            "places at a source are held by nobody", f"bee {row.source}",
            f"{row.slots} of its `limits.concurrency` belong to tasks that do not run",
            f"hive lease release {row.source}",
        )
        for row in slots
    ]  # fmt: skip


def _retries(tx: Transaction) -> list[Finding]:
    rows = _all(tx, "look_retries")
    return [
        _waiting(
            "tasks wait to be tried again", f"bee {row.bee}",
            f"{row.tasks} tasks, tried {row.attempt} times, the next at {_at(row.at)}; last error: {_told(row.error)}",
            f"hive flight {row.flight}",
        )
        for row in rows
    ]  # fmt: skip


def _failed(tx: Transaction) -> list[Finding]:
    """Bees whose newest closed flight failed, and older ones that left dead batches."""
    rows = _all(tx, "look_failed")
    return [
        _wrong(
            "a bee's last flight failed", f"bee {row.bee}", f"it ended at {_at(row.finished_at)}: {_told(row.error)}",
            f"hive retry {row.flight}" if row.dead else f"hive check {row.bee}",
        )
        for row in rows
    ]  # fmt: skip


def _keyless(tx: Transaction) -> list[Finding]:
    """Bees whose newest closed flight landed nothing, because none of its records has the bee's key."""
    rows = _all(tx, "look_keyless")
    return [
        _wrong(
            "a bee's last flight landed nothing", f"bee {row.bee}",
            f"none of the {row.records_read} records that it read at {_at(row.finished_at)} has the bee's key columns",
            f"hive check {row.bee}",
        )
        for row in rows
    ]  # fmt: skip


def _unindexed(tx: Transaction) -> list[Finding]:
    """Landed text that nobody takes up into the full-text index."""
    return [
        _waiting(
            "landed records wait for the full-text index", "beat",
            f"{row.records} records since {_at(row.since)}: each beat and `hive janitor` index beside their work",
            "hive beat",
        )
        for row in _all(tx, "look_unindexed", late=UNREAD)
    ]  # fmt: skip


def _held_deletes(tx: Transaction) -> list[Finding]:
    """Complete reads that missed more records than may be deleted unasked."""
    return [
        _waiting(
            "records are gone at the source and still in the jar", f"bee {row.bee}, stream {row.stream}",
            f"its last complete read did not meet {row.held_deletes} records: too many to delete them unasked",
            "look at the source; if they are gone indeed, set `limits: {max_deleted: 1}` of the bee and fly it again",
        )
        for row in _all(tx, "look_held_deletes")
    ]  # fmt: skip


def _quarantine(tx: Transaction) -> list[Finding]:
    rows = _all(tx, "look_quarantine")
    return [
        _wrong(
            "records are in quarantine", f"jar {row.jar}",
            f"{row.records} records of the bee {row.bee} were refused ({row.code}) and are not in the jar",
            f"hive retry {row.flight}" if (row.code == "dead_batch" or row.lost) and not row.gone
            else f"hive quarantine show {row.first}",
        )
        for row in rows
    ]  # fmt: skip


def _inbox(tx: Transaction) -> list[Finding]:
    found = []
    for row in _all(tx, "look_inbox", late=UNREAD):
        tell = _wrong if row.flies else _waiting
        why = f"{row.messages} messages wait to be read, the oldest for {row.oldest} s"
        then = f"hive fly {row.bee}" if row.flies else f"hive check {row.bee}"
        found.append(tell("messages are not read", f"bee {row.bee}", why, then))
    return found


def _schedules(tx: Transaction) -> list[Finding]:
    rows = _all(tx, "look_schedules")
    found = []
    for row in rows:
        where = f"bee {row.bee}, schedule {row.name}"
        if not row.enabled:
            found.append(_waiting("a schedule is paused", where, "it makes no flights until then", "hive slots"))
        if row.missed:
            why = f"{row.missed} slots passed without a flight and were left out by its catch-up rule"
            found.append(_waiting("slots were missed", where, why, "hive slots"))
    return found


def _long_flights(tx: Transaction) -> list[Finding]:
    rows = _all(tx, "look_flights")
    found = []
    for row in rows:
        where, cancel = f"bee {row.bee}, flight {row.flight}", f"hive cancel {row.flight}"
        usual = f" (usually {row.usual:.0f} s)" if row.usual is not None else ""
        if row.idle > IDLE and not row.waits:
            why = f"nothing was read, sealed or landed for {row.idle} s, after {row.seconds} s{usual}"
            found.append(_wrong("a flight is stuck", where, why, cancel))
        elif row.usual is not None and row.seconds > USUAL * max(row.usual, 60.0):
            why = f"it flies for {row.seconds} s{usual}, and goes on"
            found.append(_waiting("a flight takes far longer than usual", where, why, f"hive flight {row.flight}"))
    return found


def _connections(tx: Transaction) -> list[Finding]:
    row = _all(tx, "look_connections")[0]
    if row.used < row.most * MOST_CONNECTIONS:
        return []
    why = f"{row.used} of {row.most} are in use; the next worker may be refused"
    return [_wrong("the database's connections run out", "max_connections", why, "hive status")]


def _backpressure(tx: Transaction, chosen: Settings) -> list[Finding]:
    sealed = _all(tx, "look_pending")[0].sealed
    if sealed < chosen.pending_bytes:
        return []
    why = f"{sealed >> 20} MB are sealed and not landed (HIVE_PENDING_BYTES is {chosen.pending_bytes >> 20} MB)"
    return [_waiting("reading waits for landing", "queue nectar", why, "hive balance")]


LOOKS: tuple[Callable[[Transaction], list[Finding]], ...] = (
    _refused, _bees, _queues, _keepers, _orphans, _leases, _retries, _failed, _keyless, _unindexed, _held_deletes,
    _quarantine, _inbox, _schedules, _long_flights, _connections,
)  # fmt: skip


# What the broker says


def _broker(chosen: Settings, db: Database | None) -> list[Finding]:
    try:
        address = make_url(chosen.redis())
    except NotRunning as error:
        return [_wrong("there is no broker", "HIVE_REDIS_URL", str(error).partition(": ")[0], "hive up")]
    where = f"{address.host}:{address.port or 6379}"
    try:
        there = _lengths(chosen.redis())
    except Exception as error:  # noqa: BLE001 - whatever the transport raises means: no broker just now
        why = f"{type(error).__name__}: workers hear of nothing; the janitor works alone until it is back"
        log = chosen.data_dir.absolute() / "valkey.log"
        then = (
            f"tail -n 20 {log}"
            if chosen.redis_url is None
            else f"redis-cli -h {address.host} -p {address.port or 6379} ping"
        )
        return [_wrong("the broker cannot be reached", where, why, then)]
    return _looked(db, lambda tx: _hints(tx, there), where) if db is not None else []


def _lengths(url: str) -> dict[str, int]:
    """Messages by queue, asked once and without patience: Celery's own connection would try for long."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from hive.supervisor import QUEUES

    with redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=3, retry=Retry(NoBackoff(), 0)) as broker:
        return {queue: int(cast("int", broker.llen(queue))) for queue in QUEUES}


def _hints(tx: Transaction, there: Mapping[str, int]) -> list[Finding]:
    found = []
    for row in tx.run("hinted_queues").fetchall():
        waiting = there.get(row.queue, 0)
        if row.age > STALE_HINT and waiting < row.outstanding:
            why = (
                f"{row.outstanding} tasks were announced, the oldest {row.age:.0f} s ago, and {waiting} messages wait "
                "there: nobody has announced the lost ones again"
            )
            found.append(_wrong("announcements of work are lost", f"queue {row.queue}", why, "hive balance"))
    return found


def _told(error: Mapping[str, Any] | None) -> str:
    """A ledger's error in one line; it holds no value by its contract."""
    if not error:
        return "nothing is known"
    advice = f" - {error['advice']}" if error.get("advice") else ""
    return f"{error.get('message') or error.get('code') or 'unknown'}{advice}"


def _at(moment: Any) -> str:
    return str(moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")) if moment is not None else "a time unknown"

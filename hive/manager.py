"""`HiveManager`: the hive from Python, with the same settings as the command line."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from psycopg.rows import dict_row
from pydantic import ValidationError

from bees.core.bee import WorkerBee
from bees.core.inbox import InboxBee
from hive import status, versions
from hive.config.load import configured, from_mapping, tells_of_bees
from hive.config.model import BeeConfig, GroundedBee, RemovedBee, UnknownBee
from hive.config.problems import ConfigProblems, Problem, did_you_mean
from hive.flight.bees import make_bee
from hive.flight.cancel import Stopped, stop
from hive.flight.create import Bee, fly_now
from hive.ledger.db import UNREACHABLE
from hive.runtime import Runtime, open_runtime
from hive.scheduler import backfill, pause, resume
from hive.settings import Settings, environment
from hive.versions import Change, Version
from nectar.errors import BadProfile
from nectar.scrub.profile.profiles import bases, meant

if TYPE_CHECKING:
    from hive.balance import LoadReport
    from hive.flight.again import Again
    from hive.health import HealthStatus
    from hive.slots import Slots
    from nectar.scrub import DataScrubber

_FLIGHT = """
SELECT f.id::text AS flight, b.name AS bee, f.state, coalesce(s.rows, f.records_read) AS records_read,
       coalesce(r.landed, f.records_landed) AS records_landed,
       coalesce(r.unchanged, f.records_unchanged) AS records_unchanged,
       coalesce(r.superseded, f.records_superseded) AS records_superseded,
       coalesce(r.deleted, f.records_deleted) AS records_deleted,
       coalesce(r.quarantined, f.records_quarantined) AS records_quarantined,
       coalesce(s.bytes, f.bytes_read) AS bytes_read,
       f.started_at, f.finished_at,
       extract(epoch FROM coalesce(f.finished_at, clock_timestamp()) - f.started_at)::float AS seconds,
       CASE WHEN f.error IS NULL AND f.state IN ('queued', 'running')
            THEN (SELECT t.last_error FROM hive.task t WHERE t.day = f.day AND t.flight = f.id
                     AND t.state IN ('queued', 'running') AND t.last_error IS NOT NULL ORDER BY t.id LIMIT 1)
            ELSE f.error END AS error,
       f.mode, j.name AS jar, f.slot_key
  FROM hive.flight f JOIN hive.bee b ON b.id = f.bee JOIN hive.jar j ON j.id = f.jar
  LEFT JOIN LATERAL (SELECT sum(rows)::bigint AS rows, sum(bytes)::bigint AS bytes
                       FROM hive.batch WHERE day = f.day AND flight = f.id) s ON f.state = 'running'
  LEFT JOIN LATERAL (SELECT sum(landed)::bigint AS landed, sum(unchanged)::bigint AS unchanged,
                            sum(superseded)::bigint AS superseded, sum(deleted)::bigint AS deleted,
                            sum(quarantined)::bigint AS quarantined
                       FROM hive.receipt WHERE day = f.day AND flight = f.id) r ON f.state = 'running'
"""
_SCRUBBED = "SELECT field, kind, action, count FROM hive.scrubbed WHERE flight = %s ORDER BY field, kind, action"
_SET_ASIDE = """
SELECT code, min(reason) AS reason, sum(records)::int AS records FROM hive.quarantine
 WHERE flight = %s AND state = 'open' GROUP BY code ORDER BY records DESC, code
"""
_OWN_PROFILES = """
SELECT DISTINCT config -> 'scrubbing' -> 'profiles' AS profiles FROM hive.bee
 WHERE tenant = %s AND jsonb_exists(config -> 'scrubbing' -> 'profiles', %s)
"""
_BEE = """
SELECT b.id, b.name, b.tenant, b.queue, b.config_version, b.origin,
       coalesce(b.config -> 'honey_jar' ->> 'name', b.config ->> 'honey_jar', b.name) AS jar
  FROM hive.bee b
"""
OPEN = ("queued", "running")
PATIENCE = 30.0
"""Seconds for which a database may be away while somebody waits for a flight."""


class UnknownFlight(LookupError):
    """No flight has this id."""


@dataclass(frozen=True)
class FlightResult:
    """What a flight has done so far; final once `state` is complete, failed or cancelled."""

    flight: str
    bee: str
    state: str
    records_read: int
    records_landed: int
    records_unchanged: int
    records_superseded: int
    records_deleted: int
    records_quarantined: int
    bytes_read: int
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    seconds: float | None
    error: Mapping[str, Any] | None
    mode: str
    jar: str
    slot_key: str
    scrubbed: Sequence[Mapping[str, Any]] | None = None
    """What was taken out: {field, kind, action, count}. None where it was not asked for, as in a list of flights."""
    set_aside: Sequence[Mapping[str, Any]] | None = None
    """What still lies in quarantine of it: {code, reason, records}. None as above."""

    @property
    def warning(self) -> str | None:
        """Why a complete flight is none to be glad of: nothing that it read is in the jar."""
        if self.state != "complete" or not self.records_read or self.records_quarantined < self.records_read:
            return None
        return f"all {self.records_read} records were set aside and none landed: hive quarantine list"

    def job_result(self) -> JobResult:
        """Whether it is complete, and how many records it has settled: landed or unchanged, deleted, set aside."""
        done = self.records_landed + self.records_unchanged + self.records_superseded
        message = str(self.error.get("message") or self.error.get("code")) if self.error else None
        return JobResult(self.state == "complete", done + self.records_deleted + self.records_quarantined, message)

    def json(self) -> dict[str, Any]:
        """As `hive flight ID --json` prints it."""
        told = {k: v for k, v in self.__dict__.items() if k not in ("slot_key", "scrubbed", "set_aside")}
        told["slot"] = self.slot_key
        told["warning"] = self.warning
        if self.scrubbed is not None:
            told["scrubbed"] = [dict(line) for line in self.scrubbed]
        if self.set_aside is not None:
            told["set_aside"] = [dict(line) for line in self.set_aside]
        for name in ("started_at", "finished_at"):
            told[name] = told[name].isoformat() if told[name] else None
        return told


@dataclass(frozen=True)
class Flight:
    """A handle on a flight: `wait` for its end, or look at it."""

    id: str
    hive: HiveManager

    def result(self) -> FlightResult:
        return self.hive.flight(self.id)

    def wait(
        self, timeout: float | None = None, *, watch: Callable[[FlightResult], None] | None = None
    ) -> FlightResult:
        """Block until the flight is closed; `watch` sees each result on the way.

        Raises TimeoutError after `timeout` seconds; the flight goes on. A database that is away is waited for, half a
        minute at most.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, seen = 0.02, time.monotonic()
        while True:
            try:
                result = self.result()
                seen = time.monotonic()
            except UNREACHABLE:
                if time.monotonic() - seen > PATIENCE:
                    raise
                time.sleep(0.5)
                continue
            if result.state not in OPEN:
                return result
            if watch is not None:
                watch(result)
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(
                    f"flight {self.id} of {result.bee!r} is still {result.state} after {timeout} seconds"
                )
            time.sleep(pause)
            pause = min(0.25, pause * 1.3)


@dataclass(frozen=True)
class WorkerStatus:
    """One worker process, by its last heartbeat, and the task it has in hand.

    `status` is running, idle, quiet (no heartbeat for some seconds) or lost (none for longer than its lease); `task`,
    `kind`, `bee`, `flight` and `since` are of the task it has had longest. What it has done counts for flights of today
    and yesterday.
    """

    worker_id: str
    host: str
    pid: int
    alive: bool
    last_heartbeat: dt.datetime
    rss: int
    """Bytes."""
    running: int
    status: str
    queues: Sequence[str]
    task: str | None
    kind: str | None
    bee: str | None
    flight: str | None
    since: dt.datetime | None
    started_at: dt.datetime
    tasks_done: int
    records_processed: int
    """Read and sealed, or scrubbed and landed."""
    last_error: Mapping[str, Any] | None
    """Of the last task that died in its hands."""


@dataclass(frozen=True)
class JobResult:
    """A flight in three words: `error` is why it failed or was cancelled."""

    success: bool
    records_processed: int
    error: str | None


class HiveManager:
    """Registers bees, flies them, and looks after what flies.

        hive = HiveManager()
        hive.fly("sales-db-bee").wait(timeout=60).records_landed

    Raises NotRunning where neither HIVE_DATABASE_URL is set nor a hive runs on the data folder.
    """

    def __init__(self, settings: Settings | None = None, *, rt: Runtime | None = None) -> None:
        if rt is None:
            from hive.celery import send

            rt = open_runtime(settings, send=send)
        self._rt = rt

    def fly(
        self, bee: str, *, mode: str = "continuous", full_refresh: bool = False, request: str | None = None
    ) -> Flight:
        """Start an ad-hoc flight and return at once, also of a bee that is disabled.

        The same `request` gives the same flight. Raises UnknownBee: RemovedBee and GroundedBee say why it cannot fly.
        """
        if mode not in ("continuous", "snapshot"):
            raise ValueError(f"mode is {mode!r}; expected continuous or snapshot")
        flight = fly_now(self._rt, self._bee(bee), mode=mode, full_refresh=full_refresh, request=request)
        return Flight(str(flight), self)

    def flight(self, flight_id: str) -> FlightResult:
        """Raises UnknownFlight."""
        try:
            wanted = uuid.UUID(flight_id)
        except ValueError:
            raise UnknownFlight(f"{flight_id!r} is no flight id; `hive flights` lists them") from None
        rows = self._rows(_FLIGHT + " WHERE f.id = %s", [wanted])
        if not rows:
            raise UnknownFlight(f"no flight has the id {flight_id}; `hive flights` lists them")
        aside = self._rows(_SET_ASIDE, [wanted]) if rows[0]["records_quarantined"] else []
        return FlightResult(**rows[0], scrubbed=self._rows(_SCRUBBED, [wanted]), set_aside=aside)

    def flights(self, bee: str | None = None, limit: int = 20) -> list[FlightResult]:
        """The newest flights, of one bee or of all; those of a removed bee, too. Raises UnknownBee."""
        if bee is not None:
            self._bee(bee, removed=True)
        where = " WHERE b.name = %s" if bee else ""
        rows = self._rows(_FLIGHT + where + " ORDER BY f.created_at DESC LIMIT %s", [*([bee] if bee else []), limit])
        return [FlightResult(**row) for row in rows]

    def bees(self, *, removed: bool = False) -> list[dict[str, Any]]:
        """Every bee with its last flight and its next slot; with `removed` also those that nothing names any more.

        `cannot_fly` says why, also of bees that the configuration names and the hive has left out (`queue` is None).
        `retry_at` is when the source is asked again, None for now; `breaker` is None, or its state, failures (in a
        row), until, last_failure (a code) and failed_at.
        """
        found = self._rows(
            "SELECT b.name, b.connector, b.queue, b.enabled, b.origin, b.origin = 'gone' AS removed,"
            " CASE WHEN b.retry_at > clock_timestamp() THEN b.retry_at END AS retry_at, b.paused_at, b.last_error,"
            " CASE WHEN b.paused_at IS NULL THEN s.next_slot END AS next_slot, coalesce(s.missed, 0) AS missed,"
            " f.state AS last_state, f.finished_at AS last_finished, f.id::text AS last_flight"
            " FROM hive.bee b LEFT JOIN (SELECT bee, min(next_slot) FILTER (WHERE enabled) AS next_slot,"
            "   sum(missed)::int AS missed FROM hive.schedule GROUP BY bee) s ON s.bee = b.id"
            " LEFT JOIN LATERAL (SELECT id, state, finished_at FROM hive.flight"
            "   WHERE bee = b.id ORDER BY created_at DESC LIMIT 1) f ON true ORDER BY b.name",
            [],
        )
        with self._rt.db.single() as tx:
            grounded = versions.grounded_bees(tx)
            status.add_breakers(tx, found)
        rows = status.with_grounded(found, grounded)
        return [row for row in rows if removed or not row["removed"]]

    def open_bee(self, name: str) -> WorkerBee:
        """The live bee with its secrets, for a look at its source; the caller closes it. Raises UnknownBee, GiveUp."""
        bee = self._bee(name)
        about = self._rows("SELECT connector, config FROM hive.bee WHERE id = %s", [bee.id])[0]
        made = make_bee(name, about["connector"], about["config"], self._rt.vault(bee.tenant).text)
        if isinstance(made, InboxBee):
            made.inbox = self._rt.inbox(bee.id)
        self._rt.limits.attach(bee.id, bee.tenant, made, about["config"])
        return made

    def block(self, name: str) -> dict[str, Any]:
        """A bee's native block, as the hive has it: secrets are references. Raises UnknownBee."""
        return dict(self._rows("SELECT config FROM hive.bee WHERE id = %s", [self._bee(name).id])[0]["config"])

    def apply(self, path: Path, *, secrets: bool = True) -> list[str]:
        """Make the bees those of a configuration file; gives their names. See `reload`."""
        return list(self.reload(path, secrets=secrets).bees)

    def reload(self, path: Path | None = None, *, secrets: bool = True, note: bool = False) -> Change:
        """Make the bees those of a configuration file or folder, in one step. Raises ConfigProblems: nothing changed.

        Bees of an earlier file that this one does not name are disabled: they fly no more, what they landed stays.
        Bees of `register_worker` are left alone, and the file may not use their names. Flights that run keep the
        configuration they began with, but for credentials and stricter scrubbing.

        `path`: HIVE_CONFIG if it is not given. `secrets=False`: what the vault does not hold yet is found missing when
        the bee flies. `note`: a refusal shows in `hive status` and `hive doctor` until one is taken into use.
        """
        chosen = configured(path or self._rt.settings.config, environment())
        if not chosen and not tells_of_bees(environment()):
            raise LookupError("no configuration is named: give its path, or set HIVE_CONFIG")
        return versions.reload(self._rt, chosen, secrets=secrets, note=note)

    def config_history(self, limit: int = 20) -> list[Version]:
        """The newest versions of the configuration."""
        return versions.history(self._rt, limit)

    def config_rollback(self, version: int) -> Change:
        """Make the bees those of an earlier version again, as a new version. Raises UnknownVersion."""
        return versions.rollback(self._rt, version)

    def register_worker(self, worker_type: str, config: Mapping[str, Any]) -> str:
        """Add or change a bee; gives its id, which is its name (`name` or `id` in `config`, else one is made).

        `config` is the bee's block of the native form, or just the connector's options. Types and blocks of other
        systems' files are taken too, such as `api_worker` with `config` and `processing`. Raises ConfigProblems.
        """
        if not isinstance(worker_type, str) or not isinstance(config, Mapping):
            what, wanted = "config", "a map of the connector's options, such as {'path': '/data'}"
            if not isinstance(worker_type, str):
                what, wanted = "worker_type", "the name of a connector, such as 'local'"
            raise ConfigProblems([Problem(f"register_worker: {what} is of another kind", expected=wanted)])
        given = dict(config)
        name = str(given.pop("name", None) or given.pop("id", None) or f"{worker_type}-{uuid.uuid4().hex[:8]}")
        bee = from_mapping(name, given, connector=worker_type, environ=environment(), vault=self._rt.vault().text)
        versions.register(self._rt, name, bee)
        return name

    def unregister_worker(self, worker_id: str) -> bool:
        """Let a bee of `register_worker` fly no more; False: it did not. What it landed stays, its name is free again.

        A flight that is under way ends with its next batch. Raises UnknownBee, or ConfigProblems for a bee of a file.
        """
        self._bee(worker_id, removed=True)
        return versions.unregister(self._rt, worker_id)

    def create_from_comb(
        self,
        comb_id: str,
        name: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        mode: str | None = None,
        jar: str | None = None,
        replace: bool = False,
    ) -> str:
        """Register the bee `name` that a comb and its parameters make; its secrets go to the vault. Gives its name.

        Raises UnknownComb, or ConfigProblems: also for the name of a bee that there is, unless it may `replace` it.
        """
        from hive.combs.create import create

        return create(self._rt, comb_id, name, parameters or {}, mode=mode, jar=jar, replace=replace)

    def schedule_job(self, worker_id: str, schedule: str) -> str:
        """Give a bee one schedule: a cron expression, or an interval such as `5m`. Gives the schedule's name.

        It is a change of the bee's configuration, and a version of it. Raises UnknownBee, ValueError for what is no
        schedule, or ConfigProblems for a bee of a file, whose next reload would undo it.
        """
        wanted = "a cron expression such as `0 */6 * * *`, or an interval such as `5m`"
        if not isinstance(schedule, str):
            raise ValueError(f"bee {worker_id!r}: the schedule is no text, expected {wanted}")  # noqa: TRY004
        bee = self._bee(worker_id)
        about = self._rows("SELECT config, origin FROM hive.bee WHERE id = %s", [bee.id])[0]
        if about["origin"] == "file":
            reason = "comes from the configuration file, and a change of it there would undo a schedule given here"
            there = "`schedule` or `every` in the bee's block of that file, and `hive reload`"
            raise ConfigProblems([Problem(reason, bee=worker_id, field="schedule", expected=there)])
        config = BeeConfig.model_validate(about["config"])
        is_cron = " " in schedule.strip() or schedule.strip().startswith("@")
        try:
            made = config.new_schedule(cron=schedule) if is_cron else config.new_schedule(every=schedule)
        except ValidationError:
            raise ValueError(f"bee {worker_id!r}: {schedule!r} is no schedule, expected {wanted}") from None
        versions.register(self._rt, worker_id, config.model_copy(update={"schedules": (made,)}))
        return str(made.name)

    def pause(self, bee: str) -> bool:
        """Neither schedules nor events fly this bee until `resume`; False: it was paused. Raises UnknownBee.

        Flights that are under way go on, and a reload of the configuration changes nothing of it.
        """
        number = self._bee(bee).id
        with self._rt.db.transaction() as tx:
            return pause(tx, number)

    def resume(self, bee: str) -> bool:
        """Let a paused bee fly again, what it missed by its catch-up rule; False: it was not paused.

        Raises UnknownBee.
        """
        number = self._bee(bee).id
        with self._rt.db.transaction() as tx:
            return resume(tx, number)

    def slots(self, bee: str | None = None, most: int = 20) -> Slots:
        """What flies next and what was left out, of one bee or of all. Raises UnknownBee."""
        from hive.slots import look

        return look(self._rt, None if bee is None else self._bee(bee, removed=True).id, most)

    def backfill(
        self, bee: str, since: dt.datetime, until: dt.datetime, *, schedule: str | None = None, most: int = 1000
    ) -> list[str]:
        """Make the flights of past slots that were not flown; gives their slot keys in order. None is flown twice.

        Raises UnknownBee, LookupError for an unknown schedule, ValueError for a range that is none, not past, or holds
        more than `most` slots.
        """
        return backfill(self._rt, self._bee(bee), since, until, schedule=schedule, most=most)

    def monitor_workers(self) -> list[WorkerStatus]:
        """Every worker process that was heard of in the last minutes."""
        return [WorkerStatus(worker_id=row.pop("id"), **row) for row in status.workers(self._rt.db)]

    def check_worker_health(self, worker_id: str) -> HealthStatus:
        """Heartbeat, connection, resources and error rate of a worker process. Raises UnknownWorker."""
        from hive.health import WorkerHealthMonitor, answering

        return WorkerHealthMonitor(self._rt.db, answering).check_worker_health(worker_id)

    def distribute_load(self) -> int:
        """Move waiting work to workers that are alive; gives how many tasks they were told of. See `balance.move`."""
        from hive.balance import move

        return move(self._rt).told

    def balance(self, *, apply: bool = False) -> LoadReport:
        """What each queue has to do, moves and proposes; `apply` gives the pools the processes that are proposed."""
        from hive.balance import balance

        return balance(self._rt, apply=apply)

    def cancel(self, flight_id: str) -> Stopped:
        """End the reading of a flight; what is sealed lands, then it is cancelled.

        Raises UnknownFlight, FlightClosed.
        """
        return stop(self._rt, uuid.UUID(self.flight(flight_id).flight))

    def retry(self, flight_id: str) -> Again:
        """Land the dead batches of a failed flight and fly again what it left unread.

        Raises UnknownFlight, NothingToRetry.
        """
        from hive.flight.again import fly_again

        return fly_again(self._rt, uuid.UUID(self.flight(flight_id).flight))

    def scrubber(
        self,
        profile: str | Mapping[str, Any] | None,
        custom_rules: Sequence[Mapping[str, Any]] = (),
        tenant: str = "default",
        profiles: Mapping[str, Any] | None = None,
    ) -> DataScrubber:
        """A scrubber with the hive's pseudonym keys: its tokens join those in the jars.

        `profile` is built in, one of `profiles` (definitions by name), or one that a bee of the tenant scrubs by; or
        all of a configuration, as `DataScrubber` takes it. Raises BadProfile.
        """
        from nectar.scrub import DataScrubber  # here, so that commands which only read start without Arrow

        given: dict[str, Any] = dict(profile) if isinstance(profile, Mapping) else {"profile": profile}
        named = given.get("profile_id", given.get("profile"))
        own = {**(given.get("profiles") or {}), **(profiles or {})}
        if isinstance(named, str) and named not in own:
            own |= self._own_profiles(named, tenant)
        rules = [*(given.get("custom_rules") or ()), *custom_rules]
        return DataScrubber({**given, "profiles": own, "custom_rules": rules}, keys=self._rt.keyring(tenant))

    def _own_profiles(self, wanted: str | None, tenant: str) -> dict[str, Any]:
        """The definitions that bees of the tenant brought along for the profile that is wanted."""
        found: list[dict[str, Any]] = []
        rows = self._rows(_OWN_PROFILES, [tenant, wanted])
        for row in rows or self._rows(_OWN_PROFILES, [tenant, meant(str(wanted), {})]):
            needed = {name: row["profiles"][name] for name in bases(str(wanted), row["profiles"])}
            if needed not in found:
                found.append(needed)
        if len(found) > 1:
            raise BadProfile(f"bees have different profiles named {wanted!r}: give the one that is meant as profiles=")
        return found[0] if found else {}

    def close(self) -> None:
        self._rt.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _bee(self, name: str, *, removed: bool = False) -> Bee:
        """The bee of this name; also one that nothing names any more, if it may be `removed`. Raises UnknownBee."""
        if not isinstance(name, str):
            raise TypeError(f"a bee is called by its name, a text, not by {type(name).__name__}")
        rows = self._rows(_BEE + " WHERE b.name = %s", [name])
        origin = rows[0].pop("origin") if rows else versions.GONE
        if origin != versions.GONE or (rows and removed):
            return Bee(**rows[0])
        with self._rt.db.single() as tx:
            grounded = versions.grounded_bees(tx)
        if name in grounded:
            raise GroundedBee(name, grounded[name]["reasons"])
        if rows:
            raise RemovedBee(name)
        names = [r["name"] for r in self._rows("SELECT name FROM hive.bee WHERE origin <> 'gone'", [])]
        hint = did_you_mean(name, [*names, *grounded])
        raise UnknownBee(f"no bee is named {name!r}{hint or '; `hive bees` lists them'}")

    def _rows(self, query: str, values: Sequence[Any]) -> list[dict[str, Any]]:
        with self._rt.db.single() as tx:
            return tx.psycopg.cursor(row_factory=dict_row).execute(query.encode(), values).fetchall()

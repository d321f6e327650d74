"""A new configuration takes the place of the old one: whole or not at all, as an immutable version.

    load (hive/config) -> activate: one transaction writes the version, the bees, their schedules

A version is a row of `config_version` that is never changed:

    origin   file (a whole fleet), registered (one bee from Python) or rollback
    blocks   name -> native block, of the bees that this version changed
    bees     name -> version that holds its block; only of versions that are a whole fleet
    source   the files, or the version that was taken back
    grounded bees that the files name and that cannot fly, with their connector and the reasons

A bee's row has the origin file or registered, and `gone` once its file names it no more or somebody unregistered it:
it flies no more, its name is free, and what it landed stays.

A bee's `config_version` is the version that holds its block, and so is a flight's: a flight that runs keeps the block
it began with. Its credentials and what it must scrub are taken from the newest (`pinned_config`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb
from pydantic import ValidationError

from bees.core.errors import GiveUp
from hive.config.explain import explain
from hive.config.load import load, tells_of_bees
from hive.config.mask import MASK, replaced
from hive.config.model import BeeConfig, FleetConfig
from hive.config.problems import ConfigProblems, Problem
from hive.config.references import lift_secrets
from hive.config.secrets import secret_looking
from hive.config.shape import kept_shape
from hive.events import listen, refuse_impossible
from hive.flight.bees import make_bee
from hive.garbage import unsearched
from hive.ledger.db import Transaction
from hive.limits.pool import pool_of
from hive.registry import BrokenConnector, MissingExtra, UnknownConnector, connector, queue_of
from hive.runtime import Runtime
from hive.scheduler import set_all_schedules
from hive.settings import environment

log = structlog.get_logger()

_LOCK = 7_245_800_000_000
"""The advisory lock of every change of the configuration: of two the later one holds as a whole."""

ENVIRONMENT = "the environment"
"""The source of a configuration that no file tells of."""
_MOST_TOLD = 20
_FORGET_REFUSED = "DELETE FROM hive.event WHERE kind = 'config_refused'"
_NOTE_REFUSED = """
INSERT INTO hive.event (day, kind, body, handled_at)
VALUES ((clock_timestamp() AT TIME ZONE 'UTC')::date, 'config_refused', %s, clock_timestamp())
"""
_REFUSED = "SELECT created_at, body FROM hive.event WHERE kind = 'config_refused' ORDER BY id DESC LIMIT 1"
_FLEET = (
    "SELECT body -> 'grounded', body ->> 'source' FROM hive.config_version WHERE body ? 'bees' ORDER BY id DESC LIMIT 1"
)

_DIFF = ("added", "removed", "changed", "full_read")
_FLOWN = "SELECT name, config, config_version FROM hive.bee WHERE origin = 'file'"

_UPSERT = """
INSERT INTO hive.bee (name, tenant, connector, queue, config, config_version, origin, enabled, source)
SELECT n.name, n.tenant, n.connector, n.queue, n.config, %(version)s, %(origin)s, n.enabled, n.source
  FROM jsonb_to_recordset(%(bees)s) AS n(name text, tenant text, connector text, queue text, config jsonb, enabled bool,
                                         source text)
ON CONFLICT (name) DO UPDATE
   SET tenant = excluded.tenant, connector = excluded.connector, queue = excluded.queue, config = excluded.config,
       config_version = excluded.config_version, origin = excluded.origin, enabled = excluded.enabled,
       source = excluded.source, updated_at = clock_timestamp(),
       retry_at = CASE WHEN bee.config -> 'source' = excluded.config -> 'source' THEN bee.retry_at END,
       credential = CASE WHEN bee.config -> 'source' = excluded.config -> 'source' THEN bee.credential ELSE '' END,
       endpoint = CASE WHEN bee.config -> 'source' = excluded.config -> 'source' THEN bee.endpoint ELSE '' END
RETURNING id, name
"""

GONE = "gone"
_REMOVE = """
WITH gone AS (UPDATE hive.bee SET enabled = false, origin = 'gone', updated_at = clock_timestamp()
               WHERE name = ANY (%s) RETURNING id),
     deaf AS (DELETE FROM hive.listener WHERE bee IN (SELECT id FROM gone))
DELETE FROM hive.schedule WHERE bee IN (SELECT id FROM gone)
"""


class UnknownVersion(LookupError):
    """No version of the configuration has this number, or it is no whole fleet."""


@dataclass(frozen=True)
class Change:
    """What a new configuration changed. `version` is None where nothing did."""

    version: int | None
    bees: tuple[str, ...]
    """All of the configuration."""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    full_read: tuple[str, ...] = ()
    """Of the changed ones: those whose next flight reads everything anew."""

    @property
    def diff(self) -> dict[str, tuple[str, ...]]:
        """What happened -> which bees."""
        return {name: getattr(self, name) for name in _DIFF}

    def json(self) -> dict[str, Any]:
        return {
            "version": self.version,
            **{name: list(bees) for name, bees in self.diff.items()},
            "unchanged": len(self.bees) - len(self.added) - len(self.changed),
        }


@dataclass(frozen=True)
class Version:
    """One line of the configuration's history."""

    version: int
    created_at: dt.datetime
    origin: str
    source: str
    active: bool
    diff: Mapping[str, tuple[str, ...]]
    """What happened -> which bees; empty for a bee that was registered."""


@unsearched()
def reload(rt: Runtime, path: Path | Sequence[Path], *, secrets: bool = True, note: bool = False) -> Change:
    """Make the bees those of configuration files or folders. Raises ConfigProblems, and changes nothing.

    Bees that the environment tells of (ENABLED_CONNECTORS and the like) are among them. One that cannot fly, for its
    connector is not built or its options do not suffice, is left out with a warning.

    Bees of an earlier file that this one does not name are disabled: they fly no more, what they landed stays. Bees
    of `register_worker` are left alone, and the file may not use their names.

    `secrets=False`: what the vault does not hold yet is found missing when the bee flies.
    `note`: a refusal is written down, for `refused`; any reload that is not refused takes it away.
    """
    environ = environment()
    vault = rt.vault().text if secrets else None
    source = str(path) if isinstance(path, Path) else ", ".join(map(str, path)) or ENVIRONMENT
    try:
        whole = load(path, environ=environ, vault=vault, variables=environ if tells_of_bees(environ) else None)
        fleet = _flying(whole)
        blocks, secrets_of = lifted(rt, fleet)
        with rt.db.transaction() as tx:
            _lock(tx)
            _refuse_registered(tx, source, fleet.bees)
            change = _activate(
                tx, rt, fleet, blocks, secrets_of, origin="file", source=source, grounded=_grounded(whole),
                pool=whole.hive_connection_pool,
            )  # fmt: skip
            tx.psycopg.execute(_FORGET_REFUSED)
    except ConfigProblems as error:
        if note:
            _note_refused(rt, source, error)
        raise
    return change


def _note_refused(rt: Runtime, source: str, error: ConfigProblems) -> None:
    told = [str(problem) for problem in error.problems[:_MOST_TOLD]]
    body = {"source": source, "problems": told, "count": len(error.problems)}
    with rt.db.transaction() as tx:
        tx.psycopg.execute(_FORGET_REFUSED)
        tx.psycopg.execute(_NOTE_REFUSED, [Jsonb(body)])


def refused(tx: Transaction) -> dict[str, Any] | None:
    """The newest configuration that was refused by a hive that looks after it, if none was taken into use since.

    {at, source, problems (the first ones, one line each), count}
    """
    row = tx.psycopg.execute(_REFUSED).fetchone()
    return None if row is None else {"at": row[0], **row[1]}


def grounded_bees(tx: Transaction) -> dict[str, dict[str, Any]]:
    """Bees of the configuration that cannot fly: name -> {connector, enabled, reasons}."""
    return grounded_bees_of(tx)[0]


def grounded_bees_of(tx: Transaction) -> tuple[dict[str, dict[str, Any]], str]:
    """The same, and the files or the version that the configuration came from."""
    row = tx.psycopg.execute(_FLEET).fetchone()
    return (dict(row[0] or {}), str(row[1])) if row is not None else ({}, "")


def _grounded(fleet: FleetConfig) -> dict[str, dict[str, Any]]:
    return {
        name: {"connector": bee.type, "enabled": bee.enabled, "reasons": list(bee.missing)}
        for name, bee in fleet.bees.items()
        if bee.missing
    }


def _flying(fleet: FleetConfig) -> FleetConfig:
    for name, bee in fleet.bees.items():
        if bee.missing:
            log.warning("this bee cannot fly", bee=name, reasons=list(bee.missing))
    return fleet.flying()


def register(rt: Runtime, name: str, config: BeeConfig, secrets: Mapping[str, str] | None = None) -> int | None:
    """Add or change one bee from Python; gives the version, None where nothing changed.

    `secrets` (path in the vault -> value) are what its references need, kept together with it.

    Raises ConfigProblems for a bee that a file names: the next reload would undo it.
    """
    fleet = FleetConfig(bees={name: config})
    blocks, found = lifted(rt, fleet)
    needed = {name: {**found.get(name, {}), **(secrets or {})}}
    with rt.db.transaction() as tx:
        _lock(tx)
        _refuse_of_file(tx, name)
        row = tx.psycopg.execute(
            "SELECT config = %s AND origin = 'registered', origin FROM hive.bee WHERE name = %s",
            [Jsonb(blocks[name]), name],
        ).fetchone()
        rotated = _rotated(rt, fleet, needed)
        if row is not None and row[0] and not rotated:
            return None
        diff = {"added" if row is None or row[1] == GONE else "changed": [name]}
        version = _write_version(tx, {"origin": "registered", "source": "", "diff": diff, "blocks": blocks})
        _write_bees(tx, {name: config}, blocks, version, origin="registered")
        _keep_secrets(rt, fleet, rotated)
        return version


def unregister(rt: Runtime, name: str) -> bool:
    """Let a registered bee fly no more, as one that left its file; False: it did not. What it landed stays.

    Its name is free again. Raises ConfigProblems for a bee that a file names.
    """
    with rt.db.transaction() as tx:
        _lock(tx)
        _refuse_of_file(tx, name)
        if not _of_origin(tx, [name], "registered"):
            return False
        _write_version(tx, {"origin": "registered", "source": "", "diff": {"removed": [name]}, "blocks": {}})
        tx.psycopg.execute(_REMOVE, [[name]])
        return True


def rollback(rt: Runtime, number: int) -> Change:
    """Make the bees those of an earlier version again, as a new version. Raises UnknownVersion.

    Raises ConfigProblems where a bee of it needs a connector that is not here any more, and changes nothing. Secrets
    stay as they are: the vault keeps the newest.
    """
    with rt.db.transaction() as tx:
        _lock(tx)
        blocks = _blocks_of(tx, number)
        _refuse_registered(tx, f"version {number}", blocks)
        fleet = _understood(number, blocks)
        return _activate(tx, rt, fleet, blocks, {}, origin="rollback", source=f"version {number}")


def _understood(number: int, blocks: Mapping[str, dict[str, Any]]) -> FleetConfig:
    """The fleet of a version that this installation can fly. Raises ConfigProblems."""
    bees, problems = {}, []
    for name, block in blocks.items():
        try:
            connector(str(block.get("type")))
            bees[name] = BeeConfig.model_validate(block)
        except (UnknownConnector, MissingExtra, BrokenConnector) as error:
            wanted = "the connector back, or another version of `hive config history`"
            problems.append(Problem(f"version {number} needs a connector: {error}", bee=name, expected=wanted))
        except ValidationError as error:
            for found in error.errors(include_url=False, include_input=False):
                told = explain(BeeConfig, found, None)
                reason, field = f"version {number} was written for another release: {told.message}", found["loc"]
                problems.append(Problem(reason, bee=name, field=".".join(map(str, field)), expected=told.expected))
    if problems:
        raise ConfigProblems(problems)
    return FleetConfig(bees=bees)


def history(rt: Runtime, limit: int = 20) -> list[Version]:
    """The newest versions first. `active` is the fleet that flies, and the newest block of each registered bee."""
    with rt.db.single() as tx:
        rows = tx.psycopg.execute(
            "SELECT v.id, v.created_at, v.body ->> 'origin', v.body ->> 'source', v.body -> 'diff',"
            " v.id = (SELECT max(id) FROM hive.config_version WHERE body ? 'bees')"
            " OR EXISTS (SELECT FROM hive.bee b WHERE b.config_version = v.id AND b.origin = 'registered')"
            " FROM hive.config_version v ORDER BY v.id DESC LIMIT %s",
            [limit],
        ).fetchall()
    found = []
    for number, created, origin, source, diff, active in rows:
        told = {name: tuple(bees) for name, bees in (diff or {}).items()}
        found.append(Version(number, created, origin, source, active, told))
    return found


Secrets = dict[str, dict[str, str]]
"""Bee -> path in the vault -> value."""


def lifted(rt: Runtime, fleet: FleetConfig) -> tuple[dict[str, dict[str, Any]], Secrets]:
    """(each bee's block as the ledger keeps it, the literal secrets that belong into the vault). Writes nothing."""
    blocks, found = {}, {}
    kinds = {kind: connector(kind) for kind in {config.type for config in fleet.bees.values()}}
    older = _written_before(rt, [name for name, config in fleet.bees.items() if config.connector_version != 1])
    for name, config in fleet.bees.items():
        options, secrets = lift_secrets(name, kinds[config.type].Options, config.options)
        if secrets:
            found[name] = secrets
        block = _without_secrets(config).with_options(options).block()
        blocks[name] = kept_shape(kinds[config.type], older[name], block) if name in older else block
    return blocks, found


def _without_secrets(config: BeeConfig) -> BeeConfig:
    """What other systems' files say beyond our options is kept for people; a secret in it is read by nobody."""
    places = {place for place, _ in secret_looking(config.extras)}
    return config.model_copy(update={"extras": replaced(config.extras, places, lambda _: MASK)}) if places else config


def _written_before(rt: Runtime, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Blocks of the ledger, for bees whose options may be there in the shape of an older connector."""
    if not names:
        return {}
    with rt.db.single() as tx:
        return dict(tx.psycopg.execute("SELECT name, config FROM hive.bee WHERE name = ANY (%s)", [names]).fetchall())


def _rotated(rt: Runtime, fleet: FleetConfig, secrets: Secrets) -> Secrets:
    """Those that the vault does not hold as they are. A new one is a change, so that open connections are made anew."""
    known = {tenant: rt.vault(tenant).texts(values) for tenant, values in _by_tenant(fleet, secrets).items()}
    found: Secrets = {}
    for name, values in secrets.items():
        new = {path: value for path, value in values.items() if known[fleet.bees[name].tenant].get(path) != value}
        if new:
            found[name] = new
    return found


def _keep_secrets(rt: Runtime, fleet: FleetConfig, secrets: Secrets) -> None:
    for tenant, values in _by_tenant(fleet, secrets).items():
        rt.vault(tenant).set_all(values, shortest=0)


def _by_tenant(fleet: FleetConfig, secrets: Secrets) -> dict[str, dict[str, str]]:
    """Tenant -> path in its vault -> value."""
    found: dict[str, dict[str, str]] = {}
    for name, values in secrets.items():
        found.setdefault(fleet.bees[name].tenant, {}).update(values)
    return found


def _activate(
    tx: Transaction,
    rt: Runtime,
    fleet: FleetConfig,
    blocks: Mapping[str, dict[str, Any]],
    secrets: Secrets,
    *,
    origin: str,
    source: str,
    grounded: Mapping[str, dict[str, Any]] | None = None,
    pool: Mapping[str, Any] | None = None,
) -> Change:
    """Compare with what flies, and write what differs. `grounded`: bees that are named and cannot fly.

    `pool`: limits of connections; those that hold go on if it is None.
    """
    rows: list[Any] = tx.psycopg.cursor(row_factory=namedtuple_row).execute(_FLOWN).fetchall()
    active = {row.name: row for row in rows}
    added = [name for name in blocks if name not in active]
    rotated = _rotated(rt, fleet, secrets)
    changed = [n for n, block in blocks.items() if n in active and (active[n].config != block or n in rotated)]
    removed = [name for name in active if name not in blocks]
    _, held = pool_of(tx)
    pool = held if pool is None else pool
    if not (added or changed or removed or pool != held or (grounded is not None and grounded != grounded_bees(tx))):
        return Change(None, tuple(blocks))
    full = [name for name in changed if _reads_anew(rt, name, active[name].config, blocks[name])]
    touched = dict.fromkeys([*added, *changed])
    diff = dict(zip(_DIFF, (added, removed, changed, full), strict=True))
    body = {
        "origin": origin,
        "source": source,
        "diff": diff,
        "blocks": {name: blocks[name] for name in touched},
        "bees": {name: active[name].config_version for name in blocks if name not in touched},
        **({"grounded": grounded} if grounded else {}),
        **({"pool": pool} if pool else {}),
    }
    version = _write_version(tx, body)
    _write_bees(tx, {name: fleet.bees[name] for name in touched}, blocks, version, origin="file")
    tx.psycopg.execute(_REMOVE, [removed])
    _keep_secrets(rt, fleet, rotated)  # last: what is refused has changed nothing
    told = {key: tuple(names) for key, names in diff.items()}
    return Change(version, tuple(blocks), **told)


def _write_version(tx: Transaction, body: Mapping[str, Any]) -> int:
    text = json.dumps(body, sort_keys=True).encode()
    row = tx.psycopg.execute(
        "INSERT INTO hive.config_version (digest, body) VALUES (%s, %s) RETURNING id",
        [hashlib.sha256(text).hexdigest(), Jsonb(dict(body))],
    ).fetchone()
    assert row is not None
    return int(row[0])


def _write_bees(
    tx: Transaction,
    bees: Mapping[str, BeeConfig],
    blocks: Mapping[str, Mapping[str, Any]],
    version: int,
    *,
    origin: str,
) -> None:
    """The rows of some bees, their schedules and what bounds their sources."""
    queues = {kind: queue_of(connector(kind).bee_type) for kind in {config.type for config in bees.values()}}
    rows = [
        {
            "name": name,
            "tenant": config.tenant,
            "connector": config.type,
            "queue": queues[config.type],
            "config": blocks[name],
            "enabled": config.enabled,
            "source": name if config.limits.concurrency else "",
        }
        for name, config in bees.items()
    ]
    found = tx.psycopg.execute(_UPSERT, {"bees": Jsonb(rows), "version": version, "origin": origin}).fetchall()
    configs = {number: bees[name] for number, name in found}
    set_all_schedules(tx, {number: one.schedules if one.enabled else () for number, one in configs.items()})
    listen(tx, configs)
    refuse_impossible(tx)
    bounded = {name: config.limits.concurrency for name, config in bees.items() if config.limits.concurrency}
    if bounded:
        tx.psycopg.execute(
            "INSERT INTO hive.source_slot (source, n) SELECT s.source, generate_series(1, s.most)"
            " FROM unnest(%s::text[], %s::int[]) AS s(source, most) ON CONFLICT DO NOTHING",
            [list(bounded), list(bounded.values())],
        )
        tx.psycopg.execute(
            "DELETE FROM hive.source_slot t USING unnest(%s::text[], %s::int[]) AS s(source, most)"
            " WHERE t.source = s.source AND t.n > s.most AND t.task IS NULL",
            [list(bounded), list(bounded.values())],
        )


def _blocks_of(tx: Transaction, number: int) -> dict[str, dict[str, Any]]:
    """The whole fleet of a version: its own blocks, and those it took over from earlier ones."""
    row = tx.psycopg.execute("SELECT body FROM hive.config_version WHERE id = %s", [number]).fetchone()
    if row is None:
        raise UnknownVersion(f"there is no version {number}; `hive config history` lists them")
    if "bees" not in row[0]:
        told = ", ".join(name for names in row[0].get("diff", {}).values() for name in names)
        raise UnknownVersion(
            f"version {number} is of one registered bee ({told or ', '.join(row[0]['blocks'])}) and no whole fleet: "
            "choose one whose origin is file or rollback in `hive config history`"
        )
    body = row[0]
    older: dict[int, list[str]] = {}
    for name, version in body["bees"].items():
        older.setdefault(version, []).append(name)
    blocks = dict(body["blocks"])
    for version, names in older.items():
        found = tx.psycopg.execute(
            "SELECT name, body -> 'blocks' -> name FROM hive.config_version, unnest(%s::text[]) AS name WHERE id = %s",
            [names, version],
        ).fetchall()
        blocks.update(found)
    return blocks


def _reads_anew(rt: Runtime, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether checkpoints of the old block say nothing about the new one: see OpenBee.fingerprint."""
    if any(old.get(key) != new.get(key) for key in ("type", "scrubbing", "transform", "streams")):
        return True
    if old.get("source") == new.get("source"):
        return False
    secret = rt.vault(str(new.get("tenant", "default"))).text
    try:
        before, after = (make_bee(name, block["type"], block, secret) for block in (old, new))
    except GiveUp:
        return True  # a reference that is missing here may be there where the bee flies
    try:
        return before.source_identity() != after.source_identity()
    finally:
        before.close()
        after.close()


def _lock(tx: Transaction) -> None:
    tx.psycopg.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def _refuse_registered(tx: Transaction, where: str, names: Iterable[str]) -> None:
    found = _of_origin(tx, list(names), "registered")
    if found:
        reason = "a bee of this name was registered from Python"
        raise ConfigProblems([Problem(reason, file=where, bee=name, expected="another name") for name in found])


def _refuse_of_file(tx: Transaction, name: str) -> None:
    if _of_origin(tx, [name], "file"):
        reason = "the configuration file has a bee of this name, and its next reload would undo this"
        raise ConfigProblems([Problem(reason, bee=name, expected="another name, or a change of the file")])


def _of_origin(tx: Transaction, names: Sequence[str], origin: str) -> list[str]:
    found = tx.psycopg.execute(
        "SELECT name FROM hive.bee WHERE origin = %s AND name = ANY (%s) ORDER BY name", [origin, list(names)]
    ).fetchall()
    return [name for (name,) in found]

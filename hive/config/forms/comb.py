"""A Honey Comb: a description of one source that bees are made of.

    id: prod_db
    name: Production database
    type: database
    subtype: postgresql
    connection: {vault_path: data-sources/prod_db, host: db.internal, database: prod}
    extraction: {default_mode: query_based, query_template: "select ..."}
    scrubbing: {enabled: true, profile: gdpr_compliant}
    scheduling:
      continuous_flow: {enabled: true, interval: 5m}
      snapshot_generation: {enabled: true, cron: "0 2 * * *"}
    access_control: {required_permissions: ["comb:read:prod_db"], data_classification: confidential}

`connection.vault_path` names the folder in the vault that holds what the connector needs and the comb does not say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import SecretBytes, SecretStr

from hive.config.document import Document
from hive.config.fields import fields_of, union_members
from hive.config.forms.draft import Draft, Place, Writer
from hive.config.forms.names import connector_named
from hive.config.problems import ConfigProblems
from hive.registry import BrokenConnector, MissingExtra, UnknownConnector, connector

if TYPE_CHECKING:
    from pydantic import BaseModel

_STREAM = ("query", "table", "path", "key", "cursor", "columns", "records", "params", "pagination", "lookback")
_DATABASES = ("user", "password")


def is_comb(data: Any) -> bool:
    """Whether `data` has the shape of one comb."""
    return isinstance(data, Mapping) and "subtype" in data and ("connection" in data or "extraction" in data)


def comb_block(mapping: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """(name, native block) of the bee that a comb describes. Raises ConfigProblems.

    The block is unchecked: `hive.config.load.from_mapping(name, block)` checks it.
    """
    document = Document("")
    draft = comb_draft(mapping, document, ())
    if document.problems:
        raise ConfigProblems(document.problems)
    return str(draft.name), dict(draft.block)


def combs(document: Document, data: Any, place: Place) -> list[Draft]:
    """One comb, a list of combs, or a map of combs by their id."""
    return [comb_draft(comb, document, at) for at, comb in _listed(data, place)]


def _listed(data: Any, place: Place) -> list[tuple[Place, Any]]:
    if isinstance(data, Mapping) and not is_comb(data):
        return [((*place, n), {"id": n, **c} if isinstance(c, Mapping) else c) for n, c in data.items()]
    if isinstance(data, list):
        return [((*place, n), comb) for n, comb in enumerate(data)]
    return [(place, data)]


def comb_draft(comb: Any, document: Document, place: Place) -> Draft:
    """The bee of one comb; what is wrong is reported to `document`."""
    if not isinstance(comb, Mapping):
        document.report("a comb must be a map with id, subtype, connection and extraction", document.line(place))
        return Draft("", {}, place)
    name = comb.get("id") or _slug(comb.get("name"))
    of = Writer(document, name, place, dict(comb))
    if not name:
        of.report(None, "has neither `id` nor `name`")
    kind = of.take("subtype")
    if not isinstance(kind, str):
        of.report("subtype", "is missing", expected="the kind of source, such as postgresql or rest")
    of.put(("type",), connector_named(str(kind)), "subtype")
    of.keep("access_control", "hive_config", "version", "created_by", "tags", "parameters", "documentation", "verified")
    _jar(of)
    stream = _extraction(of)
    _connection(of)
    if stream:
        of.put(("streams", _slug(name) or "query"), stream, "extraction")
    _scrubbing(of)
    _scheduling(of)
    of.refuse_rest()
    return of.draft()


def _jar(of: Writer) -> None:
    """The comb's own description goes to the jar, which says what it came from."""
    comb_id = of.take("id")
    called, told = of.take("name"), of.take("description")
    about = {"id": comb_id, "name": called, "type": of.take("type")}
    of.put(("extras", "comb"), {key: value for key, value in about.items() if value is not None}, "id")
    jar = of.take("honey_jar") or _slug(of.name)
    if isinstance(jar, str):
        jar = {"name": jar, "description": told or called or "", "metadata": {"source_comb": str(comb_id or of.name)}}
    of.put(("honey_jar",), jar, "id")


def _extraction(of: Writer) -> dict[str, Any]:
    """Options of the comb's one stream; modes are kept."""
    inside = of.within("extraction")
    stream: dict[str, Any] = {}
    query = inside.take("query_template")
    if query is not None:
        stream["query"] = query
    stream |= {key: value for key in _STREAM if (value := inside.take(key)) is not None}
    tables = inside.take("tables")
    if isinstance(tables, list) and not stream:
        inside.put(("streams",), {str(table): {} for table in tables}, "tables")
    elif isinstance(tables, Mapping) and not stream:
        inside.put(("streams",), tables, "tables")
    inside.move("streams", "streams")
    inside.keep("default_mode", "available_modes", "batch_size")
    inside.refuse_rest()
    return stream


def _connection(of: Writer) -> None:
    inside = of.within("connection")
    folder = inside.take("vault_path")
    inside.options()
    if folder is None:
        return
    if not isinstance(folder, str) or not re.fullmatch(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", folder):
        inside.report("vault_path", "is no path in the vault", expected="segments such as data-sources/prod_db")
        return
    of.put(("extras", "connection", "vault_path"), folder, "connection", "vault_path")
    source = of.block.setdefault("source", {})
    for option in _from_vault(str(of.block["type"]), source):
        if option not in source:
            of.put(("source", option), f"{{{{ vault:{folder}/{option} }}}}", "connection", "vault_path")


def _from_vault(kind: str, given: Mapping[str, Any]) -> list[str]:
    """Options that a comb leaves to the vault: what the connector cannot be without, and its secrets.

    A secret that belongs to another option (`ssl_key_password` to `ssl_key`) is asked for only where that is given.
    """
    model = _options(kind)
    if model is None:
        return list(_DATABASES)
    found = fields_of(model)
    idle = {name for name in found if name.rpartition("_")[0] in found.keys() - given.keys()}
    return [
        name for name, field in found.items()
        if field.is_required() or (_is_secret(field.annotation) and name not in idle)
    ]  # fmt: skip


def _is_secret(annotation: Any) -> bool:
    return any(isinstance(m, type) and issubclass(m, SecretStr | SecretBytes) for m in union_members(annotation))


def _options(kind: str) -> type[BaseModel] | None:
    try:
        return connector(kind).Options
    except (UnknownConnector, MissingExtra, BrokenConnector):
        return None


def _scrubbing(of: Writer) -> None:
    inside = of.within("scrubbing")
    enabled = inside.take("enabled")
    if enabled is False:
        inside.keep("profile", "profile_id", "custom_rules")
    else:
        inside.move("profile", "scrubbing", "profile")
        inside.move("profile_id", "scrubbing", "profile")
        inside.move("custom_rules", "scrubbing", "custom_rules")
    inside.refuse_rest()


def _scheduling(of: Writer) -> None:
    """A continuous flow reads what is new into the jar; a snapshot makes a jar of its own."""
    inside = of.within("scheduling")
    schedules: list[dict[str, Any]] = []
    for key, word, native, mode in (
        ("continuous_flow", "interval", "every", "continuous"),
        ("snapshot_generation", "cron", "cron", "snapshot"),
    ):
        rhythm = inside.within(key)
        enabled, when = rhythm.take("enabled"), rhythm.take(word)
        timezone = rhythm.take("timezone")
        if enabled is False:
            if when is not None:
                rhythm.put(("extras", "scheduling", key), {"enabled": False, word: when}, word)
        elif when is not None:
            rhythm.places["schedules", len(schedules), native] = rhythm.written(word)
            zone = {} if timezone is None else {"timezone": timezone}
            schedules.append({"name": key, native: when, "mode": mode, **zone})
        elif enabled:
            rhythm.report(word, "is missing: when shall it fly?")
        rhythm.refuse_rest()
    if schedules:
        inside.put(("schedules",), schedules)
    inside.refuse_rest()


def _slug(name: Any) -> str:
    """`name` as the name of a bee or jar may be written; empty where nothing of it can stay."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", str(name or "")).strip("_.-")[:62]

"""Worker bees of `hive-config.yml`, a list, and of `worker_bee_config.yml`, a map by name.

    worker_bees:                                          worker_bees:
      - id: sales-db-bee                                    sales_api_sync:
        type: postgresql                                      type: api_worker
        source: {host: ..., ssl_mode: require}                schedule: "0 0 * * *"
        permissions: ["read:sales_data"]                     config: {base_url: ..., endpoints: {...}}
        security: {max_rows: 10000, timeout: 300}             processing: {target_honey_jar: sales_data}

What the native block knows may stand beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hive.config.forms.draft import Draft, Place, Writer, number
from hive.config.forms.names import connector_named, is_general
from hive.config.forms.options import has_option, timeout_option
from hive.config.model import BeeConfig

if TYPE_CHECKING:
    from hive.config.document import Document

_OURS = ("type", "source", "extras", "missing", "draft")
BESIDE = tuple(key for key in (*BeeConfig.model_fields, "schedule", "every") if key not in _OURS)
"""Keys of the native block that another system's block may hold as well."""


def workers(document: Document, bees: Any, place: Place) -> list[Draft]:
    if isinstance(bees, Mapping):
        found = [(name, block, (*place, name)) for name, block in bees.items()]
    elif isinstance(bees, list):
        found = [(None, block, (*place, n)) for n, block in enumerate(bees)]
    else:
        document.report("`worker_bees` must be a list, or a map by name", document.line(place))
        return []
    return [worker(document, name, block, at) for name, block, at in found]


def worker(document: Document, name: Any, block: Any, place: Place) -> Draft:
    """The bee of one block; without `name` it is the block's `id`. What is wrong is reported to `document`."""
    if not isinstance(block, Mapping):
        return Draft(name, block, place)
    of = Writer(document, name, place, dict(block))
    if name is None:
        of.name = of.take("id")
        if of.name is None:
            of.report(None, "has no `id`, the name of the bee")
    else:
        of.keep("id")
    _type_and_options(of)
    for key in BESIDE:
        of.move(key, key)
    _processing(of)
    _security(of)
    of.keep("permissions", "description", "name", "metadata")
    of.refuse_rest()
    return of.draft()


def _type_and_options(of: Writer) -> None:
    """`source` and `config` hold the options; where the type is a family, the `type` among them says which one."""
    kind = of.take("type")
    for key in ("source", "config"):
        if of.given.get(key) is None:
            of.take(key)
            continue
        inside = of.within(key)
        if isinstance(kind, str) and is_general(kind) and isinstance(inside.given.get("type"), str):
            of.put(("type",), connector_named(inside.take("type")), key, "type")
            kind = None
        if has_option(connector_named(str(of.block.get("type", kind))), "patterns"):  # whatever reads files
            inside.move("source_path", "source", "path")
        inside.options()
    if isinstance(kind, str):
        of.put(("type",), connector_named(kind), "type")
    elif kind is not None:
        of.put(("type",), kind, "type")


def _processing(of: Writer) -> None:
    inside = of.within("processing")
    inside.move("scrubbing_profile", "scrubbing", "profile")
    inside.move("custom_rules", "scrubbing", "custom_rules")
    inside.move("target_honey_jar", "honey_jar")
    inside.keep("auto_categorize")
    inside.refuse_rest()


def _security(of: Writer) -> None:
    """Demands that the connector has options for become those; the others are kept, and the check looks at them."""
    inside = of.within("security")
    kind = str(of.block.get("type"))
    timeout = timeout_option(kind)
    if timeout:
        inside.move("timeout", "source", timeout, convert=number)
    for key in ("ssl_mode", "max_rows", "row_level_security"):
        if has_option(kind, key):
            inside.move(key, "source", key)
    inside.keep("timeout", "ssl_mode", "max_rows", "row_level_security", "permissions")
    inside.refuse_rest()

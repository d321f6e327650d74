"""From a file or a mapping to a FleetConfig. All that is wrong is found before anything is raised.

    load(path)  reads the file, a form finds its bees, each bee is checked: its block against the model, its options
                against those of its connector, its references against environment and vault

A form is a function `Document -> list[Draft]`: it says which bees the file holds, written as native blocks, and where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hive.config.check import Draft, Known, check
from hive.config.document import Document, read_document
from hive.config.fields import fields_of
from hive.config.model import BeeConfig, FleetConfig
from hive.config.problems import ConfigProblems, closest
from hive.registry import BrokenConnector, MissingExtra, UnknownConnector, connector

if TYPE_CHECKING:
    from pydantic import BaseModel


def load(
    path: Path | str, *, environ: Mapping[str, str] | None = None, vault: Callable[[str], str] | None = None
) -> FleetConfig:
    """The fleet that the file describes, references unresolved. Raises ConfigProblems with all that is wrong.

    With `environ` and `vault` (text at a path, or LookupError) references of enabled bees must be there.
    """
    document = read_document(Path(path))
    known = Known(environ, vault)
    bees = {}
    for draft in native(document) if document.readable else []:
        bee = check(draft, document, known)
        if bee is not None:
            bees[str(draft.name)] = bee
    if document.problems:
        raise ConfigProblems(sorted(document.problems, key=lambda problem: problem.line))
    return FleetConfig(bees=bees)


def from_mapping(
    name: str,
    mapping: Mapping[str, Any],
    *,
    connector: str = "",
    environ: Mapping[str, str] | None = None,
    vault: Callable[[str], str] | None = None,
) -> BeeConfig:
    """One bee from a native block, or from the connector's options without `source`. Raises ConfigProblems.

    `connector` is used where the block names no `type`. Among flat options, a name that both the connector and the
    block know is the connector's.
    """
    document = Document("")
    bee = check(Draft(name, flat_block(mapping, connector)), document, Known(environ, vault))
    if bee is None or document.problems:
        raise ConfigProblems(document.problems)
    return bee


def native(document: Document) -> list[Draft]:
    """The form of this project: `bees`, a map of native blocks by name."""
    data = document.data
    if not isinstance(data, Mapping) or "bees" not in data:
        hint = closest("bees", map(str, data)) if isinstance(data, Mapping) else ""
        found = f", {hint!r} was found" if hint else ""
        document.report(f"names no bees: a map `bees:` was expected{found}", document.line(()))
        return []
    for key in data:
        if key != "bees":
            document.report(f"the key {str(key)!r} is not known here, expected bees", document.line((key,)))
    if not isinstance(data["bees"], Mapping):
        document.report("`bees` must be a map: a name, then the bee's block", document.line(("bees",)))
        return []
    return [Draft(name, block, ("bees", name)) for name, block in data["bees"].items()]


def flat_block(mapping: Mapping[str, Any], connector_name: str = "") -> dict[str, Any]:
    """`mapping` as a native block: unless it has a `source`, what the block does not know becomes the source."""
    block = dict(mapping)
    if "source" not in block:
        kind = connector_name or block.get("type")
        options = _options_model(kind)
        theirs = set(fields_of(options)) - {"streams"} - (set() if connector_name else {"type"})
        ours = {*BeeConfig.model_fields, "schedule", "every"} - theirs
        block = {key: value for key, value in mapping.items() if key in ours}
        block["source"] = {key: value for key, value in mapping.items() if key not in ours}
    if connector_name:
        block.setdefault("type", connector_name)
    return block


def _options_model(kind: object) -> type[BaseModel] | None:
    try:
        return connector(str(kind)).Options
    except (UnknownConnector, MissingExtra, BrokenConnector):
        return None

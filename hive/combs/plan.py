"""From a comb and its parameters to the block of one bee, with its secrets apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hive.combs import parameters as given
from hive.combs.comb import Comb
from hive.combs.fill import Value, fill
from hive.config.forms.comb import comb_block
from hive.config.forms.names import connector_named
from hive.config.problems import ConfigProblems, Problem, closest

_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}|\{\{\s*vault[.:][A-Za-z0-9_./-]+\s*\}\}")
_INCREMENTAL = ("cursor", "cursor_param", "lookback", "token_path", "step", "lag", "end_param")
_MARKS = ("cursor", "token_path", "step", "end_param")
"""What makes a stream incremental."""
_WHOLE = ("full_dump", "bucket_snapshot", "topic_dump")


@dataclass(frozen=True)
class Plan:
    """A bee to be: its block, and the secrets that belong into the vault, by path."""

    name: str
    connector: str
    block: dict[str, Any]
    secrets: dict[str, str] = field(repr=False)

    def vault(self, there: Callable[[str], str]) -> Callable[[str], str]:
        """The vault as it will be once the secrets are kept; `there` is the one that is."""
        return lambda path: self.secrets[path] if path in self.secrets else there(path)


def plan(comb: Comb, values: Mapping[str, Any], *, name: str, mode: str | None = None, jar: str | None = None) -> Plan:
    """The bee `name`, unchecked: `hive.config.load.from_mapping` checks it. Raises ConfigProblems.

    `mode` is one of the comb's `available_modes`, its default if unset; the jar is called as the bee if unset.
    """
    read = given.read(comb.id, comb.parameters, values)
    chosen = _mode(comb, mode)
    filled: dict[str, Value] = {}
    secrets: dict[str, str] = {}
    for key, parameter in comb.parameters.items():
        filled[key] = Value(read[key], identifier=parameter.type == "identifier")
        if parameter.secret and read[key] is not None:
            text = str(read[key])
            reference = text if _REFERENCE.fullmatch(text) else f"{{{{ vault:bees/{name}/param/{key} }}}}"
            if reference != text:
                secrets[f"bees/{name}/param/{key}"] = text
            filled[key] = Value(read[key], reference=reference)
    template = comb.template()
    template["extraction"] = _in_mode(template.get("extraction") or {}, chosen)
    made = fill(template, filled, comb.id, connector_named(comb.subtype))
    if chosen == "incremental" and not _has_cursor(made["extraction"]):
        raise ConfigProblems([Problem(f"comb {comb.id!r}: the mode incremental needs a `cursor` under extraction")])
    _, block = comb_block(made)
    block.setdefault("source", {})
    block["honey_jar"] = {**block["honey_jar"], "name": jar or name}
    open_values = {key: value for key, value in read.items() if value is not None and not comb.parameters[key].secret}
    about = {**block["extras"]["comb"], "parameters": open_values, **({"mode": chosen} if chosen else {})}
    block["extras"] = {**block["extras"], "comb": about}
    return Plan(name, block["type"], block, secrets)


def _mode(comb: Comb, wanted: str | None) -> str:
    modes = comb.modes
    if wanted is None:
        return comb.default_mode
    if wanted not in modes:
        near = closest(wanted, modes)
        expected = "" if near else f"one of {', '.join(modes)}" if modes else "no mode: the comb has none"
        raise ConfigProblems([Problem(f"comb {comb.id!r} has no mode {wanted!r}", expected=expected, suggestion=near)])
    return wanted


def _in_mode(extraction: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """What is extracted in this mode: all of it has no cursor, a query has no table, a table has no query."""
    streams = extraction.get("streams")
    cut: dict[str, Any] = _stream(extraction, mode)
    if isinstance(streams, Mapping):
        cut["streams"] = {name: _stream(options, mode) for name, options in streams.items()}
    return cut


def _has_cursor(extraction: Mapping[str, Any]) -> bool:
    streams = extraction.get("streams")
    told = [extraction, *(streams.values() if isinstance(streams, Mapping) else [])]
    return any(isinstance(stream, Mapping) and any(stream.get(mark) for mark in _MARKS) for stream in told)


def _stream(options: Any, mode: str) -> Any:
    if not isinstance(options, Mapping):
        return options
    left = _INCREMENTAL if mode in _WHOLE else ()
    if options.get("table") and (options.get("query_template") or options.get("query")):
        left = (*left, "table") if mode == "query_based" else (*left, "query_template", "query")
    return {key: value for key, value in options.items() if key not in left}

"""A fleet written down in the native form: short, with secrets masked or turned into references.

load(text of native_text(converted(fleet)[0])) == fleet, but for literal secrets, which become `${NAME}`
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import yaml

from hive.config.mask import MASK, Place, replaced, secret_places
from hive.config.model import BeeConfig, FleetConfig
from hive.config.references import has_literal
from hive.config.secrets import secret_looking

COMPANIONS = ("scrubbing_profiles", "identity_hive", "hive_connection_pool", "organizations")
_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
Comment = Callable[[Place], str]


def shown(fleet: FleetConfig) -> dict[str, Any]:
    """The whole fleet as a native document, literal secrets masked."""
    bees = {name: _short(bee, fleet, lambda _: MASK) for name, bee in fleet.bees.items()}
    return {"bees": bees, **_companions(fleet, lambda _: MASK)}


def converted(fleet: FleetConfig) -> tuple[dict[str, Any], dict[str, str]]:
    """(native document, {variable: what it stands for}): literal secrets become references to variables to set."""
    variables: dict[str, str] = {}

    def reference(*of: object) -> Callable[[Place], str]:
        def by(place: Place) -> str:
            told = ".".join(map(str, (*of, *place)))
            words = (*of, *(step for step in place if step not in ("source", "extras")))
            name = _free(re.sub(r"[^A-Z0-9]+", "_", "_".join(map(str, words)).upper()).strip("_"), variables)
            variables[name] = told
            return f"${{{name}}}"

        return by

    bees = {name: _short(bee, fleet, reference(name)) for name, bee in fleet.bees.items()}
    return {"bees": bees, **_companions(fleet, reference())}, variables


def native_text(document: Mapping[str, Any], comment: Comment | None = None) -> str:
    """The document as YAML. `comment` gives what stands behind the value at a place; empty: nothing."""
    return "\n".join(_lines(document, (), "", comment or (lambda _: ""))) + "\n"


def leaves(value: Any, place: Place = ()) -> Iterator[Place]:
    """Places of all values that are no map, in the order of the document."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from leaves(item, (*place, key))
    else:
        yield place


def _free(name: str, taken: Mapping[str, str]) -> str:
    name = f"BEE_{name}" if name[:1].isdigit() else name
    number = 2
    found = name
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found


def _short(bee: BeeConfig, fleet: FleetConfig, by: Callable[[Place], str]) -> dict[str, Any]:
    """The block without what goes without saying."""
    block: dict[str, Any] = replaced(bee.block(), set(secret_places(bee)), by)
    profiles = block.get("scrubbing", {}).get("profiles", {})
    for name in [name for name, profile in profiles.items() if fleet.scrubbing_profiles.get(name) == profile]:
        del profiles[name]
    if not profiles:
        block.get("scrubbing", {}).pop("profiles", None)
    if block.get("honey_jar", {}).keys() == {"name"}:
        block["honey_jar"] = block["honey_jar"]["name"]
    schedules = [_short_schedule(bee, spec) for spec in block.pop("schedules", [])]
    if len(schedules) == 1 and schedules[0].keys() <= {"cron", "every"}:
        (rhythm,) = schedules
        schedule = {"schedule": rhythm["cron"]} if "cron" in rhythm else {"every": rhythm["every"]}
    else:
        schedule = {"schedules": schedules} if schedules else {}
    return {"type": block.pop("type"), **schedule, **block}


def _short_schedule(bee: BeeConfig, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Only what differs from the bee's own rhythm."""
    told = {key: spec[key] for key in ("name", "cron", "every") if spec[key] is not None}
    base = bee.new_schedule(cron=told.get("cron"), every=told.get("every"), name=told["name"]).spec()
    short = told | {key: value for key, value in spec.items() if value != base[key]}
    if short["name"] == "default":
        del short["name"]
    if isinstance(short.get("every"), float) and short["every"].is_integer():
        short["every"] = int(short["every"])
    return short


def _companions(fleet: FleetConfig, by: Callable[[Place], str]) -> dict[str, Any]:
    found = {}
    for name in COMPANIONS:
        value = getattr(fleet, name)
        if value:
            secrets = {(name, *place) for place, text in secret_looking(value) if has_literal(text)}
            found[name] = replaced(value, secrets, by, (name,))
    return found


def _lines(value: Any, place: Place, indent: str, comment: Comment) -> Iterator[str]:
    for key, item in value.items():
        at, head = (*place, key), f"{indent}{_scalar(key)}:"
        if isinstance(item, Mapping) and item:
            yield head
            yield from _lines(item, at, f"{indent}  ", comment)
        elif isinstance(item, list | tuple) and any(isinstance(one, Mapping | list) for one in item):
            yield f"{head}{_behind(comment(at))}"
            yield from (f"{indent}  - {_scalar(one)}" for one in item)
        else:
            yield f"{head} {_scalar(item)}{_behind(comment(at))}"


def _behind(text: str) -> str:
    return f"  # {text}" if text else ""


def _scalar(value: Any) -> str:
    """On one line, whatever it holds."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return _text(value) if isinstance(value, str) else _dumped(list(value) if isinstance(value, tuple) else value)


@functools.lru_cache(maxsize=4096)
def _text(text: str) -> str:
    """Kept: keys, and many values, come again in each bee."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./-]*", text) and text.lower() not in _WORDS
    return text if plain else _dumped(text)


def _dumped(plain: Any) -> str:
    if isinstance(plain, str) and ("\n" in plain or len(plain) > 1000):
        text = yaml.safe_dump(plain, default_style='"', allow_unicode=True, width=1 << 30)
    else:
        text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, sort_keys=False, width=1 << 30)
    return text.removesuffix("...\n").strip("\n")

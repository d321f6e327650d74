"""Files checked against the hive that runs: secrets of its vault, bees that were registered there, names and triggers.

No secret is opened, no key is needed, and nothing is changed by looking.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hive.config.problems import Problem, closest, did_you_mean
from hive.config.references import BadReference, MissingReference, references, resolve, strings
from hive.config.triggers import cycles, edges, endless, jar_name
from hive.settings import NotRunning, Settings, environment

if TYPE_CHECKING:
    from hive.config.load import Examined
    from hive.config.model import BeeConfig

_Held = tuple[tuple[object, ...], str, list[str]]
"""Place in the block, the text there, and the paths that it refers to."""

PATIENCE = 2
"""Seconds for a hive to answer. One that does not is not there."""


@dataclass(frozen=True)
class There:
    """What a hive has: tenant -> paths of its vault, bee -> `file`, `registered` or `gone`, registered bee -> block."""

    paths: Mapping[str, frozenset[str]]
    bees: Mapping[str, str]
    registered: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def check_against(found: Examined) -> None:
    """Add problems and warnings to `found`: what a reload of the hive that runs would refuse."""
    named = found.fleet.flying().bees
    flying = {name: bee for name, bee in named.items() if bee.enabled}
    secrets = {name: list(_secrets(bee)) for name, bee in flying.items()}
    others = [(name, other) for name, bee in flying.items() for other in _after(bee) if other not in found.fleet.bees]
    there = ask()
    _warn_of_jars(found, flying, there)
    if there is None:
        _doubt(found, secrets, others)
        return
    for name in sorted(named.keys() & there.registered.keys()):
        message = "a bee of this name was registered from Python"
        found.problems.append(_problem(found, name, (), message, expected="another name"))
    _refuse_endless(found, flying, there)
    for name, held in secrets.items():
        known = there.paths.get(flying[name].tenant, frozenset())
        for place, text, _ in held:
            if (wrong := _missing(name, text, known)) is not None:
                found.problems.append(_problem(found, name, place, wrong))
    for name, other in others:
        origin = there.bees.get(other)
        if origin is None:
            near = closest(other, {*found.fleet.bees, *there.bees})
            message = f"no bee is named {other!r}, here or in the hive"
            found.problems.append(_problem(found, name, ("after",), message, near))
        elif origin != "registered":
            message = f"no bee of the configuration is named {other!r} (the hive has one of another configuration)"
            found.warnings.append(_problem(found, name, ("after",), message))


def _refuse_endless(found: Examined, flying: Mapping[str, BeeConfig], there: There) -> None:
    """Ways from a bee of the files over a registered one and back."""
    from pydantic import ValidationError

    from hive.config.model import BeeConfig

    registered = {}
    for name, block in there.registered.items():
        with contextlib.suppress(ValidationError):  # written for another release, and no matter of these files
            if name not in flying and (bee := BeeConfig.model_validate(block)).enabled:
                registered[name] = bee
    if not any(bee.after or bee.on for bee in registered.values()):
        return
    for way in cycles(edges({**flying, **registered})):
        mine = [name for name in way if name in flying]
        if mine and any(name in registered for name in way):
            told = endless(way)
            found.problems.append(_problem(found, mine[0], (told.field,), told.message))


def _warn_of_jars(found: Examined, flying: Mapping[str, BeeConfig], there: There | None) -> None:
    """Of jars that a bee waits for and none feeds: it would wait for ever."""
    fed = {jar_name(name, bee) for name, bee in found.fleet.bees.items()}
    for name, block in there.registered.items() if there is not None else ():
        jar = block.get("honey_jar")
        fed.add(str(jar.get("name") if isinstance(jar, Mapping) else jar or name))
    doubt = " (a registered bee may feed it)" if there is None else ""
    for name, bee in flying.items():
        for number, event in enumerate(bee.on):
            if event.jar is not None and event.jar not in fed:
                draft, _ = found.drafts[name]
                several = isinstance(draft.block.get("on"), list)
                place = ("on", number, "jar") if several else ("on", "jar")
                message = f"no bee feeds the jar {event.jar!r}{doubt}"
                found.warnings.append(_problem(found, name, place, message, closest(event.jar, fed)))


def _doubt(found: Examined, secrets: Mapping[str, Sequence[_Held]], others: Sequence[tuple[str, str]]) -> None:
    """What only a hive could tell, as warnings."""
    paths = sorted({path for held in secrets.values() for _, _, names in held for path in names})
    if paths:
        message = f"no hive runs here, so whether its vault holds these is not known: {', '.join(paths)}"
        found.warnings.append(Problem(message))
    for name, other in others:
        message = f"no bee of the configuration is named {other!r} (a registered bee may have the name)"
        found.warnings.append(_problem(found, name, ("after",), message, closest(other, found.fleet.bees)))


def ask() -> There | None:
    """What the hive has that the settings lead to; None where there is none, or it does not answer in time."""
    import psycopg
    from pydantic import ValidationError

    try:
        url = Settings().database()
    except (ValidationError, NotRunning, OSError, json.JSONDecodeError):
        return None  # the other commands say so
    ends = time.monotonic() + PATIENCE
    address = f"postgresql://{url.partition('://')[2]}"
    try:
        with psycopg.connect(address, connect_timeout=PATIENCE, prepare_threshold=None) as connection:
            left = max(1, int((ends - time.monotonic()) * 1000))
            connection.execute("SELECT set_config('statement_timeout', %s, true)", [f"{left}ms"])
            paths: dict[str, set[str]] = {}
            for tenant, path in connection.execute("SELECT DISTINCT tenant, path FROM hive.vault_secret"):
                paths.setdefault(tenant, set()).add(path)
            bees: dict[str, str] = dict(connection.execute("SELECT name, origin FROM hive.bee").fetchall())
            registered: dict[str, dict[str, Any]] = dict(
                connection.execute("SELECT name, config FROM hive.bee WHERE origin = 'registered'").fetchall()
            )
    except psycopg.Error:
        return None
    return There({tenant: frozenset(held) for tenant, held in paths.items()}, bees, registered)


def _secrets(bee: BeeConfig) -> Iterator[_Held]:
    """Each text that refers to the vault; what is wrongly written was told."""
    for place, text in strings({"source": bee.source, "streams": bee.streams}):
        if "{{" not in text:
            continue
        try:
            paths = [one.name for one in references(text) if one.kind == "vault"]
        except BadReference:
            continue
        if paths:
            yield place, text, paths


def _after(bee: BeeConfig) -> tuple[str, ...]:
    return bee.after.bees if bee.after is not None else ()


def _missing(bee: str, text: str, paths: frozenset[str]) -> str | None:
    """Why the vault's part of a text cannot be used. Of variables the check of the file itself tells."""

    def look(path: str) -> str:
        if path not in paths:
            raise _Unknown(path, did_you_mean(path, paths))
        return ""

    try:
        resolve(text, environ=environment(), vault=look, bee=bee)
    except MissingReference as error:
        return error.reason if error.reference.kind == "vault" else None
    except BadReference as error:
        return error.reason
    return None


class _Unknown(LookupError):
    def __init__(self, path: str, hint: str) -> None:
        self.hint = hint
        super().__init__(path)


def _problem(
    found: Examined, bee: str, place: tuple[object, ...], message: str, suggestion: str = "", expected: str = ""
) -> Problem:
    draft, document = found.drafts[bee]
    written = draft.written(place)
    line = document.line((*draft.place, *written))
    where = ".".join(map(str, written))
    return Problem(
        message, file=document.name, line=line, bee=bee, field=where, suggestion=suggestion, expected=expected
    )

"""One bee's check: its block against the model, its options against its connector's, its references against the world.

Every problem goes to the document, one for each place; none is raised.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from bees.core.errors import GiveUp
from bees.core.resilience.gate import GatedBee
from hive.config import shape
from hive.config.explain import explain
from hive.config.fields import fields_of, numbers_as_text
from hive.config.forms.draft import Draft, Place
from hive.config.forms.names import ALIASES, PLANNED
from hive.config.model import NAME_PATTERN, NAME_WORDS, BeeConfig
from hive.config.problems import Problem, closest
from hive.config.references import BadReference, MissingReference, lift_secrets, references, resolve, strings
from hive.config.schedule import next_slot
from hive.registry import BrokenConnector, MissingExtra, UnknownConnector, connector, connectors

if TYPE_CHECKING:
    from bees.core.bee import WorkerBee
    from hive.config.document import Document

_RULE = "{field: NAME, action: ACTION} or {pattern: REGEX, action: ACTION}"
_BARE = re.compile(r"(?<![$\\w])\$(?=[A-Z][A-Z0-9_]*\b)")
_BRACES = re.compile(r"\{\{(?!\s*(?:vault[.:]|(?:config|state|parent|record)\.))")
"""Neither the vault nor a place of a template, which the connector checks (bees/core/rest/template.py)."""
_UNFINISHED = "nothing to read"
"""How a connector begins that wants a stream, and has no other wish."""


@dataclass(frozen=True)
class Known:
    """Against what references are checked. None: not at all, they are looked up when the bee flies."""

    environ: Mapping[str, str] | None = None
    vault: Callable[[str], str] | None = None
    profiles: Mapping[str, Any] = field(default_factory=dict)
    """Scrubbing profiles that all bees may name."""
    models: dict[str, type[BaseModel] | Unbuilt] = field(default_factory=dict)
    """Options by connector, as far as somebody has asked: ten thousand bees are of a few kinds."""
    kinds: dict[str, type[WorkerBee]] = field(default_factory=dict)


@dataclass(frozen=True)
class Unbuilt:
    """Why a connector's name has no options. `mistake`: one to mend, else the bee waits for the connector."""

    reason: str
    expected: str = ""
    suggestion: str = ""
    mistake: bool = True


def options_of(kind: str) -> type[BaseModel] | Unbuilt:
    """The options of the connector of that name, or why there are none."""
    try:
        return connector(kind).Options
    except UnknownConnector:
        if kind in PLANNED:
            return Unbuilt(f"connector {kind!r} is not built", mistake=False)
        names = sorted(connectors())
        near = closest(kind, [*names, *PLANNED])
        return Unbuilt(f"no connector is named {kind!r}", "" if near else f"one of {', '.join(names)}", near)
    except MissingExtra as error:
        return Unbuilt(f"{error}", mistake=False)
    except BrokenConnector as error:
        return Unbuilt(str(error))


def check(draft: Draft, document: Document, known: Known) -> BeeConfig | None:
    """The bee, as far as its block fits the model; its options may have been reported to `document` all the same."""
    return _Check(draft, document, known).bee()


@dataclass
class _Check:
    draft: Draft
    document: Document
    known: Known
    seen: set[Place] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    draft_only: bool = False
    """Whether the bee is nothing but a draft, for its options do not suffice."""
    _block: dict[str, Any] = field(default_factory=dict)

    def bee(self) -> BeeConfig | None:
        name, block = self.draft.name, self.draft.block
        if not isinstance(name, str):
            self.report((), f"is no name for a bee: YAML takes it for {_as_yaml(name)}, put it between quotes")
        elif not re.fullmatch(NAME_PATTERN, name):
            self.report((), "is no name for a bee", expected=f"{NAME_WORDS}, 63 at most")
        if not isinstance(block, Mapping):
            self.report((), "must be a map with `type`, `source` and so on")
            return None
        if "missing" in block:
            self.report(("missing",), "is no known option")
        block = self._block = {key: value for key, value in block.items() if key != "missing"}
        model = self._model(block)
        if model is not None:
            block = self._block = self._in_shape(block)
        bee: BeeConfig | None = None
        errors: list[Any] = []
        try:
            bee = BeeConfig.model_validate(block)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
        for found in errors:
            self._explain(BeeConfig, found, _place_in_block(block, found["loc"]), options=fields_of(model))
        if not self.draft.text:
            self._numbers(BeeConfig, {key: block[key] for key in block if key not in ("source", "streams")})
        self._options(model, block)
        self._demands(model, block)
        self._scrubbing(block.get("scrubbing"))
        self._transform(block.get("transform"))
        loose: dict[Any, Any] = block
        self._files(loose.get("on", loose.get(True)))  # YAML takes the word `on` for true
        if bee is not None:
            self._over(bee)
            self._unheeded(bee)
        return self._finished(bee)

    def _files(self, events: Any) -> None:
        """Patterns of files are read by a scheduler, whose folder is nobody's choice."""
        several = isinstance(events, list | tuple)
        for number, event in enumerate(events if several else [events]):
            path = event.get("file") if isinstance(event, Mapping) else None
            if isinstance(path, str) and path and not PurePath(path).is_absolute():
                place = ("on", number, "file") if several else ("on", "file")
                self.report(place, "is a relative path", expected="an absolute one, such as /data/in/*.csv")

    def _over(self, bee: BeeConfig) -> None:
        """Schedules that have ended, which is no mistake and may be one."""
        now = dt.datetime.now(dt.UTC)
        for number, schedule in enumerate(bee.schedules):
            if schedule.end is not None and next_slot(schedule, now) is None:
                place = _place_in_block(self._block, ("schedules", number, "end"))
                self.warn(place, f"schedule {schedule.name!r} flies no more: no slot comes before its `end`")

    def _unheeded(self, bee: BeeConfig) -> None:
        """A rate for a connector that sends no requests of HTTP through a gate."""
        kind = self.known.kinds.get(bee.type)
        if bee.limits.rate and kind is not None and not issubclass(kind, GatedBee):
            self.warn(("limits", "rate"), f"the connector {bee.type!r} counts no requests: the rate bounds nothing")

    def _finished(self, bee: BeeConfig | None) -> BeeConfig | None:
        """With what the fleet adds: the profile it scrubs by, and why it cannot fly."""
        if bee is None:
            return None
        added: dict[str, Any] = {}
        name, own = bee.scrubbing.profile, bee.scrubbing.profiles
        from nectar.scrub.profile.profiles import bases

        needed = [] if name is None else bases(name, {**self.known.profiles, **own})
        lent = {one: dict(self.known.profiles[one]) for one in needed if one not in own}
        if lent:
            added["scrubbing"] = bee.scrubbing.model_copy(update={"profiles": {**own, **lent}})
        if self.missing:
            added["missing"] = tuple(self.missing)
            for reason in self.missing:
                self.warn((), f"cannot fly: {reason}")
        if self.draft_only:
            added["draft"] = True
        return bee.model_copy(update=added) if added else bee

    def report(self, place: Place, message: str, *, expected: str = "", suggestion: str = "") -> None:
        if place in self.seen:
            return
        self.seen.add(place)
        self.document.problems.append(self._problem(place, message, expected, suggestion))

    def warn(self, place: Place, message: str) -> None:
        self.document.warnings.append(self._problem(place, message))

    def _problem(self, place: Place, message: str, expected: str = "", suggestion: str = "") -> Problem:
        written = self.draft.written(place)
        return Problem(
            message,
            file=self.document.name,
            line=self.document.line((*self.draft.place, *written)),
            bee="null" if self.draft.name is None else str(self.draft.name)[:80],
            field=".".join(map(str, written)),
            expected=expected,
            suggestion=suggestion,
        )

    def _model(self, block: Mapping[str, Any]) -> type[BaseModel] | None:
        """The options of the connector that the block names; None where it names none."""
        kind = block.get("type")
        if not isinstance(kind, str):
            return None  # the model says what is missing
        found = self.known.models.get(kind)
        if found is None:
            found = self.known.models[kind] = options_of(kind)
        if not isinstance(found, Unbuilt):
            return found
        if found.mistake:
            near = closest(kind, [*connectors(), *PLANNED, *ALIASES]) if self.draft.lenient else found.suggestion
            self.report(("type",), found.reason, expected="" if near else found.expected, suggestion=near)
        else:
            self.missing.append(found.reason)
        return None

    def _in_shape(self, block: dict[str, Any]) -> dict[str, Any]:
        """With the version that its options are written for: older ones in the shape of the installed connector."""
        name = str(block["type"])
        kind = self.known.kinds.get(name) or self.known.kinds.setdefault(name, connector(name))
        if shape.KEY not in block:
            return block if shape.version_of(kind) == 1 else {**block, shape.KEY: shape.version_of(kind)}
        try:
            return shape.block_now(kind, block)
        except GiveUp as error:
            self.report((shape.KEY,), str(error))
            return block

    def _numbers(self, model: type[BaseModel], value: Any, *, own_streams: bool | None = None) -> None:
        """Numbers between quotes: the model would take them, and nobody would learn that they are no numbers."""
        for place in numbers_as_text(model, value):
            where = place if own_streams is None else _in_block(place, own_streams=own_streams)
            self.report(where, "is text, expected a number or true or false, written without quotes")

    def _demands(self, model: type[BaseModel] | None, block: Mapping[str, Any]) -> None:
        """What another system's file asks of the connector for safety, and the connector does not know."""
        extras = block.get("extras")
        security = extras.get("security") if isinstance(extras, Mapping) else None
        if not isinstance(security, Mapping):
            return
        kind = block.get("type")
        if security.get("row_level_security") is True and model is not None:
            self.missing.append(f"row_level_security is asked for, and connector {kind!r} has no filters for rows")
        for key in ("max_rows", "ssl_mode", "timeout"):
            if security.get(key) is not None and model is not None:
                self.warn(("extras", "security", key), f"is kept and not obeyed: connector {kind!r} has no such option")

    def _scrubbing(self, scrubbing: Any) -> None:
        """Profile and rules as the scrubber will read them: a misspelt one must not show after the first flight."""
        if not isinstance(scrubbing, Mapping):
            return  # there is none, or the model has said so
        from hive.config.profiles import profile_problems
        from nectar.errors import BadProfile
        from nectar.scrub.find.names import require
        from nectar.scrub.profile.profiles import BUILT_IN, meant, profile_named
        from nectar.scrub.profile.rules import parse_rules

        name, rules = scrubbing.get("profile"), scrubbing.get("custom_rules")
        given = scrubbing.get("profiles")
        own = given if isinstance(given, Mapping) else {}
        for one in own:
            for told in profile_problems(one, {**self.known.profiles, **own}):
                self.document.problems.append(self._problem(("scrubbing", "profiles", one), told))
        known = {**BUILT_IN, **self.known.profiles, **own}
        if isinstance(name, str) and meant(name, known) not in known:
            near = closest(name, known)
            expected = "" if near else f"one of {', '.join(known)}"
            self.report(("scrubbing", "profile"), f"no profile is named {name!r}", expected=expected, suggestion=near)
        elif isinstance(name, str):
            with suppress(BadProfile):  # of the profile itself, which has been told
                treatments = profile_named(name, {**self.known.profiles, **own}).treatments
                try:
                    require(entity for entity, _ in treatments)
                except BadProfile as error:
                    self.report(("scrubbing", "profile"), str(error))
        for number, rule in enumerate(rules if isinstance(rules, list | tuple) else ()):
            if isinstance(rule, Mapping):
                try:
                    parse_rules([rule])
                except BadProfile as error:
                    self._bad_rule(("scrubbing", "custom_rules", number), str(error))

    def _transform(self, steps: Any) -> None:
        """Steps are loaded: what cannot be called must not show after the first flight."""
        if not steps:
            return
        from nectar.transform import BadTransform, check_step

        for number, step in enumerate(steps if isinstance(steps, list | tuple) else ()):
            use = step.get("use") if isinstance(step, Mapping) else step
            if not isinstance(use, str):
                continue  # the model says so
            try:
                check_step(step)
            except BadTransform as error:
                self.report(("transform", number), str(error))

    def _bad_rule(self, place: Place, told: str) -> None:
        """What nectar says, "custom rule 1: reason; hint", in the form of the other problems."""
        reason, _, hint = told.partition(": ")[2].partition("; ")
        if hint.startswith("did you mean"):
            self.report(place, reason, suggestion=hint.split("'")[1])
        elif hint:
            self.report(place, reason, expected=hint.replace("there are", "one of"))
        else:
            self.report(place, reason, expected="" if "pattern is" in reason else _RULE)

    def _options(self, model: type[BaseModel] | None, block: Mapping[str, Any]) -> None:
        source, streams = block.get("source") or {}, block.get("streams")
        if not isinstance(source, Mapping):
            return  # the model has said so
        own_streams = False
        options: dict[str, Any] = dict(source)
        if isinstance(streams, Mapping) and streams:
            own_streams = True
            options["streams"] = {name: {} if value is None else value for name, value in streams.items()}
        resolved, open_places = self._resolve(options, enabled=block.get("enabled") is not False)
        if model is None:
            return
        if not self.draft.text:
            self._numbers(model, options, own_streams=own_streams)
        try:
            model.model_validate(resolved)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
        else:
            return
        hidden = _secrets(model, options, resolved)
        for found in errors:
            place = tuple(found["loc"])
            if _open(place, open_places):
                continue
            where = _in_block(place, own_streams=own_streams)
            if block.get("draft") is True or (self.draft.lenient and _is_unfinished(found)):
                self.draft_only = True
                self.missing.append(self._said(model, found, where, hidden))
            else:
                self._explain(model, found, where, hidden=hidden)

    def _resolve(self, options: dict[str, Any], *, enabled: bool) -> tuple[dict[str, Any], list[Place]]:
        """Options with references resolved, and the places where that could not be done."""
        resolved = options
        open_places: list[Place] = []
        for place, text in strings(options):
            where = _in_block(place, own_streams="streams" in options)
            if "$" in text or "{{" in text:
                self._doubtful(where, text)
            try:
                value = self._value(text)
            except BadReference as error:
                value = None
                if enabled or type(error) is BadReference:
                    self.report(where, error.reason)
            if value is None:
                open_places.append(place)
            elif value != text:
                resolved = _put(resolved, place, value)
        return resolved, open_places

    def _doubtful(self, place: Place, text: str) -> None:
        """What may have been meant as a reference. The text itself is not repeated: it may be a password."""
        if _BARE.search(text):
            self.warn(place, "holds `$` before a name, which stays as it is: a reference is written ${NAME}")
        if _BRACES.search(text):
            self.warn(place, "holds `{{`, which stays as it is: a reference to the vault is {{ vault.path.key }}")

    def _value(self, text: str) -> str | None:
        """None: refers to what is not known now."""
        if "$" not in text and "{{" not in text:
            return text
        environ, vault = self.known.environ, self.known.vault
        kinds = {reference.kind for reference in references(text)}
        if ("environment" in kinds and environ is None) or ("vault" in kinds and vault is None):
            return None
        for reference in references(text):
            if reference.kind == "environment" and environ is not None and environ.get(reference.name) == "":
                raise MissingReference(reference, empty=True)
        value: str = resolve(text, environ=environ or {}, vault=vault or _no_vault, bee=str(self.draft.name))
        return value

    def _said(self, model: type[BaseModel], error: Mapping[str, Any], place: Place, hidden: Sequence[str] = ()) -> str:
        """An error of the options as a reason to stay on the ground, in the words of the native form."""
        said = explain(model, error, None)
        message = said.message if not any(secret in said.message for secret in hidden) else "is not allowed"
        between = ": " if error["type"] == "value_error" else " "
        expected = f", expected {said.expected}" if said.expected and error["type"] == "literal_error" else ""
        return f"{'.'.join(map(str, place))}{between}{message}{expected}"

    def _explain(
        self,
        model: type[BaseModel],
        error: Mapping[str, Any],
        place: Place,
        *,
        hidden: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        value: Any = self._block
        for step in place:
            value = value.get(step) if isinstance(value, Mapping) else None
        said = explain(model, error, value)
        message, expected, suggestion = said.message, said.expected, said.suggestion
        if options and said.unknown in options:
            expected, suggestion = "", f"source.{said.unknown}"
        if error["type"] in ("value_error", "assertion_error") and any(secret in message for secret in hidden):
            message = "is not allowed (the connector's reason is left out, for it holds the value)"
        self.report(place, message, expected=expected, suggestion=suggestion)


def _is_unfinished(error: Mapping[str, Any]) -> bool:
    """Whether an option is not there, or is of the kind that its connector does not know yet."""
    if error["type"] == "value_error" and str(error.get("ctx", {}).get("error", "")).startswith(_UNFINISHED):
        return True
    return error["type"] == "missing" or tuple(error["loc"][:1]) == ("auth",)


def _as_yaml(name: object) -> str:
    """What YAML took a name for that was meant as text."""
    if name is None:
        return "nothing (null)"
    kinds = {bool: "true or false", int: "a number", float: "a number", dt.date: "a date", dt.datetime: "a date"}
    return kinds.get(type(name), "no text")


def _no_vault(path: str) -> str:
    raise LookupError(path)


def _put(options: Any, place: Place, value: str) -> Any:
    """A copy of `options` with `value` at `place`."""
    if not place:
        return value
    copied: Any = dict(options) if isinstance(options, Mapping) else list(options)
    copied[place[0]] = _put(copied[place[0]], place[1:], value)
    return copied


def _open(place: Place, open_places: Sequence[Place]) -> bool:
    """Whether an error at `place` may come from a reference that is not known yet."""
    return any(place[: len(one)] == one or one[: len(place)] == place for one in open_places)


def _secrets(model: type[BaseModel], options: Mapping[str, Any], resolved: Mapping[str, Any]) -> list[str]:
    """Values that no message may hold: literal secrets and what references brought, longest first."""
    before = dict(strings(options))
    brought = [text for place, text in strings(resolved) if before.get(place) != text]
    literal = lift_secrets("-", model, resolved)[1].values()
    return sorted({text for text in (*brought, *literal) if text}, key=len, reverse=True)


def _in_block(place: Place, *, own_streams: bool) -> Place:
    return place if own_streams and place[:1] == ("streams",) else ("source", *place)


def _place_in_block(block: Mapping[str, Any], place: Sequence[object]) -> Place:
    """Where the file has what the model calls `place`: several ways of writing become `schedules` and `honey_jar`."""
    if place[:1] == ("honey_jar",) and not isinstance(block.get("honey_jar"), Mapping):
        return ("honey_jar",)
    if place[:1] != ("schedules",) or len(place) < 2:
        return tuple(place)
    index, rest, listed = place[1], tuple(place[2:]), block.get("schedules")
    if listed is None:
        written = block.get("schedule")
        if isinstance(written, Mapping) and (not rest or rest[0] in written):
            return ("schedule", *rest)
        if rest and rest[0] in block:
            return rest
        return ("schedule",) if written is not None else ("every",)
    entries = list(listed) if isinstance(listed, Mapping) else list(range(len(listed)))
    key = entries[index] if isinstance(index, int) else index
    entry = listed[key]
    if rest and isinstance(entry, Mapping) and rest[0] not in entry and rest[0] in block:
        return rest
    return ("schedules", key, *(rest if isinstance(entry, Mapping) else ()))

"""One bee's check: its block against the model, its options against its connector's, its references against the world.

Every problem goes to the document, one for each place; none is raised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from hive.config.explain import explain
from hive.config.fields import fields_of
from hive.config.model import NAME_PATTERN, NAME_WORDS, BeeConfig
from hive.config.problems import Problem, closest
from hive.config.references import BadReference, lift_secrets, references, resolve, strings
from hive.registry import BrokenConnector, MissingExtra, UnknownConnector, connector, connectors

if TYPE_CHECKING:
    from hive.config.document import Document

Place = tuple[object, ...]
_RULE = "{field: NAME, action: ACTION} or {pattern: REGEX, action: ACTION}"


@dataclass(frozen=True)
class Draft:
    """A bee as a form found it: its native block, unchecked, and where in the file that stands."""

    name: object
    block: Any
    place: Place = ()


@dataclass(frozen=True)
class Known:
    """Against what references are checked. None: not at all, they are looked up when the bee flies."""

    environ: Mapping[str, str] | None = None
    vault: Callable[[str], str] | None = None


def check(draft: Draft, document: Document, known: Known) -> BeeConfig | None:
    """The bee, as far as its block fits the model; its options may have been reported to `document` all the same."""
    return _Check(draft, document, known).bee()


@dataclass
class _Check:
    draft: Draft
    document: Document
    known: Known
    seen: set[Place] = field(default_factory=set)

    def bee(self) -> BeeConfig | None:
        name, block = self.draft.name, self.draft.block
        if not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
            self.report((), "is no name for a bee", expected=f"{NAME_WORDS}, 63 at most")
        if not isinstance(block, Mapping):
            self.report((), "must be a map with `type`, `source` and so on")
            return None
        model = self._model(block)
        bee: BeeConfig | None = None
        errors: list[Any] = []
        try:
            bee = BeeConfig.model_validate(dict(block))
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
        for found in errors:
            self._explain(BeeConfig, found, _place_in_block(block, found["loc"]), options=fields_of(model))
        if model is not None:
            self._options(model, block)
        self._scrubbing(block.get("scrubbing"))
        return bee

    def report(self, place: Place, message: str, *, expected: str = "", suggestion: str = "") -> None:
        if place in self.seen:
            return
        self.seen.add(place)
        self.document.problems.append(
            Problem(
                message,
                file=self.document.name,
                line=self.document.line((*self.draft.place, *place)),
                bee=str(self.draft.name),
                field=".".join(map(str, place)),
                expected=expected,
                suggestion=suggestion,
            )
        )

    def _model(self, block: Mapping[str, Any]) -> type[BaseModel] | None:
        """The options of the connector that the block names; None where it names none."""
        kind = block.get("type")
        if not isinstance(kind, str):
            return None  # the model says what is missing
        try:
            return connector(kind).Options
        except UnknownConnector:
            names = sorted(connectors())
            near = closest(kind, names)
            expected = "" if near else f"one of {', '.join(names)}"
            self.report(("type",), f"no connector is named {kind!r}", expected=expected, suggestion=near)
        except (MissingExtra, BrokenConnector) as error:
            self.report(("type",), str(error))
        return None

    def _scrubbing(self, scrubbing: Any) -> None:
        """Profile and rules as the scrubber will read them: a misspelt one must not show after the first flight."""
        if not isinstance(scrubbing, Mapping):
            return  # there is none, or the model has said so
        from nectar.errors import BadProfile
        from nectar.scrub.profiles import BUILT_IN, profile_named
        from nectar.scrub.rules import parse_rules

        name, rules = scrubbing.get("profile"), scrubbing.get("custom_rules")
        if isinstance(name, str):
            try:
                profile_named(name, {})
            except BadProfile:
                near = closest(name, BUILT_IN)
                expected = "" if near else f"one of {', '.join(BUILT_IN)}"
                self.report(
                    ("scrubbing", "profile"), f"no profile is named {name!r}", expected=expected, suggestion=near
                )
        for number, rule in enumerate(rules if isinstance(rules, list | tuple) else ()):
            if isinstance(rule, Mapping):
                try:
                    parse_rules([rule])
                except BadProfile as error:
                    self._bad_rule(("scrubbing", "custom_rules", number), str(error))

    def _bad_rule(self, place: Place, told: str) -> None:
        """What nectar says, "custom rule 1: reason; hint", in the form of the other problems."""
        reason, _, hint = told.partition(": ")[2].partition("; ")
        if hint.startswith("did you mean"):
            self.report(place, reason, suggestion=hint.split("'")[1])
        elif hint:
            self.report(place, reason, expected=hint.replace("there are", "one of"))
        else:
            self.report(place, reason, expected="" if "pattern is" in reason else _RULE)

    def _options(self, model: type[BaseModel], block: Mapping[str, Any]) -> None:
        source, streams = block.get("source") or {}, block.get("streams")
        if not isinstance(source, Mapping):
            return  # the model has said so
        own_streams = False
        options: dict[str, Any] = dict(source)
        if isinstance(streams, Mapping) and streams:
            own_streams = True
            options["streams"] = {name: {} if value is None else value for name, value in streams.items()}
        resolved, open_places = self._resolve(options, enabled=block.get("enabled") is not False)
        try:
            model.model_validate(resolved)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
        else:
            return
        hidden = _secrets(model, options, resolved)
        for found in errors:
            place = tuple(found["loc"])
            if not _open(place, open_places):
                self._explain(model, found, _in_block(place, own_streams=own_streams), hidden=hidden)

    def _resolve(self, options: dict[str, Any], *, enabled: bool) -> tuple[dict[str, Any], list[Place]]:
        """Options with references resolved, and the places where that could not be done."""
        resolved = options
        open_places: list[Place] = []
        for place, text in strings(options):
            where = _in_block(place, own_streams="streams" in options)
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

    def _value(self, text: str) -> str | None:
        """None: refers to what is not known now."""
        environ, vault = self.known.environ, self.known.vault
        kinds = {reference.kind for reference in references(text)}
        if ("environment" in kinds and environ is None) or ("vault" in kinds and vault is None):
            return None
        value: str = resolve(text, environ=environ or {}, vault=vault or _no_vault, bee=str(self.draft.name))
        return value

    def _explain(
        self,
        model: type[BaseModel],
        error: Mapping[str, Any],
        place: Place,
        *,
        hidden: Sequence[str] = (),
        options: Mapping[str, Any] | None = None,
    ) -> None:
        value: Any = self.draft.block
        for step in place:
            value = value.get(step) if isinstance(value, Mapping) else None
        said = explain(model, error, value)
        message, expected, suggestion = said.message, said.expected, said.suggestion
        if options and said.unknown in options:
            expected, suggestion = "", f"source.{said.unknown}"
        if error["type"] in ("value_error", "assertion_error") and any(secret in message for secret in hidden):
            message = "is not allowed (the connector's reason is left out, for it holds the value)"
        self.report(place, message, expected=expected, suggestion=suggestion)


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

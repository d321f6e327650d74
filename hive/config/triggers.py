"""What makes a bee fly beside its schedules: other bees, a jar, files, a webhook. No bee may fly after itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from hive.config.problems import Problem, did_you_mean
from hive.config.references import BadReference, references
from hive.config.schedule import ScheduleName as Name

if TYPE_CHECKING:
    from hive.config.model import BeeConfig

BODY_LIMIT, MOST_BODY = 1 << 20, 32 << 20
"""Bytes of one message where a bee does not say otherwise, and what it may say at most: a body is held in memory, and
whoever sends it has shown no signature yet.
"""
_PLACES = ("jar", "file", "webhook")
_REFERENCE = re.compile(r"\s*(\$\{[^}]*\}|\{\{.*\}\})\s*")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class AfterConfig(_Part):
    """Bees whose complete flights make this bee fly: when each of them has completed one, or any of them."""

    all: tuple[Name, ...] = Field((), description="bees that must all have completed a flight")
    any: tuple[Name, ...] = Field((), description="bees of which one completed flight is enough")

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if bool(self.all) == bool(self.any):
            raise ValueError("names no bees, or both `all` and `any`: write [a, b], {all: [a, b]} or {any: [a, b]}")
        return self

    @property
    def bees(self) -> tuple[str, ...]:
        return self.all or self.any


def _secrets(value: Any) -> Any:
    """References only: a webhook's secret is not kept with the configuration."""
    given = [value] if isinstance(value, str) else value
    for one in given if isinstance(given, list | tuple) else ():
        if isinstance(one, str) and not _REFERENCE.fullmatch(one):
            raise ValueError("must be a reference: ${NAME} of the environment, or {{ vault.path.key }}")
        try:
            references(one)
        except BadReference as error:
            raise ValueError(error.reason) from None
    return given


class WebhookConfig(_Part):
    """`POST /webhooks/{bee}` on the gateway. Without `secret` it is the vault's `bees/<bee>/webhook`."""

    secret: Annotated[tuple[str, ...], BeforeValidator(_secrets, json_schema_input_type=str | list[str])] = Field(
        (), description="references to the secrets that sign; several while one is replaced by the next"
    )
    signed: Literal["standard", "github", "stripe", "slack"] | None = Field(
        None, description="the only style of signature that is taken; unset: any of them"
    )
    body_limit: int = Field(
        BODY_LIMIT, ge=1, le=MOST_BODY, description="bytes of one message at most; a larger one is answered with 413"
    )


class OnConfig(_Part):
    """One event; exactly one of the three."""

    jar: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,61}$")] | None = Field(
        None, description="name of a jar: some flight landed or deleted something in it"
    )
    file: Annotated[str, StringConstraints(min_length=1, max_length=1000)] | None = Field(
        None, description="path or pattern of files on the scheduler's machine: one arrived or changed"
    )
    webhook: WebhookConfig | None = Field(None, description="a signed POST to /webhooks/<bee>")

    @model_validator(mode="before")
    @classmethod
    def _nothing_told(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "webhook" in data and data["webhook"] is None and len(data) == 1:
            return {"webhook": {}}  # `webhook:` in YAML; a dumped one has the other names beside it
        return data

    @model_validator(mode="after")
    def _says_one(self) -> Self:
        if sum(getattr(self, place) is not None for place in _PLACES) != 1:
            raise ValueError("needs one of `jar`, `file` and `webhook`: write several events as a list")
        return self


AfterWritten = str | list[str] | AfterConfig
OnWritten = Literal["webhook"] | OnConfig | list[Literal["webhook"] | OnConfig]
"""How people write the two: for the JSON Schema of editors."""


def named_after(value: Any) -> Any:
    """`after: a` and `after: [a, b]` mean all of them."""
    if isinstance(value, str):
        return {"all": [value]}
    return {"all": value} if isinstance(value, list | tuple) else value


def named_events(value: Any) -> Any:
    """`on: webhook`, `on: {jar: sales}` or a list of such."""
    given = [value] if isinstance(value, str | Mapping | OnConfig) else value
    if not isinstance(given, list | tuple):
        return given
    for one in given:
        if isinstance(one, str) and one not in _PLACES:
            known = "webhook, {jar: NAME} or {file: PATH}"
            raise ValueError(f"names no event{did_you_mean(one, _PLACES) or f': write {known}'}")
    return [{"webhook": {}} if one == "webhook" else {one: None} if one in _PLACES else one for one in given]


def jar_name(name: str, bee: BeeConfig) -> str:
    """The jar that a bee feeds."""
    return bee.honey_jar.name if bee.honey_jar is not None else name


def edges(bees: Mapping[str, BeeConfig]) -> dict[str, list[str]]:
    """Who makes whom fly: name of a bee, or `jar <name>` -> names."""
    found: dict[str, list[str]] = {}
    watched = {f"jar {on.jar}" for bee in bees.values() for on in bee.on if on.jar is not None}
    for name, bee in bees.items():
        jar = f"jar {jar_name(name, bee)}"
        if jar in watched:
            found.setdefault(name, []).append(jar)
        for source in (*(bee.after.bees if bee.after else ()), *(f"jar {on.jar}" for on in bee.on if on.jar)):
            found.setdefault(source, []).append(name)
    return found


def cycles(graph: Mapping[str, Sequence[str]], most: int = 20) -> Iterator[list[str]]:
    """Ways that end where they begin, first name repeated at the end; at most one through each edge that closes it."""
    done: set[str] = set()
    for root in graph:
        if root in done:
            continue
        path, place, steps = [root], {root: 0}, [iter(graph[root])]
        while steps:
            step = next(steps[-1], None)
            if step is None:
                steps.pop()
                left = path.pop()
                del place[left]
                done.add(left)
            elif step in place:
                yield _turned([*path[place[step] :], step])
                most -= 1
                if not most:
                    return
            elif step not in done:
                place[step] = len(path)
                path.append(step)
                steps.append(iter(graph.get(step, ())))


def endless(way: Sequence[str], file: str = "", line: int = 0) -> Problem:
    """What is wrong with bees that make each other fly for ever."""
    message = f"would fly after itself without end: {' -> '.join(way)}"
    field = "on" if way[-2].startswith("jar ") else "after"
    return Problem(message, file=file, line=line, bee=way[0], field=field)


def _turned(path: list[str]) -> list[str]:
    """The same way, beginning at its first bee by name: whoever finds it, it reads the same."""
    round_ = path[:-1]
    first = round_.index(min(round_, key=lambda name: (name.startswith("jar "), name)))
    return [*round_[first:], *round_[:first], round_[first]]

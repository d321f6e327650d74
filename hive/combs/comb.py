"""One comb: the keys of document 000, with the parameters that it leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from hive.combs.fill import faults, placeholders
from hive.combs.parameters import Parameter, ParameterName
from hive.config.forms.names import connector_named
from hive.config.model import NAME_PATTERN
from hive.config.problems import Problem


def _named(given: Any) -> Any:
    """A list of parameters, each with its name, as a map."""
    if not isinstance(given, list) or not all(isinstance(one, Mapping) and "name" in one for one in given):
        return given
    return {one["name"]: {key: value for key, value in one.items() if key != "name"} for one in given}


class Comb(BaseModel):
    """What is said of a source, and kept as it is written; `parameters` says what is open."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    id: Annotated[str, StringConstraints(pattern=NAME_PATTERN)] = Field(description="name of the comb in commands")
    name: str = Field("", description="name of the comb for people")
    description: str = Field("", description="what it reads, for people")
    type: str = Field("", description="database, api, file_system or stream")
    subtype: str = Field(description="the kind of source: a connector of `hive connectors`")
    version: str | int | float | None = Field(None, description="of the comb")
    created_by: str | None = Field(None, description="who wrote it")
    documentation: str | None = Field(None, description="the vendor's page that its shapes are taken from")
    verified: Literal["documentation", "vendor"] | None = Field(
        None, description="documentation: tried with the shapes of that page; vendor: against the vendor itself"
    )
    tags: tuple[str, ...] = Field((), description="words to find the comb by")
    parameters: Annotated[dict[ParameterName, Parameter], BeforeValidator(_named)] = Field(
        default_factory=dict, description="by name: {type, description, default, required, secret, choices}"
    )
    connection: dict[str, Any] = Field(default_factory=dict, description="{vault_path} and options of the connector")
    hive_config: dict[str, Any] = Field(default_factory=dict, description="kept with the bee")
    extraction: dict[str, Any] = Field(
        default_factory=dict, description="{default_mode, available_modes, query_template} and what is read"
    )
    scrubbing: dict[str, Any] = Field(default_factory=dict, description="{enabled, profile, custom_rules}")
    scheduling: dict[str, Any] = Field(
        default_factory=dict, description="{continuous_flow: {enabled, interval}, snapshot_generation: {enabled, cron}}"
    )
    access_control: dict[str, Any] = Field(
        default_factory=dict, description="{required_permissions, data_classification}, kept with the bee"
    )
    honey_jar: dict[str, Any] | str | None = Field(None, description="the jar; called as the bee if unset")

    @property
    def modes(self) -> list[str]:
        """Ways of extraction, the default first."""
        listed = self.extraction.get("available_modes")
        return list(dict.fromkeys([*filter(None, [self.default_mode]), *(listed if isinstance(listed, list) else [])]))

    @property
    def default_mode(self) -> str:
        return str(self.extraction.get("default_mode") or "")

    def mapping(self) -> dict[str, Any]:
        """The comb as its file has it, without what it leaves unsaid."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def template(self) -> dict[str, Any]:
        """What becomes a bee once it is filled: the comb without its parameters."""
        return {key: value for key, value in self.mapping().items() if key != "parameters"}

    def problems(self) -> list[Problem]:
        """Placeholders that nothing can fill, and parameters that nothing asks for."""
        template = self.template()
        found = [
            _problem(self.id, place, message) for place, message in faults(template, connector_named(self.subtype))
        ]
        used = placeholders(template)
        found += [
            _problem(self.id, (), f"uses the parameter {n!r}, which is not declared")
            for n in sorted(used - {*self.parameters})
        ]
        found += [_problem(self.id, ("parameters", n), "is used nowhere") for n in self.parameters if n not in used]
        for name, parameter in self.parameters.items():
            if name == "mode":
                found.append(_problem(self.id, ("parameters", name), "is taken: it chooses the mode of extraction"))
            if parameter.default is not None:
                try:
                    parameter.read(parameter.default)
                except ValueError as error:
                    place = ("parameters", name, "default")
                    found.append(_problem(self.id, place, "does not fit its type", expected=str(error)))
        return found


def _problem(comb: str, place: tuple[object, ...], message: str, *, expected: str = "") -> Problem:
    where = ".".join([str(step) for step in place if step != ""])
    return Problem(f"comb {comb!r}{', ' + where if where else ''}: {message}", expected=expected)

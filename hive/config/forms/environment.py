"""Bees that the environment, or a file of its kind, tells of.

    ENABLED_CONNECTORS=weather-noaa                       AWS_ENABLED=true
    CONNECTOR_WEATHER_NOAA_TYPE=NOAA_WEATHER              AWS_SYNC_INTERVAL=3600
    CONNECTOR_WEATHER_NOAA_POLL_INTERVAL_MS=60000         DEFAULT_ORGANIZATION_ID=42
    CONNECTOR_WEATHER_NOAA_BASE_URL=https://...           CREATE_MISSING_ORGANIZATIONS=true

Variables of a connector that is not enabled are left alone. What looks like a secret in the process's own environment
becomes a reference to its variable.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hive.config.document import ENVIRONMENT
from hive.config.forms.connectors import polling_fields
from hive.config.forms.draft import Draft, Writer
from hive.config.forms.names import camel
from hive.config.model import NAME_PATTERN
from hive.config.problems import Problem, closest
from hive.config.secrets import is_secret_name

if TYPE_CHECKING:
    from hive.config.document import Document

CLOUDS = ("AWS", "GCP", "GOOGLE_WORKSPACE", "LDAP")
SYNC_INTERVAL = 3600
_READ_BY_BOTO = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "REGION", "DEFAULT_REGION")
SIGNS = frozenset(
    (
        *("ENABLED_CONNECTORS", "CONNECTORS_CONFIG_PATH", "DEFAULT_ORGANIZATION_ID", "CREATE_MISSING_ORGANIZATIONS"),
        *(f"{cloud}_{word}" for cloud in CLOUDS for word in ("ENABLED", "SYNC_INTERVAL")),
    )
)
"""Variables of this form."""
_ANY_CASE = SIGNS - {"ENABLED_CONNECTORS", "CONNECTORS_CONFIG_PATH"}

_FLAGS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
_NUMBERS = ("pollIntervalMs", "requestTimeoutMs", "maxRetries", "leaseTtlSeconds")


def environment_bees(document: Document) -> list[Draft]:
    return [*_connectors(document), *_clouds(document)]


def spelled(variables: Iterable[str], name: str) -> str:
    """The variable as it is there: settings of document 002 count in upper and lower case. Empty: it is not there."""
    if name in variables:
        return name
    return next((one for one in variables if one.upper() == name), "") if name in _ANY_CASE else ""


def tells(variables: Mapping[str, str], signs: Iterable[str] = SIGNS) -> bool:
    """Whether one of the signs is there, and not empty."""
    return any(variables.get(spelled(variables, sign)) for sign in signs)


def organizations(document: Document) -> dict[str, Any]:
    """Where entities go that belong to no organization, and whether missing ones are made."""
    data, found = document.data, {}
    default = spelled(data, "DEFAULT_ORGANIZATION_ID")
    if data.get(default):
        found["default_organization_id"] = data[default]
    create = spelled(data, "CREATE_MISSING_ORGANIZATIONS")
    if data.get(create):
        flag = _read(document, create, _flag)
        found |= {} if flag is None else {"create_missing_organizations": flag}
    return found


def _connectors(document: Document) -> list[Draft]:
    data: Mapping[str, str] = document.data
    listed = [name.strip() for name in data.get("ENABLED_CONNECTORS", "").split(",") if name.strip()]
    prefixes: dict[str, str] = {}
    for name in listed:
        if not re.fullmatch(NAME_PATTERN, name):
            message = f"names {name[:80]!r}, which is no name, expected names with commas between them"
            _complain(document, "ENABLED_CONNECTORS", message)
        elif (other := prefixes.setdefault(_prefix(name), name)) != name:
            message = f"names {other!r} and {name!r}, and the variables {_prefix(name)}... would be those of both"
            _complain(document, "ENABLED_CONNECTORS", message)
    own: dict[str, dict[str, str]] = {name: {} for name in prefixes.values()}
    for variable in data:
        # Of two connectors `a` and `a-b`, CONNECTOR_A_B_TYPE is the second one's.
        prefix = max((p for p in prefixes if variable.startswith(p)), key=len, default="")
        if prefix:
            own[prefixes[prefix]][variable] = variable.removeprefix(prefix)
    drafts = [_connector(document, name, variables) for name, variables in own.items() if variables]
    for name in [name for name, variables in own.items() if not variables]:
        message = f"names {name!r}, and the variable {_prefix(name)}TYPE is missing, as are all others of it"
        if drafts:  # as in document 003, which tells of one of its two
            line = document.line(("ENABLED_CONNECTORS",))
            document.warn(f"ENABLED_CONNECTORS {message}: there is no such bee", line)
        else:
            _complain(document, "ENABLED_CONNECTORS", message)
    return drafts


def _prefix(name: str) -> str:
    """How the variables of a connector begin."""
    return f"CONNECTOR_{re.sub(r'[^A-Z0-9]', '_', name.upper())}_"


def _connector(document: Document, name: str, variables: Mapping[str, str]) -> Draft:
    """`variables`: full name -> what follows the prefix."""
    fields: dict[str, Any] = {}
    options: dict[str, Any] = {}
    written: dict[str, str] = {}
    for variable, field in variables.items():
        key = camel(field)
        written[key] = variable
        if key in ("type", "outputStream"):
            fields[key] = document.data[variable]
        elif key == "enabled":
            fields[key] = _read(document, variable, _flag)
        elif key in _NUMBERS:
            fields[key] = _read(document, variable, _number)
        else:
            options[key] = _value(document, variable)
    written.setdefault("type", f"{_prefix(name)}TYPE")
    of = _Variables(document, name, (), {**fields, "providerConfig": options}, variables=written)
    of.places["type",] = of.written("type")
    of.move("enabled", "enabled")
    polling_fields(of)
    return of.draft()


def _clouds(document: Document) -> list[Draft]:
    data: Mapping[str, str] = document.data
    drafts = []
    for cloud in CLOUDS:
        switch, interval = (spelled(data, f"{cloud}_{word}") for word in ("ENABLED", "SYNC_INTERVAL"))
        if not data.get(switch):
            continue
        enabled = _read(document, switch, _flag)
        every = _read(document, interval, _number) if data.get(interval) else SYNC_INTERVAL
        block: dict[str, Any] = {"type": cloud.lower(), "enabled": enabled is not False, "every": every}
        places: dict[tuple[object, ...], tuple[object, ...]] = {
            ("type",): (switch,),
            ("enabled",): (switch,),
            ("every",): (interval if data.get(interval) else switch,),
        }
        for variable in data if enabled else ():
            field = variable.upper().removeprefix(f"{cloud}_")
            if field == variable.upper() or variable in (switch, interval):
                continue
            if cloud == "AWS" and field in _READ_BY_BOTO:
                continue
            block.setdefault("source", {})[field.lower()] = _value(document, variable)
            places["source", field.lower()] = (variable,)
        drafts.append(Draft(cloud.lower(), block, (), places, lenient=True, text=True))
    return drafts


class _Variables(Writer):
    """A writer whose keys are variables of their own."""

    variables: Mapping[str, str]

    def __init__(self, *given: Any, variables: Mapping[str, str], **more: Any) -> None:
        super().__init__(*given, **more)
        self.variables = variables

    def within(self, key: str) -> Writer:
        found = self.take(key) or {}
        of = _Variables(self.document, self.name, self.place, dict(found), variables=self.variables)
        of.block, of.places = self.block, self.places
        return of

    def written(self, *keys: object) -> tuple[object, ...]:
        return tuple(self.variables.get(str(key), key) for key in keys[-1:])

    def draft(self) -> Draft:
        return Draft(self.name, self.block, self.place, self.places, lenient=True, text=True)


def _value(document: Document, variable: str) -> str:
    own = document.name == ENVIRONMENT
    return f"${{{variable}}}" if own and is_secret_name(variable) else str(document.data[variable])


def _read(document: Document, variable: str, read: Callable[[str], Any]) -> Any:
    """None, and a problem, where the variable's text is not what it should be."""
    try:
        return read(document.data[variable])
    except ValueError as error:
        _complain(document, variable, str(error))
        return None


def _flag(text: str) -> bool:
    word = text.strip().casefold()
    if word not in _FLAGS:
        near = closest(word, _FLAGS)
        raise ValueError(f"is neither true nor false{f'; did you mean {near!r}?' if near else ''}")
    return _FLAGS[word]


def _number(text: str) -> int:
    if not re.fullmatch(r"\s*\d+\s*", text):
        raise ValueError("should be a whole number")
    return int(text)


def _complain(document: Document, variable: str, message: str) -> None:
    line = document.line((variable,))
    document.problems.append(Problem(message, file=document.name, line=line, field=variable))

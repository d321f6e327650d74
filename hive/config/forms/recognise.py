"""Which form a document has is told by its shape, never by its file's name; it may hold several of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hive.config.document import ENVIRONMENT
from hive.config.forms import companions, environment
from hive.config.forms.comb import combs, is_comb
from hive.config.forms.connectors import connectors
from hive.config.forms.draft import Draft, Place
from hive.config.forms.native import native
from hive.config.forms.workers import workers
from hive.config.problems import closest

if TYPE_CHECKING:
    from hive.config.document import Document

Form = Callable[["Document", Any, Place], list[Draft]]

_FORMS: dict[str, Form] = {
    "bees": native,
    "worker_bees": workers,
    "connectors": connectors,
    "combs": combs,
    "honey_combs": combs,
}
_SIGNS = environment.SIGNS
_ELSEWHERE = {
    "worker_bee_types": "is a list of kinds of bees: `hive connectors` shows those that there are",
    "production_deployment": "describes a deployment: nothing of it is read here",
}


@dataclass
class Found:
    """What a document holds."""

    drafts: list[Draft] = field(default_factory=list)
    companions: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_form(document: Document) -> Found:
    """The bees and companions of a document; what is in none of the known shapes is reported to it."""
    if not document.readable:
        return Found()
    if document.variables is not None:
        return _environment(document)
    data = document.data
    if is_comb(data) or (isinstance(data, list) and data and all(map(is_comb, data))):
        return Found(combs(document, data, ()))
    if isinstance(data, Mapping) and {"apiVersion", "kind"} <= set(data):
        document.warn("is a manifest of Kubernetes: nothing of it is read here")
        return Found()
    if not isinstance(data, Mapping):
        document.report("names no bees: a map `bees:` was expected", document.line(()))
        return Found()
    return _map(document, data)


def _map(document: Document, data: Mapping[Any, Any]) -> Found:
    found = Found()
    nested = data.get("hive_config")
    if isinstance(nested, Mapping) and "worker_bees" in nested and not {"bees", "worker_bees"} & set(data):
        found.drafts += workers(document, nested["worker_bees"], ("hive_config", "worker_bees"))
        data = {key: value for key, value in data.items() if key != "hive_config"}
        if not data:
            return found
    known = (*_FORMS, *companions.NAMES, *_ELSEWHERE)
    if not set(known) & set(data) and not found.drafts:
        near = next((str(key) for key in data if closest(str(key), known)), "")
        document.report(
            f"names no bees: a map `bees:` was expected{f', {near!r} was found' if near else ''}", document.line(())
        )
        return found
    for key, value in data.items():
        if key in _FORMS:
            found.drafts += _FORMS[key](document, value, (key,))
        elif key in companions.NAMES:
            found.companions[key] = companions.companion(document, key, value)
        elif key in _ELSEWHERE:
            document.warn(f"`{key}` {_ELSEWHERE[key]}", document.line((key,)))
        else:
            near = closest(str(key), known)
            expected = f"; did you mean {near!r}?" if near else f", expected one of {', '.join(known)}"
            document.report(f"the key {str(key)!r} is not known here{expected}", document.line((key,)))
    return found


def _environment(document: Document) -> Found:
    found = Found(environment.environment_bees(document))
    shared = environment.organizations(document)
    if shared:
        found.companions["organizations"] = shared
    elif document.name != ENVIRONMENT and not any(environment.spelled(document.data, sign) for sign in _SIGNS):
        document.report("names no bees: ENABLED_CONNECTORS or AWS_ENABLED was expected")
    return found

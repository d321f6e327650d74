"""The combs that there are: those of the project, and those of a folder of the user's own."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from hive.combs.comb import Comb
from hive.combs.plan import Plan, plan
from hive.config.document import Document, read_document
from hive.config.explain import explain
from hive.config.forms.names import connector_named
from hive.config.load import COMBS
from hive.config.problems import ConfigProblems, Problem, did_you_mean

if TYPE_CHECKING:
    from bees.core.bee import WorkerBee

SYSTEM = Path(__file__).parent / "system"
_SUFFIXES = (".yml", ".yaml", ".json")


class UnknownComb(LookupError):
    """No comb has this id."""


class CombLibrary:
    """`system_combs` come with the project, `custom_combs` from a folder; a comb is a mapping, as its file has it.

    What is put into `custom_combs` is a comb as well; it is checked when it is used.

    The folder is `custom`, else HIVE_COMBS, else `combs` beside the configuration: HIVE_CONFIG, or the running hive's.
    """

    def __init__(self, custom: Path | None = None) -> None:
        self._folder = custom

    @functools.cached_property
    def system_combs(self) -> dict[str, dict[str, Any]]:
        return {name: comb.mapping() for name, comb in _system().items()}

    @functools.cached_property
    def custom_combs(self) -> dict[str, dict[str, Any]]:
        """Raises ConfigProblems with all that is wrong in the folder's files."""
        return {name: comb.mapping() for name, comb in self._custom.items()}

    def get_comb(self, comb_id: str) -> dict[str, Any]:
        """A comb as its file has it. Raises UnknownComb with the id that was perhaps meant."""
        return self.comb(comb_id).mapping()

    def plan(
        self,
        comb_id: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        name: str,
        mode: str | None = None,
        jar: str | None = None,
    ) -> Plan:
        """The bee `name` that a comb and its parameters make, unchecked. Raises UnknownComb or ConfigProblems."""
        return plan(self.comb(comb_id), parameters or {}, name=name, mode=mode, jar=jar)

    def create_worker_bee(self, comb_id: str, /, *, mode: str | None = None, **parameters: Any) -> WorkerBee:
        """A live bee, without a hive: it reads the source and lands nothing. The caller closes it.

        Its references are resolved from the environment; there is no vault but for the secrets that are given. Raises
        UnknownComb, ConfigProblems, UnknownConnector for a source that nobody has built here, or GiveUp.
        """
        from hive.flight.bees import make_bee
        from hive.registry import connector

        made = self.plan(comb_id, parameters, name=comb_id, mode=mode)
        connector(made.connector)  # first: an unknown one has no options to complain about

        def nothing(path: str) -> str:
            raise LookupError(path)

        return make_bee(comb_id, made.connector, made.block, made.vault(nothing))

    def summaries(self) -> list[dict[str, Any]]:
        """A line for each comb. Raises ConfigProblems for the folder's files."""
        from hive.registry import connectors

        there = connectors()
        found = [("system", comb) for comb in _system().values()]
        found += [("custom", self._current(comb)) for comb in self.custom_combs]
        return [
            {
                "id": comb.id,
                "name": comb.name,
                "origin": origin,
                "type": comb.type,
                "subtype": comb.subtype,
                "modes": comb.modes,
                "parameters": [name for name, parameter in comb.parameters.items() if parameter.required],
                "available": connector_named(comb.subtype) in there,
            }
            for origin, comb in found
        ]

    def comb(self, comb_id: str) -> Comb:
        """A comb as it was read. Raises UnknownComb with the id that was perhaps meant, or ConfigProblems."""
        if not isinstance(comb_id, str):
            kind = type(comb_id).__name__
            raise UnknownComb(f"a comb is named by text, its id, and not by a value of type {kind}")
        if comb_id in _system():
            return _system()[comb_id]
        if comb_id not in self.custom_combs:
            near = did_you_mean(comb_id, [*_system(), *map(str, self.custom_combs)])
            raise UnknownComb(f"no comb is named {comb_id!r}{near or '; `hive comb list` names them'}")
        return self._current(comb_id)

    def _current(self, comb_id: str) -> Comb:
        """A custom comb as `custom_combs` has it now, which anybody may change. Raises ConfigProblems."""
        read, given = self._custom.get(comb_id), self.custom_combs[comb_id]
        if read is not None and given == read.mapping():
            return read
        document = Document("")
        comb = _read(document, (), {**given, "id": comb_id} if isinstance(given, Mapping) else given)
        if comb is None or document.problems:
            raise ConfigProblems(document.problems)
        return comb

    @functools.cached_property
    def _custom(self) -> dict[str, Comb]:
        folder = self._folder or _chosen_folder()
        if folder is None:
            return {}
        return load_combs(folder, taken=_system())


def load_combs(folder: Path, *, taken: Mapping[str, Comb]) -> dict[str, Comb]:
    """The combs of a folder by id; those of `taken` are refused. Raises ConfigProblems with all that is wrong."""
    if not folder.is_dir():
        raise ConfigProblems([Problem("is no folder", str(folder), expected="the folder that HIVE_COMBS names")])
    problems: list[Problem] = []
    found: dict[str, Comb] = {}
    homes = dict.fromkeys(taken, "a comb of the project")
    for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and not p.name.startswith(".")):
        document = read_document(path)
        for place, comb in _combs(document):
            if comb.id in homes:
                document.report(f"the id {comb.id!r} belongs to {homes[comb.id]}", document.line((*place, "id")))
                continue
            homes[comb.id] = f"a comb of {path}"
            found[comb.id] = comb
        problems += document.problems
    if problems:
        raise ConfigProblems(problems)
    return found


def read_combs(path: Path) -> dict[str, Comb]:
    """The combs of one file by id. Raises ConfigProblems with all that is wrong."""
    document = read_document(path)
    found = {comb.id: comb for _, comb in _combs(document)}
    if document.problems:
        raise ConfigProblems(document.problems)
    return found


def _combs(document: Document) -> Iterator[tuple[tuple[object, ...], Comb]]:
    for place, given in _listed(document):
        comb = _read(document, place, given)
        if comb is not None:
            yield place, comb


def _listed(document: Document) -> Iterator[tuple[tuple[object, ...], Any]]:
    """(place, comb): the file is one, a list of them, or a map `combs` of either a list or combs by their id."""
    if not document.readable:
        return
    data: Any = document.data
    place: tuple[object, ...] = ()
    for key in ("combs", "honey_combs"):
        if isinstance(data, Mapping) and key in data and "subtype" not in data:
            data, place = data[key], (key,)
            break
    if isinstance(data, list):
        yield from (((*place, n), comb) for n, comb in enumerate(data))
    elif place and isinstance(data, Mapping):
        yield from (((*place, n), {"id": n, **c} if isinstance(c, Mapping) else c) for n, c in data.items())
    else:
        yield place, data


def _read(document: Document, place: tuple[object, ...], given: Any) -> Comb | None:
    """One comb; what is wrong with it is reported to `document`."""
    if not isinstance(given, Mapping):
        document.report("a comb must be a map with id, subtype, connection and extraction", document.line(place))
        return None
    whose = f"comb {given.get('id')!r}, " if isinstance(given.get("id"), str) else ""
    try:
        comb = Comb.model_validate(dict(given))
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            said = explain(Comb, found, _at(given, found["loc"]))
            where = ".".join(map(str, found["loc"]))
            document.problems.append(
                Problem(
                    f"{whose}{where} {said.message}",
                    file=document.name,
                    line=document.line((*place, *found["loc"])),
                    expected=said.expected,
                    suggestion=said.suggestion,
                )
            )
        return None
    for problem in comb.problems():
        line = document.line(place)
        document.problems.append(
            Problem(problem.message, document.name, line, expected=problem.expected, suggestion=problem.suggestion)
        )
    return comb


def _at(value: Any, place: tuple[object, ...]) -> Any:
    for step in place:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


@functools.cache
def _system() -> dict[str, Comb]:
    return load_combs(SYSTEM, taken={})


def _chosen_folder() -> Path | None:
    from hive.settings import settings

    chosen = settings()
    if chosen.combs is not None:
        return chosen.combs
    config = chosen.config or chosen.running().get("config")
    if config is None:
        return None
    first = Path(str(config).split(os.pathsep)[0])
    beside = (first if first.is_dir() else first.parent) / COMBS
    return beside if beside.is_dir() else None

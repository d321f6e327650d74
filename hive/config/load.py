"""From files, folders, the environment or a mapping to a FleetConfig. All that is wrong is found before it is raised.

    load(paths)  reads each file, the form of its shape finds its bees, each bee is checked: its block against the
                 model, its options against those of its connector, its references against environment and vault

Several files make one fleet; a name that two of them give to a bee is a problem of both.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hive.config.check import Known, check
from hive.config.document import Document, environment_document, read_document
from hive.config.fields import fields_of
from hive.config.forms.companions import check_profiles
from hive.config.forms.draft import Draft, Place
from hive.config.forms.environment import SIGNS, tells
from hive.config.forms.names import connector_named, is_general
from hive.config.forms.recognise import Found, read_form
from hive.config.forms.workers import worker
from hive.config.model import BeeConfig, FleetConfig
from hive.config.problems import ConfigProblems, Problem
from hive.config.triggers import cycles, edges, endless
from hive.garbage import unsearched
from hive.registry import BrokenConnector, MissingExtra, UnknownConnector, connector
from nectar.scrub.profile.profiles import BUILT_IN

if TYPE_CHECKING:
    from pydantic import BaseModel

Paths = Path | str | Sequence[Path | str]
SUFFIXES = (".yaml", ".yml", ".json", ".env")
"""Files of a folder that are read; hidden ones are not."""
HIDDEN = ".env"
"""The hidden file that is read all the same, if it tells of bees."""
COMBS = "combs"
"""The folder inside of one that is the library of combs, see `hive/combs`: no bees are read there."""
_FOREIGN = ("config", "processing", "security", "permissions")
"""Keys of a block that the native form does not have: it is one of another system's."""


@dataclass
class Examined:
    """What files say, right or wrong. `fleet` holds the bees that could be understood."""

    fleet: FleetConfig
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    drafts: dict[str, tuple[Draft, Document]] = field(default_factory=dict, repr=False)
    companions: dict[str, Document] = field(default_factory=dict, repr=False)

    def origin(self, bee: str, place: Place = ()) -> str:
        """Where a value of the bee's block was written: file and line, or the name of a variable."""
        draft, document = self.drafts[bee]
        return document.origin((*draft.place, *draft.written(place)))


def load(
    paths: Paths,
    *,
    environ: Mapping[str, str] | None = None,
    vault: Callable[[str], str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> FleetConfig:
    """The fleet that files and folders describe, references unresolved. Raises ConfigProblems with all that is wrong.

    With `environ` and `vault` (text at a path, or LookupError) references of enabled bees must be there. A bee whose
    `missing` is not empty cannot fly, for its connector is not built, or its options do not suffice.

    `variables`: an environment that may tell of bees itself, by ENABLED_CONNECTORS and the like.
    """
    found = examine(paths, environ=environ, vault=vault, variables=variables)
    if found.problems:
        raise ConfigProblems(found.problems)
    return found.fleet


def examine(
    paths: Paths,
    *,
    environ: Mapping[str, str] | None = None,
    vault: Callable[[str], str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Examined:
    """As `load`, with all that is wrong beside what is right; nothing is raised."""
    with unsearched():
        documents = list(_documents(paths, variables))
        return _fleet(documents, environ, vault)


def configured(config: Path | None, variables: Mapping[str, str]) -> list[Path]:
    """The files that settings name: HIVE_CONFIG (several, parted as in PATH) and CONNECTORS_CONFIG_PATH."""
    paths = [] if config is None else _parted(config)
    named = variables.get("CONNECTORS_CONFIG_PATH")
    return [*paths, Path(named)] if named and Path(named) not in paths else paths


def absolute(config: Path) -> str:
    """The same files for a process in another folder."""
    return os.pathsep.join([str(_resolved(path)) for path in _parted(config)])


def tells_of_bees(variables: Mapping[str, str]) -> bool:
    """Whether an environment names bees, or the file that does."""
    return tells(variables, [name for name in SIGNS if not name.endswith("_INTERVAL")])


def _documents(paths: Paths, variables: Mapping[str, str] | None) -> Iterator[Document]:
    given = [paths] if isinstance(paths, Path | str) else list(paths)
    seen: set[Path] = set()
    for path in [part for one in given for part in _parted(Path(one))]:
        for file in _files(path):
            if isinstance(file, Document):
                yield file
            elif _resolved(file) not in seen:
                seen.add(_resolved(file))
                if file != path and file.name == HIDDEN and not _is_ours(file):
                    continue
                yield from _read(file, seen)
    if variables is not None:
        yield environment_document(variables)


def _read(file: Path, seen: set[Path]) -> Iterator[Document]:
    """A file, and the one that it names if it is an environment."""
    document = read_document(file)
    yield document
    named = document.data.get("CONNECTORS_CONFIG_PATH") if document.variables is not None else None
    if named and _resolved(file.parent / named) not in seen:
        seen.add(_resolved(file.parent / named))
        yield read_document(file.parent / named)


def _parted(path: Path) -> list[Path]:
    """Several paths in one text, as in PATH; a path that is there is one."""
    text = str(path)
    return (
        [Path(part) for part in text.split(os.pathsep) if part] if os.pathsep in text and not path.exists() else [path]
    )


def _resolved(path: Path) -> Path:
    """The file itself; of a link that leads nowhere, the link: to read it says why."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def _files(path: Path) -> Iterator[Path | Document]:
    if not path.is_dir():
        yield path
        return
    found = sorted(file for file in path.rglob("*") if _is_read(file.relative_to(path)))
    if not found:
        empty = Document(str(path))
        empty.refuse(f"the folder holds no configuration: files that end in {', '.join(SUFFIXES)} were expected")
        yield empty
    yield from found


def _is_read(file: Path) -> bool:
    """Whether a file of a folder tells of bees: hidden ones do not, nor what `combs/` keeps for bees to come."""
    if file.parts[0] == COMBS and len(file.parts) > 1:
        return False
    if any(part.startswith(".") for part in (file.parts[:-1] if file.name == HIDDEN else file.parts)):
        return False
    return file.suffix in SUFFIXES or file.name == HIDDEN


def _is_ours(file: Path) -> bool:
    """Whether a `.env` beside other files tells of bees: many a program has one."""
    document = read_document(file)
    return not document.readable or tells(document.data)


def _fleet(
    documents: Sequence[Document], environ: Mapping[str, str] | None, vault: Callable[[str], str] | None
) -> Examined:
    read = [(document, read_form(document)) for document in documents]
    examined = Examined(FleetConfig(), files=[document.name for document in documents])
    shared = _companions(read, examined)
    own = shared.get("scrubbing_profiles", {})
    check_profiles(own, lambda name: examined.companions[f"scrubbing_profiles.{name}"])
    profiles = {name: profile for name, profile in own.items() if profile != BUILT_IN.get(name)}
    known = Known(environ, vault, profiles)
    bees: dict[str, BeeConfig] = {}
    for document, found in read:
        for draft in found.drafts:
            bee = check(draft, document, known)
            if _is_taken(examined, draft, document) or bee is None:
                continue
            bees[str(draft.name)] = bee
    for way in cycles(edges(bees)):
        draft, document = examined.drafts[way[0]]
        document.problems.append(endless(way, document.name, document.line(draft.place)))
    examined.fleet = FleetConfig.model_construct(bees=bees, **shared)
    for document in documents:
        examined.problems += sorted(document.problems, key=lambda problem: problem.line)
        examined.warnings += sorted(document.warnings, key=lambda problem: problem.line)
    return examined


def _is_taken(examined: Examined, draft: Draft, document: Document) -> bool:
    """Whether another bee has the name; both places are told."""
    name = str(draft.name)
    first = examined.drafts.setdefault(name, (draft, document))
    if first[0] is draft:
        return False
    place = first[1].origin(first[0].place)
    message = f"is named twice, first in {place}"
    line = document.line(draft.place)
    document.problems.append(
        Problem(message, file=document.name, line=line, bee=name[:80], expected="a name of its own")
    )
    return True


def _companions(read: Iterable[tuple[Document, Found]], examined: Examined) -> dict[str, Any]:
    """What several files say beside bees, put together; what two of them say of one thing is a problem."""
    shared: dict[str, Any] = {}
    for document, found in read:
        for name, value in found.companions.items():
            there = shared.setdefault(name, {})
            for key in value:
                if key in there:
                    first = examined.companions[f"{name}.{key}"].origin((name, key))
                    line = document.line((name, key))
                    document.report(f"{name!r} says {key!r} twice, first in {first}", line)
                examined.companions.setdefault(f"{name}.{key}", document)
            shared[name] = {**value, **there}
    return shared


def from_mapping(
    name: str,
    mapping: Mapping[str, Any],
    *,
    connector: str = "",
    environ: Mapping[str, str] | None = None,
    vault: Callable[[str], str] | None = None,
) -> BeeConfig:
    """One bee from a native block, or from the connector's options without `source`. Raises ConfigProblems.

    `connector` is used where the block names no `type`. Among flat options, a name that both the connector and the
    block know is the connector's. Names and blocks of other systems, such as `api_worker` with `config`, are read as
    in their files.
    """
    document = Document("")
    bee = check(_draft(document, name, mapping, connector), document, Known(environ, vault))
    if bee is not None and bee.missing and not document.problems:
        document.problems += [Problem(f"cannot fly: {reason}", bee=name) for reason in bee.missing]
    if bee is None or document.problems:
        raise ConfigProblems(document.problems)
    return bee


def _draft(document: Document, name: str, mapping: Mapping[str, Any], connector_name: str) -> Draft:
    kind = connector_name or mapping.get("type")
    foreign = [key for key in _FOREIGN if key in mapping and key not in fields_of(_options_model(kind))]
    if not isinstance(kind, str) or not (foreign or (connector_named(kind) != kind and not _is_connector(kind))):
        return Draft(name, flat_block(mapping, connector_name))
    inner = mapping.get("type")
    if is_general(kind) and isinstance(inner, str) and not is_general(inner):
        kind = inner
    given = {key: value for key, value in mapping.items() if key != "type"}
    if "source" in given or "config" in given:
        return worker(document, name, {"type": kind, **given}, ())
    flat = flat_block({key: value for key, value in given.items() if key not in foreign}, connector_named(kind))
    beside = {key: given[key] for key in foreign}
    made = worker(document, name, {**flat, **beside, "type": kind}, ())
    written = {native: place[1:] if place[:1] == ("source",) else place for native, place in made.places.items()}
    return replace(made, places=written)


def flat_block(mapping: Mapping[str, Any], connector_name: str = "") -> dict[str, Any]:
    """`mapping` as a native block: unless it has a `source`, what the block does not know becomes the source."""
    block = dict(mapping)
    if "source" not in block:
        kind = connector_name or block.get("type")
        options = _options_model(kind)
        theirs = set(fields_of(options)) - {"streams"} - (set() if connector_name else {"type"})
        ours = {*BeeConfig.model_fields, "schedule", "every"} - theirs
        block = {key: value for key, value in mapping.items() if key in ours}
        block["source"] = {key: value for key, value in mapping.items() if key not in ours}
    if connector_name:
        block.setdefault("type", connector_name)
    return block


def _is_connector(name: str) -> bool:
    try:
        connector(name)
    except UnknownConnector:
        return False
    except (MissingExtra, BrokenConnector):
        return True
    return True


def _options_model(kind: object) -> type[BaseModel] | None:
    try:
        return connector(str(kind)).Options
    except (UnknownConnector, MissingExtra, BrokenConnector):
        return None

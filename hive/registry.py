"""Which connectors there are. A file in `bees/` is one, under its own name; so is an entry point of other packages.

Nothing is listed anywhere: the folder is. A connector is imported when it is used, so a driver that is not installed
hurts one source and nobody else.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.abc
import importlib.util
import inspect
import pkgutil
import re
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, get_args

import bees
from bees.core.bee import BeeType, WorkerBee
from hive.config.problems import did_you_mean
from hive.garbage import tree_of

if TYPE_CHECKING:
    from types import ModuleType

GROUP = "worker_bees.connectors"
DISTRIBUTION = "worker-bees"
_OURS = ("hive", "bees", "nectar")


class UnknownConnector(LookupError):
    """No connector has this name."""


class MissingExtra(ImportError):
    """The connector is there, and what it imports is not; the message says what to install."""


class BrokenConnector(RuntimeError):
    """The connector's module does not hold exactly one bee."""


@dataclass(frozen=True)
class ConnectorInfo:
    """What can be said of a connector without importing it."""

    name: str
    bee_type: BeeType | None
    """None where only the import would tell."""
    summary: str
    missing: str = ""
    """How to install what it needs; empty where nothing is missing."""
    version: int | str = 1
    """Of its options and cursors."""

    @property
    def queue(self) -> str | None:
        return None if self.bee_type is None else queue_of(self.bee_type)


def queue_of(bee_type: str) -> str:
    """The queue of collect tasks. Raises ValueError for a type that no worker listens to."""
    if bee_type not in get_args(BeeType):
        raise ValueError(f"no bee is of type {bee_type!r}{did_you_mean(bee_type, get_args(BeeType))}")
    return f"bees.{bee_type}"


def connector(name: str) -> type[WorkerBee]:
    """The bee of this name. Raises UnknownConnector, MissingExtra or BrokenConnector."""
    modules = _modules()
    if name not in modules:
        raise UnknownConnector(f"no connector is named {name!r}{did_you_mean(name, modules)}")
    module, wanted = modules[name]
    try:
        loaded = importlib.import_module(module)
    except ImportError as error:
        if (error.name or "").split(".")[0] in _OURS:
            raise
        raise MissingExtra(f"connector {name!r} needs {error.name!r}: {_install(name, error.name or '')}") from error
    found = getattr(loaded, wanted, None) if wanted else _only_bee(loaded)
    if not (isinstance(found, type) and issubclass(found, WorkerBee)):
        raise BrokenConnector(f"connector {name!r}: {module} must define exactly one WorkerBee")
    return found


def connectors() -> dict[str, ConnectorInfo]:
    """All connectors by name, read from their source files; no driver is imported."""
    return {name: _describe(name, *place) for name, place in sorted(_modules().items())}


def _modules() -> dict[str, tuple[str, str]]:
    """Connector -> (module, class or nothing). Our own names cannot be taken by another package."""
    found: dict[str, tuple[str, str]] = {}
    for point in _entry_points(tuple(sys.path)):
        found.setdefault(point.name, (point.module, point.attr))
    for module in pkgutil.iter_modules(bees.__path__):
        if not module.ispkg and not module.name.startswith("_"):
            found[module.name] = (f"{bees.__name__}.{module.name}", "")
    return found


@functools.lru_cache(maxsize=1)
def _entry_points(_path: tuple[str, ...]) -> list[metadata.EntryPoint]:
    """What other packages offer. Looking through all installed packages takes milliseconds, so it is done once."""
    return sorted(metadata.entry_points(group=GROUP), key=lambda point: (point.name, point.value))


def _only_bee(module: ModuleType) -> type[WorkerBee] | None:
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, WorkerBee)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    return own[0] if len(own) == 1 else None


def _describe(name: str, module: str, wanted: str) -> ConnectorInfo:
    try:
        tree = tree_of(_source(module))
    except (ImportError, SyntaxError) as error:
        return ConnectorInfo(name, None, "", missing=f"{module} cannot be read: {type(error).__name__}")
    summary = (ast.get_docstring(tree) or "").strip().split("\n", maxsplit=1)[0]
    absent = next((top for top in _imports(tree) if not _installed(top)), "")
    bee_type = _bee_type(tree, wanted) or _loaded_type(name, absent)
    version = _assigned(tree, wanted, "version") or 1
    return ConnectorInfo(name, bee_type, summary, missing=_install(name, absent) if absent else "", version=version)


def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or not isinstance(spec.loader, importlib.abc.InspectLoader):
        return ""
    return spec.loader.get_source(module) or ""


def _bee_type(tree: ast.Module, wanted: str) -> BeeType | None:
    """What a class of the file assigns to `bee_type`."""
    value: BeeType | None = next(
        (known for known in get_args(BeeType) if known == _assigned(tree, wanted, "bee_type")), None
    )
    return value


def _assigned(tree: ast.Module, wanted: str, name: str) -> Any:
    """The constant that the bee of a file assigns to `name`, or None. The bee is the class that says its `bee_type`."""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or wanted not in ("", node.name):
            continue
        constants: dict[str, Any] = {}
        for line in node.body:
            if not isinstance(line, ast.Assign | ast.AnnAssign) or not isinstance(line.value, ast.Constant):
                continue
            targets = line.targets if isinstance(line, ast.Assign) else [line.target]
            constants |= {target.id: line.value.value for target in targets if isinstance(target, ast.Name)}
        if "bee_type" in constants:
            return constants.get(name)
    return None


def _loaded_type(name: str, absent: str) -> BeeType | None:
    """For a bee that inherits its type: only the import tells, and only where it can succeed."""
    if absent:
        return None
    try:
        return connector(name).bee_type
    except (ImportError, BrokenConnector, AttributeError):
        return None


def _imports(tree: ast.AST) -> list[str]:
    """Top-level packages that the file needs; what stands under `try` or `if` is optional, unless its lack is told as a
    missing driver.
    """
    found: list[str] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found += [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module.split(".")[0]] if node.module and not node.level else []
        elif not isinstance(node, ast.Try | ast.If):
            found += _imports(node)
        else:
            needed = [one for one in ast.walk(node) if isinstance(one, ast.Try) and _misses_driver(one)]
            found += [name for one in needed for name in _imports(ast.Module(one.body, []))]
    return found


def _misses_driver(node: ast.Try) -> bool:
    """Whether what fails under `try` is told with the code `missing_driver`."""
    return any(
        isinstance(one, ast.Constant) and one.value == "missing_driver"
        for handler in node.handlers
        for one in ast.walk(handler)
    )


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _install(name: str, package: str) -> str:
    """The command that brings `package`: by the extra that lists it, else by the extra named as the connector."""
    top = _normal(package.split(".", maxsplit=1)[0])
    try:
        about = metadata.metadata(DISTRIBUTION)
        requires = metadata.requires(DISTRIBUTION) or []
        extras = about.get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        requires, extras = [], []
    for line in requires:
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", line)
        wanted = _normal(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0])
        if extra and (wanted == top or wanted.startswith(f"{top}-")):
            return f"pip install '{DISTRIBUTION}[{extra[1]}]'"
    if _normal(name) in map(_normal, extras):
        return f"pip install '{DISTRIBUTION}[{_normal(name)}]'"
    return f"install the package that provides the Python module {package!r}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

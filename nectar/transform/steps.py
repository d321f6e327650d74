"""Finding the functions that steps name, and what makes one list of steps another than the next."""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.abc import InspectLoader
from typing import TYPE_CHECKING, Any, TypeVar

from nectar.errors import NectarError

if TYPE_CHECKING:
    from types import ModuleType

TIMEOUT = 60.0
_USE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_BY_RECORD = "__nectar_records__"
_F = TypeVar("_F", bound=Callable[..., Any])


class BadTransform(NectarError):
    """A step cannot be used, or gives what is no table of the same records: a person must change it."""

    code = "bad_transform"


@dataclass(frozen=True)
class Step:
    """One function with its options; `by_record`: it takes a record and not a table."""

    use: str
    function: Callable[..., Any]
    by_record: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = TIMEOUT


def records(function: _F) -> _F:
    """Mark a function that takes one record, a dict by field, and gives a dict, or None to drop the record."""
    setattr(function, _BY_RECORD, True)
    return function


def load(steps: Sequence[Any]) -> tuple[Step, ...]:
    """The functions of `steps` as a configuration has them. Raises BadTransform."""
    return tuple(check_step(step) for step in steps)


def check_step(given: Any) -> Step:
    """One step: "module:function", or {use, options, timeout}. Raises BadTransform that says what is wrong."""
    told: Any = {"use": given} if isinstance(given, str) else given
    use = told.get("use") if isinstance(told, Mapping) else None
    options = told.get("options") or {} if isinstance(told, Mapping) else {}
    if not isinstance(use, str) or not isinstance(options, Mapping):
        raise BadTransform('a transformer is "module:function", or {use: "module:function", options: {...}}')
    if not _USE.fullmatch(use):
        raise BadTransform(f"{use!r} names no transformer, expected package.module:function")
    function = _function(use)
    by_record = bool(getattr(function, _BY_RECORD, False))
    _check_call(use, function, options, by_record=by_record)
    return Step(use, function, by_record, dict(options), float(told.get("timeout") or TIMEOUT))


def version_of(steps: Sequence[Any]) -> str:
    """Changes with the list, its options and the text of the modules it names. Raises BadTransform."""
    told = [[step.use, step.options, _text_hash(step.use.partition(":")[0])] for step in load(steps)]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _function(use: str) -> Callable[..., Any]:
    path, _, name = use.partition(":")
    module = _module(use, path)
    function = getattr(module, name, None)
    if function is None:
        own = [n for n, value in vars(module).items() if callable(value) and not n.startswith("_")]
        near = difflib.get_close_matches(name, own, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BadTransform(f"the module {path!r} has no function {name!r}{hint}")
    if not callable(function) or isinstance(function, type):
        raise BadTransform(f"{use!r} is a {type(function).__name__}, expected a function")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise BadTransform(f"{use!r} is a coroutine or a generator, expected a plain function")
    return function  # type: ignore[no-any-return]


def _module(use: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or path
        ours = path == missing or path.startswith(f"{missing}.")
        if ours:
            hint = "install its package, or put its folder into PYTHONPATH, for every worker"
            raise BadTransform(f"no module is named {missing!r}: {hint}") from None
        raise BadTransform(f"the module of {use!r} needs {missing!r}, which is not installed") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's module raises
        place = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise BadTransform(f"the module of {use!r} cannot be imported: {type(error).__name__}{place}") from None


def _check_call(use: str, function: Callable[..., Any], options: Mapping[str, Any], *, by_record: bool) -> None:
    """The function must take what it will be called with."""
    what = "a record" if by_record else "a table"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # written in C: the first call will show
    try:
        signature.bind(None, **options)
    except TypeError as error:
        raise BadTransform(f"{use!r} is called with {what} and its options: {error}") from None
    first = next(iter(signature.parameters.values()))
    if not by_record and _is_record(first.annotation):
        raise BadTransform(f"{use!r} takes a record, not a table: mark it with @nectar.transform.records")


def _is_record(annotation: Any) -> bool:
    """Whether a parameter is annotated as a dict; annotations may be text."""
    told = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    return re.match(r"(typing\.|collections\.abc\.)?(dict|Dict|Mapping|MutableMapping)\b", told) is not None


@functools.cache
def _text_hash(path: str) -> str:
    """Of the module's source, where it has one."""
    spec = importlib.util.find_spec(path)
    loader = spec.loader if spec is not None else None
    text = loader.get_source(path) if isinstance(loader, InspectLoader) else None
    return hashlib.sha256((text or "").encode()).hexdigest()

"""presidio's recognisers without the language models that its package brings along.

Importing `presidio_analyzer` imports spaCy and all it stands on, for engines that pattern recognisers never ask: 42 MB
and 0.4 s of each process. While presidio is imported here for the first time, nothing stands in their place; then both
are forgotten again, so that whoever else imports presidio or spaCy in this process gets them whole.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_LEFT_OUT = ("spacy", "thinc")
_PRESIDIO = "presidio_analyzer"


class _Nothing(type):
    """A class whose attributes are itself: enough for annotations, bases and decorators."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return cls

    def __call__(cls, *given: Any, **_options: Any) -> Any:
        return given[0] if given and callable(given[0]) else cls


class _Hollow(ModuleType):
    """A module that has every name."""

    Absent = _Nothing("Absent", (), {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.Absent


class _Finder(MetaPathFinder, Loader):
    def find_spec(self, fullname: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if _root(fullname) in _LEFT_OUT else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Hollow(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


def _root(name: str) -> str:
    return name.partition(".")[0]


@contextmanager
def _without_models() -> Iterator[None]:
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _root(name) in (*_LEFT_OUT, _PRESIDIO)]:
            del sys.modules[name]


def _imported() -> tuple[Any, Any]:
    """The package and its recognisers, as they are where somebody has imported them or spaCy already."""
    names = (_PRESIDIO, f"{_PRESIDIO}.predefined_recognizers")
    if any(name in sys.modules for name in (*_LEFT_OUT, _PRESIDIO)):
        package, recognisers = map(importlib.import_module, names)
    else:
        with _without_models():
            package, recognisers = map(importlib.import_module, names)
    return package, recognisers


_package, predefined_recognizers = _imported()
Pattern: Any = _package.Pattern
PatternRecognizer: Any = _package.PatternRecognizer

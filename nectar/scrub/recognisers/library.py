"""presidio's recognisers without the language models that its package brings along.

Importing `presidio_analyzer` imports spaCy and all it stands on, for engines that pattern recognisers never ask: 42 MB
and 0.4 s of each process; pydantic and requests, for configuration in files and downloads that are never asked for
either, are 10 MB more. While presidio is imported here for the first time, nothing stands in the place of those that
are not there yet; then all are forgotten again, so that whoever else imports them in this process gets them whole.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_MODELS = ("spacy", "thinc")
_LEFT_OUT = (*_MODELS, "pydantic", "requests", "requests_file")
"""What engines, their configuration in files, and downloads of lists would need."""

_PRESIDIO = "presidio_analyzer"
_SUFFIXES = "tldextract"


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
    def __init__(self, left_out: Collection[str]) -> None:
        self._left_out = left_out

    def find_spec(self, fullname: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if _root(fullname) in self._left_out else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Hollow(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


def _root(name: str) -> str:
    return name.partition(".")[0]


@contextmanager
def _without_models() -> Iterator[None]:
    before = set(sys.modules)
    finder = _Finder([name for name in _LEFT_OUT if name not in before])
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name in sys.modules if _root(name) in (*_LEFT_OUT, _PRESIDIO, _SUFFIXES)]:
            if name not in before:
                del sys.modules[name]


def _imported() -> tuple[Any, Any, Any]:
    """The package, its recognisers and its suffix lists, as they are where somebody has imported them already."""
    names = (_PRESIDIO, f"{_PRESIDIO}.predefined_recognizers", _SUFFIXES)
    if any(name in sys.modules for name in (*_MODELS, _PRESIDIO)):
        package, recognisers, suffixes = map(importlib.import_module, names)
    else:
        with _without_models():
            package, recognisers, suffixes = map(importlib.import_module, names)
    return package, recognisers, suffixes


_package, predefined_recognizers, tldextract = _imported()
Pattern: Any = _package.Pattern
PatternRecognizer: Any = _package.PatternRecognizer

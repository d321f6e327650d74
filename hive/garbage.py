"""No search for garbage while very many objects are made that all stay."""

from __future__ import annotations

import ast
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unsearched() -> Iterator[None]:
    """Python looks for cycles after so many new objects, and finds none among the nodes of a configuration.

    Measured: most of reading a large file, a third of a reload of 10,000 bees. Also a decorator.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


_parsing = threading.Lock()


def tree_of(source: str | bytes) -> ast.Module:
    """The tree of a Python source. Raises SyntaxError.

    Python 3.11 counts the depth of all trees in one place: threads that parse at once get a SystemError, and so does
    one in the middle of which garbage is cleared away (https://github.com/python/cpython/issues/106905).
    """
    with _parsing, unsearched():
        return ast.parse(source)

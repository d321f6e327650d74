"""Words of English that say nothing by themselves: between a number and the word that names it they do not count.

They are spaCy's stop words, since presidio does not count those either. Its file is read by itself: importing spaCy
takes 42 MB. Left out are parts of words (`'ll`).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

_FILE = "lang/en/stop_words.py"
_NAMES = frozenset({"call", "first", "full", "last", "name", "no", "us"})
"""Those that name something here."""


def _stop_words() -> frozenset[str]:
    package = importlib.util.find_spec("spacy")
    for folder in (package and package.submodule_search_locations) or ():
        spec = importlib.util.spec_from_file_location("spacy_stop_words", Path(folder) / _FILE)
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return frozenset(word for word in module.STOP_WORDS if word.isalpha())
    raise ImportError("the list of stop words is spaCy's, which comes with presidio-analyzer: install that again")


STOP_WORDS = _stop_words()
FILLERS = STOP_WORDS - _NAMES

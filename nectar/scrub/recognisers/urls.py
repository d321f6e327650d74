"""presidio's recogniser of URLs, asked about words instead of lines."""

from __future__ import annotations

import re
from dataclasses import replace

import regex

from nectar.scrub.find.findings import Hit
from nectar.scrub.recognisers.library import predefined_recognizers as presidio
from nectar.scrub.recognisers.recogniser import Recogniser, direct, wrapped


def url() -> Recogniser:
    """Nothing that it matches holds a space, so it judges words, and of its four patterns those that the word can fit.

    Its 6 kB list of suffixes takes seconds to compile: the first two letters of each let all through.
    """
    recogniser = presidio.UrlRecognizer()
    starts: dict[str, set[str]] = {}
    for first, second in _SUFFIX.findall(recogniser.patterns[0].regex):
        starts.setdefault(first, set()).add(second)
    letters = "|".join(f"{first}[{''.join(sorted(seconds))}]" for first, seconds in sorted(starts.items()))
    form = rf"[a-z0-9.\-]\.(?:{letters})"
    made = wrapped(recogniser, hint=".", forms=(form,))
    suffixed = re.compile(form, re.IGNORECASE)
    fitting = {
        (schemed, quoted): direct(
            recogniser, [n for n, fits in enumerate((schemed, True, schemed and quoted, quoted)) if fits]
        )
        for schemed in (False, True)
        for quoted in (False, True)
    }

    def find(text: str) -> list[Hit]:
        hits = []
        for match in _SPACELESS.finditer(text):
            word, start = match[0], match.start()
            if "." in word and suffixed.search(word):
                patterns = fitting["://" in word, '"' in word or "'" in word]
                hits += [hit._replace(start=hit.start + start, end=hit.end + start) for hit in patterns(word)]
        return hits

    return replace(made, find=find)


_SPACELESS = regex.compile(r"\S+")
_SUFFIX = re.compile(r"\(\?:([a-z])([a-z])[a-z]*\)")

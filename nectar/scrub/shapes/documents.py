"""JSON documents inside text columns: scrubbed in their strings, still valid JSON, every other byte of meaning kept."""

from __future__ import annotations

import json
from collections.abc import Iterable
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, NoReturn

from nectar.scrub.profile.rules import FieldRule
from nectar.scrub.shapes.cells import Cells
from nectar.scrub.shapes.splices import Outcome
from nectar.scrub.shapes.tree import Members, Number, scrub_trees


def scrub_documents(cells: Cells, path: str, texts: Iterable[str], rule: FieldRule | None) -> dict[str, Outcome]:
    """Scrub distinct JSON documents. One without findings has no outcome and keeps its own bytes.

    Text that is no JSON fails: escapes could hide anything from a scan of the text as it is.
    """
    outcomes: dict[str, Outcome] = {}
    parsed: dict[str, Any] = {}
    for text in texts:
        try:
            parsed[text] = _parse(text)
        except ValueError:
            outcomes[text] = Outcome(None, failed="invalid_json")
        except RecursionError:
            outcomes[text] = Outcome(None, failed="too_deep")
    copies = scrub_trees(cells, list(parsed.values()), path, rule)
    for text, copy in zip(parsed, copies, strict=True):
        if copy.failed:
            outcomes[text] = Outcome(None, failed=copy.failed)
        elif copy.counts:
            counts = tuple((field, kind, count) for (field, kind), count in copy.counts.items())
            outcomes[text] = Outcome(None if copy.value is None else dump(copy.value), counts)
    return outcomes


def _refuse(_constant: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")


def _parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=Members, parse_int=Number, parse_float=Number, parse_constant=_refuse)


def dump(value: Any) -> str:
    """JSON text of a parsed document: members in their order, numbers in their own digits."""
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, str):
        # Half of a surrogate pair has no UTF-8 form: such a string keeps its escapes.
        plain = encode_basestring(value)
        return plain if _encodes(plain) else encode_basestring_ascii(value)
    if isinstance(value, Members):
        return "{" + ",".join(f"{dump(key)}:{dump(member)}" for key, member in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dump, value)) + "]"
    return json.dumps(value)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

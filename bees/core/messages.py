"""The body of a message -> the records in it, by its content type.

JSON            one object, or a list with a record in each item
JSON Lines      a record a line; blank lines are none
a form          one record of its fields; a field that is there twice is a list of its values. A form whose only field
                is `payload` holds a JSON document, as Slack and GitHub send them
"""

from __future__ import annotations

import urllib.parse
from typing import Any, Literal

from nectar.batch import Reject
from nectar.errors import SkipRecord
from nectar.jsonrows import parse

Format = Literal["auto", "json", "jsonl", "form"]

_LINES = {
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonl",
    "application/jsonlines",
    "application/json-lines",
}
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 1000


def format_of(content_type: str) -> Format:
    """How a body of this type is read; JSON where it does not say."""
    plain = content_type.partition(";")[0].strip().lower()
    return "jsonl" if plain in _LINES else "form" if plain == _FORM else "json"


def document(body: bytes, form: Format) -> Any:
    """A body that is one JSON document or one form. Raises SkipRecord (`not_json`, `not_form`)."""
    if form != "form":
        return parse(body)
    try:
        text = body.decode()
        pairs = urllib.parse.parse_qsl(
            text, keep_blank_values=True, strict_parsing=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:  # UnicodeDecodeError is one
        reason = f"no form: it is no text of name=value pairs, or has more than {_MOST_FIELDS} of them"
        raise SkipRecord(reason, code="not_form") from None
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name not in fields:
            fields[name] = value
        elif isinstance(fields[name], list):
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
    if fields.keys() == {"payload"} and isinstance(fields["payload"], str):
        return parse(fields["payload"])
    return fields


def lines(body: bytes, position: str) -> tuple[list[Any], list[Reject]]:
    """The documents of JSON Lines; a line that is none is set aside by itself."""
    found: list[Any] = []
    rejects: list[Reject] = []
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(parse(line))
        except SkipRecord as error:
            rejects.append(Reject(f"{position}, line {number}", error.code, str(error), line))
    return found, rejects

"""Documents to text: the binary column `content` becomes `text`, `title` and `characters`.

What is taken out is what the bytes say, nothing is rendered: markup stays, front matter stays, a NUL stays (landing
marks it). A title is a piece of the text and may hold what the text holds, so it is scrubbed like any field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from nectar.extract import markdown
from nectar.extract.text import HEAD, decode, encoding_of, first_line, looks_textual, normalised

if TYPE_CHECKING:
    from collections.abc import Callable

TITLE_LIMIT = 200
_TITLES: dict[str, Callable[[str, int], str]] = {"text/markdown": markdown.title}

Document = tuple[str, str, int]


class _NoTextError(Exception):
    """Why a document gives no text, as a stable word."""


def extract(table: pa.Table) -> tuple[pa.Table, dict[int, str]]:
    """Replace `content` by `text` (line ends normalised), `title` (may be empty) and `characters` (code points).

    `media_type`, where the table has it, chooses how the title is found, and its `charset` how bytes are decoded;
    a byte order mark goes before it. Rows that give no text keep their place, with nulls, and are returned by number:
    `not_text` for bytes that are none, `not_utf8` for text in another encoding than the one it is said to be in,
    `unknown_charset` for one that nobody knows. A row without content has no text, and that is no failure.
    A table without `content` comes back as it is.
    """
    if "content" not in table.column_names:
        return table, {}
    contents = table.column("content").to_pylist()
    types = table.column("media_type").to_pylist() if "media_type" in table.column_names else [None] * len(contents)
    documents: list[Document | None] = []
    failures: dict[int, str] = {}
    for row, (content, media_type) in enumerate(zip(contents, types, strict=True)):
        try:
            documents.append(None if content is None else _document(content, media_type or ""))
        except _NoTextError as reason:
            documents.append(None)
            failures[row] = str(reason)
    return _with_text(table, documents), failures


def _document(content: bytes, media_type: str) -> Document:
    kind, _, parameters = media_type.partition(";")
    try:
        charset = _charset(parameters)
        encoding = encoding_of(content[:4], charset)
        if not looks_textual(content[:HEAD], encoding):
            raise _NoTextError("not_text")
        text = normalised(decode(content, charset))
    except LookupError:
        raise _NoTextError("unknown_charset") from None
    except UnicodeError:
        raise _NoTextError("not_utf8") from None  # the error would carry the bytes
    return text, _TITLES.get(kind.strip().lower(), first_line)(text, TITLE_LIMIT), len(text)


def _charset(parameters: str) -> str:
    for parameter in parameters.split(";"):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"')
    return ""


def _with_text(table: pa.Table, documents: list[Document | None]) -> pa.Table:
    at = table.column_names.index("content")
    kept = [name for name in table.column_names if name not in {"content", "text", "title", "characters"}]
    made = {
        "text": pa.array([d and d[0] for d in documents], pa.string()),
        "title": pa.array([d and d[1] for d in documents], pa.string()),
        "characters": pa.array([d and d[2] for d in documents], pa.int64()),
    }
    before = [name for name in table.column_names[:at] if name in kept]
    after = [name for name in table.column_names[at:] if name in kept]
    fields = [*(table.schema.field(n) for n in before), *(pa.field(n, a.type) for n, a in made.items())]
    fields += [table.schema.field(n) for n in after]
    columns = [*(table.column(n) for n in before), *made.values(), *(table.column(n) for n in after)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=table.schema.metadata))

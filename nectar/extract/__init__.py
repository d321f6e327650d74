"""Documents to text: the binary column `content` becomes `text`, with what the document says of itself.

Nothing is rendered, run or fetched. Text stays as it is, markup of Markdown too; other formats give their text with
headings as `# `, list items as `- `, cells with ` | ` and a form feed between pages. Titles, authors and names are
pieces of the document and may hold what it holds, so they are scrubbed like any field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from nectar.extract.document import Document, NoText
from nectar.extract.read import needs_reader, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

_COLUMNS = {
    "text": "string", "title": "string", "characters": "int64", "author": "string", "created": "string",
    "language": "string", "pages": "int64", "scanned_pages": "int64",
}  # fmt: skip
"""Name -> Arrow's name of the type."""


class Extracts(Protocol):
    """Reads formats that need more than decoding, behind a wall. Raises NoText."""

    def read(self, content: bytes, said: str) -> Document: ...


def extract(table: pa.Table, extractor: Extracts | None = None) -> tuple[pa.Table, dict[int, str]]:
    """Replace `content` by `text` (line ends normalised), `title` (may be empty), `characters` (code points),
    `author`, `created` and `language` (null where the document does not tell), `pages` and `scanned_pages`
    (null for what has no pages).

    `media_type`, where the table has it, chooses the reader, and its `charset` how bytes are decoded; a byte order
    mark goes before it. Rows that give no text keep their place, with nulls, and are returned by number with the code
    why (`nectar.extract.document.REASONS`). A row without content has no text, and that is no failure.
    Without an `extractor` every format is read in this process. A table without `content` comes back as it is.
    """
    if "content" not in table.column_names:
        return table, {}
    contents = table.column("content")
    types = table.column("media_type").to_pylist() if "media_type" in table.column_names else [None] * len(contents)
    documents: list[Document | None] = []
    failures: dict[int, str] = {}
    for row, media_type in enumerate(types):
        try:  # one after another: of each its bytes are copied only while it is read
            documents.append(_document(contents[row].as_py(), media_type or "", extractor))
        except NoText as reason:
            documents.append(None)
            failures[row] = reason.code
    return _with_text(table, documents), failures


def _document(content: bytes | None, media_type: str, extractor: Extracts | None) -> Document | None:
    if content is None:
        return None
    kind = media_type.partition(";")[0].strip().lower()
    if extractor is not None and needs_reader(kind):
        return extractor.read(content, media_type)
    return read(content, media_type)


def _with_text(table: pa.Table, documents: list[Document | None]) -> pa.Table:
    import pyarrow as pa  # here, so that who names documents only starts without Arrow

    at = table.column_names.index("content")
    kept = [name for name in table.column_names if name != "content" and name not in _COLUMNS]
    values: Mapping[str, list[object]] = {
        "text": [d and d.text for d in documents],
        "title": [d and d.title for d in documents],
        "characters": [d and len(d.text) for d in documents],
        "author": [d and (d.author or None) for d in documents],
        "created": [d and (d.created or None) for d in documents],
        "language": [d and (d.language or None) for d in documents],
        "pages": [d and d.pages for d in documents],
        "scanned_pages": [d and (d.scanned if d.pages is not None else None) for d in documents],
    }
    made = {name: pa.array(values[name], kind) for name, kind in _COLUMNS.items()}
    before = [name for name in table.column_names[:at] if name in kept]
    after = [name for name in table.column_names[at:] if name in kept]
    fields = [*(table.schema.field(n) for n in before), *(pa.field(n, a.type) for n, a in made.items())]
    fields += [table.schema.field(n) for n in after]
    columns = [*(table.column(n) for n in before), *made.values(), *(table.column(n) for n in after)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=table.schema.metadata))

"""What an answer of a listing holds: its records, all at once or a large page in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bees.core.errors import GiveUp, RetryLater
from bees.core.paths import MISSING, dig
from bees.core.rest import formats
from bees.core.rest.pieces import BODY, LARGE, WHOLE, Pieces, dotted, pieces_of, takes_more
from bees.core.rest.source import Source, headed, named, records
from bees.core.rest.xml_elements import listed
from nectar.batch import Reject

if TYPE_CHECKING:
    from bees.core.http import Answer
    from bees.core.rest.options import StreamOptions


_ACCEPTED = 202
_TAIL = 1_000


def _measured(answer: Answer) -> bool:
    """Whether something but the end of the connection tells where a body ends."""
    return any(name in answer.headers for name in ("content-length", "transfer-encoding", "content-encoding"))


class Content:
    """Reads the answers of one listing."""

    def __init__(self, source: Source, options: StreamOptions) -> None:
        self._source = source
        self._options = options

    def items(self, answer: Answer, where: str, page: int = 1) -> tuple[Any, list[Any], list[Reject]]:
        if answer.status == 204:
            return [], [], []
        options = self._options
        raw = formats.utf_8(answer.body, options.format, answer.headers, where)
        if options.format == "xml" and options.records and not options.records.startswith("$"):
            body, found = listed(raw, options.records, where)
            self._source.check(body, where)
            if page > 1 and not found and options.records.partition(".")[0] not in body:
                message = (
                    f"the answer is another document than the pages before it: its root leads to no '{options.records}'"
                )
                raise GiveUp(message, code="no_records", where=where, advice="try the request by hand")
            return body, found, []
        body, rejects = formats.read(raw, options.format, where, options.delimiter, decimals=self._hooked)
        self._source.check(body, where)
        # an earlier page has shown that the path is right; one that the source led to is no error message, then
        announced = options.pagination.type in ("link", "cursor") and not options.pagination.cursor_record
        may_lack = options.empty_without_records or (page > 1 and (not announced or self._ends(body)))
        items = records(body, options.records, where, may_lack=may_lack)
        return body, named(items, body, options.columns, where) if options.columns else items, rejects

    def lacks(self, body: Any, page: int) -> bool:
        """Whether a page has no list at all: this may be an empty listing, or its end, and proves nothing.

        A later one that is made as the last one of a listing does.
        """
        path = self._options.records or "$"
        if path.startswith("$") or dig(body, path) not in (MISSING, None):
            return False
        later = self._options.format == "xml" or dig(body, path) is None or self._ends(body)
        return page == 1 or not later

    def _ends(self, body: Any) -> bool:
        """Whether a body without a list tells of pages, or nothing at all."""
        paging = self._options.pagination
        paths = (paging.cursor_path, paging.more_path, paging.done_path, paging.total_path, paging.pages_path)
        return not body or any(path and dig(body, path) is not MISSING for path in (*paths, self._options.token_path))

    def closed(self, answer: Answer) -> bool:
        """Whether the end of an answer shows that nothing of it was cut off.

        Lines without it, of a body that no length and no chunk ends, may be a part of what was meant.
        """
        lines = self._options.format in ("csv", "jsonl") and bool(answer.body)
        return not lines or answer.body.endswith((b"\n", b"\r")) or _measured(answer)

    def ready(self, answer: Answer, where: str) -> None:
        """Raises RetryLater for status 202 without anything in it, and for JSON that its connection cut off.

        With 202 the source is still making its answer.
        """
        ends = answer.body[-_TAIL:].rstrip()[-1:]
        opens = self._options.format == "json" and answer.body[:_TAIL].lstrip()[:1] in (b"{", b"[")
        if opens and ends not in (b"}", b"]") and not _measured(answer):
            message = "the connection ended before the answer was complete"
            raise RetryLater(message, code="connection_lost", where=where)
        if answer.status != _ACCEPTED:
            return
        try:
            found = self.pieces(answer, where) or self.items(answer, where)[1]
        except GiveUp:
            found = []
        if not found:
            message = "the source has not made its answer yet (status 202)"
            raise RetryLater(message, code="unavailable", where=where)

    def pieces(self, answer: Answer, where: str) -> Pieces | None:
        """A large page in pieces, if it can be cut. Raises GiveUp (`too_many_values`) for one that is too much at once.

        What cannot be cut has a selector that looks into more than one list, or finds records by a condition.
        """
        options = self._options
        if len(answer.body) < LARGE:
            return None
        path = dotted(options.records) if options.format == "json" else options.records
        alone = options.format == "json" and path == BODY
        plain = path is None or alone or not path.startswith("$") or options.format in ("jsonl", "csv")
        if not plain and options.format == "json" and takes_more(answer.body, WHOLE):
            message = "the page is too large for a selector that has to look at all of it"
            advice = "ask for smaller pages (pagination.size), or say in records where the one list is, as $.data[*]"
            raise GiveUp(message, code="too_many_values", where=where, advice=advice)
        if not plain:
            return None
        if options.format in ("json", "jsonl"):
            formats.bounded(answer.body, where, in_pieces=True)
        raw = formats.utf_8(answer.body, options.format, answer.headers, where)
        found = pieces_of(raw, options.format, path, where, options.delimiter, decimals=self._hooked)
        if found is None or options.format in ("jsonl", "csv"):
            return found
        self._source.check(found.around, where)
        if options.format == "xml":
            return found
        if records(found.around, options.records, where) != [0][: len(found)]:
            return None
        return headed(found, options.columns, where) if options.columns else found

    @property
    def _hooked(self) -> bool:
        return bool(self._options.transformer or self._options.change_detector)

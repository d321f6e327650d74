"""Records of a GraphQL API: the nodes of one connection a stream, page by page.

    type: graphql
    source: {url: https://api.example.com/graphql, auth: {method: bearer, token: "${DESK_TOKEN}"}}
    streams:
      tickets:
        query: |
          query($after: String, $since: DateTime) {
            desk { tickets(first: 50, after: $after, updatedSince: $since) {
              pageInfo { hasNextPage endCursor }
              nodes { id title updatedAt comments(first: 20) { pageInfo { hasNextPage endCursor } nodes { id body } } }
            } }
          }
        connection: desk.tickets
        key: id
        cursor: updatedAt
        cursor_variable: since
        nested:
          comments:                  # where a ticket has more of them, this query reads on
            query: |
              query($id: ID!, $after: String) { node(id: $id) { ... on Ticket { comments(first: 50, after: $after) {
                pageInfo { hasNextPage endCursor } nodes { id body } } } } }
            connection: node.comments

Nothing is cut off in silence: a connection without `pageInfo` and one inside of a record that has more pages than the
query read are refused. Errors beside data go to quarantine, the data lands, and the cursor stays where it was, so that
the next flight asks again for what was missing. Errors without data fail the page. What a query costs and what is left
is heeded where the answer says it in the form of GitHub (`rateLimit { cost remaining resetAt }`) or of Shopify.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import httpx
import structlog

from bees.core.address import OptionNames
from bees.core.cursors import less
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.footing import SAME, TAIL, Footing
from bees.core.graphql import Field as AskedField
from bees.core.graphql_answer import (
    BAD_QUERY,
    LARGE,
    Page,
    errors_of,
    page_of,
    pieces_at,
    refused,
    rejects_of,
    standing,
    truncated,
    wait_of,
    whole,
)
from bees.core.graphql_options import Connected, GraphqlOptions, Nested, StreamOptions
from bees.core.http import Answer, HttpClient
from bees.core.http_verdict import SHORTEST_WAIT
from bees.core.paging import Pagination, Reading, began, circle, refuses_place
from bees.core.resilience.gate import GatedBee
from bees.core.rest.client import LONGEST_PAUSE, named_stream, offered, open_client, patiently
from bees.core.rest.pieces import Pieces
from bees.core.rest.source import refuse_strangers
from nectar.batch import Batch, Cursor, Reject
from nectar.jsonrows import escape, sift, table, text
from nectar.pollen import Column, Kind, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from bees.core.http import Gate

log = structlog.get_logger()

_NAMES = OptionNames("url", networks="allow_networks")
_BY_CURSOR = Pagination(type="cursor", cursor_path="pageInfo.endCursor")
_MOST_NESTED = 10_000
_LARGEST_NESTED = 4 << 20
_MOST_ERRORS = 50_000
_KINDS: dict[str, Kind] = {
    "Int": "integer",
    "Float": "float",
    "Boolean": "boolean",
    "DateTime": "timestamptz",
    "Date": "date",
}
_ROOT = "query { __schema { queryType { name } } }"
_TYPE = """query($name: String!) { __type(name: $name) { fields { name type { ...T ofType { ...T ofType { ...T ofType {
 ...T } } } } } } } fragment T on __Type { kind name }"""


class GraphqlBee(GatedBee):
    """Reads connections of one GraphQL API."""

    bee_type = "api"
    Options = GraphqlOptions

    def __init__(
        self,
        options: GraphqlOptions,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
        gate: Gate | None = None,
    ) -> None:
        super().__init__(options)
        self._options = options
        self._sleep = sleep
        self._clock = clock
        self._gate = gate
        self._open: HttpClient | None = None
        self._columns: dict[str, tuple[Column, ...]] = {}

    def through(self, gate: Gate) -> None:
        self._gate = gate

    def validate_flight_path(self) -> None:
        """Read each stream's first page."""
        for name, stream in self._options.streams.items():
            where = f"stream {name}, page 1"
            page = self._ask(stream, _values(stream, Reading()), where)
            if page.errors:
                raise errors_of(page.errors, where).failure

    def get_pollen_schema(self) -> Sequence[Stream]:
        """As the options say, with columns where the API tells its types."""
        return [
            offered(
                name,
                stream.key,
                stream.cursor,
                followed=bool(stream.cursor_variable),
                columns=self._typed(name, stream),
            )
            for name, stream in self._options.streams.items()
        ]

    def collect_nectar(
        self,
        stream: str,
        cursor: Cursor | None,
        slice: str | None = None,  # noqa: A002, ARG002
        query: Mapping[str, Any] | None = None,
    ) -> Iterator[Batch]:
        """One batch a page, several of a large one.

        `query` holds variables of this read alone; they win over the stream's.
        """
        chosen = named_stream(self._options.streams, stream)
        reading = Reading.of(cursor)
        ended, resumed = False, reading.at is not None
        reading.forget_ahead(self._clock())
        while not ended:
            where = f"stream {stream}, page {reading.page}"
            try:
                ended = yield from self._turn(stream, chosen, reading, query or {}, where)
            except GiveUp as error:
                if resumed and error.where == where and refuses_place(error):
                    reading.begin_anew(stream)
                    resumed = False
                    continue
                if (error.code, error.where) == ("pagination_loop", where):
                    # Whoever went on from here would come round again for ever, also once the source is mended.
                    yield Batch(stream, table([]), reading.beginning().cursor())
                raise
            resumed = False

    def _turn(
        self, name: str, stream: StreamOptions, reading: Reading, query: Mapping[str, Any], where: str
    ) -> Generator[Batch, None, bool]:
        """Read one page and move on; whether it was the last one."""
        footing = _footing(stream)
        page = self._ask(stream, {**_values(stream, reading), **query}, where, cut=bool(stream.nested))
        reading.clock = reading.clock or page.clock
        following, last, some = page.following, page.last, reading.taken > 0
        counts = not footing.names_records(reading, last, page.end)
        if counts and footing.looks_back(reading, page.nodes):
            there = yield from self._looked_back(name, stream, reading, query, footing)
            if not there:
                return False
        begins = next(iter(footing.names(islice(iter(page.nodes), 1))), "")
        again, tail = some, deque[str](maxlen=TAIL)
        for taken, rows, rejects in self._parts(stream, page, reading, where, footing, tail):
            some = some or bool(rows)
            if taken == len(page.nodes):
                break
            reading.taken = taken
            yield Batch(name, table(rows), reading.cursor(), None, complete=False, rejects=tuple(rejects))
            for row in rows:
                row.clear()  # it is in the batch: what it held need not stay while the next part is read
        ends = begins, list(tail)
        if stream.key and not again and footing.came_before(reading, ends, len(page.nodes)) > SAME:
            raise circle("the source gives the same page again", where)
        reading.count(some, self._options.max_pages, where)
        complete = False
        if following is None:
            complete = self._proven(name, reading) and not query
            reading.loose = reading.loose or not reading.whole  # what an error hid is asked for again
            reading.tell_ahead(name)
            reading.finish()
        else:
            url = httpx.URL(self._options.url)
            footing.passed(reading, ends, len(page.nodes), 0, following, url, last)
            reading.advance(following, where)
        yield Batch(name, table(rows), reading.cursor(), None, complete, tuple(rejects))
        if following is not None and page.wait:
            self._pause(page.wait, where)
        return following is None

    def _looked_back(
        self, name: str, stream: StreamOptions, reading: Reading, query: Mapping[str, Any], footing: Footing
    ) -> Generator[Batch, None, bool]:
        """The page before once more, if rows have moved into it; whether to go on from there."""
        where = f"stream {name}, page {reading.page - 1}"
        then = replace(reading, at=reading.back)
        page = self._ask(stream, {**_values(stream, then), **query}, where, cut=bool(stream.nested))
        moved = footing.moved(reading, page.nodes)
        if moved is None:
            footing.back(reading)
        elif moved:
            tail, count = deque[str](maxlen=TAIL), len(page.nodes)
            reading.taken = 0
            for _, rows, rejects in self._parts(stream, page, reading, where, footing, tail):
                reading.taken, reading.body = then.taken, then.body  # of the page that this one stands before
                reading.order, reading.latest = then.order, then.latest  # these records were met before
                yield Batch(name, table(rows), reading.cursor(), None, complete=False, rejects=tuple(rejects))
            reading.tail, reading.full = list(tail), count
        return moved is not None

    def _proven(self, name: str, reading: Reading) -> bool:
        """Whether the end of this pass says that everything was read; the log has it where rows may have moved."""
        whole = reading.whole and reading.since is None
        if whole and reading.loose:
            result = "rows may have moved between two pages: what was not met is not taken for deleted this time"
            log.info("nothing_counts_as_gone", stream=name, result=result)
        return whole and not reading.loose

    def dance_instructions(self) -> dict[str, Any]:
        return {**super().dance_instructions(), "nectar_sources": list(self._options.streams)}

    def source_identity(self) -> str:
        return f"graphql {self._options.url.rstrip('/')}"

    def stream_identity(self, stream: str) -> str:
        """A hash of query, variables and nested queries."""
        chosen = named_stream(self._options.streams, stream)
        parts = [chosen.query, chosen.connection, chosen.variables]
        parts += [[path, one.query, one.connection] for path, one in sorted(chosen.nested.items())]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]

    def close(self) -> None:
        if self._open:
            self._open.close()
        self._open = None

    def _parts(
        self,
        stream: StreamOptions,
        page: Page,
        reading: Reading,
        where: str,
        footing: Footing,
        tail: deque[str],
    ) -> Iterator[tuple[int, list[dict[str, Any]], list[Reject]]]:
        """A page's records, whole, and what could not be had, some at a time; with how many nodes are read by then.

        What `reading` has taken of the same nodes is left out. Errors come with the last part. `tail` gets the names
        of the last nodes.
        """
        taken, reading.taken = _taken(page, reading), 0
        reading.whole = reading.whole and not page.errors  # of the first part already: another time they may not come
        for nodes in page.parts(taken):
            tail.extend(footing.names(nodes[-TAIL:]))
            for items, rejects in self._completed(stream, nodes, reading, where, split=isinstance(page.nodes, Pieces)):
                first, taken = taken + 1, taken + len(items)
                if taken == len(page.nodes):
                    rejects[:0] = rejects_of(page.errors, where)
                yield taken, *self._rows(stream, page, items, rejects, reading, where, first)

    def _completed(
        self, stream: StreamOptions, nodes: list[Any], reading: Reading, where: str, *, split: bool
    ) -> Iterator[tuple[list[Any], list[Reject]]]:
        """Nodes with all of their inner connections. `split`: parted where much had to be read for them."""
        if not stream.nested:
            yield nodes, []
            return
        items: list[Any] = []
        rejects: list[Reject] = []
        size = 0
        for number, item in enumerate(nodes, 1):
            for path, nested in stream.nested.items() if isinstance(item, dict) else ():
                missed, bytes_ = self._complete(item, path, nested, where)
                reading.whole = reading.whole and not missed
                rejects += missed
                size += bytes_
            items.append(item)
            if split and size >= LARGE and number < len(nodes):
                yield items, rejects
                items, rejects, size = [], [], 0
        yield items, rejects

    def _rows(
        self,
        stream: StreamOptions,
        page: Page,
        nodes: list[Any],
        rejects: list[Reject],
        reading: Reading,
        where: str,
        first: int,
    ) -> tuple[list[dict[str, Any]], list[Reject]]:
        """Part the records from what is none; `first` is the number of the first node in its page."""
        items = [node for node in nodes if node is not None] if page.errors else nodes
        refuse_strangers(items, where, "connection")
        cut = next((found for item in items if (found := truncated(item))), None)
        if cut:
            advice = "describe it in the stream's `nested`, or ask for more in one page"
            raise GiveUp(f"'{cut}' of a record has more pages", code="truncated", where=where, advice=advice)
        rows, unfit = sift(items, where, first)
        if stream.cursor and stream.cursor_variable:
            reading.note([row.get(stream.cursor) for row in rows])
        return rows, [*rejects, *unfit]

    def _complete(self, item: dict[str, Any], path: str, nested: Nested, where: str) -> tuple[list[Reject], int]:
        """Make a record's inner connection the list of all its nodes.

        Gives what could not be had of it, and the bytes that were read for it.
        """
        holder, _, name = path.rpartition(".")
        parent: Any = item
        for part in holder.split(".") if holder else ():
            parent = parent.get(part) if isinstance(parent, dict) else None
        if not isinstance(parent, dict) or parent.get(name) is None:
            return [], 0
        where = f"{where}, {path}"
        inner = page_of({name: parent[name]}, name, where)
        found, rejects, reading, size = list(inner.nodes), [], Reading(), 0
        following, wait = inner.following, inner.wait
        while following is not None:
            reading.advance(following, where)
            values = {nested.parent_variable: item.get(nested.parent_field), nested.after_variable: following}
            if wait:
                self._pause(wait, where)
            inner = self._ask(nested, values, where)
            following, wait, size = inner.following, inner.wait, size + inner.size
            if len(found) + len(inner.nodes) > _MOST_NESTED or size > _LARGEST_NESTED:
                advice = "read it as a stream of its own"
                message = f"one record holds more than {_MOST_NESTED}, or more than {_LARGEST_NESTED >> 20} MiB of them"
                raise GiveUp(message, code="too_many", where=where, advice=advice)
            for nodes in inner.parts():
                found += nodes
            rejects += rejects_of(inner.errors, where)
            del inner  # the answer, before the next one comes
        parent[name] = [node for node in found if node is not None]
        return rejects, size

    def _ask(self, query: Connected, values: Mapping[str, Any], where: str, *, cut: bool = False) -> Page:
        """One page. Errors without data are raised. A large one comes in pieces, and any with `cut` that can be cut.

        A login that is refused inside of an answer is renewed once.
        """
        try:
            return self._answered(query, values, where, cut=cut)
        except GiveUp as error:
            if error.code != "denied" or error.status or not self._client.renew():
                raise
        return self._answered(query, values, where, cut=cut)

    def _answered(self, query: Connected, values: Mapping[str, Any], where: str, *, cut: bool) -> Page:
        asked = self._clock()
        answer = self._send(query.query, values, where, also=(BAD_QUERY,))
        if answer.status == BAD_QUERY:
            raise refused(answer.body, where, answer.headers)
        cut = cut or len(answer.body) >= LARGE
        pieces = pieces_at(answer.body, query.connection, query.list_name) if cut else None
        told = whole(answer.body, where) if pieces is None else pieces.around
        data, errors = told.get("data"), told.get("errors") or []
        if not isinstance(errors, list) or not isinstance(data, dict | None):
            raise GiveUp("the answer is none of GraphQL", code="not_graphql", where=where, advice="check url")
        if len(errors) > _MOST_ERRORS:
            message = f"the answer holds more than {_MOST_ERRORS:,} errors"
            raise GiveUp(message, code="too_many_values", where=where, advice="try the query against the API by hand")
        if data is None and not errors:
            raise GiveUp("the answer holds neither data nor errors", code="not_graphql", where=where)
        wait = wait_of(told, asked)
        if errors:
            problem = errors_of(errors, where, wait, answer.headers)
            if data is None or standing(data, query.connection) is None:
                raise problem.failure
        page = page_of(data or {}, query.connection, where)
        page.errors, page.wait, page.size = errors, wait, len(answer.body)
        page.clock = began(answer.headers, asked)
        page.nodes = page.nodes if pieces is None else pieces
        return page

    def _send(self, query: str, values: Mapping[str, Any], where: str, also: tuple[int, ...] = ()) -> Answer:
        content = text({"query": query, "variables": dict(values)}).encode()
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        options, sleep = self._options, self._sleep
        return patiently(
            self._client, "POST", options.url, where=where, headers=headers, content=content, options=options,
            sleep=sleep, also=also,
        )  # fmt: skip

    def _pause(self, seconds: float, where: str) -> None:
        """Before a page that the budget does not allow yet."""
        if seconds > min(self._options.rate_limit_wait, LONGEST_PAUSE):
            message = "what the source allows is used up"
            raise RetryLater(message, after=seconds, code="rate_limited", where=where)
        self._sleep(max(seconds, SHORTEST_WAIT))

    def _typed(self, name: str, stream: StreamOptions) -> tuple[Column, ...]:
        """Columns of a stream, of the API's own types; none where it does not tell them."""
        if not self._options.introspect:
            return ()
        if name not in self._columns:
            try:
                self._columns[name] = tuple(self._introspected(stream))
            except SourceError:
                return ()  # many do not answer; that the records can be had is for others to find out
        return self._columns[name]

    def _introspected(self, stream: StreamOptions) -> Iterator[Column]:
        told = whole(self._send(_ROOT, {}, "introspection").body, "introspection")
        type_ = standing(told, "data.__schema.queryType.name")
        at: AskedField | None = stream.asked.root
        for part in stream.node_path.split("."):
            at = at.selection.get(part) if at else None
            found = self._fields(type_).get(at.name if at else "")
            type_ = _innermost(found).get("name") if found else None
        fields = self._fields(type_)
        for alias, asked in stream.node.selection.items():
            if asked.name in fields:
                yield Column(escape(alias), *_kind(fields[asked.name]))

    def _fields(self, type_: Any) -> dict[str, dict[str, Any]]:
        """The fields of a type, by name: the type of each."""
        if not isinstance(type_, str):
            return {}
        told = whole(self._send(_TYPE, {"name": type_}, "introspection").body, "introspection")
        fields = standing(told, "data.__type.fields")
        wanted = [one for one in fields if isinstance(one, dict)] if isinstance(fields, list) else []
        return {str(one.get("name")): one["type"] for one in wanted if isinstance(one.get("type"), dict)}

    @property
    def _client(self) -> HttpClient:
        if self._open is None:
            self._open = open_client(self._options, self._options.url, _NAMES, gate=self._gate)
        return self._open


def _footing(stream: StreamOptions) -> Footing:
    """Looks at the joints of pages whose cursors count."""
    followed = stream.cursor_variable is not None
    told = (*stream.key, stream.cursor) if stream.key and stream.cursor else ()
    return Footing(_BY_CURSOR, told, followed=followed, claims=not followed)


def _values(stream: StreamOptions, reading: Reading) -> dict[str, Any]:
    """The variables of the next page. Those without a value are left out: the query's own defaults hold."""
    values: dict[str, Any] = dict(stream.variables)
    if stream.cursor_variable and reading.since is not None:
        values[stream.cursor_variable] = less(reading.since, stream.lookback)
    if reading.at is not None:
        values[stream.after_variable] = reading.at
    return values


def _taken(page: Page, reading: Reading) -> int:
    """How many nodes of a page were given out before a stop, if they are the same ones.

    A page that is another one each time comes at once after a stop, or it might never be read to its end; a large one
    is soon read.
    """
    if not isinstance(page.nodes, Pieces):
        return 0
    again, same = reading.taken > 0, reading.same_body(page.nodes.mark.encode())
    if again and not same and page.size < LARGE:
        page.nodes = list(page.nodes)
    return reading.taken if same else 0


def _innermost(type_: Mapping[str, Any]) -> Mapping[str, Any]:
    """A type without its lists and its `!`."""
    while isinstance(type_.get("ofType"), dict):
        type_ = type_["ofType"]
    return type_


def _kind(type_: Mapping[str, Any]) -> tuple[Kind, bool]:
    """Kind of a column and whether it may be null."""
    nullable = type_.get("kind") != "NON_NULL"
    inner = type_ if nullable else type_.get("ofType") or {}
    if inner.get("kind") in ("SCALAR", "ENUM"):
        return _KINDS.get(str(inner.get("name")), "text"), nullable
    return "json", nullable

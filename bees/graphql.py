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
from typing import TYPE_CHECKING, Any

from bees.core import exact_json
from bees.core.address import OptionNames
from bees.core.cursors import highest, less
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.graphql import Field as AskedField
from bees.core.graphql_answer import Page, errors_of, page_of, truncated, wait_of
from bees.core.graphql_options import Connected, GraphqlOptions, Nested, StreamOptions
from bees.core.http import Answer, HttpClient
from bees.core.http_verdict import SHORTEST_WAIT
from bees.core.paging import MOST_EMPTY, Reading, circle
from bees.core.resilience.gate import GatedBee
from bees.core.rest.client import LONGEST_PAUSE, named_stream, offered, open_client, patiently
from bees.core.rest.formats import bounded
from nectar.batch import Batch, Cursor, Reject
from nectar.errors import SkipRecord
from nectar.jsonrows import escape, sift, table, text
from nectar.pollen import Column, Kind, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bees.core.http import Gate

_NAMES = OptionNames("url", networks="allow_networks")
_MOST_NESTED = 10_000
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
        self, options: GraphqlOptions, *, sleep: Callable[[float], None] = time.sleep, gate: Gate | None = None
    ) -> None:
        super().__init__(options)
        self._options = options
        self._sleep = sleep
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
        """One batch a page. `query` holds variables of this read alone; they win over the stream's own."""
        chosen = named_stream(self._options.streams, stream)
        reading = Reading.of(cursor)
        empty = 0
        following: str | None = ""
        while following is not None:
            where = f"stream {stream}, page {reading.page}"
            page = self._ask(chosen, {**_values(chosen, reading), **(query or {})}, where)
            rows, rejects = self._records(chosen, page, reading, where)
            following, wait = page.following, page.wait
            empty = 0 if rows else empty + 1
            complete = following is None and reading.whole and reading.since is None and not query
            if following is None:
                reading.high = reading.high if reading.whole else None  # what an error hid is asked for again
                reading.finish()
            elif empty >= MOST_EMPTY:
                raise circle(f"{MOST_EMPTY} pages without a record come one after another", where)
            else:
                reading.advance(following, where)
            yield Batch(stream, table(rows), reading.cursor(), None, complete, tuple(rejects))
            if following is not None and wait:
                self._pause(wait, where)

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

    def _records(
        self, stream: StreamOptions, page: Page, reading: Reading, where: str
    ) -> tuple[list[dict[str, Any]], list[Reject]]:
        """A page's records, whole, and what could not be had."""
        rejects = _rejects(page.errors, where)
        reading.whole = reading.whole and not page.errors
        items = [item for item in page.nodes if item is not None] if page.errors else page.nodes
        for item in items:
            if isinstance(item, dict):
                for path, nested in stream.nested.items():
                    missed = self._complete(item, path, nested, where)
                    reading.whole = reading.whole and not missed
                    rejects += missed
        cut = next((found for item in items if (found := truncated(item))), None)
        if cut:
            advice = "describe it in the stream's `nested`, or ask for more in one page"
            raise GiveUp(f"'{cut}' of a record has more pages", code="truncated", where=where, advice=advice)
        rows, unfit = sift(items, where)
        if stream.cursor and stream.cursor_variable:
            reading.high = highest(reading.high, (row.get(stream.cursor) for row in rows))
        return rows, [*rejects, *unfit]

    def _complete(self, item: dict[str, Any], path: str, nested: Nested, where: str) -> list[Reject]:
        """Make a record's inner connection the list of all its nodes; gives what could not be had of it."""
        holder, _, name = path.rpartition(".")
        parent: Any = item
        for part in holder.split(".") if holder else ():
            parent = parent.get(part) if isinstance(parent, dict) else None
        if not isinstance(parent, dict) or parent.get(name) is None:
            return []
        where = f"{where}, {path}"
        inner = page_of({name: parent[name]}, name, where)
        found, rejects, reading = list(inner.nodes), [], Reading()
        while inner.following is not None:
            reading.advance(inner.following, where)
            values = {nested.parent_variable: item.get(nested.parent_field), nested.after_variable: inner.following}
            if inner.wait:
                self._pause(inner.wait, where)
            inner = self._ask(nested, values, where)
            found += inner.nodes
            rejects += _rejects(inner.errors, where)
            if len(found) > _MOST_NESTED:
                advice = "read it as a stream of its own"
                raise GiveUp(f"one record holds more than {_MOST_NESTED}", code="too_many", where=where, advice=advice)
        parent[name] = [node for node in found if node is not None]
        return rejects

    def _ask(self, query: Connected, values: Mapping[str, Any], where: str) -> Page:
        """One page. Errors without data are raised."""
        answer, told = self._send(query.query, values, where)
        data, errors = told.get("data"), told.get("errors") or []
        if not isinstance(errors, list) or not isinstance(data, dict | None):
            raise GiveUp("the answer is none of GraphQL", code="not_graphql", where=where, advice="check url")
        if data is None and not errors:
            raise GiveUp("the answer holds neither data nor errors", code="not_graphql", where=where)
        wait = wait_of(told, time.time())
        if errors:
            problem = errors_of(errors, where, wait, answer.headers)
            if data is None or _at(data, query.connection) is None:
                raise problem.failure
        page = page_of(data or {}, query.connection, where)
        page.errors, page.wait = errors, wait
        return page

    def _send(self, query: str, values: Mapping[str, Any], where: str) -> tuple[Answer, dict[str, Any]]:
        content = text({"query": query, "variables": dict(values)}).encode()
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        options, sleep = self._options, self._sleep
        answer = patiently(
            self._client,
            "POST",
            options.url,
            where=where,
            headers=headers,
            content=content,
            options=options,
            sleep=sleep,
        )
        advice = "check url: is this the API, or a page for people?"
        try:
            bounded(answer.body, where)
            told = exact_json.read(answer.body)
        except SkipRecord as error:
            raise GiveUp(f"the answer is no JSON: {error}", code="not_json", where=where, advice=advice) from None
        if not isinstance(told, dict):
            raise GiveUp("the answer is none of GraphQL", code="not_graphql", where=where, advice=advice)
        return answer, told

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
        _, told = self._send(_ROOT, {}, "introspection")
        type_ = _at(told, "data.__schema.queryType.name")
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
        _, told = self._send(_TYPE, {"name": type_}, "introspection")
        fields = _at(told, "data.__type.fields")
        wanted = [one for one in fields if isinstance(one, dict)] if isinstance(fields, list) else []
        return {str(one.get("name")): one["type"] for one in wanted if isinstance(one.get("type"), dict)}

    @property
    def _client(self) -> HttpClient:
        if self._open is None:
            self._open = open_client(self._options, self._options.url, _NAMES, gate=self._gate)
        return self._open


def _values(stream: StreamOptions, reading: Reading) -> dict[str, Any]:
    """The variables of the next page. Those without a value are left out: the query's own defaults hold."""
    values: dict[str, Any] = dict(stream.variables)
    if stream.cursor_variable and reading.since is not None:
        values[stream.cursor_variable] = less(reading.since, stream.lookback)
    if reading.at is not None:
        values[stream.after_variable] = reading.at
    return values


def _rejects(errors: Sequence[Any], where: str) -> list[Reject]:
    told = errors_of(errors, where)
    return [
        Reject(f"{where}, error {number}", "graphql_error", reason, text(error).encode("utf-8", "backslashreplace"))
        for number, (error, reason) in enumerate(zip(errors, told.reasons, strict=True), 1)
    ]


def _at(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


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

"""What a GraphQL server answers: a page of a connection, errors with their verdict, and how long to wait.

No text of the server goes into a message: of its errors a code that we know, and the names of the path.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from bees.core import exact_json
from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.http_verdict import retry_after
from bees.core.rest.pieces import Pieces, cut, takes_more
from nectar.batch import Reject
from nectar.errors import SkipRecord
from nectar.jsonrows import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LARGE = 1 << 20
"""Bytes from which an answer is read in pieces."""
BAD_QUERY = 400
"""Status of an answer to a query that is none."""
_ROOM = 48 << 20
"""Bytes of memory that the values of a large answer may take at once."""

_SHOWN = 1_000
_LIMITED = {"RATE_LIMITED", "THROTTLED", "RATE_LIMIT_EXCEEDED", "TOO_MANY_REQUESTS", "RATELIMITED"}
_DENIED = {"UNAUTHENTICATED", "FORBIDDEN", "INSUFFICIENT_SCOPES", "ACCESS_DENIED", "UNAUTHORIZED"}
_AGAIN = {"INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE", "INTERNAL", "TIMEOUT", "DOWNSTREAM_SERVICE_ERROR"}
_OTHERS = {
    *("NOT_FOUND", "BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED", "BAD_REQUEST"),
    *("MAX_NODE_LIMIT_EXCEEDED", "MAX_COST_EXCEEDED", "PERSISTED_QUERY_NOT_FOUND", "EXCESSIVE_PAGINATION"),
}
_KNOWN = _LIMITED | _DENIED | _AGAIN | _OTHERS
_NAME = re.compile(r"[_A-Za-z][_0-9A-Za-z]{0,60}")
_PARTS = 12
_LONGEST_WAIT = 86_400.0


@dataclass
class Page:
    """`following` is where the next page begins, None for the last. `wait`: seconds before the source allows it.

    `end`: the place behind the last node, also on the last page. `size`: bytes of the answer. `clock`: the source's
    time at the request.
    """

    nodes: list[Any] | Pieces
    following: str | None = None
    end: str | None = None
    errors: list[Any] = field(default_factory=list)
    wait: float = 0.0
    size: int = 0
    clock: str = ""

    @property
    def last(self) -> dict[str, Any]:
        """The plain values of the last node."""
        return _values_of(self.nodes[-1] if self.nodes else None)

    def parts(self, taken: int = 0) -> Iterator[list[Any]]:
        """The nodes behind the first `taken`, some at a time; at least one part, and none but it is empty."""
        if not isinstance(self.nodes, Pieces):
            yield self.nodes[taken:]
            return
        left = len(self.nodes) - taken
        for _, nodes, _ in self.nodes.after(taken):
            left -= len(nodes)
            yield nodes
            if not left:
                return


@dataclass(frozen=True)
class Errors:
    """`failure` is what to raise where there is no data; a reason for each error."""

    failure: SourceError
    reasons: list[str]


def page_of(data: Mapping[str, Any], path: str, where: str) -> Page:
    """The connection or list at a dotted path. Raises GiveUp for what is neither, or cannot be read on."""
    found: Any = data
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, list):
        return Page(found)
    if not isinstance(found, dict):
        advice = "check connection, and the variables: does what they name exist?"
        raise GiveUp(f"no connection stands at '{path}'", code="no_records", where=where, advice=advice)
    nodes = found.get("nodes")
    if nodes is None and isinstance(found.get("edges"), list):
        nodes = _at_edges(found["edges"])
    if not isinstance(nodes, list):
        advice = "ask for nodes, or for edges with a node in each"
        raise GiveUp(f"'{path}' holds neither nodes nor edges", code="no_records", where=where, advice=advice)
    return Page(nodes, *_following(found.get("pageInfo"), where))


def pieces_at(raw: bytes, path: str, name: str) -> Pieces | None:
    """The nodes of the connection at a dotted path of `data`, in pieces; None: they are to be read as a whole.

    name   `nodes` or `edges`; empty where a list stands at the path
    """
    place = f"data.{path}.{name}" if name else f"data.{path}"
    found = cut(raw, place, _ROOM)
    if found is None or standing(found.around, place) != [0][: len(found)]:
        return None  # of two members of one name the last one counts, and the first one was cut
    last = _at_edges([found.last])[0] if name == "edges" else found.last
    found = replace(found, last=_values_of(last))  # the whole of it may be large
    if name != "edges":
        return found
    if standing(found.around, f"data.{path}.nodes") is not None:
        return None
    return replace(found, parts=lambda: ((_at_edges(edges), rejects) for edges, rejects in found.parts()))


def whole(raw: bytes, where: str) -> dict[str, Any]:
    """An answer, read at once. Raises GiveUp (`not_json`, `not_graphql`, `too_many_values`)."""
    advice = "check url: is this the API, or a page for people?"
    if len(raw) >= LARGE and raw[:_SHOWN].lstrip()[:1] == b"{" and takes_more(raw, _ROOM):
        message = "one record of a large answer, or what stands beside its records, holds too many values"
        smaller = "ask for less in each record, and for what it holds many of as a stream of its own"
        raise GiveUp(message, code="too_many_values", where=where, advice=smaller)
    try:
        told = exact_json.read(raw)
    except SkipRecord as error:
        raise GiveUp(f"the answer is no JSON: {error}", code="not_json", where=where, advice=advice) from None
    if not isinstance(told, dict):
        raise GiveUp("the answer is none of GraphQL", code="not_graphql", where=where, advice=advice)
    return told


def standing(value: Any, path: str) -> Any:
    """What stands at a dotted path, or None."""
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _at_edges(edges: list[Any]) -> list[Any]:
    return [edge.get("node") if isinstance(edge, dict) else edge for edge in edges]


def _values_of(node: Any) -> dict[str, Any]:
    return {name: value for name, value in node.items() if type(value) in (str, int)} if isinstance(node, dict) else {}


def _following(info: Any, where: str) -> tuple[str | None, str | None]:
    """Where the next page begins, None for the last one; and where the connection says that this page ends."""
    if not isinstance(info, dict) or not isinstance(info.get("hasNextPage"), bool):
        advice = "ask for pageInfo { hasNextPage endCursor }"
        raise GiveUp(
            "the connection does not say whether it has more pages", code="no_page_info", where=where, advice=advice
        )
    end = info.get("endCursor")
    end = end if isinstance(end, str) and end else None
    if not info["hasNextPage"]:
        return None, end
    if end is None:
        raise GiveUp("another page follows, and endCursor does not say where", code="bad_cursor", where=where)
    return end, end


def truncated(record: Any) -> str | None:
    """The path of a connection inside of a record that has more pages, or None."""
    stack = [(record, "")]
    while stack:
        value, path = stack.pop()
        if isinstance(value, list):
            stack += [(item, path) for item in value]
        elif isinstance(value, dict):
            info = value.get("pageInfo")
            if isinstance(info, dict) and info.get("hasNextPage") is True:
                return path
            stack += [(inner, f"{path}.{name}".lstrip(".")) for name, inner in value.items()]
    return None


def errors_of(errors: Sequence[Any], where: str, wait: float = 0.0, headers: Mapping[str, str] | None = None) -> Errors:
    """What the errors of an answer mean. The one that waiting mends decides, then the one that credentials do."""
    codes = [_code(error) for error in errors]
    reasons = [f"{code or 'an error'}{_place(error)}" for code, error in zip(codes, errors, strict=True)]
    said = ", ".join(dict.fromkeys(reasons[:3])) + (", ..." if len(reasons) > 3 else "")
    found = set(codes)
    failure: SourceError
    if found & _LIMITED:
        after = retry_after(headers or {}) or wait or None
        failure = RetryLater(f"too many or too costly queries: {said}", after=after, code="rate_limited", where=where)
    elif found & _DENIED:
        advice = "check auth and the rights behind it"
        failure = GiveUp(f"these credentials may not read this: {said}", code="denied", where=where, advice=advice)
    elif found & _AGAIN:
        failure = RetryLater(f"the server failed: {said}", code="server_error", where=where)
    else:
        advice = "try the query against the API by hand: it tells more"
        failure = GiveUp(f"the query is answered with errors: {said}", code="graphql_error", where=where, advice=advice)
    return Errors(failure, reasons)


def refused(body: bytes, where: str, headers: Mapping[str, str]) -> SourceError:
    """What a status 400 means: GraphQL over HTTP has it for a query that is none, with the errors in the body."""
    try:
        errors = whole(body, where).get("errors")
    except GiveUp:
        errors = None
    if isinstance(errors, list) and errors:
        return errors_of(errors[:_PARTS], where, headers=headers).failure
    return GiveUp(f"status {BAD_QUERY} is no answer to this request", code="unexpected_status", where=where)


def rejects_of(errors: Sequence[Any], where: str) -> list[Reject]:
    """Errors beside data, one by one."""
    told = errors_of(errors, where)
    return [
        Reject(f"{where}, error {number}", "graphql_error", reason, text(error).encode("utf-8", "backslashreplace"))
        for number, (error, reason) in enumerate(zip(errors, told.reasons, strict=True), 1)
    ]


def _code(error: Any) -> str:
    """A code that we know; of `extensions.code`, or of `type` as GitHub has it."""
    told = error if isinstance(error, dict) else {}
    extensions = told.get("extensions")
    words = [extensions.get("code") if isinstance(extensions, dict) else None, told.get("type")]
    return next((word.upper() for word in words if isinstance(word, str) and word.upper() in _KNOWN), "")


def _place(error: Any) -> str:
    path = error.get("path") if isinstance(error, dict) else None
    parts = path[:_PARTS] if isinstance(path, list) else []
    plain = [
        str(part) for part in parts if isinstance(part, int) or re.fullmatch(r"[_A-Za-z]\w{0,60}", str(part), re.ASCII)
    ]
    return f" at {'.'.join(plain)}" if plain else _line(error)


def _line(error: Any) -> str:
    """Where in the query."""
    places = error.get("locations") if isinstance(error, dict) else None
    first = places[0] if isinstance(places, list) and places and isinstance(places[0], dict) else {}
    line, column = first.get("line"), first.get("column")
    return f" at line {line}, column {column} of the query" if type(line) is int and type(column) is int else ""


def wait_of(answer: Mapping[str, Any], now: float) -> float:
    """Seconds until the source allows as costly a query again; 0: it does now, or does not say. `now`: of the epoch."""
    data, extensions = answer.get("data"), answer.get("extensions")
    limit = data.get("rateLimit") if isinstance(data, dict) else None
    if isinstance(limit, dict):
        left, needed = _number(limit.get("remaining")), _number(limit.get("cost")) or 1.0
        if left is not None and left < needed:
            return _until(limit.get("resetAt"), now)
    cost = extensions.get("cost") if isinstance(extensions, dict) else None
    status = cost.get("throttleStatus") if isinstance(cost, dict) else None
    if isinstance(cost, dict) and isinstance(status, dict):
        needed = _number(cost.get("requestedQueryCost")) or 0.0
        left, rate = _number(status.get("currentlyAvailable")), _number(status.get("restoreRate"))
        if left is not None and rate and left < needed:
            return min(math.ceil((needed - left) / rate), _LONGEST_WAIT)
    return 0.0


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return min(float(value), 1e12) if is_number and value >= 0 else None


def _until(text: Any, now: float) -> float:
    """Seconds to an ISO instant; a minute where it is none."""
    try:
        then = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return 60.0
    seconds = (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now
    return min(max(seconds, 1.0), _LONGEST_WAIT)

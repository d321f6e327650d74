"""One API in the hand: the client, its addresses, its errors that come with status 200."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx

from bees.core.address import OptionNames
from bees.core.errors import GiveUp, RetryLater
from bees.core.http import Answer, Gate, HttpClient, checked_url
from bees.core.paging import began
from bees.core.paths import MISSING, dig
from bees.core.rest import formats
from bees.core.rest.client import open_client, patiently
from bees.core.rest.options import RestOptions, joined
from bees.core.rest.pieces import Part, Pieces
from nectar.jsonrows import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_NAMES = OptionNames("base_url", networks="allow_networks", origins="allow_origins")
_ERRORS = ("error", "errors", "fault")
_SUCCESS = ("ok", "success")
_OUTCOMES, _FAILED = ("status", "result"), {"error", "fail", "failed", "failure"}
_REASONS = ("message", "msg", "code", "reason", "detail", "description")
"""Beside such a word there is a reason; alone it may be what was asked for: the jobs that failed."""
_WORDS, _WELL = ("errorMessage", "error_message", "errmsg"), {"ok", "success", "none", "no error", "0"}
_CODES = ("errorCode", "error_code", "errcode")
_STATUSES = ("statusCode", "status_code")
MOST_ASKED = 10_000
LONGEST_PAGE = 3_600.0
"""Requests, and seconds, of a function for one page."""
_MOST_STRANGE = 10_000
"""Items of a page that are no objects, before the page is none."""


class Source:
    """Asks one API; opened when it is first asked. Not thread-safe."""

    def __init__(
        self,
        options: RestOptions,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
        gate: Gate | None = None,
    ) -> None:
        self.options = options
        self.clock = clock
        self._sleep = sleep
        self.gate = gate
        self._open: HttpClient | None = None

    @property
    def client(self) -> HttpClient:
        if self._open is None:
            self._open = open_client(self.options, self.options.base_url, _NAMES, self.options.allow_origins, self.gate)
        return self._open

    def close(self) -> None:
        if self._open:
            self._open.close()
        self._open = None

    def url(self, path: str, params: Mapping[str, Any]) -> httpx.URL:
        return checked_url(joined(self.options.base_url, path)).copy_merge_params(dict(params))

    def ask(
        self,
        url: httpx.URL,
        where: str,
        headers: Mapping[str, str],
        *,
        method: str = "GET",
        content: bytes | None = None,
    ) -> Answer:
        options, sleep = self.options, self._sleep
        return patiently(
            self.client, method, url, where=where, headers=headers, content=content, options=options, sleep=sleep
        )

    def followed(self, answer: Answer, link: Any, where: str) -> str:
        """A next link as a whole URL of an origin that the operator named."""
        problem = ""
        target = answer.url
        try:
            target = checked_url(str(answer.url.join(str(link))))
        except (httpx.InvalidURL, ValueError, GiveUp):
            problem = "the next link is no plain http or https address"
        if not problem and not self.client.is_named(target):
            problem = "the next link leads to another origin"
        if problem:
            advice = "if it is meant to, list that origin in allow_origins"
            raise GiveUp(problem, code="foreign_link", where=where, advice=advice)
        return str(self.client.without_credentials(target))

    def check(self, body: Any, where: str) -> None:
        """Raises what a body says that came with status 200 and tells of an error. Its words are not repeated."""
        told = self.options.errors
        found = dig(body, told.at) if told else MISSING
        if not told or found is MISSING or found in (None, False, "", 0, [], {}):
            return
        message = f"the source answers with an error at '{told.at}'"
        if str(found) in told.retry:
            raise RetryLater(message, code="rate_limited", where=where)
        if str(found) in told.denied:
            raise GiveUp("the credentials are refused", code="denied", where=where, advice="check auth, and its rights")
        raise GiveUp(
            message, code="error_inside", where=where, advice="try the request by hand; look at path and params"
        )


class HookHttp:
    """What a fetcher gets: see `bees.core.rest.hooks`."""

    def __init__(self, source: Source, where: str) -> None:
        """`clock` is the source's time at the first request, ours until then."""
        self._source = source
        self._where = where
        self._count, self._begun = 0, time.monotonic()
        self.clock = began({}, source.clock())

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return self._asked("GET", path, params, None)

    def post(self, path: str, json: Any, params: Mapping[str, Any] | None = None) -> Any:
        return self._asked("POST", path, params, encoded(json, "json"))

    def _asked(self, method: str, path: str, params: Mapping[str, Any] | None, content: bytes | None) -> Any:
        headers = {"Accept": formats.ACCEPT["json"], **({"Content-Type": "application/json"} if content else {})}
        url = self._source.url(path, params or {})
        self._count += 1
        if self._count > MOST_ASKED or time.monotonic() - self._begun > LONGEST_PAGE:
            message = f"the function sends more than {MOST_ASKED:,} requests, or works for more than an hour"
            advice = "give one page at a time, and where the next one begins"
            raise GiveUp(message, code="hook_failed", where=self._where, advice=advice)
        asked = self._source.clock()
        answer = self._source.ask(url, self._where, headers, method=method, content=content)
        self.clock = self.clock if self._count > 1 else began(answer.headers, asked)
        body, _ = formats.read(answer.body, "json", self._where, decimals=True) if answer.status != 204 else ([], [])
        self._source.check(body, self._where)
        return body


def encoded(body: Any, form: str) -> bytes:
    """A body as it is sent."""
    if form == "json":
        return text({} if body is None else body).encode()
    pairs = [(str(key), value if isinstance(value, str) else text(value)) for key, value in (body or {}).items()]
    return urlencode(pairs).encode()


def records(body: Any, path: str | None, where: str, *, may_lack: bool = False) -> list[Any]:
    """The list of records in a page; one record where XML has a single element.

    Null at the path is an empty list, as some sources write it; `may_lack`: so is nothing at all.
    """
    found = body if path is None else _at(body, path)
    inside = _errors_of(body)
    if path is None and isinstance(body, dict):
        lists = {name: value for name, value in body.items() if isinstance(value, list)}
        held = any(value for name, value in lists.items() if name not in inside)
        inside = [] if held else inside
        found = next(iter(lists.values())) if len(lists) == 1 else MISSING
    if inside and (path is None or found in (MISSING, None, [])):
        message = f"the answer tells of an error (its '{inside[0]}') and holds no record"
        raise GiveUp(message, code="error_inside", where=where, advice="try the request by hand")
    if isinstance(found, list):
        return found
    if path and (found is None or (found is MISSING and may_lack)):
        return []
    problem = f"no list stands at '{path}'" if path else "the body is no list and does not hold exactly one"
    advice = "set records: the dotted path to the list"
    if path is None and isinstance(body, dict):
        advice += ", or $ if the body is itself the one record"
    elif found is MISSING:
        advice += "; or empty_without_records, if the source leaves out what is empty"
    raise GiveUp(problem, code="no_records", where=where, advice=advice)


def _errors_of(body: Any) -> list[str]:
    """Names in a body that say that something went wrong: an error, or no success. With records they say little."""
    if not isinstance(body, dict):
        return []
    plain = {name: str(value).strip().lower() for name, value in body.items() if isinstance(value, str | int)}
    return [
        *(name for name in _ERRORS if body.get(name)),
        *(name for name in _SUCCESS if plain.get(name) == "false"),
        *(name for name in _OUTCOMES if plain.get(name) in _FAILED and any(plain.get(word) for word in _REASONS)),
        *(name for name in _WORDS if plain.get(name) and plain[name] not in _WELL),
        *(name for name in _CODES if re.fullmatch("-?0*[1-9][0-9]*", plain.get(name, "")) and plain[name] != "200"),
        *(name for name in _STATUSES if re.fullmatch("[45][0-9][0-9]", plain.get(name, ""))),
    ]


def refuse_strangers(items: Sequence[Any], where: str, option: str) -> None:
    """Raises GiveUp (`no_records`) where most of a page, and much of it, is no objects: each would be set aside."""
    strange = sum(type(item) is not dict or not item for item in items)
    if strange > _MOST_STRANGE and strange * 2 > len(items):
        advice = f"check {option}: does it lead to the list of objects?"
        raise GiveUp("most of the page is no records", code="no_records", where=where, advice=advice)


def named(items: list[Any], body: Any, path: str, where: str) -> list[Any]:
    """Lists of values as objects; `path` leads to the names, or is `first`. A short list lacks its last values.

    What is no list, or a longer one, stays as it is: it is no record. Raises GiveUp (`no_columns`).
    """
    if path == "first":
        names, items = items[0] if items else [], items[1:]
    else:
        names = _at(body, path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
        advice = "set columns: a path to the list of names, each of them once, or first"
        raise GiveUp("no names of columns stand there", code="no_columns", where=where, advice=advice)
    fits = (isinstance(item, list) and len(item) <= len(names) for item in items)
    return [dict(zip(names, item, strict=False)) if fit else item for item, fit in zip(items, fits, strict=True)]


def headed(found: Pieces, path: str, where: str) -> Pieces:
    """The same for pieces of a page. Raises GiveUp (`no_columns`)."""

    def parts() -> Iterator[Part]:
        head: list[Any] = []
        for items, rejects in found.parts():
            several = [*head, *items]
            head = head or (items[:1] if path == "first" else [])
            yield named(several, found.around, path, where), rejects

    return Pieces.of(parts, found.around, found.mark)


def _at(body: Any, path: str) -> Any:
    if not path.startswith("$"):
        return dig(body, path)
    from bees.core.paths import matches

    found = matches(body, path)
    return found[0] if len(found) == 1 and (found[0] is None or isinstance(found[0], list)) else found


def secret_name(name: str) -> bool:
    """Whether a header or parameter of this name holds a credential: `X-Api-Key`, `accessToken`."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    return not _SECRET_WORDS.isdisjoint(word.lower() for word in words)


_SECRET_WORDS = {
    *("auth", "authorization", "bearer", "cookie", "credential", "credentials", "jwt", "key", "apikey", "passwd"),
    *("password", "pwd", "secret", "session", "sid", "sig", "signature", "token"),
}

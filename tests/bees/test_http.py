from __future__ import annotations

import gzip
import json
import logging
import socket
import threading
import time
import traceback
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from bees.core.address import AddressPolicy, OptionNames
from bees.core.errors import GiveUp, RetryLater
from bees.core.http import Credentials, HttpClient, Limits, basic, checked_url
from bees.core.http_verdict import last_modified, retry_after, verdict
from hive.demo.api import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

SECRET = "s3cret-token"


async def echo(request: Request) -> Response:
    return JSONResponse({"headers": dict(request.headers), "query": dict(request.query_params)})


async def redirect(request: Request) -> Response:
    return RedirectResponse(request.query_params["to"], 302)


async def circle(request: Request) -> Response:
    return RedirectResponse("/circle")


async def bomb(request: Request) -> Response:
    return Response(gzip.compress(b"a" * 50_000_000), headers={"Content-Encoding": "gzip"})


async def zipped(request: Request) -> Response:
    body = gzip.compress(b'["one",') + gzip.compress(b'"two"]')
    return Response(body[: int(request.query_params.get("cut", "1000"))], headers={"Content-Encoding": "gzip"})


async def layered(request: Request) -> Response:
    return Response(b"x", headers={"Content-Encoding": "gzip, gzip"})


async def drip(request: Request) -> Response:
    async def bytes_() -> Any:
        import asyncio

        while not await request.is_disconnected():
            yield b" "
            await asyncio.sleep(0.02)

    return StreamingResponse(bytes_())


async def status(request: Request) -> Response:
    return Response(f"{SECRET} of Ada Abara", int(request.path_params["code"]), headers={"Retry-After": "7"})


HANDLERS = (echo, redirect, circle, bomb, zipped, layered, drip)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    routes = [Route(f"/{f.__name__}", f, methods=["GET", "POST"]) for f in HANDLERS]
    with running(Starlette(routes=[*routes, Route("/status/{code}", status)])) as url:
        yield url


@pytest.fixture(scope="module")
def other() -> Iterator[str]:
    with running(Starlette(routes=[Route("/echo", echo), Route("/redirect", redirect)])) as url:
        yield url


@pytest.fixture
def client(server: str) -> Iterator[HttpClient]:
    made = HttpClient(server, credentials=bearer(), allow_private=True)
    yield made
    made.close()


def bearer() -> Credentials:
    return Credentials({"Authorization": f"Bearer {SECRET}"}, {"api_key": SECRET}, "auth.token")


def clean(error: BaseException) -> bool:
    text = "".join(traceback.format_exception(error))
    return SECRET not in text and "Ada" not in text and error.__context__ is None


def test_credentials_are_sent_and_the_answer_does_not_hold_them(server: str, client: HttpClient) -> None:
    answer = client.get(f"{server}/echo?a=1", where="w")

    seen = json.loads(answer.body)
    assert seen["headers"]["authorization"] == f"Bearer {SECRET}"
    assert seen["query"] == {"a": "1", "api_key": SECRET}
    assert str(answer.url) == f"{server}/echo?a=1"
    assert SECRET not in repr(client) + repr(bearer()) + repr(answer)


def test_nothing_secret_is_logged(server: str, client: HttpClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        client.get(f"{server}/echo", where="w")

    assert SECRET not in caplog.text


def test_the_environments_proxies_are_not_used(
    server: str, client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    assert client.get(f"{server}/echo", where="w").status == 200


@pytest.mark.parametrize(
    ("code", "verdict_of"),
    [
        (401, (GiveUp, "denied", None)), (403, (GiveUp, "denied", None)), (404, (GiveUp, "not_found", None)),
        (400, (GiveUp, "unexpected_status", None)), (418, (GiveUp, "unexpected_status", None)),
        (429, (RetryLater, "rate_limited", 7.0)), (503, (RetryLater, "unavailable", 7.0)),
        (500, (RetryLater, "server_error", 7.0)), (408, (RetryLater, "server_error", 7.0)),
    ],
)  # fmt: skip
def test_a_status_carries_its_verdict(client: HttpClient, server: str, code: int, verdict_of: tuple[Any, ...]) -> None:
    kind, word, after = verdict_of
    with pytest.raises(kind) as error:
        client.get(f"{server}/status/{code}", where="stream x")

    assert error.value.code == word
    assert error.value.where == "stream x"
    assert getattr(error.value, "after", None) == after
    assert clean(error.value)


def test_a_refused_credential_names_its_option() -> None:
    problem = verdict(401, {}, "stream x", "auth.token")

    assert "auth.token" in str(problem)


@pytest.mark.parametrize(
    ("headers", "body", "kind", "after"),
    [
        ({}, b'{"message": "You have exceeded a secondary rate limit"}', RetryLater, 60.0),
        ({"Retry-After": "9"}, b'{"message": "API rate limit exceeded for user"}', RetryLater, 9.0),
        ({}, b'{"error": {"errors": [{"reason": "userRateLimitExceeded"}], "code": 403}}', RetryLater, 60.0),
        ({}, b'{"error": {"errors": [{"reason": "insufficientPermissions"}]}}', GiveUp, None),
        ({}, b" " * (1 << 20) + b"rate limit", GiveUp, None),
        ({}, b"", GiveUp, None),
    ],
)
def test_a_refusal_that_speaks_of_a_limit_is_one(
    headers: dict[str, str], body: bytes, kind: type, after: float | None
) -> None:
    async def refuse(_: Request) -> Response:
        return Response(body, 403, headers=headers)

    with running(Starlette(routes=[Route("/", refuse)])) as url:
        made = HttpClient(url, allow_private=True)
        with pytest.raises(kind) as error:
            made.get(f"{url}/", where="w")
        made.close()

    assert error.value.code == ("denied" if kind is GiveUp else "rate_limited")
    assert after is None or error.value.after == after
    assert error.value.status == 403


def _google(reason: str, message: str, domain: str = "usageLimits") -> str:
    told = [{"domain": domain, "reason": reason, "message": message}]
    return json.dumps({"error": {"errors": told, "code": 403, "message": message}})


@pytest.mark.parametrize(
    ("body", "after"),
    [
        ('{"message":"API rate limit exceeded for user ID 1. ...","documentation_url":"https://x"}', 60),
        ('{"message":"You have exceeded a secondary rate limit. Please wait a few minutes"}', 60),
        ('{"message":"You have triggered an abuse detection mechanism. Please wait a few minutes"}', 60),
        (_google("rateLimitExceeded", "Rate Limit Exceeded"), 60),
        (_google("userRateLimitExceeded", "User Rate Limit Exceeded"), 60),
        (_google("userRateLimitExceeded", "User-rate limit exceeded. Retry after 2026-03-01T12:00:00Z"), 60),
        (_google("quotaExceeded", "The request cannot be completed because you have exceeded your quota"), 60),
        (_google("quotaExceeded", "Calendar usage limits exceeded."), 60),
        (_google("concurrentLimitExceeded", "Too many queries at once"), 60),
        (_google("dailyLimitExceeded", "Daily Limit Exceeded"), 900),
        ('{"error":{"code":403,"message":"Quota exceeded for metric \'Reads\'","status":"RESOURCE_EXHAUSTED"}}', 60),
        ('[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]', 900),
        ('{"error":{"message":"(#4) Application request limit reached","type":"OAuthException","code":4}}', 60),
        ('{"error":{"message":"Calls to this api have exceeded the rate limit.","code":613}}', 60),
        ('{"error_type":"OAuthRateLimitException","error_message":"The maximum number of requests per hour"}', 60),
        ('{"__type":"ThrottlingException","message":"Rate exceeded"}', 60),
        ("<ErrorResponse><Error><Code>RequestThrottled</Code></Error></ErrorResponse>", 60),
        ("<h1>Developer Over Qps</h1>", 60),
        ("<h1>Developer Over Rate</h1>", 60),
        ('{"code":"rate_limited"}', 60),
        ("<html><title>Too Many Requests</title></html>", 60),
        ('{"message":"Your plan limits access to this resource"}', None),
        ('{"message":"You need the scope read:rate_limits to see rate limits"}', None),
        ('{"message":"Only administrators may change the rate limit","documentation_url":"https://x/limit"}', None),
        ('{"message":"Forbidden","documentation_url":"https://docs/rate-limit-exceeded"}', None),
        ('{"message":"Access is limited to members. Permission limits apply"}', None),
        (_google("insufficientPermissions", "The user does not have enough permissions", "global"), None),
        (_google("accessNotConfigured", "Access Not Configured. Drive API has not been used in project 1"), None),
        (_google("dailyLimitExceededUnreg", "Daily Limit for Unauthenticated Use Exceeded. Sign up"), None),
        (_google("storageQuotaExceeded", "The user's Drive storage quota has been exceeded.", "global"), None),
        ('{"message":"The licence limit exceeded: no seat is left for this user"}', None),
        ('{"errors":[{"code":"unthrottled","detail":"no such right"}]}', None),
    ],
)  # fmt: skip
def test_a_limit_is_told_from_a_right_that_is_missing_in_vendors_words(body: str, after: float | None) -> None:
    for status in (400, 403):
        problem = verdict(status, {}, "w", said=body.encode())

        assert (type(problem), getattr(problem, "after", None)) == (GiveUp if after is None else RetryLater, after)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": formatdate(1_000_060, usegmt=True), "date": formatdate(1_000_000, usegmt=True)}, 60.0),
        ({"retry-after": formatdate(1_000_000, usegmt=True), "date": formatdate(1_000_060, usegmt=True)}, 0.5),
        ({"retry-after": "9" * 5000}, 86_400.0),
        ({"retry-after": "0"}, 0.5),
        ({"retry-after": "-5"}, 0.5),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_both_forms(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("modified", "date", "trusted"),
    [
        (1_000_000, 1_000_000, False),
        (1_000_000, 1_000_001, True),
        (1_000_000, None, True),
        (4_000_000_000, None, False),
    ],
)
def test_a_page_that_may_still_change_in_its_second_is_not_called_unchanged(
    modified: int, date: int | None, trusted: bool
) -> None:
    headers = {"last-modified": formatdate(modified, usegmt=True)}
    if date is not None:
        headers["date"] = formatdate(date, usegmt=True)

    assert bool(last_modified(headers)) is trusted


def test_a_retry_date_without_the_servers_clock_is_read_by_ours() -> None:
    assert 50 < (retry_after({"retry-after": formatdate(time.time() + 60, usegmt=True)}) or 0) <= 60


def test_a_redirect_within_the_origin_keeps_credentials(server: str, client: HttpClient) -> None:
    answer = client.get(f"{server}/redirect?to=/echo", where="w")

    assert "authorization" in json.loads(answer.body)["headers"]


def test_a_redirect_to_another_origin_loses_them_for_good(server: str, other: str) -> None:
    back = f"{other}/redirect?to={server}/echo"
    made = HttpClient(server, credentials=bearer(), origins=[other], allow_private=True)
    trusted = json.loads(made.get(f"{server}/redirect?to={other}/echo", where="w").body)
    made.close()
    names = OptionNames("base_url", origins="allow_origins")
    stranger = HttpClient(
        server, credentials=bearer(), allow_private=True, names=names, resolve=lambda host, port: ["127.0.0.1"]
    )
    port = int(other.rpartition(":")[2])
    with pytest.raises(GiveUp) as error:
        stranger.get(f"{server}/redirect?to={back}", where="w")
    stranger.close()

    assert trusted["headers"]["authorization"], "an origin that the operator listed is trusted"
    assert error.value.code == "private_address"
    assert "allow_origins" in error.value.advice
    assert str(port) not in str(error.value)


def test_credentials_never_reach_an_unlisted_origin(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other origin is public for the policy, so only the client's own rule keeps the credentials back."""
    monkeypatch.setattr(AddressPolicy, "_check", lambda *_: None)
    elsewhere = server.replace("127.0.0.1", "localhost")
    made = HttpClient(server, credentials=bearer(), resolve=lambda host, port: ["127.0.0.1"])

    once = json.loads(made.get(f"{server}/redirect?to={elsewhere}/echo", where="w").body)
    and_back = json.loads(made.get(f"{server}/redirect?to={elsewhere}/redirect%3Fto={server}/echo", where="w").body)
    made.close()

    for seen in (once, and_back):
        assert SECRET not in json.dumps(seen)


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "http://u:p@127.0.0.1/", "gopher://x/", "http://[", "http://a%20b/", "http://x:0/"]
)
def test_a_redirect_to_what_is_no_plain_address_is_refused(server: str, client: HttpClient, to: str) -> None:
    with pytest.raises(GiveUp) as error:
        client.request("GET", checked_url(f"{server}/redirect").copy_merge_params({"to": to}), where="w")

    assert error.value.code == "redirect_refused"
    assert to not in str(error.value)


def test_redirects_end_after_five(server: str, client: HttpClient) -> None:
    with pytest.raises(GiveUp) as error:
        client.get(f"{server}/circle", where="w")

    assert error.value.code == "too_many_redirects"


def test_a_request_with_a_body_follows_no_redirect(server: str, client: HttpClient) -> None:
    assert client.request("POST", f"{server}/echo", where="w", content=b"{}").status == 200
    with pytest.raises(GiveUp) as error:
        client.request("POST", f"{server}/redirect?to=/echo", where="w", content=b"{}")

    assert error.value.code == "redirect_refused"


def test_a_metadata_address_is_refused_on_a_redirect(server: str, client: HttpClient) -> None:
    with pytest.raises(GiveUp) as error:
        client.get(f"{server}/redirect?to=http://169.254.169.254/latest/meta-data/", where="w")

    assert error.value.code == "forbidden_address"
    assert "169.254" not in str(error.value)


def test_loopback_needs_the_option_and_the_error_names_it(server: str) -> None:
    made = HttpClient(server)
    with pytest.raises(GiveUp) as error:
        made.get(f"{server}/echo", where="w")
    made.close()

    assert error.value.code == "private_address"
    assert "allow_private: true" in str(error.value)


def test_a_name_is_resolved_once_and_the_checked_address_is_dialled(server: str) -> None:
    port = int(server.rpartition(":")[2])
    asked: list[str] = []

    def resolve(host: str, _: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    made = HttpClient(f"http://api.example:{port}", allow_private=True, resolve=resolve)
    answer = made.get(f"http://api.example:{port}/echo", where="w")
    made.close()

    assert asked == ["api.example"]
    assert json.loads(answer.body)["headers"]["host"] == f"api.example:{port}"


def test_every_checked_address_is_tried(server: str) -> None:
    port = int(server.rpartition(":")[2])
    made = HttpClient(f"http://api.example:{port}", allow_private=True, resolve=lambda *_: ["127.0.0.9", "127.0.0.1"])

    assert made.get(f"http://api.example:{port}/echo", where="w").status == 200
    made.close()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/",
        "http://user:pw@x/",
        "http://",
        "http://a b/",
        "http://x\\@y/",
        "x",
        "http://x/\n",
        "http://x:99999999/",
    ],
)
def test_a_url_that_is_not_plain_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(GiveUp) as error:
        checked_url(url)

    assert error.value.code == "bad_url"
    assert "pw" not in str(error.value)


def test_a_gzip_bomb_meets_the_limit_of_the_decoded_body(server: str) -> None:
    made = HttpClient(server, allow_private=True, limits=Limits(body=100_000))
    with pytest.raises(GiveUp) as error:
        made.get(f"{server}/bomb", where="w")
    made.close()

    assert error.value.code == "body_too_large"
    assert "max_body_bytes" in error.value.advice


def test_a_gzipped_body_of_several_members_is_read_whole(server: str, client: HttpClient) -> None:
    assert json.loads(client.get(f"{server}/zipped", where="w").body) == ["one", "two"]


@pytest.mark.parametrize("path", ["zipped?cut=20", "layered"])
def test_a_body_that_is_not_what_it_says_is_refused(server: str, client: HttpClient, path: str) -> None:
    with pytest.raises(GiveUp) as error:
        client.get(f"{server}/{path}", where="w")

    assert error.value.code == "bad_encoding"


def test_a_body_that_drips_meets_the_total_time(server: str) -> None:
    made = HttpClient(server, allow_private=True, limits=Limits(total=0.3))
    began = time.monotonic()
    with pytest.raises(RetryLater) as error:
        made.get(f"{server}/drip", where="w")
    made.close()

    assert error.value.code == "timeout"
    assert time.monotonic() - began < 3


def test_a_server_that_takes_the_call_and_says_nothing_meets_the_read_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        made = HttpClient(url, allow_private=True, limits=Limits(read=0.1))
        with pytest.raises(RetryLater) as error:
            made.get(url, where="w")
        made.close()

    assert error.value.code == "timeout"


def test_the_total_time_also_ends_a_silence_that_the_read_time_allows() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        made = HttpClient(url, allow_private=True, limits=Limits(read=20, total=0.2))
        began = time.monotonic()
        with pytest.raises(RetryLater):
            made.get(url, where="w")
        made.close()

    assert time.monotonic() - began < 5


def test_a_name_that_is_not_resolved_meets_the_total_time() -> None:
    over = threading.Event()

    def never(host: str, port: int) -> list[str]:
        over.wait(30)
        return ["127.0.0.1"]

    made = HttpClient("http://slow.example", allow_private=True, limits=Limits(total=0.2), resolve=never)
    began = time.monotonic()
    with pytest.raises(RetryLater, match="not resolved in time") as error:
        made.get("http://slow.example/", where="w")
    over.set()
    made.close()

    assert error.value.code == "timeout"
    assert time.monotonic() - began < 10


def test_a_server_that_is_not_there_is_tried_again_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    made = HttpClient(url, allow_private=True)
    with pytest.raises(RetryLater) as error:
        made.get(url, where="w")
    made.close()

    assert error.value.code == "unreachable"
    assert clean(error.value)


def test_a_server_that_speaks_no_http_is_not_quoted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread = threading.Thread(target=_say, args=(listener, f"{SECRET} of Ada\r\n\r\n".encode()))
        thread.start()
        made = HttpClient(url, allow_private=True)
        with pytest.raises(RetryLater) as error:
            made.get(url, where="w")
        made.close()
        thread.join()

    assert clean(error.value)


def _say(listener: socket.socket, text: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(text)


@pytest.mark.parametrize("token", [f"{SECRET}\n", f"{SECRET}\x00", f"{SECRET}ü"])
def test_a_credential_with_a_line_break_is_named_and_not_shown(token: str) -> None:
    with pytest.raises(GiveUp) as error:
        HttpClient("http://x.example", credentials=Credentials({"Authorization": f"Bearer {token}"}, {}, "auth.token"))

    assert "auth.token" in str(error.value)
    assert clean(error.value)


def test_basic_is_base64_of_utf8() -> None:
    assert basic("us", "pässword") == "Basic dXM6cMOkc3N3b3Jk"


@pytest.mark.parametrize(("status", "kind"), [(403, GiveUp), (404, GiveUp), (410, GiveUp), (429, RetryLater)])
def test_an_error_knows_the_status_that_it_stands_for(status: int, kind: type) -> None:
    problem = verdict(status, {}, "w")

    assert isinstance(problem, kind)
    assert problem.status == status


def test_advice_is_in_the_words_of_the_connector_s_own_options(server: str) -> None:
    """A file bee has no `allow_origins` to be told of."""
    made = HttpClient(server, resolve=lambda host, port: ["10.0.0.9"])
    nowhere = HttpClient(server, names=OptionNames("endpoint"), resolve=lambda host, port: [])
    with pytest.raises(GiveUp) as private:
        made.get(f"{server}/redirect", where="w")
    with pytest.raises(RetryLater) as unknown:
        nowhere.get(server, where="w")
    made.close()
    nowhere.close()

    assert "allow_private" in private.value.advice
    assert "allow_networks" not in private.value.advice
    assert "allow_origins" not in private.value.advice
    assert unknown.value.advice == "check endpoint"

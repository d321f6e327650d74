"""The routes of the pages: who may ask, who may act, and what is answered when it does not work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bees.core.errors import SourceError
from hive.dashboard import web
from hive.dashboard.acts import ACTS, Acts
from hive.dashboard.kept import NO_ANSWER
from hive.dashboard.live import Hub, Key, Regions, TooMany
from hive.dashboard.look import Look
from hive.dashboard.sessions import LASTS, Attempts, Person, Sessions
from hive.dashboard.views import Page, Views
from hive.errors import HiveError
from hive.ledger.db import Database
from hive.ledger.hints import Hint, Send
from hive.manager import HiveManager
from hive.metrics.broker import Broker
from hive.runtime import Runtime
from hive.settings import Settings
from hive.vault import audit
from hive.vault.envelope import Unsealable
from hive.vault.key import MissingHiveKey, hive_key
from nectar.errors import NectarError

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]
Shown = Callable[[Request, Person], Awaitable[Response]]

log = structlog.get_logger()

_THREADS = 4
"""Questions at a time: who looks takes no thread that health and metrics need."""
_DOOR = 4.0
"""Seconds for the question who somebody is; after it the ledger is called away."""
_REFUSED = (LookupError, ValueError, HiveError, SourceError, NectarError, Unsealable, MissingHiveKey)
"""Their messages are safe to show, and say what to do."""
_MONTH = "public, max-age=2592000, immutable"


class Dashboard:
    """The pages on one database. `ending`: whether this process is about to end, so that streams do, too."""

    def __init__(self, settings: Settings, db: Database, ending: Callable[[], bool]) -> None:
        self._settings = settings
        self._db = db
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="pages")
        self._telling = ThreadPoolExecutor(1, thread_name_prefix="pages-hints")
        self._door = ThreadPoolExecutor(1, thread_name_prefix="pages-logins")
        self._sessions = Sessions(settings, db)
        self._attempts = Attempts()
        self._runtime: Runtime | None = None
        self._warming: asyncio.Task[None] | None = None
        self._acts = Acts(self._acting)
        self._broker = Broker(settings)
        self._views = Views(Look(db), self._broker, self._hive, self._threads)
        self._hub = Hub(self._render, ending)

    def routes(self) -> list[Route]:
        view = self._views
        pages: dict[str, Callable[[Mapping[str, str], Any], Awaitable[Page]]] = {
            "/": lambda query, _: view.overview(query),
            "/bees": lambda query, _: view.bees(query),
            "/bees/{name}": lambda query, path: view.bee(query, path["name"]),
            "/flights/{id}": lambda query, path: view.flight(query, path["id"]),
            "/quarantine": lambda query, _: view.quarantine(query),
            "/jars": lambda query, _: view.jars(query),
            "/jars/{name}": lambda query, path: view.jar(query, path["name"]),
        }
        acts = {
            "/bees/{what}/fly": "fly", "/bees/{what}/pause": "pause", "/bees/{what}/resume": "resume",
            "/flights/{what}/cancel": "cancel", "/flights/{what}/retry": "retry",
            "/quarantine/{what}/retry": "quarantine:retry", "/quarantine/{what}/drop": "quarantine:drop",
        }  # fmt: skip
        return [
            *(Route(path, self._page(make), methods=["GET"]) for path, make in pages.items()),
            *(Route(path, self._action(action), methods=["POST"]) for path, action in acts.items()),
            Route("/audit", self._seen(self._audit), methods=["GET"]),
            Route("/live", self._live, methods=["GET"]),
            Route("/login", self._login_page, methods=["GET"]),
            Route("/login", self._log_in, methods=["POST"]),
            Route("/logout", self._log_out, methods=["POST"]),
            Route("/static/{name}", self._static, methods=["GET"]),
        ]

    def close(self) -> None:
        """Wait for the questions that are under way, before the database is closed; not for a broker that is away."""
        self._telling.shutdown(wait=False, cancel_futures=True)
        self._door.shutdown(cancel_futures=True)
        self._threads.shutdown(cancel_futures=True)
        self._broker.close()

    # What is behind the pages

    async def _in_thread(self, ask: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)

    async def _at_the_door(self, ask: Callable[[], T]) -> T:
        """Passwords are looked at one by one, beside what those ask who are inside."""
        return await asyncio.get_running_loop().run_in_executor(self._door, ask)

    async def is_session(self, request: Request, bearer: str) -> bool:
        """Whether this is the token of a session, or else the browser has one. Raises what NO_ANSWER names."""
        token = bearer or web.token_of(request)
        return await self._in_thread(lambda: self._sessions.person(token)) is not None

    async def is_account(self, request: Request, basic: str) -> bool:
        """Whether these are an account's name and password, as HTTP Basic gives them; wrong ones count as tries."""
        name, _, password = web.unpacked(basic)
        if await self._in_thread(lambda: self._sessions.has_shown(name, password)):
            return True
        address = request.client.host if request.client else ""
        if not name or self._attempts.begin(address):
            return False
        if not await self._at_the_door(lambda: self._sessions.shows(name, password)):
            return False
        self._attempts.succeeded(address)
        return True

    def _hive(self) -> HiveManager:
        """For looking: reads the ledger only."""
        return HiveManager(rt=self._acting())

    def _acting(self) -> Runtime:
        """Made when it is first asked for. Raises MissingHiveKey."""
        if self._runtime is None:
            from hive.celery import send

            # Told aside: a broker that is away is waited for by nobody, and the janitor finds the task.
            key = hive_key(self._settings)
            self._runtime = Runtime(self._settings, self._db, key, send=lambda hints: self._tell(send, hints))
        return self._runtime

    def _tell(self, send: Send, hints: Sequence[Hint]) -> None:
        self._telling.submit(send, hints)

    # Pages

    def _page(self, make: Callable[[Mapping[str, str], Any], Awaitable[Page]]) -> Handler:
        async def show(request: Request, person: Person) -> Response:
            made = await make(request.query_params, request.path_params)
            return self._whole(request, person, made)

        return self._seen(show)

    def _whole(self, request: Request, person: Person, made: Page) -> Response:
        who = {"acts": person.acts, "csrf": person.csrf}
        regions = {name: web.rendered(f"_{name}.html", **about, **who) for name, about in made.regions.items()}
        said, failed = web.said(request)
        about = {**made.about, **self._frame(request, person), "said": said, "failed": failed}
        response = web.page(made.template, title=made.title, regions=regions, **about)
        if said:
            response.delete_cookie(web.SAID, path="/")
        return response

    def _frame(self, request: Request, person: Person | None) -> dict[str, Any]:
        """What the frame around each page needs."""
        at = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        port = f"http://127.0.0.1:{self._settings.flower_port}"
        flower = self._settings.flower_link or self._settings.running().get("flower") or port
        live = person is not None and self._views.find(request.url.path) is not None
        return {
            "person": person, "acts": person is not None and person.acts, "csrf": person.csrf if person else "",
            "at": at, "path": request.url.path, "flower": flower, "live": live,
        }  # fmt: skip

    def _seen(self, show: Shown) -> Handler:
        """Around what only somebody sees who is logged in."""

        async def handle(request: Request) -> Response:
            person: Person | None = None
            try:
                token = web.token_of(request)
                person = await asyncio.wait_for(self._in_thread(lambda: self._sessions.person(token)), _DOOR)
                if person is None:
                    at = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                    if request.method != "GET":  # the page with the button
                        at = "/quarantine" if at.startswith("/quarantine/") else at.rpartition("/")[0] or "/"
                    return web.moved("/login" if at == "/" else f"/login?next={quote(at, safe='')}")
                return await show(request, person)
            except LookupError as error:
                return self._sorry(request, person, 404, "There is no such thing", str(error))
            except MissingHiveKey as error:
                return self._sorry(request, person, 503, "The hive key is missing", str(error))
            except (TimeoutError, *NO_ANSWER):
                text = "The ledger's database does not answer. Workers wait for it, and nothing is lost."
                return self._sorry(request, person, 503, "The ledger is away", f"{text} Next: hive doctor")

        return handle

    def _sorry(self, request: Request, person: Person | None, status: int, title: str, text: str) -> Response:
        frame = {**self._frame(request, person), "live": False}
        return web.page("sorry.html", status, title=title, text=text, said="", failed=False, **frame)

    async def _audit(self, request: Request, person: Person) -> Response:
        if not person.acts:
            return self._sorry(request, person, 403, "Only operators see this", "Ask one for the role: hive user add")
        found = await self._in_thread(lambda: audit.entries(self._db.engine, 200))
        return self._whole(request, person, Page("audit.html", "Audit", {"entries": found}))

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in web.STATIC:
            return web.secured(Response(status_code=404))
        response = web.secured(Response(web.static(name), media_type=web.STATIC[name]))
        response.headers["Cache-Control"] = _MONTH if request.query_params.get("v") == web.assets() else "no-cache"
        return response

    # Streams

    async def _live(self, request: Request) -> Response:
        token, at = web.token_of(request), request.query_params.get("at", "")
        try:
            person = await self._in_thread(lambda: self._sessions.person(token))
            if person is None or not web.from_our_page(request):
                return web.secured(Response(status_code=401))
            if web.inside(at) != at or self._views.find(urlsplit(at).path) is None:
                return web.secured(Response(status_code=404))
            self._hub.check_room()
        except NO_ANSWER:
            return web.secured(Response(status_code=503))
        except TooMany:
            return web.secured(Response(status_code=503, headers={"Retry-After": "30"}))

        async def still_welcome() -> bool:
            try:
                now: Person | None = await self._in_thread(lambda: self._sessions.person(token))
            except NO_ANSWER:
                return True
            return now is not None and now.role == person.role

        stream = self._hub.stream((person.role, at), still_welcome)
        response = web.secured(StreamingResponse(stream, media_type="text/event-stream"))
        response.headers["X-Accel-Buffering"] = "no"
        return response

    async def _render(self, key: Key) -> Regions:
        """The regions of a page. Forms in them get their token from the page around them."""
        role, at = key
        parts = urlsplit(at)
        make = self._views.find(unquote(parts.path))
        if make is None:
            raise LookupError(at)
        made = await make(dict(parse_qsl(parts.query)))
        who = {"acts": role == "operator", "csrf": ""}
        return {name: web.rendered(f"_{name}.html", **about, **who) for name, about in made.regions.items()}

    # Login and acts

    async def _login_page(self, request: Request) -> Response:
        if self._warming is None:  # whoever types a password finds the first page ready
            self._warming = asyncio.get_running_loop().create_task(self._warm())
        return self._ask_login(request, "", web.inside(request.query_params.get("next", "/")))

    async def _warm(self) -> None:
        with contextlib.suppress(*NO_ANSWER, MissingHiveKey):
            await self._in_thread(web.compile_all)
            await self._in_thread(self._acting)
            await self._views.overview({})

    def _ask_login(self, request: Request, why: str, then: str, status: int = 200) -> Response:
        frame = self._frame(request, None)
        return web.page("login.html", status, title="Log in", why=why, then=then, said="", failed=False, **frame)

    async def _log_in(self, request: Request) -> Response:
        try:
            fields = await web.form(request)
        except web.Refused as error:
            return self._ask_login(request, str(error), "/", error.code)
        then, address = web.inside(fields.get("next", "/")), request.client.host if request.client else ""
        wait = self._attempts.begin(address)
        if wait:
            response = self._ask_login(request, f"Too many tries: wait {wait:.0f} seconds.", then, 429)
            response.headers["Retry-After"] = str(int(wait) + 1)
            return response
        name, password = fields.get("name", "").strip(), fields.get("password", "")
        try:
            token = await self._at_the_door(lambda: self._sessions.log_in(name, password))
        except NO_ANSWER:
            return self._ask_login(request, "The ledger's database does not answer; try again.", then, 503)
        if token is None:
            return self._ask_login(request, "Name or password is wrong.", then, 401)
        self._attempts.succeeded(address)
        old = web.token_of(request)
        if old:
            await self._in_thread(lambda: self._sessions.log_out(old))
        return web.keep(request, web.moved(then), token, LASTS.total_seconds())

    async def _log_out(self, request: Request) -> Response:
        token = web.token_of(request)
        try:
            person = await self._in_thread(lambda: self._sessions.person(token))
            if person is not None:
                web.check_csrf(person, await web.form(request))
                await self._in_thread(lambda: self._sessions.log_out(token))
        except web.Refused as error:
            return self._sorry(request, None, error.code, "Not logged out", str(error))
        except NO_ANSWER:
            return self._sorry(request, None, 503, "Not logged out", "The ledger's database does not answer.")
        response = web.moved("/login")
        response.delete_cookie(web.COOKIE, path="/")
        return response

    def _action(self, action: str) -> Handler:
        assert action in ACTS

        async def act(request: Request, person: Person) -> Response:
            what = request.path_params["what"]
            try:
                fields = await web.form(request)
                web.check_csrf(person, fields)
                web.check_role(person)
            except web.Refused as error:
                await self._in_thread(lambda: self._note(person, f"{action}:refused", what))
                return self._sorry(request, person, error.code, "That was not done", str(error))
            await self._in_thread(lambda: self._note(person, action, what))
            then = web.inside(fields.get("then", "/"))
            try:
                said, to = await self._in_thread(lambda: self._acts.do(action, what))
            except _REFUSED as error:
                await self._in_thread(lambda: self._note(person, f"{action}:failed", what))
                advice = getattr(error, "advice", "")
                text = f"{error}{f' - {advice}' if advice and advice not in str(error) else ''}"
                return web.moved(then, text, failed=True)
            flight = to.removeprefix("/flights/") if to.startswith("/flights/") else ""
            if flight:
                await self._in_thread(lambda: self._note(person, f"{action}:flight", what, flight=flight))
            log.info("page.act", who=person.name, action=action, of=what, **({"flight": flight} if flight else {}))
            return web.moved(to or then, said)

        return self._seen(act)

    def _note(self, person: Person, action: str, what: str, **more: str) -> None:
        audit.note(self._db.engine, action, "default", {"of": what[:200], **more}, f"account:{person.name}")

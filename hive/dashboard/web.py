"""What all pages share: templates, who asks, forms that only our own pages send, and the headers of each answer."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from functools import cache
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

from markupsafe import Markup
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from hive.condition import UNWELL
from hive.dashboard import charts, words
from hive.dashboard.sessions import Person

if TYPE_CHECKING:
    import jinja2

COOKIE = "hive_session"
SAID = "hive_said"
BODY_LIMIT = 16 << 10
_MOST_FIELDS = 50
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """The request is not let in: `code` is the answer's status, the text is for the person."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@cache
def templates() -> jinja2.Environment:
    """Every value is escaped, and a name that is not there is an error."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("hive.dashboard"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= words.FILTERS | {"urlpath": lambda text: quote(str(text), safe="")}
    made.globals |= {
        "charts": charts, "states": words.STATE_WORDS, "means": words.STATE_MEANS, "marks": words.MARKS,
        "wrong": UNWELL, "version": metadata.version("worker-bees"), "assets": assets(),
    }  # fmt: skip
    return made


def compile_all() -> None:
    """Make all templates ready: that takes longer than to render them."""
    for name in templates().list_templates():
        templates().get_template(name)


@cache
def assets() -> str:
    """A word in the addresses of script and styles, another one when they change."""
    import hashlib

    digest = hashlib.sha256()
    for name in sorted(STATIC):
        digest.update(static(name))
    return digest.hexdigest()[:12]


STATIC = {
    "hive.css": "text/css; charset=utf-8",
    "hive.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@cache
def static(name: str) -> bytes:
    return resources.files("hive.dashboard").joinpath("static", name).read_bytes()


def rendered(template: str, **about: Any) -> Markup:
    return Markup(templates().get_template(template).render(about))  # noqa: S704 - the templates escape


def page(template: str, status: int = 200, **about: Any) -> Response:
    return secured(HTMLResponse(templates().get_template(template).render(about), status))


def secured(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response


def moved(to: str, said: str = "", *, failed: bool = False) -> Response:
    """On to another of our pages, which says `said` once."""
    response = RedirectResponse(to, 303)
    if said:
        word = base64.urlsafe_b64encode(f"{'!' if failed else '.'}{said[:500]}".encode()).decode()
        response.set_cookie(SAID, word, max_age=30, httponly=True, samesite="strict", path="/")
    return secured(response)


def said(request: Request) -> tuple[str, bool]:
    """(what the page before wants to be said, whether it is a failure)."""
    try:
        word = base64.urlsafe_b64decode(request.cookies.get(SAID, "")).decode()
    except ValueError:
        return "", False
    return word[1:], word.startswith("!")


def token_of(request: Request) -> str:
    return request.cookies.get(COOKIE, "")


def unpacked(basic: str) -> tuple[str, str, str]:
    """(name, colon, password) of HTTP Basic; all empty where it is none."""
    try:
        return base64.b64decode(basic, validate=True).decode().partition(":")
    except ValueError:
        return "", "", ""


def keep(request: Request, response: Response, token: str, lasts: float) -> Response:
    """Give the browser its token. `Secure` wherever the page itself came over TLS."""
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, token, max_age=int(lasts), httponly=True, samesite="lax", secure=secure, path="/")
    return response


def inside(to: str) -> str:
    """A path of ours to go on to after the login; anything else is the first page."""
    parts = urlsplit(to)
    plain = to.startswith("/") and not to.startswith("//") and "\\" not in to and not parts.scheme and not parts.netloc
    return to if plain and to.isprintable() else "/"


def from_our_page(request: Request) -> bool:
    """Whether a browser sent this from a page of ours. Programs that send neither header come to the next lock."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


async def form(request: Request) -> Mapping[str, str]:
    """The fields of a form of ours; of a name that is there twice the first. Raises Refused."""
    if not from_our_page(request):
        raise Refused(403, "The form was not sent from a page of this hive.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(415, "That is no form of these pages.")
    body = bytearray()
    try:
        async for part in request.stream():
            body += part
            if len(body) > BODY_LIMIT:
                raise Refused(413, "The form is too large.")
    except ClientDisconnect:
        raise Refused(400, "The form did not arrive whole.") from None
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise Refused(400, "The form cannot be read.") from None
    return dict(reversed(pairs))


def check_role(person: Person) -> None:
    """Raises Refused for a viewer."""
    if not person.acts:
        raise Refused(403, "A viewer sees everything and changes nothing: ask an operator.")


def check_csrf(person: Person, fields: Mapping[str, str]) -> None:
    """Raises Refused unless the form was made for this session."""
    if not hmac.compare_digest(fields.get("csrf", "").encode(), person.csrf.encode()):
        raise Refused(403, "The form is older than this login: go back, load the page again and repeat it.")

"""Who asks, where a proxy stands between: only proxies that the settings name are believed to say it.

X-Forwarded-For from anybody else would give whoever guesses passwords a new address for each try. The scheme is another
matter: a proxy of this machine that ends TLS may say so by X-Forwarded-Proto, which makes cookies stricter and no more.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from hive.settings import Settings


def behind_proxies(settings: Settings, app: ASGIApp) -> ASGIApp:
    """The application as `settings.trusted_proxies` lets it be asked."""
    if settings.trusted_proxies:
        return ProxyHeadersMiddleware(app, settings.trusted_proxies)  # type: ignore[arg-type,return-value]
    return _SchemeAlone(app)


class _SchemeAlone:
    """Believes X-Forwarded-Proto, of loopback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        if scope["type"] == "http" and client and _is_loopback(client[0]):
            told = dict(scope["headers"]).get(b"x-forwarded-proto", b"").strip()
            if told in (b"http", b"https"):
                scope["scheme"] = told.decode()
        await self._app(scope, receive, send)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""Serving the gateway until a signal ends it."""

from __future__ import annotations

import gc
import socket

import uvicorn

from hive.gateway.app import app
from hive.gateway.proxied import behind_proxies
from hive.ledger.db import Database
from hive.settings import Settings
from hive.telemetry import switch

_GRACE = 1
"""Seconds that open requests have after a signal."""


_CONNECTIONS = 5
"""That stay open, for the questions of a page that go at a time: a new connection costs more than most of them."""
ANSWER_LIMIT = 15.0
"""Seconds after which a database that says nothing is one that is away: whoever asks the gateway waits for it."""


def serve(settings: Settings) -> None:
    """Answer on HIVE_GATEWAY_HOST and HIVE_GATEWAY_PORT. Raises NotRunning, or OSError where the port is taken.

    SIGTERM and SIGINT end it within a second.
    """
    pooling, limit = settings.transaction_pooling, min(ANSWER_LIMIT, settings.answer_limit)
    db = Database(settings.database(), pool_size=_CONNECTIONS, transaction_pooling=pooling, answer_limit=limit)
    try:
        if switch.on("metrics"):
            from hive.telemetry.meters import Sender

            Sender(db).start()
        with listening(settings.gateway_host, settings.gateway_port) as listener:
            servers: list[uvicorn.Server] = []
            made = app(settings, db, lambda: servers[0].should_exit)
            config = uvicorn.Config(
                behind_proxies(settings, made),
                log_config=None,  # it has a form of its own, with the words of errors: the hive's filters every line
                log_level="error",
                access_log=False,
                lifespan="off",
                ws="none",
                http="h11",
                loop="asyncio",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_GRACE,
            )
            servers.append(uvicorn.Server(config))
            gc.freeze()  # the code that is loaded stays: to search it for garbage takes 0.1 s, while somebody waits
            servers[0].run(sockets=[listener])
            made.state.close()
    finally:
        db.close()


def listening(host: str, port: int) -> socket.socket:
    """A socket that accepts from now on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=128)
    # asyncio sets this only on sockets that name their protocol; without it each answer takes 40 ms (delayed ACK).
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener

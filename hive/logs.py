"""Logs: one structured line when something starts, one when it ends, and what someone must act on."""

from __future__ import annotations

import logging
import sys

import structlog

from hive.settings import settings


def configure() -> None:
    """JSON lines on standard error; a terminal gets readable ones. Libraries speak from WARNING on."""
    level = getattr(logging, settings().log_level.upper(), logging.INFO)
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr, force=True
    )
    logging.getLogger("celery").setLevel(level)

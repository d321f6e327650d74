"""Logs: one structured line when something starts, one when it ends, and what someone must act on."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from typing import TextIO, cast

import structlog

from hive.settings import settings

# Celery says at each start that root may be dangerous, for messages may be pickles: ours are JSON, nothing else is
# taken. It says so before it asks anybody how to log, so this stands where every process of the hive comes by.
warnings.filterwarnings("ignore", message="(?s)You're running the worker with superuser privileges")


class Forgiving:
    """A stream whose disk may be full, or whose reader is gone: a line that cannot be written stops nobody's work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def configure() -> None:
    """JSON lines on standard error; a terminal gets readable ones. Libraries speak from WARNING on.

    Celery too, which else says of each task that it came and that it went: our own lines tell more.
    """
    level = logging.getLevelNamesMapping()[settings().log_level]
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Forgiving(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr, force=True
    )
    logging.getLogger("celery").setLevel(max(level, logging.WARNING))

"""Logs: one structured line when something starts, one when it ends, and what someone must act on.

Every line passes the filter of `hive.masking`. Of a library's line only what cannot hold a value is written, the words
of its source and the numbers among them; of an error that nobody caught, its class and where it came from.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import warnings
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, TextIO, cast

import structlog

from hive.errors import trail
from hive.masking import masked, remember, remember_address
from hive.settings import Settings, settings
from hive.spoken import LEFT_OUT, pattern

# Celery says at each start that root may be dangerous, for messages may be pickles: ours are JSON, nothing else is
# taken. It says so before it asks anybody how to log, so this stands where every process of the hive comes by.
warnings.filterwarnings("ignore", message="(?s)You're running the worker with superuser privileges")

_on = False


def is_on() -> bool:
    """Whether this process has a log of the hive's: a command or somebody's own program has none."""
    return _on


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


class _OfLibraries(logging.Handler):
    """What libraries say, as lines like our own."""

    def emit(self, record: logging.LogRecord) -> None:
        about: dict[str, Any] = {"logger": record.name}
        if record.exc_info and isinstance(record.exc_info[1], BaseException):
            about |= {"kind": type(record.exc_info[1]).__name__, "trail": trail(record.exc_info[1])}
        say = getattr(structlog.get_logger(), record.levelname.lower(), structlog.get_logger().warning)
        said = pattern(record)
        if said == LEFT_OUT:
            about["place"] = f"{record.module}:{record.lineno}"
        say(said, **about)


def configure() -> None:
    """JSON lines on standard error; a terminal gets readable ones. Libraries speak from WARNING on.

    Celery too, which else says of each task that it came and that it went: our own lines tell more.
    """
    global _on  # noqa: PLW0603 - one log for each process
    _on = True
    chosen = settings()
    level = logging.getLevelNamesMapping()[chosen.log_level]
    structlog.configure(
        processors=line_by_line(console=sys.stderr.isatty()),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Forgiving(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    _remember_own(chosen)
    logging.basicConfig(level=logging.WARNING, handlers=[_OfLibraries()], force=True)
    logging.getLogger("celery").setLevel(max(level, logging.WARNING))
    sys.excepthook, threading.excepthook, warnings.showwarning = _uncaught, _uncaught_in_thread, _warned


def line_by_line(*, console: bool = False) -> list[structlog.typing.Processor]:
    """What becomes of each line: the flight and bee that it is about, its time, the last filter, and its form."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _last_filter,
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(),
    ]


class _ErrorStream:
    """Standard error as it is when something is written."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def for_commands() -> None:
    """Lines of a command, from WARNING on, go to standard error: standard output is for answers."""
    if _on or structlog.is_configured():
        return
    logging.getLogger("psycopg").addHandler(logging.NullHandler())  # what it says names addresses, and ends in ours
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            _last_filter,
            structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _ErrorStream())),
    )


def _last_filter(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Timestamp and level are ours. What cannot be filtered is not written."""
    error = line.pop("exc_info", None)
    if error is not None:
        error = error if isinstance(error, BaseException) else sys.exc_info()[1]
        if error is not None:
            line.update(kind=type(error).__name__, trail=trail(error))
    try:
        kept = {key: line[key] for key in ("timestamp", "level") if key in line}
        return {**masked({key: value for key, value in line.items() if key not in kept}), **kept}
    except Exception as failed:  # noqa: BLE001 - of whatever somebody gave to be logged
        return {"event": "line.not_masked", "kind": type(failed).__name__, **kept}


def _remember_own(chosen: Settings) -> None:
    """Passwords and keys of the hive itself."""
    for given in (chosen.key, chosen.flower_login):
        if given is not None:
            remember(given.get_secret_value())
    state = chosen.running()
    for given in (chosen.database_url, chosen.redis_url):
        if given is not None:
            remember_address(given.get_secret_value())
    for name in ("database_url", "redis_url"):
        remember_address(str(state.get(name) or ""))
    login = state.get("flower_login") or {}
    remember(str(login.get("password") or ""))


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    structlog.get_logger().error("process.failed", kind=kind.__name__, trail=trail(error.with_traceback(trace)))


def _uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is None or issubclass(told.exc_type, SystemExit):
        return
    name = told.thread.name if told.thread is not None else ""
    structlog.get_logger().error("thread.failed", thread=name, kind=told.exc_type.__name__, trail=trail(told.exc_value))


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - the signature of warnings.showwarning
    line: str | None = None,  # noqa: ARG001
) -> None:
    """A warning's text may repeat what it is about; its class and place say enough to look it up."""
    del message
    structlog.get_logger().warning("python.warning", kind=category.__name__, place=f"{filename}:{lineno}")

"""From an error to what a person reads, and to the exit code."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass

FAILED, WRONG_USE = 1, 2


@dataclass(frozen=True)
class Told:
    message: str
    code: int


def explain(error: Exception) -> Told | None:
    """Words and exit code for an error that a person can mend; None for one that nobody foresaw.

    Wrong use is what another command line or configuration would mend; a world that does not play along is a failure.
    """
    # Imported only now: these modules bring the whole hive with them, and most commands end well.
    from pydantic import ValidationError

    from bees.core.errors import SourceError
    from hive.config.model import UnknownBee
    from hive.config.problems import ConfigProblems
    from hive.config.references import BadReference
    from hive.embedded import ServerError
    from hive.errors import HiveError
    from hive.ledger.db import UNREACHABLE
    from hive.ledger.migrate import NewerSchema
    from hive.registry import BrokenConnector, MissingExtra, UnknownConnector
    from hive.running import AlreadyRunning, StartFailed, StopFailed
    from hive.settings import NotRunning, Settings
    from hive.supervisor import PortInUse
    from hive.vault.envelope import Unsealable
    from hive.vault.key import KeyFileRefused, MissingHiveKey
    from hive.vault.store import BadSecret

    wrong_use = (
        ConfigProblems, BadReference, UnknownBee, UnknownConnector, MissingExtra, BrokenConnector, MissingHiveKey,
        KeyFileRefused, BadSecret, LookupError,
    )  # fmt: skip
    failed = (
        NotRunning, AlreadyRunning, StartFailed, StopFailed, PortInUse, ServerError, Unsealable, TimeoutError,
        NewerSchema,
    )  # fmt: skip
    if isinstance(error, ValidationError) and error.title == Settings.__name__:
        return Told("\n".join(map(_setting, error.errors(include_url=False, include_input=False))), WRONG_USE)
    if isinstance(error, SourceError | HiveError):
        return Told(_with_advice(error), FAILED)
    if isinstance(error, UNREACHABLE):
        return Told(_unreachable(), FAILED)
    if isinstance(error, failed):
        return Told(str(error), FAILED)
    if type(error) in (KeyError, IndexError):
        return None  # a slip of ours, not a name that somebody mistyped
    if isinstance(error, wrong_use):
        return Told(str(error), WRONG_USE)
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return Told("the port is in use: end what listens there, or set HIVE_GATEWAY_PORT or HIVE_FLOWER_PORT", FAILED)
    if isinstance(error, OSError) and error.filename is not None:
        return Told(f"{error.filename}: {error.strerror}", FAILED)
    return None


def silence_output() -> None:
    """Whoever read our output went away: nothing may be written any more, also not at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _setting(error: object) -> str:
    assert isinstance(error, dict)
    from hive.config.explain import plain

    name = "HIVE_" + "_".join(map(str, error["loc"])).upper()
    return f"the environment variable {name}: {plain(error)}"


def _with_advice(error: Exception) -> str:
    text, advice = str(error), getattr(error, "advice", "")
    return text if not advice or advice in text else f"{text} - {advice}"


def _unreachable() -> str:
    from sqlalchemy.engine import make_url

    from hive.running import killed
    from hive.settings import settings

    chosen = settings()
    if chosen.database_url is None and (pid := killed(chosen)) is not None:
        return (
            f"the hive on the data folder {chosen.data_dir.absolute()} was killed, its process {pid} is gone: "
            "`hive up` starts it again, and nothing is lost"
        )
    address = make_url(chosen.database())
    return (
        f"the database {address.database!r} at {address.host}:{address.port or 5432} cannot be reached or does not let "
        "us in: see that PostgreSQL runs there and that HIVE_DATABASE_URL has the right user and password"
    )

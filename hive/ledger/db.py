"""Connections to our PostgreSQL, and the named SQL of the protocol.

Everyday queries are SQLAlchemy Core on `engine.connect()`. The statements that carry the protocol are `.sql` files in
`hive/ledger/sql/`, run on the psycopg connection underneath (`transaction()`), where they are prepared once and cost
one round trip.
"""

from __future__ import annotations

import datetime as dt
import functools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from typing import Any, LiteralString, cast

import psycopg
import sqlalchemy as sa
from psycopg.rows import namedtuple_row

from hive.ledger import packed
from hive.ledger.patience import Patience

_CONNECT: dict[str, int] = {
    "connect_timeout": 5,
    # A peer that vanished without a word is noticed within half a minute, not in hours.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

_SESSION = {
    # The same from the server's side: what a dead client holds (locks, in the middle of a transaction) would stay held
    # for two hours. One that is frozen answers the network and is told apart by its idleness.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "idle_in_transaction_session_timeout": "60000",
    # A statement whose client is gone is not waited out: who was cut off asks again, on another connection.
    "client_connection_check_interval": "5000",
}

_KEPT_PLANS = {"plan_cache_mode": "force_generic_plan"}

_NAME = re.compile(r"%\((\w+)\)s")


class DatabaseAway(Exception):
    """The database cannot be reached, or left in the middle: whether the last statement was done is not known."""


UNREACHABLE = (DatabaseAway, sa.exc.OperationalError, sa.exc.InterfaceError)
"""What a database raises that cannot be reached, over a `Database` or over its engine."""

_LEFT = {"57P01", "57P02", "57P03", "53300", "53100", "58030"}
"""It shuts down, crashed, starts, or takes no more connections; its disk is full or broken."""
_OTHERWISE = {"25P03", "25006"}
"""It ended the session of a process that was frozen in the middle of a transaction; it has become a mere replica."""


def is_away(error: psycopg.Error) -> bool:
    """Whether an error says that the database is away. The same classes also say that data is too large or too deep."""
    code = error.sqlstate
    if code in _OTHERWISE:
        return True
    broken = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return broken and (code is None or code.startswith("08") or code in _LEFT)


def make_engine(
    url: str,
    *,
    pool_size: int = 2,
    transaction_pooling: bool = False,
    answer_limit: float | None = None,
    kept_plans: bool = False,
) -> sa.Engine:
    """An engine on `url` (`postgresql://...`). Made after a fork, never before.

    `transaction_pooling`: pgbouncer in transaction mode stands between, so no prepared statements. A connection is not
    waited for longer than `answer_limit` seconds, but for 2 at least. `kept_plans`: see `Database`.
    """
    connect: dict[str, Any] = dict(_CONNECT)
    if answer_limit is not None and answer_limit < _CONNECT["connect_timeout"]:
        connect["connect_timeout"] = max(2, int(answer_limit))
    address = sa.engine.make_url(url).set(drivername="postgresql+psycopg")
    if transaction_pooling:
        connect["prepare_threshold"] = None
    else:
        given = [str(address.query["options"])] if "options" in address.query else []
        session = _SESSION | (_KEPT_PLANS if kept_plans else {})
        connect["options"] = " ".join([*(f"-c {name}={value}" for name, value in session.items()), *given])
    engine = sa.create_engine(
        address,
        pool_size=pool_size,
        max_overflow=4,
        pool_pre_ping=False,
        pool_recycle=1800,
        connect_args=connect,
        hide_parameters=True,
    )
    sa.event.listen(engine, "connect", _opened)
    return engine


def _opened(connection: psycopg.Connection[Any], _: object) -> None:
    """By itself psycopg keeps 100 prepared statements. Ours, times the jars' partitions, are more, and each one that is
    thrown out costs a round trip to forget it, another to prepare it, and a new plan.
    """
    connection.prepared_max = 1000
    packed.register(connection)


@functools.cache
def statements() -> dict[str, LiteralString]:
    """Name -> text of every statement under `hive/ledger/sql/`.

    A statement starts with `-- name --`; comment lines after it say why. Names are unique over all files.
    """
    found: dict[str, LiteralString] = {}
    for file in sorted(resources.files("hive.ledger").joinpath("sql").iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".sql"):
            continue
        parts = re.split(r"^-- (\w+) --$", file.read_text(), flags=re.MULTILINE)
        for name, body in zip(parts[1::2], parts[2::2], strict=True):
            if name in found:
                raise ValueError(f"two statements are named {name!r}; the second is in {file.name}")
            lines = [line for line in body.strip().splitlines() if not line.startswith("--")]
            found[name] = "\n".join(lines).rstrip(";")
    return found


@functools.lru_cache(maxsize=512)
def _of_day(text: LiteralString, day: dt.date) -> LiteralString:
    """A statement on the partitions of one day: the server plans for one small table, once, and not for all of them."""
    return text.replace("_{day}", f"_{day:%Y%m%d}")


@functools.lru_cache(maxsize=1024)
def _of_part(text: LiteralString, part: int) -> LiteralString:
    """A statement on one partition of the jars: whose it is need not be found out at each run."""
    return text.replace("_{part}", f"_{part}")


@functools.lru_cache(maxsize=2048)
def _numbered(text: LiteralString) -> tuple[LiteralString, tuple[str, ...]]:
    """A statement as the server reads it, with $1 for the first of its names, and these names.

    psycopg does the same, and anew at each run of a statement of more than 4,096 characters.
    """
    names = dict.fromkeys(_NAME.findall(text))
    for number, name in enumerate(names, 1):
        text = text.replace(f"%({name})s", f"${number}")
    return text.replace("%%", "%"), tuple(names)


class Transaction:
    """An open transaction. `run` executes a named statement, `psycopg` is the connection underneath."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.psycopg = connection

    def run(self, name: str, /, **values: Any) -> psycopg.Cursor[Any]:
        """Execute a statement of `hive/ledger/sql/`."""
        return self.execute(statements()[name], values)

    def execute(self, text: LiteralString, values: Mapping[str, Any]) -> psycopg.Cursor[Any]:
        """Execute a text with names, `%(name)s`; `_{day}` and `_{part}` in it are the partitions of these values.

        It is prepared at its first run, so it must be one of few.
        """
        if "day" in values:
            text = _of_day(text, values["day"])
        if "part" in values:
            text = _of_part(text, values["part"])
        numbered, names = _numbered(text)
        cursor = psycopg.RawCursor(self.psycopg, row_factory=namedtuple_row)
        return cursor.execute(numbered, [values[n] for n in names], prepare=True)


@contextmanager
def _or_close(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Around what gives a connection back: one that was interrupted in the middle of a query cannot be used again."""
    try:
        yield
    except psycopg.Error:
        connection.close()


class Database:
    """Our PostgreSQL, as one process sees it."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 2,
        transaction_pooling: bool = False,
        answer_limit: float | None = None,
        kept_plans: bool = False,
    ) -> None:
        """`answer_limit`: seconds that a use of a connection may last while the server says nothing; None: for ever.

        `kept_plans`: each statement is planned once for a connection, whatever its values: for those that run the
        protocol's, which go to their rows by index. The server would plan one anew for each of its first five values,
        on each partition of the jars: a sixth of a small flight (measured).
        """
        self.engine = make_engine(
            url, pool_size=pool_size, transaction_pooling=transaction_pooling, answer_limit=answer_limit,
            kept_plans=kept_plans,
        )  # fmt: skip
        self._patience = None if answer_limit is None else Patience(self.engine, answer_limit)

    @contextmanager
    def single(self) -> Iterator[Transaction]:
        """Each statement commits by itself: for one statement alone this saves two round trips."""
        with self._connection() as connection:
            connection.autocommit = True
            try:
                yield Transaction(connection)
            finally:
                with _or_close(connection):
                    connection.autocommit = False

    @contextmanager
    def transaction(self, limit: float | None = None) -> Iterator[Transaction]:
        """Commit at the end, roll back on an error. `limit` instead of the usual one for what may take longer."""
        with self._connection(limit) as connection:
            try:
                yield Transaction(connection)
                connection.commit()
            except BaseException:
                with _or_close(connection):
                    connection.rollback()
                raise

    @contextmanager
    def _connection(self, limit: float | None = None) -> Iterator[psycopg.Connection[Any]]:
        """One that broke is thrown away. Raises DatabaseAway for all that means it."""
        try:
            pooled = self.engine.raw_connection()
        except (psycopg.OperationalError, sa.exc.OperationalError) as error:
            raise DatabaseAway("the database cannot be reached") from error
        connection = cast("psycopg.Connection[Any]", pooled.driver_connection)
        if limit is not None and self._patience is not None:
            self._patience.extend(pooled, limit)
        try:
            yield connection
        except psycopg.Error as error:
            if is_away(error):
                raise DatabaseAway("the database left in the middle") from error
            raise
        finally:
            if connection.closed or connection.broken:
                # And all that are as old: the server left them, too, and the next try shall not find that out.
                self.engine.pool._invalidate(cast("Any", pooled))  # noqa: SLF001 - what SQLAlchemy itself does then
            pooled.close()

    def close(self) -> None:
        self.engine.dispose()

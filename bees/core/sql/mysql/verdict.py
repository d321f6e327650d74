"""Which verdict an error of MySQL or MariaDB carries, by its number; the server's own words are never repeated.

Numbers: https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html and
https://mariadb.com/docs/server/reference/error-codes; above 2000 they are the driver's own,
above 9000 ProxySQL's (its MySQL_Session.cpp).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bees.core.errors import GiveUp, RetryLater, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

_ONE_SELECT = "check that `query` is one SELECT that writes nothing"
_GRANT = "GRANT SELECT on the table to `user`, and SHOW VIEW on a view, or set `columns`"
_LATER = {
    (1040, 1041, 1037, 1038, 1135, 1203, 1226, 1021, 1114, 3170): (
        "overloaded",
        "the server has no room left (connections, memory or disk)",
    ),
    (1053, 1077, 1079, 1080, 3169): ("restarting", "the server is shutting down, or ended this session"),
    (1047,): ("restarting", "the server is not ready: a node of a cluster that is not in step with it"),
    (1129,): ("blocked", "the server blocks this client's address after too many failed sessions"),
    (1205, 3572): ("lock_timeout", "a lock was not given in time"),
    (1213, 1412): ("conflict", "the statement was in conflict with the server's other work"),
    (1317, 1969, 3024): ("statement_timeout", "the statement was cancelled, or took longer than `statement_timeout`"),
    (2003, 2006, 2013, 2055, 1927, 4031, 1158, 1159, 1160, 1161): (
        "unreachable",
        "the connection to the server was lost",
    ),
    (9001, 9002): ("unreachable", "the proxy has no session of the server for now"),
    (1020, 1030, 1034, 1194, 1195, 1815): ("server_trouble", "the server has trouble with its own storage"),
}
_NEVER = {
    (1044, 1045, 1130, 1698, 1820, 1862, 3118, 3159, 4151): (
        "denied",
        "the server refuses this login",
        "check `user`, `password`, `database`, and from which hosts the user may log in",
    ),
    (1251, 2049, 2059, 2061, 1524): (
        "auth_plugin",
        "the server asks for a login that would show the password, or that is not known here",
        "let the user have caching_sha2_password, mysql_native_password or ed25519, or set ssl_mode to verify-full",
    ),
    (1049,): ("no_database", "the server knows no such database", "check `database`"),
    (1142, 1143, 1227, 1370): ("no_permission", "the user lacks a permission", _GRANT),
    (1146, 1051, 1109): ("no_table", "a table does not exist", "check `query`, and `database` for names without one"),
    (1054, 1166): ("no_column", "a column does not exist", "check `query`, `key`, `cursor` and `columns`"),
    (1052, 1060): ("ambiguous", "a column name is not unique", "name each column of `query` with AS"),
    (1356, 1449): (
        "broken_view",
        "a view reads what is not there, or what its definer may not read",
        "mend the view at the source",
    ),
    (1064, 1149, 1248, 1111, 1140, 1222, 1241, 1242, 1305, 1630, 1582, 1583): (
        "wrong_query",
        "the server refuses the statement",
        _ONE_SELECT,
    ),
    (1290, 1792, 1836): ("writes", "the statement writes, and a bee only reads", _ONE_SELECT),
    (1267, 1270, 1271): (
        "collations",
        "texts of different collations are compared",
        "write COLLATE where `query` compares them",
    ),
    (1153, 1301, 2020): (
        "too_large",
        "a row is larger than the server sends",
        "raise `max_allowed_packet` at the server, or leave the column out with `columns`",
    ),
    (1690, 1365, 1292, 1411, 1264, 1525, 3140, 3141, 4037, 4038): (
        "wrong_data",
        "the server cannot compute the statement on this data",
        "check the expressions of `query`",
    ),
    (2026,): (
        "no_tls",
        "no encrypted connection came about",
        "check `ssl_mode` and `ssl_root_cert` against what the server offers",
    ),
}
_DENIED, _NO_DEFINER = 1045, 1449
"""Who is logged in already is not refused: MariaDB says so of the definer of a view that is gone."""
_BY_NUMBER: dict[int, tuple[str, ...]] = {n: told for ns, told in (*_LATER.items(), *_NEVER.items()) for n in ns}


def number_of(error: BaseException) -> int | None:
    """The number of a pymysql error; None: it has none, because the connection broke."""
    first: Any = error.args[0] if error.args else None
    return first if isinstance(first, int) and first > 0 else None


def verdict(number: int | None, where: str) -> SourceError:
    """The error to raise for a server's or the driver's number; None means that the connection broke."""
    if number is None:
        return RetryLater("the connection to the server was lost", code="unreachable", where=where)
    found = _BY_NUMBER.get(number)
    if found is None:
        message = f"the server refuses the work (error {number})"
        return GiveUp(message, code="refused", where=where, advice="look the number up in the server's manual")
    if len(found) == 2:
        return RetryLater(f"{found[1]} (error {number})", code=found[0], where=where)
    code, message, advice = found
    return GiveUp(f"{message} (error {number})", code=code, where=where, advice=advice)


@contextmanager
def judged(where: str) -> Iterator[None]:
    """Turn pymysql's errors into verdicts that name `where`, in a session that has logged in."""
    from pymysql.err import Error

    try:
        yield
    except Error as error:
        number = number_of(error)
        raise verdict(_NO_DEFINER if number == _DENIED else number, where) from None
    except OSError:
        raise verdict(None, where) from None

"""Which verdict an error of MongoDB's driver carries; the server's own words are never repeated.

Codes: https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
"""

from __future__ import annotations

import ssl

from pymongo import errors

from bees.core.errors import GiveUp, RetryLater, SourceError
from bees.core.sql.certificate import distrusted

CURSOR_GONE = {43, 237, 175, 404}
"""The server has closed the cursor: idle too long, killed, restarted. Whoever knows the place reads on with another."""

HISTORY_LOST = {280, 286, 260}
"""The change stream cannot go on from its token."""

_LOGIN = (18, 11, 31, 8000, 334, 15)
_NEVER: dict[int, tuple[str, str, str]] = {
    **dict.fromkeys(_LOGIN, ("denied", "the server refuses this login", "check `user`, `password` and `auth_source`")),
    13: ("no_permission", "the login lacks a permission", "grant the role `read` on the database"),
    26: ("no_collection", "the collection does not exist", "check `collection` and `database`"),
    73: ("no_collection", "the name of the database or collection is not valid", "check `collection` and `database`"),
    292: (
        "no_index",
        "the server would have to sort more than its memory holds",
        "create an index on the cursor field and _id, in this order",
    ),
    10334: ("too_large", "a document or change is larger than 16 MB", "leave fields out with `fields` or `exclude`"),
    40573: ("no_changes", "this server has no change streams: they need a replica set", "leave out `mode: cdc`"),
    72: ("unsupported", "the server does not know an option of the command", "check that it is MongoDB 4.4 or later"),
    59: ("unsupported", "the server does not know the command", "check that it is MongoDB 4.4 or later"),
}
for _code in HISTORY_LOST:
    _NEVER[_code] = (
        "history_lost",
        "the server no longer has the changes since the last flight",
        "read everything anew with --full-refresh; a larger oplog keeps more",
    )
_LATER: dict[int, tuple[str, str]] = {
    50: ("statement_timeout", "the command took longer than `statement_timeout`"),
    262: ("statement_timeout", "the command took longer than the server allows"),
    202: ("statement_timeout", "the network of the cluster took too long"),
    146: ("overloaded", "the server has no memory left for the command"),
    **dict.fromkeys((6, 7, 89, 9001), ("unreachable", "the connection to the server was lost")),
    **dict.fromkeys((91, 11600, 11602, 189, 10107, 13435, 13436), ("restarting", "the server is changing its role")),
    **dict.fromkeys(CURSOR_GONE, ("cursor_gone", "the server closed the cursor")),
    136: ("cursor_gone", "the capped collection has moved on"),
    **dict.fromkeys(
        (24, 112, 239, 246, 11601), ("conflict", "the command was in conflict with the server's other work")
    ),
    **dict.fromkeys((63, 150, 13388), ("restarting", "the cluster is moving the collection's documents")),
    **dict.fromkeys((133, 134, 211), ("restarting", "the members are not in step with each other yet")),
}
_DISTRUSTED = (
    ("has expired", 10), ("not yet valid", 9), ("Hostname mismatch", 62), ("IP address mismatch", 64),
    ("self-signed", 18), ("self signed", 18), ("unable to get", 20),
)  # fmt: skip
"""OpenSSL's words for the numbers of X509_V_ERR."""


def verdict(error: errors.PyMongoError, where: str, met: BaseException | None = None) -> SourceError:
    """The error to raise for one of the driver's; `met` is what the driver met when it looked for a server."""
    if isinstance(error, errors.OperationFailure):
        return _of_code(error.code or 0, where)
    if isinstance(error, errors.ConfigurationError):
        message = "the options of the connection do not fit together"
        return GiveUp(message, code="bad_options", where=where, advice="check the TLS files and `replica_set`")
    inner = _deepest(met or error)
    if isinstance(inner, SourceError):
        return inner
    if isinstance(inner, errors.OperationFailure):
        return _of_code(inner.code or 0, where)
    if "CERTIFICATE_VERIFY_FAILED" in str(inner):  # the driver keeps the text alone
        number = next((n for words, n in _DISTRUSTED if words in str(inner)), 0)
        return distrusted(number, where, ("hosts", "tls_ca"))
    if isinstance(inner, ssl.SSLError) or "SSL" in str(inner):
        message = "no encrypted connection came about"
        advice = "check `tls`, `tls_ca` and `tls_certificate` against what the server offers"
        return GiveUp(message, code="no_tls", where=where, advice=advice)
    if isinstance(error, errors.NotPrimaryError):
        return RetryLater("the server is changing its role", code="restarting", where=where)
    if isinstance(error, errors.ExecutionTimeout | errors.NetworkTimeout):
        return RetryLater("the server takes too long to answer", code="timeout", where=where)
    return RetryLater(
        "the server does not answer, or is none that fits `replica_set` and `read_preference`",
        code="unreachable",
        where=where,
        advice="check `hosts`, and that the server runs",
    )


def is_momentary(error: errors.PyMongoError) -> bool:
    """Whether reading may go on at once from the same place with a new cursor."""
    if isinstance(error, errors.NetworkTimeout):
        return False  # the server was silent for all the time that it has
    code = getattr(error, "code", None)
    return code in CURSOR_GONE or code == 50 or isinstance(error, errors.AutoReconnect)


def _of_code(code: int, where: str) -> SourceError:
    if found := _LATER.get(code):
        return RetryLater(f"{found[1]} (code {code})", code=found[0], where=where)
    name, message, advice = _NEVER.get(
        code, ("refused", "the server refuses the command", "check `filter`, `pipeline` and the server's version")
    )
    return GiveUp(f"{message} (code {code})", code=name, where=where, advice=advice)


def _deepest(error: BaseException) -> BaseException:
    while (inner := error.__cause__ or error.__context__) is not None and not isinstance(error, SourceError):
        error = inner
    return error

"""What looks like a secret by its name: for values that no connector's options describe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any
from urllib.parse import unquote_plus

from hive.config.forms.names import snake
from hive.config.references import has_literal

Place = tuple[object, ...]

_WORDS = frozenset(
    (
        *("password", "passwd", "passphrase", "pwd", "secret", "token", "jwt", "cookie", "credential", "credentials"),
        *("authorization", "apikey", "dsn", "sas", "signature"),
    )
)
_PAIRS = (("api", "key"), ("access", "key"), ("private", "key"), ("account", "key"), ("secret", "key"))
_IN_QUERY = frozenset(("key", "sig", "sid", "session", "auth", "bearer"))
"""Further words that name a secret among query parameters; elsewhere a `key` is a column."""
_SENT = frozenset(("params", "query", "headers"))
"""Options of a stream that are maps of what is sent along with a request."""
_PARAMETER = re.compile(r"[?&;]([^=&;#?\s]{1,100})=((?:\$\{[^}]*\}|\{\{[^}]*\}\}|[^&;#\s])+)")
_LOGIN = re.compile(r"^[a-z][a-z0-9+.-]*://[^/?#@\s]*:[^/?#@\s]+@", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """`apiToken`, LDAP_BIND_PASSWORD, `private_key`; not `tokenUrl`, which is an address."""
    words = [word for word in re.split(r"[^a-z0-9]+", snake(name)) if word]
    if words and words[-1] in ("url", "uri", "path", "file", "name", "method", "type", "id", "ttl"):
        return False
    return bool(_WORDS & set(words)) or any(pair in _PAIRS for pair in pairwise(words))


def secret_looking(value: Any, place: Place = (), *, named: bool = True) -> Iterator[tuple[Place, str]]:
    """(place, text) of what is named like a secret, at any depth, and of addresses that carry one.

    `named=False`: names count only in what is sent with requests, as in streams, whose options name columns and fields.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            if named and is_secret_name(str(key)):
                yield from _texts(item, (*place, key))
            else:
                yield from secret_looking(item, (*place, key), named=named or key in _SENT)
    elif isinstance(value, list | tuple):
        for n, item in enumerate(value):
            yield from secret_looking(item, (*place, n), named=named)
    elif isinstance(value, str) and (_LOGIN.match(value) or has_secret_parameter(value)):
        yield place, value


def has_secret_parameter(text: str) -> bool:
    """Whether an address or path writes a secret out in its query, as in `/a?token=...`; a reference is none."""
    if "=" not in text:
        return False
    for name, given in _PARAMETER.findall(text):
        plain = unquote_plus(name)
        if (is_secret_name(plain) or plain.lower() in _IN_QUERY) and has_literal(given):
            return True
    return False


def _texts(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*place, key))
    elif isinstance(value, list | tuple):
        for n, item in enumerate(value):
            yield from _texts(item, (*place, n))
    elif isinstance(value, str):
        yield place, value

"""What looks like a secret by its name: for values that no connector's options describe."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from hive.config.forms.names import snake

Place = tuple[object, ...]

_WORDS = frozenset(
    (
        *("password", "passwd", "passphrase", "pwd", "secret", "token", "jwt", "cookie", "credential", "credentials"),
        *("authorization", "apikey", "dsn", "sas", "signature"),
    )
)
_PAIRS = (("api", "key"), ("access", "key"), ("private", "key"), ("account", "key"), ("secret", "key"))
_LOGIN = re.compile(r"^[a-z][a-z0-9+.-]*://[^/?#@\s]*:[^/?#@\s]+@", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """`apiToken`, LDAP_BIND_PASSWORD, `private_key`; not `tokenUrl`, which is an address."""
    words = [word for word in re.split(r"[^a-z0-9]+", snake(name)) if word]
    if words and words[-1] in ("url", "uri", "path", "file", "name", "method", "type", "id", "ttl"):
        return False
    return bool(_WORDS & set(words)) or any(pair in _PAIRS for pair in pairwise(words))


def secret_looking(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """(place, text) of what is named like a secret, at any depth, and of addresses that carry a password."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if is_secret_name(str(key)):
                yield from _texts(item, (*place, key))
            else:
                yield from secret_looking(item, (*place, key))
    elif isinstance(value, list | tuple):
        for n, item in enumerate(value):
            yield from secret_looking(item, (*place, n))
    elif isinstance(value, str) and _LOGIN.match(value):
        yield place, value


def _texts(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*place, key))
    elif isinstance(value, list | tuple):
        for n, item in enumerate(value):
            yield from _texts(item, (*place, n))
    elif isinstance(value, str):
        yield place, value

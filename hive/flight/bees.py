"""Open bees of this process: a connection outlives the leg that made it, and its next leg finds it warm."""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bees.core.bee import WorkerBee
from bees.core.errors import GiveUp
from bees.core.inbox import Inbox, InboxBee
from hive.config.references import BadReference, MissingReference, resolve
from hive.config.shape import options_now
from hive.registry import connector
from hive.settings import environment
from nectar.pollen import Stream

if TYPE_CHECKING:
    from hive.limits.breaker import LedgerBreaker
    from hive.vault.store import Vault

    Attach = Callable[[int, str, WorkerBee, Mapping[str, Any]], LedgerBreaker | None]

_KEPT = 256
"""Bees kept open per process; the one that was idle longest is closed first."""
_PRINT_KEY = os.urandom(32)
"""Of this process: what is kept of a bee's options to compare them tells nobody what they are."""


@dataclass
class OpenBee:
    """A live bee, with the configuration it was made from (references unresolved: no secret in it)."""

    bee: WorkerBee
    config: Mapping[str, Any]
    made_of: bytes = b""
    """A print of connector and options, secrets among them."""
    breaker: LedgerBreaker | None = None
    """Of its source, if the configuration asks for one."""
    streams: dict[str, Stream] = field(default_factory=dict)
    connector: str = ""

    def pollen(self) -> Sequence[Stream]:
        """Ask the source anew which streams there are."""
        found = self.bee.get_pollen_schema()
        self.streams = {s.name: s for s in found}
        return found

    def stream(self, name: str) -> Stream:
        if name not in self.streams or self.streams[name].trouble:
            self.pollen()
        if name not in self.streams:
            raise GiveUp(
                f"the source no longer offers the stream {name!r}",
                code="stream_gone",
                where=name,
                advice="compare `hive schema` with the bee's streams",
            )
        return self.streams[name]

    def fingerprint(self, stream: Stream) -> str:
        """Which source, query, key and cursor column a checkpoint belongs to, and how its records are made.

        Another one starts a new epoch: everything is read again, and no record stays as an older profile or an older
        step left it. Raises BadTransform: a step that is not found is found missing before anything is read.
        """
        asked = (self.config.get("streams") or {}).get(stream.name)
        whose = [self.bee.source_identity(), self.bee.stream_identity(stream.name)]
        parts = [*whose, stream.name, stream.key, stream.cursor, asked, self.config.get("scrubbing")]
        if self.config.get("transform"):
            from nectar.transform import version_of  # here: most bees have none

            parts.append(version_of(self.config["transform"]))
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


class OpenBees:
    """Made per process, after the fork."""

    def __init__(self, vault: Callable[[str], Vault], inbox: Callable[[int], Inbox], attach: Attach) -> None:
        self._vault = vault
        self._attach = attach
        self._inbox = inbox
        self._open: OrderedDict[tuple[int, Hashable], OpenBee] = OrderedDict()

    def get(
        self, bee: int, version: Hashable, name: str, tenant: str, load: Callable[[], tuple[str, Mapping[str, Any]]]
    ) -> OpenBee:
        """The open bee of this configuration version. `load` gives (connector, config) when it must be made.

        Raises GiveUp that names the bee and the field when a reference is missing or an option is wrong.
        """
        at = (bee, version)
        if at not in self._open:
            kind, config = load()
            options = _resolved(name, kind, config, self._vault(tenant).text)
            made = _made(name, kind, options)
            if isinstance(made, InboxBee):
                made.inbox = self._inbox(bee)
            breaker = self._attach(bee, tenant, made, config)
            self._open[at] = OpenBee(made, config, _print(kind, options), breaker, connector=kind)
        self._open.move_to_end(at)
        while len(self._open) > _KEPT:
            _, old = self._open.popitem(last=False)
            old.bee.close()
        return self._open[at]

    def held(self, bee: int, version: Hashable) -> OpenBee | None:
        """The open bee, if there is one."""
        return self._open.get((bee, version))

    def is_outdated(
        self, bee: int, version: Hashable, name: str, tenant: str, load: Callable[[], tuple[str, Mapping[str, Any]]]
    ) -> bool:
        """Whether the open bee would be made of other options by now: its credentials were changed since.

        False where it is not open. Raises GiveUp as `get` does.
        """
        held = self.held(bee, version)
        if held is None:
            return False
        kind, config = load()
        return held.made_of != _print(kind, _resolved(name, kind, config, self._vault(tenant).text))

    def drop(self, bee: int, version: Hashable) -> None:
        """Close a bee whose connection may be broken; the next leg makes a new one."""
        gone = self._open.pop((bee, version), None)
        if gone is not None:
            gone.bee.close()

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].bee.close()


def options_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The connector's options out of a bee's block: `source`, with `streams` beside."""
    streams = config.get("streams")
    return {**(config.get("source") or {}), **({"streams": streams} if streams else {})}


def make_bee(name: str, kind: str, config: Mapping[str, Any], vault: Callable[[str], str]) -> WorkerBee:
    """A bee with its secrets resolved; `vault` gives the text at a path. Raises GiveUp naming bee and field."""
    return _made(name, kind, _resolved(name, kind, config, vault))


def _resolved(name: str, kind: str, config: Mapping[str, Any], vault: Callable[[str], str]) -> dict[str, Any]:
    """The connector's options with what their references stand for."""
    told = options_now(connector(kind), options_of(config), config.get("connector_version", 1))
    try:
        found: dict[str, Any] = resolve(told, environ=environment(), vault=vault, bee=name, field="source")
    except BadReference as error:
        variable = isinstance(error, MissingReference) and error.reference.kind == "environment"
        advice = _OWN_ENVIRONMENT if variable else ""
        raise GiveUp(str(error), code="missing_reference", where=error.field, advice=advice) from None
    return found


_OWN_ENVIRONMENT = (
    "a process has the environment that it was started with: end the hive, set it, and start it again there; "
    "or keep the secret in the vault, where a change is seen at once"
)


def _print(kind: str, options: Mapping[str, Any]) -> bytes:
    told = json.dumps([kind, options], sort_keys=True, default=str).encode()
    return hashlib.blake2b(told, key=_PRINT_KEY).digest()


def _made(name: str, kind: str, options: Mapping[str, Any]) -> WorkerBee:
    try:
        return connector(kind).from_options(options)
    except ValueError as error:
        fields = ", ".join(".".join(map(str, e["loc"])) for e in getattr(error, "errors", list)()) or "its options"
        raise GiveUp(
            f"bee {name!r}: the connector {kind!r} refuses {fields}",
            code="bad_options",
            advice="`hive config check FILE` says why",
        ) from None

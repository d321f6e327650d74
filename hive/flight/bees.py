"""Open bees of this process: a connection outlives the leg that made it, and its next leg finds it warm."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bees.core.bee import WorkerBee
from bees.core.errors import GiveUp
from hive.config.references import BadReference, resolve
from hive.config.shape import options_now
from hive.registry import connector
from hive.settings import environment
from nectar.pollen import Stream

if TYPE_CHECKING:
    from hive.vault.store import Vault

_KEPT = 256
"""Bees kept open per process; the one that was idle longest is closed first."""


@dataclass
class OpenBee:
    """A live bee, with the configuration it was made from (references unresolved: no secret in it)."""

    bee: WorkerBee
    config: Mapping[str, Any]
    streams: dict[str, Stream] = field(default_factory=dict)

    def pollen(self) -> Sequence[Stream]:
        """Ask the source anew which streams there are."""
        found = self.bee.get_pollen_schema()
        self.streams = {s.name: s for s in found}
        return found

    def stream(self, name: str) -> Stream:
        if name not in self.streams:
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

    def __init__(self, vault: Callable[[str], Vault]) -> None:
        self._vault = vault
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
            self._open[at] = OpenBee(make_bee(name, kind, config, self._vault(tenant).text), config)
        self._open.move_to_end(at)
        while len(self._open) > _KEPT:
            _, old = self._open.popitem(last=False)
            old.bee.close()
        return self._open[at]

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
    found = connector(kind)
    told = options_now(found, options_of(config), config.get("connector_version", 1))
    try:
        options = resolve(told, environ=environment(), vault=vault, bee=name, field="source")
    except BadReference as error:
        raise GiveUp(str(error), code="missing_reference", where=error.field) from None
    try:
        return found.from_options(options)
    except ValueError as error:
        fields = ", ".join(".".join(map(str, e["loc"])) for e in getattr(error, "errors", list)()) or "its options"
        raise GiveUp(
            f"bee {name!r}: the connector {kind!r} refuses {fields}",
            code="bad_options",
            advice="`hive config check FILE` says why",
        ) from None

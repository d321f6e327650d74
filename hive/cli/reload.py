"""`hive reload`, `hive config history` and `hive config rollback`: another configuration for a hive that runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hive.cli import show

if TYPE_CHECKING:
    from hive.manager import HiveManager
    from hive.versions import Change

_LOOK_BACK = 200
"""Versions among which the newest that came from a file is looked for."""


def register(app: typer.Typer) -> None:
    app.command("reload")(reload)


def register_in_config(config: typer.Typer) -> None:
    """The commands below `hive config`."""
    config.command("history")(history)
    config.command("rollback")(rollback)


def reload(
    config: Annotated[
        Path | None,
        typer.Option(help="File or folder that names the bees. [default: HIVE_CONFIG, or the one read last]"),
    ] = None,
    json: show.Json = False,
) -> None:
    """Take a changed configuration into use.

    Whole or not at all: of one with a mistake nothing is used, and exit code 2 says so. Flights that run keep what
    they began with, but for credentials and stricter scrubbing.
    """
    from hive.manager import HiveManager

    with HiveManager() as hive:
        chosen = config.absolute() if config is not None else _in_force(hive)
        change = hive.reload(chosen)
    if chosen is not None:
        from hive.config.load import load
        from hive.settings import environment

        show.unscrubbed(load(chosen, environ=environment()))
    _tell(change, json=json)


def _in_force(hive: HiveManager) -> Path | None:
    """HIVE_CONFIG, else the file that the newest version was read from, else the one that the hive was started with."""
    from hive.settings import settings

    if settings().config is not None:
        return settings().config
    newest = next((one.source for one in hive.config_history(_LOOK_BACK) if one.origin == "file"), "")
    if newest.startswith("/") and Path(newest).exists():
        return Path(newest)
    started = settings().running().get("config")
    return Path(started) if started else None


def history(limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20, json: show.Json = False) -> None:
    """List the versions of the configuration, the newest first."""
    from hive.manager import HiveManager

    with HiveManager() as hive:
        versions = hive.config_history(limit)
    if json:
        show.document([{**v.__dict__, "created_at": v.created_at.isoformat()} for v in versions])
        return
    show.table(
        ["version", "made", "from", "active", "change"],
        [
            [
                v.version,
                v.created_at,
                f"{v.origin} {v.source}".strip(),
                "yes" if v.active else "",
                ", ".join([f"{len(n)} {w}" for w, n in v.diff.items() if n]),
            ]
            for v in versions
        ],
        empty="there is no configuration yet; `hive reload --config FILE` takes one into use",
    )


def rollback(
    version: Annotated[int, typer.Argument(metavar="VERSION", help="A number of `hive config history`.")],
    json: show.Json = False,
) -> None:
    """Make the bees those of an earlier version again.

    It becomes a new version. Secrets stay as they are; change the file too, or its next reload undoes this.
    """
    from hive.manager import HiveManager

    with HiveManager() as hive:
        _tell(hive.config_rollback(version), json=json)


def _tell(change: Change, *, json: bool) -> None:
    if json:
        show.document(change.json())
        return
    if change.version is None:
        show.say(f"nothing changed: {_stay(len(change.bees))}")
        return
    show.say(f"version {change.version} of the configuration, {show.counted(len(change.bees), 'bee')}")
    for word, names in change.diff.items():
        if names:
            show.say(f"  {word}: {_listed(names)}")


def _stay(bees: int) -> str:
    return "1 bee stays as it is" if bees == 1 else f"{bees} bees stay as they are"


def _listed(names: tuple[str, ...], most: int = 20) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")

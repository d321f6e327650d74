"""`hive replication`: what a source's server keeps for a bee that follows its changes, and letting it go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hive.cli import show

if TYPE_CHECKING:
    from bees.core.bee import WorkerBee

Name = Annotated[str, typer.Argument(metavar="BEE", help="Name of the bee.")]
Config = Annotated[Path | None, typer.Option(metavar="FILE", help="Of this file, and not of the running hive.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Slots that a source keeps its log for.", no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(slots)
    group.command("drop")(drop)
    app.add_typer(group, name="replication")


def slots(bee: Name, config: Config = None, json: show.Json = False) -> None:
    """List a bee's replication slots, and how far behind each of them is."""
    from hive.cli.bees import open_with_block

    with open_with_block(bee, config) as (opened, _):
        found = [
            {"slot": slot, "stream": stream, **_told(lag)}
            for slot, (stream, lag) in _able(bee, opened).replication().items()
        ]
    if json:
        show.document(found)
        return
    rows = [(s["slot"], s["stream"], s["state"], s["unread_bytes"], s["kept_bytes"]) for s in found]
    show.table(("slot", "stream", "state", "unread bytes", "kept bytes"), rows, empty="the bee follows no stream")


def drop(
    bee: Name,
    name: Annotated[str, typer.Argument(metavar="SLOT", help="A slot of `hive replication list`, or its stream.")],
    config: Config = None,
) -> None:
    """Drop a replication slot: the source's server forgets what nobody read.

    A stream whose slot was dropped is read whole again: `hive fly BEE --full-refresh`.
    """
    from hive.cli.bees import open_with_block

    with open_with_block(bee, config) as (opened, _):
        done = _able(bee, opened).drop_slot(name)
    show.say(f"{bee}: the slot of {name} is dropped" if done else f"{bee}: {name} had no slot")


def _told(lag: Any) -> dict[str, Any]:
    """Of a slot that is not there: no numbers."""
    if lag is None:
        return {"state": "none", "unread_bytes": None, "kept_bytes": None, "active": False}
    return {"state": lag.status, "unread_bytes": lag.bytes, "kept_bytes": lag.retained, "active": lag.active}


def _able(name: str, bee: WorkerBee) -> Any:
    from bees.core.errors import GiveUp

    if not hasattr(bee, "replication"):
        raise GiveUp(
            f"bee {name!r}: its source keeps no replication slots",
            code="no_cdc",
            advice="this is for bees of PostgreSQL that follow changes with `cdc`",
        )
    return bee

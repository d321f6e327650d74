"""`hive lease`: who reads which stream just now, and taking that right away."""

from __future__ import annotations

from typing import Annotated

import typer

from hive.cli import show
from hive.cli.ledger import ledger


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Who reads which stream just now.", no_args_is_help=True, rich_markup_mode=None)
    group.command("list")(leases)
    group.command("release")(release)
    app.add_typer(group, name="lease")


def leases(json: show.Json = False) -> None:
    """List the streams that are being read, and by whom."""
    from hive.ledger.leases import held

    with ledger() as rt:
        found = held(rt.db)
    if json:
        show.document(found)
        return
    rows = [(h["bee"], h["stream"], h["flight"], h["worker"], h["alive"], h["taken_at"]) for h in found]
    show.table(("bee", "stream", "flight", "worker", "alive", "since"), rows, empty="no stream is being read")


def release(bee: Annotated[str, typer.Argument(metavar="BEE", help="Name of the bee.")]) -> None:
    """Take a bee's streams from whoever reads them.

    What that worker still writes is refused.
    """
    from hive.ledger.leases import release as take_away

    with ledger() as rt:
        print(f"{bee}: {take_away(rt.db, bee)} leases released")

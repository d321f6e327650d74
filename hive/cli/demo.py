"""`hive demo`: the main job from end to end."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    app.command()(demo)


def demo(keep: Annotated[bool, typer.Option("--keep", help="Leave the data folder for a look at it.")] = False) -> None:
    """Run the main job on sample sources, and check it.

    On servers of its own; every count is checked, and nothing is left running.
    """
    from hive.demo.run import run

    raise typer.Exit(run(keep=keep))

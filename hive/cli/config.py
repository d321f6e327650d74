"""`hive config check` and `hive config show`: the file that names the bees, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hive.cli import reload, show

File = Annotated[Path, typer.Argument(metavar="FILE", help="The configuration file.")]


def register(app: typer.Typer) -> None:
    config = typer.Typer(help="Check and show configuration files.", no_args_is_help=True, rich_markup_mode=None)
    config.command("check")(check)
    config.command("show")(show_config)
    reload.register_in_config(config)
    app.add_typer(config, name="config")


def check(file: File, json: show.Json = False) -> None:
    """Report every problem of a file at once.

    Line, bee, field, what was expected. Exit code 2 if there is one.
    """
    from hive.config.load import load
    from hive.config.problems import ConfigProblems
    from hive.settings import environment

    try:
        fleet = load(file, environ=environment())
    except ConfigProblems as problems:
        if not json:
            raise
        show.document({"ok": False, "problems": [p.__dict__ for p in problems.problems]})
        raise typer.Exit(2) from None
    if json:
        show.document({"ok": True, "bees": list(fleet.bees)})
    else:
        show.say(f"{file}: nothing is wrong with {', '.join(fleet.bees)}; `hive check BEE` asks its source")
        show.unscrubbed(fleet)


def show_config(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The configuration file. [default: HIVE_CONFIG]")
    ] = None,
    json: show.Json = False,
) -> None:
    """Print what a file says, secrets masked.

    In the native form; references stay as they are written.
    """
    import yaml

    from hive.config.load import load
    from hive.config.mask import masked
    from hive.settings import settings

    chosen = file or settings().config
    if chosen is None:
        raise typer.BadParameter("name a file, or set HIVE_CONFIG", param_hint="FILE")
    bees = {name: masked(bee) for name, bee in load(chosen).bees.items()}
    if json:
        show.document({"bees": bees})
    else:
        print(yaml.safe_dump({"bees": bees}, sort_keys=False, allow_unicode=True), end="")

"""`hive vault`: secrets that a configuration refers to as {{ vault.path.key }}."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hive.cli import show
from hive.cli.ledger import ledger

Path = Annotated[
    str, typer.Argument(metavar="PATH", help="Such as google/client_id; a file says {{ vault.google.client_id }}.")
]
Tenant = Annotated[str, typer.Option(help="Whose secret it is.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Secrets that configurations refer to.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (("set", set_secret), ("list", secrets), ("delete", delete)):
        group.command(name)(command)
    app.add_typer(group, name="vault")


def set_secret(path: Path, tenant: Tenant = "default") -> None:
    """Keep a secret, read from standard input.

    A terminal is asked for it and shows nothing.
    """
    from hive.vault.store import check_path

    check_path(path)
    value = (
        typer.prompt("value", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read().removesuffix("\n")
    )
    with ledger() as rt:
        version = rt.vault(tenant).set(path, value)
    show.say(f"{path}: version {version} is kept")


def secrets(tenant: Tenant = "default", json: show.Json = False) -> None:
    """List the paths; never a value."""
    with ledger() as rt:
        found = rt.vault(tenant).list()
    if json:
        show.document([info._asdict() for info in found])
        return
    show.table(("path", "version", "since"), found, empty="the vault is empty")


def delete(path: Path, tenant: Tenant = "default") -> None:
    """Remove a secret with all its versions."""
    with ledger() as rt:
        gone = rt.vault(tenant).delete(path)
    show.say(f"{path}: {gone} versions are gone")

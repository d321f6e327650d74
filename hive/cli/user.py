"""`hive user`: who may see the pages of the gateway, and who may act there."""

from __future__ import annotations

import sys
from typing import Annotated, Any, cast

import typer

from hive.cli import show
from hive.cli.ledger import ledger

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name that logs in.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Who may see the gateway's pages, and act there.", no_args_is_help=True, rich_markup_mode=None
    )
    for name, command in (("add", add), ("list", listed), ("remove", remove)):
        group.command(name)(command)
    app.add_typer(group, name="user")


def add(
    name: Name,
    role: Annotated[str, typer.Option(help="viewer sees, operator also acts.")] = "viewer",
) -> None:
    """Add an account, or give one a new role and password.

    The password is asked for; where standard input is no terminal, its first line is it.
    """
    from hive.dashboard.accounts import BadAccount, put
    from hive.vault import audit

    if sys.stdin.isatty():
        password = typer.prompt("password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    with ledger() as rt:
        told = {"account": name, "role": role}
        audit.note(rt.db.engine, "user:add", "default", told)
        try:
            new = put(rt.db, name, cast("Any", role), password)
        except BadAccount as error:
            audit.note(rt.db.engine, "user:add:refused", "default", told)
            raise typer.BadParameter(str(error)) from None
    show.say(f"{name}: {'added' if new else 'changed'}, {role}")


def listed(json: show.Json = False) -> None:
    """List who may log in.

    The login that `hive up` prints comes first.
    """
    from hive.dashboard.accounts import accounts
    from hive.gateway.operator import operator_login

    with ledger() as rt:
        found = [one._asdict() | {"made_by": "hive user add"} for one in accounts(rt.db)]
        built_in = operator_login(rt.settings)
    if built_in is not None:
        told = {"name": built_in.partition(":")[0], "role": "operator", "created_at": None, "seen_at": None}
        found.insert(0, told | {"made_by": "hive up"})
    if json:
        show.document(found)
        return
    rows = [list(one.values()) for one in found]
    show.table(("name", "role", "since", "last login", "made by"), rows, empty="nobody may log in: hive user add NAME")


def remove(name: Name) -> None:
    """Take an account away, and log it out."""
    from hive.dashboard.accounts import remove as take_away
    from hive.vault import audit

    with ledger() as rt:
        audit.note(rt.db.engine, "user:remove", "default", {"account": name})
        take_away(rt.db, name)
    show.say(f"{name}: removed")

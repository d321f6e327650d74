"""`hive vault`: secrets that a configuration refers to as {{ vault.path.key }}."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from hive.cli import show
from hive.cli.ledger import ledger

Path = Annotated[
    str, typer.Argument(metavar="PATH", help="Such as google/client_id; a file says {{ vault.google.client_id }}.")
]
Tenant = Annotated[str, typer.Option(help="Whose secret it is.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Secrets that configurations refer to.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (
        ("set", set_secret), ("list", secrets), ("delete", delete), ("rotate", rotate), ("detokenize", detokenize),
        ("audit", audit),
    ):  # fmt: skip
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


def rotate(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KIND]...", help="Such as EMAIL_ADDRESS, or field:NAME for a field's rule."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="All kinds of the tenant.")] = False,
    tenant: Tenant = "default",
    json: show.Json = False,
) -> None:
    """Give pseudonyms and tokens of a kind a new key.

    What lands from then on joins nothing that landed before, until its source is read again in full. Old tokens can
    still be read back. Running workers take the new key within half a minute.
    """
    from hive.vault.tokens import rotate_pseudonyms

    if every == bool(kinds):
        raise typer.BadParameter("name the kinds, or say --all", param_hint="KIND")
    with ledger() as rt:
        made = rotate_pseudonyms(rt, None if every else kinds, tenant=tenant)
    if json:
        show.document([{"kind": kind, "key_id": key_id} for kind, key_id in made.items()])
        return
    show.table(("kind", "new key"), list(made.items()), empty="there is no key for pseudonyms yet")


def detokenize(
    tokens: Annotated[list[str], typer.Argument(metavar="TOKEN...", help="Tokens, or - for one a line.")],
    reason: Annotated[str, typer.Option(help="Why the values are needed; kept in the audit.")],
    tenant: Tenant = "default",
    json: show.Json = False,
) -> None:
    """Print the values that tokens stand for.

    Needs the hive key and HIVE_ALLOW_DETOKENIZE=true on this machine; each use is written down with user, time, kinds,
    count and reason.
    """
    from hive.vault.tokens import detokenize as read_back

    given = [line for line in sys.stdin.read().splitlines() if line.strip()] if tokens == ["-"] else tokens
    with ledger() as rt:
        values = read_back(rt, given, reason=reason, tenant=tenant)
    if json:
        show.document(values)
        return
    for value in values:
        print(value)


def audit(
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 100, json: show.Json = False
) -> None:
    """List who rotated keys or read tokens back, and why."""
    from hive.vault.audit import entries

    with ledger() as rt:
        found = entries(rt.db.engine, limit)
    if json:
        show.document([entry._asdict() for entry in found])
        return
    rows = [(e.at, e.who, e.action, e.tenant, *_told(e.body)) for e in found]
    show.table(("at", "who", "action", "tenant", "kinds", "count", "reason"), rows, empty="nothing was done yet")


def _told(body: Mapping[str, Any]) -> tuple[str, int | None, str]:
    return ", ".join(body.get("kinds", ())), body.get("tokens"), body.get("reason", "")

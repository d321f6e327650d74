"""`hive quarantine`: records that could not land, and what becomes of them."""

from __future__ import annotations

from typing import Annotated

import typer

from hive.cli import show
from hive.cli.ledger import ledger

Numbers = Annotated[list[int], typer.Argument(metavar="NUMBER", help="Numbers from `hive quarantine list`.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Records that could not land.", no_args_is_help=True, rich_markup_mode=None)
    for name, command in (("list", entries), ("show", entry), ("retry", retry), ("drop", drop)):
        group.command(name)(command)
    app.add_typer(group, name="quarantine")


def entries(
    state: Annotated[str, typer.Option(help="open, retried or dropped.")] = "open", json: show.Json = False
) -> None:
    """List what lies in quarantine and why; never a value."""
    from hive.jars.aside import STATES
    from hive.jars.aside import entries as listed

    if state not in STATES:
        raise typer.BadParameter(f"{state!r} is none of {', '.join(STATES)}", param_hint="--state")
    with ledger() as rt:
        found = listed(rt.db, state)
    if json:
        show.document(found)
        return
    rows = [
        (e["id"], e["bee"], e["stream"], e["records"], e["code"], e["reason"], e["place"] or None, e["created_at"])
        for e in found
    ]
    names = ("number", "bee", "stream", "records", "code", "reason", "place", "since")
    show.table(names, rows, empty="the quarantine is empty")


def entry(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Number from `hive quarantine list`.")],
    json: show.Json = False,
    place: Annotated[
        bool, typer.Option("--place", help="With the file, page or line as the source names it; each use is audited.")
    ] = False,
) -> None:
    """Show one entry: kind, size, reason and place.

    Its content stays sealed. So does the name of a file, which may tell of a person, but for --place.
    """
    from hive.jars.aside import entry as look
    from hive.jars.aside import place_of
    from hive.vault import audit

    with ledger() as rt:
        found = look(rt.db, number)
        if place:
            audit.note(rt.db.engine, "quarantine:place", "default", {"entry": number})
            found["place"] = place_of(rt.db, lambda tenant: rt.keyring(tenant).key("quarantine")[1], number)
    if json:
        show.document(found)
    else:
        show.fields(found)


def retry(numbers: Numbers) -> None:
    """Scrub and land entries once more.

    At the place in time where they were collected: a newer version that has landed meanwhile stays.
    """
    from hive.flight.retry import retry as land

    failed = 0
    with ledger() as rt:
        for number in numbers:
            told = land(rt, number)
            failed += bool(told.failed)
            print(
                f"{number}: {told.landed} landed, {told.superseded} older than the jar's, {told.failed} refused again"
            )
    if failed:
        raise typer.Exit(1)


def drop(numbers: Numbers) -> None:
    """Give entries up, and destroy their content.

    That they were there stays known.
    """
    from hive.jars.aside import drop as give_up

    with ledger() as rt:
        for number in numbers:
            give_up(rt.db, number)
            print(f"{number}: dropped")

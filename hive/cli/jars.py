"""`hive jars`, `hive jar show`, `hive jar export`, `hive jar own`, `hive search`: what has landed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hive.cli import show
from hive.cli.ledger import ledger

Name = Annotated[str, typer.Argument(metavar="JAR", help="Name of the jar.")]


def register(app: typer.Typer) -> None:
    app.command()(jars)
    help_ = "Look into one jar, export it, or give it a table of its own."
    jar = typer.Typer(help=help_, no_args_is_help=True, rich_markup_mode=None)
    jar.command("show")(show_jar)
    jar.command("export")(export)
    jar.command("own")(own)
    app.add_typer(jar, name="jar")
    app.command()(search)


def jars(json: show.Json = False) -> None:
    """List the jars with their records by stream."""
    from hive.jars.listing import jars as listed

    with ledger() as rt:
        found = listed(rt.db)
    if json:
        show.document(found)
        return
    rows = [
        (j["name"], j["kind"], j["visible"], sum(j["records"].values()), j["records"], j["updated_at"]) for j in found
    ]
    show.table(("jar", "kind", "visible", "records", "by stream", "changed"), rows, empty="there is no jar yet")


def show_jar(name: Name, json: show.Json = False) -> None:
    """Show a jar's streams: their typed views, columns and counts."""
    from hive.jars.listing import show as look

    with ledger() as rt:
        found = look(rt.db, name)
    if json:
        show.document(found)
        return
    show.fields({k: v for k, v in found.items() if k != "streams" and v not in ("", [], {}, None)})
    rows = [(s["bee"], s["stream"], s["view"], s["records"], s["quarantined"], s["columns"]) for s in found["streams"]]
    show.table(("bee", "stream", "view", "records", "quarantined", "columns"), rows, empty="nothing has landed yet")


def export(
    name: Name,
    format: Annotated[str, typer.Option(help="jsonl or parquet.")] = "jsonl",  # noqa: A002 - the option's name
    output: Annotated[
        Path | None,
        typer.Option(help="File to write, for several streams as parquet a folder. [default: standard output]"),
    ] = None,
) -> None:
    """Write a jar to a file.

    jsonl has one record a line, parquet typed columns.
    """
    from hive.jars.export import FORMATS
    from hive.jars.export import export as write

    if format not in FORMATS:
        raise typer.BadParameter(
            f"no format is named {format!r}: there are {', '.join(FORMATS)}", param_hint="--format"
        )
    if output is None and format != "jsonl":
        raise typer.BadParameter(f"{format} is written to a file: name one", param_hint="--output")
    if output is not None and (not output.parent.is_dir() or (format == "jsonl" and output.is_dir())):
        wrong = "is a folder: name a file" if output.is_dir() else f"lies in no folder: make {output.parent} first"
        raise typer.BadParameter(f"{output} {wrong}", param_hint="--output")
    with ledger() as rt, show.working(f"{name}: writes"):
        written = write(rt.db, name, format, output or sys.stdout.buffer)
    sys.stdout.flush()
    show.say(f"{show.counted(written.records, 'record')}{''.join(f', {file}' for file in written.files)}")


def own(name: Name) -> None:
    """Move a jar into a table of its own.

    Large jars (HIVE_OWN_TABLE) move by themselves while nothing flies into them.
    """
    from hive.jars.own import move_now

    with ledger() as rt, show.working(f"{name}: moves"):
        moved = move_now(rt.db, name)
    show.say(f"{name} has a table of its own" if moved else f"{name} has had a table of its own already")


def search(
    name: Name,
    text: Annotated[str, typer.Argument(metavar="TEXT", help='Words, "a phrase", -not.')],
    top_k: Annotated[int, typer.Option(min=1, max=1000, help="How many records at most.")] = 10,
    json: show.Json = False,
) -> None:
    """Find the records that match a text best."""
    from hive.jars.search import search as find

    with ledger() as rt:
        found = find(rt.db, name, text, top_k=top_k)
    if json:
        show.document(found)
        return
    rows = [(f["rank"], f["bee"], f["stream"], f["key"], _plain(f["text"])) for f in found]
    show.table(("rank", "bee", "stream", "key", "text"), rows, empty="nothing matches")


def _plain(headline: str) -> str:
    """One line, without the tags that mark what was found."""
    return " ".join(headline.replace("<b>", "").replace("</b>", "").split())

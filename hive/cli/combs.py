"""`hive comb`: ready descriptions of sources, and bees made of them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from hive.cli import comb, show

CombId = Annotated[str, typer.Argument(metavar="ID", help="Id of the comb.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Ready descriptions of sources, from which bees are made.", no_args_is_help=True, rich_markup_mode=None
    )
    for name, command in (
        ("list", combs), ("show", show_comb), ("create", create), ("test", comb.tried), ("schema", comb.schema),
        ("login", comb.login),
    ):  # fmt: skip
        group.command(name)(command)
    app.add_typer(group, name="comb")


def combs(json: show.Json = False) -> None:
    """List the combs: the project's, and those of HIVE_COMBS or `combs` beside the configuration."""
    from hive.combs import CombLibrary

    found = CombLibrary().summaries()
    if json:
        show.document(found)
        return
    rows = [
        (
            c["id"],
            c["origin"],
            c["subtype"] + ("" if c["available"] else " (no connector)"),
            c["modes"] or None,
            c["name"],
        )
        for c in found
    ]
    show.table(("comb", "origin", "source", "modes", "what it reads"), rows, empty="there are none")


def show_comb(name: CombId, json: show.Json = False) -> None:
    """Print a comb: its parameters, and what a bee is made of."""
    from hive.combs import CombLibrary

    found = CombLibrary().get_comb(name)
    if json:
        show.document(found)
        return
    import yaml

    rows = [
        (
            name,
            about.get("type", "string") + (", secret" if about.get("secret") else ""),
            "needed" if about.get("required") else about.get("default"),
            _meaning(about),
        )
        for name, about in found.get("parameters", {}).items()
    ]
    if rows:
        show.table(("parameter", "type", "default", "meaning"), rows, empty="")
        print()
    rest = {key: value for key, value in found.items() if key != "parameters"}
    print(yaml.safe_dump(rest, sort_keys=False, allow_unicode=True), end="")


def create(
    comb: CombId,
    name: Annotated[str, typer.Option(help="Name of the new bee.")],
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A parameter; may be repeated.")
    ] = None,
    stdin: Annotated[
        str | None, typer.Option(metavar="KEY", help="Read this parameter, such as a token, from standard input.")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="Way of extraction. [default: the comb's]")] = None,
    jar: Annotated[str | None, typer.Option(help="Name of the jar. [default: the bee's name]")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change the bee if there is one of this name.")] = False,
    json: show.Json = False,
) -> None:
    """Make a bee of a comb and register it.

    Secrets go to the vault; a terminal is asked for those that are needed. A secret may also be a reference:
    -p token='${GITHUB_TOKEN}' or -p token='{{ vault.github.token }}'.
    """
    from hive.combs import CombLibrary
    from hive.manager import HiveManager

    found = CombLibrary().get_comb(comb)
    values = values_of(parameter or [], stdin)
    for missing in _asked_for(found, values):
        values[missing] = typer.prompt(missing, hide_input=True, err=True)
    with HiveManager() as hive:
        hive.create_from_comb(comb, name, values, mode=mode, jar=jar, replace=replace)
    if json:
        show.document({"bee": name, "comb": comb, "connector": found["subtype"]})
    else:
        show.say(f"{name}: made of {comb}; `hive check {name}` asks its source, `hive fly {name}` flies it now")


def values_of(given: list[str], stdin: str | None) -> dict[str, Any]:
    """Parameters as the command line has them."""
    values: dict[str, Any] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals:
            raise typer.BadParameter(f"{key!r} has no value, expected KEY=VALUE", param_hint="--parameter")
        if key in values:
            raise typer.BadParameter(f"{key!r} is given twice", param_hint="--parameter")
        values[key] = value
    if stdin is not None:
        values[stdin] = sys.stdin.read().removesuffix("\n")
    return values


def _asked_for(comb: dict[str, Any], values: dict[str, Any]) -> list[str]:
    """Secrets that are needed and not given, where there is a person to ask."""
    if not sys.stdin.isatty():
        return []
    declared = comb.get("parameters", {})
    return [name for name, p in declared.items() if p.get("secret") and p.get("required") and name not in values]


def _meaning(about: dict[str, Any]) -> str:
    choices = about.get("choices")
    listed = f" ({', '.join(map(str, choices))})" if choices else ""
    return f"{about.get('description', '')}{listed}"

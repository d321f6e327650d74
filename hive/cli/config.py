"""`hive config check`, `show`, `convert` and `schema`: the files that name the bees, before anything runs."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hive.cli import reload, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hive.config.load import Examined

Chosen = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE...]", help="Files or folders. [default: what HIVE_CONFIG and the environment tell of]"
    ),
]


def register(app: typer.Typer) -> None:
    config = typer.Typer(
        help="Check, show and convert configuration files.", no_args_is_help=True, rich_markup_mode=None
    )
    config.command("check")(check)
    config.command("show")(show_config)
    config.command("convert")(convert)
    config.command("schema")(print_schema)
    reload.register_in_config(config)
    app.add_typer(config, name="config")


def check(files: Chosen = None, json: show.Json = False) -> None:
    """Report every problem of every file at once.

    File, line, bee, field, what was expected. Exit code 2 if there is one. Several files make one fleet. Where a hive
    runs, secrets of the vault and other bees that the files name must be there.
    """
    from hive.cli.against import check_against
    from hive.config.problems import ConfigProblems

    gc.disable()  # the process ends in a moment
    found = _examined(files, references=True)
    check_against(found)
    warnings = [*found.warnings, *_doubtful_variables()]
    if json:
        problems = [p.__dict__ for p in found.problems]
        told: dict[str, Any] = {"ok": False, "problems": problems} if problems else {"ok": True}
        told |= {} if problems else {"bees": list(found.fleet.bees), "by_hand": found.fleet.by_hand()}
        show.document(told | ({"warnings": [w.__dict__ for w in warnings]} if warnings else {}))
        if problems:
            raise typer.Exit(2)
        return
    for warning in warnings:
        show.say(f"warning: {warning}")
    if found.problems:
        raise ConfigProblems(found.problems)
    fleet = found.fleet
    grounded = len(fleet.bees) - len(fleet.flying().bees)
    but = f", but {grounded} cannot fly yet" if grounded else ""
    named, bees = _names(files or found.files), _some(list(fleet.bees))
    show.say(f"{named}: nothing is wrong with {bees}{but}; `hive check BEE` asks its source")
    show.unscrubbed(fleet)
    if fleet.by_hand():
        show.say(f"note: neither a schedule nor an event flies {_some(fleet.by_hand())}: `hive fly BEE` does")


def show_config(files: Chosen = None, json: show.Json = False) -> None:
    """Print what all of it says, secrets masked.

    In the native form, each value with the file and line, or the variable, that it came from. References stay as they
    are written. Without FILE it is what the running hive flies, registered bees too; where none runs, what HIVE_CONFIG
    and the environment tell of.
    """
    from hive.cli.flown import flown
    from hive.config.convert import leaves, native_text, shown

    there = None if files else flown()
    if there is not None:
        document = shown(there.fleet)
        show.say("note: this is what the hive flies; `hive config show FILE` prints what a file says")
    else:
        found = _right(files)
        document = shown(found.fleet)

    def comment(place: tuple[object, ...]) -> str:
        where = there.origins[str(place[1])] if there is not None and len(place) > 1 else ""
        if there is None:
            where = _origin(found, place)
        return ", ".join(dict.fromkeys(filter(None, (where, *_referred(document, place, where)))))

    if json:
        origin = {".".join(map(str, place)): comment(place) for place in leaves(document)}
        show.document({**document, "origin": {place: where for place, where in origin.items() if where}})
    else:
        print(native_text(document, comment), end="")


def convert(files: Chosen = None) -> None:
    """Write the native form of any other.

    References stay as they are written; literal secrets become references to variables, which are named.
    """
    from hive.config.convert import converted, native_text

    found = _right(files)
    document, variables = converted(found.fleet)
    print(native_text(document), end="")
    for name, told in variables.items():
        show.say(f"set the environment variable {name}: it stands for {told}, a secret that was written out")
    for warning in found.warnings:
        show.say(f"warning: {warning}")


def print_schema() -> None:
    """Print a JSON Schema of the native form, for editors."""
    from hive.config.schema import schema

    show.document(schema())


def _right(files: list[Path] | None) -> Examined:
    """As `_examined`. Raises ConfigProblems."""
    from hive.config.problems import ConfigProblems

    found = _examined(files)
    if found.problems:
        raise ConfigProblems(found.problems)
    return found


def _examined(files: list[Path] | None, *, references: bool = False) -> Examined:
    """What the files say, or those that the settings name, with the environment's own bees."""
    from hive.config.load import configured, examine, tells_of_bees
    from hive.settings import environment, settings

    variables = environment()
    told = not files and tells_of_bees(variables)
    chosen = files or configured(settings().config, variables)
    if not chosen and not told:
        raise typer.BadParameter("name a file, or set HIVE_CONFIG", param_hint="FILE")
    return examine(chosen, environ=variables if references else None, variables=variables if told else None)


def _origin(found: Examined, place: tuple[object, ...]) -> str:
    if place[0] == "bees":
        where = found.origin(str(place[1]), place[2:]) if len(place) > 1 else ""
    else:
        document = found.companions.get(f"{place[0]}.{place[1]}") if len(place) > 1 else None
        where = document.origin(place) if document else ""
    folder = f"{Path.cwd()}{os.sep}"
    return where.removeprefix(folder)


def _referred(document: Any, place: tuple[object, ...], where: str) -> Iterator[str]:
    """The variables and paths of the vault that a value is read from."""
    from hive.config.references import BadReference, references, strings
    from hive.settings import environment

    value = document
    for step in place:
        value = value[step]
    texts = [value] if isinstance(value, str) else [text for _, text in strings({"": value})]
    for text in texts:
        try:
            found = list(references(text))
        except BadReference:
            continue
        for one in found:
            if one.kind == "vault":
                yield f"vault {one.name}"
            elif one.name != where:
                yield f"variable {one.name}{'' if one.name in environment() else ' (not set)'}"


def _doubtful_variables() -> list[Any]:
    from hive.config.problems import Problem
    from hive.settings import doubtful_variables

    return [
        Problem(f"nothing reads the environment variable {name}", suggestion=near)
        for name, near in doubtful_variables().items()
    ]


def _names(files: Iterable[object]) -> str:
    return ", ".join(map(str, files))


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown or "it; it names no bees"

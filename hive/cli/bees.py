"""`hive connectors`, `hive bees`, `hive check`, `hive schema`, `hive dance`: what can fly, and what its source says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hive.cli import show

if TYPE_CHECKING:
    from bees.core.bee import WorkerBee

Name = Annotated[str, typer.Argument(metavar="BEE", help="Name of the bee.")]
Config = Annotated[
    Path | None, typer.Option(help="Take the bee from this file; no hive need run. [default: the running hive]")
]


def register(app: typer.Typer) -> None:
    for command in (connectors, bees, unregister, check, schema, dance):
        app.command()(command)


def connectors(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this one's options.")] = None,
    json: show.Json = False,
) -> None:
    """List the kinds of source, or one's options."""
    from hive.registry import connectors as known

    if name is not None:
        _options(name, json=json)
        return
    found = list(known().values())
    if json:
        show.document([{**info.__dict__, "queue": info.queue} for info in found])
        return
    rows = [(info.name, info.bee_type, info.summary, info.missing or None) for info in found]
    show.table(("connector", "type", "what it reads", "missing"), rows, empty="there are none")


def _options(name: str, *, json: bool) -> None:
    from hive.registry import UnknownConnector, connector, connectors

    try:
        found = connector(name)
    except UnknownConnector as error:
        known = "" if "did you mean" in str(error) else f"; there are {', '.join(connectors())}"
        raise UnknownConnector(f"{error}{known}") from None
    schema = found.Options.model_json_schema()
    if json:
        show.document(schema)
        return
    kinds = {"source": schema, **schema.get("$defs", {})}
    for title, kind in kinds.items():
        needed = kind.get("required", [])
        rows = [
            (option, _kind(about), "needed" if option in needed else about.get("default"), about.get("description"))
            for option, about in kind.get("properties", {}).items()
        ]
        if rows:
            print(title)
            show.table(("option", "type", "default", "meaning"), rows, empty="")
            print()


def _kind(about: dict[str, Any]) -> str:
    """A type of JSON Schema in a word or two."""
    if "$ref" in about:
        return str(about["$ref"]).rpartition("/")[2]
    if "anyOf" in about:
        return " or ".join(_kind(one) for one in about["anyOf"])
    if "enum" in about:
        return " or ".join(map(str, about["enum"]))
    inside = about.get("additionalProperties") if about.get("type") == "object" else about.get("items")
    return (
        f"{about.get('type', 'any')} of {_kind(inside)}" if isinstance(inside, dict) else str(about.get("type", "any"))
    )


def bees(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show this one.")] = None,
    removed: Annotated[
        bool, typer.Option("--removed", help="Also those that were removed: what they landed stays.")
    ] = False,
    json: show.Json = False,
) -> None:
    """List the bees, their last flight and next slot."""
    from hive.manager import HiveManager

    with HiveManager() as hive:
        found = hive.bees(removed=removed or name is not None)
    if name is not None:
        _one(name, found, json=json)
        return
    if json:
        show.document(found)
        return
    rows = [
        (
            b["name"], b["connector"], _state(b),
            b["last_state"], b["last_finished"], b["next_slot"], b["missed"], show.error_text(b["last_error"]) or None,
            b["cannot_fly"],
        )
        for b in found
    ]  # fmt: skip
    names = ("bee", "connector", "", "last flight", "ended", "next slot", "missed", "error", "cannot fly")
    show.table(
        *show.trimmed(names, rows),
        empty="there are no bees: name some in a file and start with `hive up --config FILE`",
    )


def _one(name: str, found: list[dict[str, Any]], *, json: bool) -> None:
    from hive.config.model import UnknownBee
    from hive.config.problems import did_you_mean

    bee = next((one for one in found if one["name"] == name), None)
    if bee is None:
        raise UnknownBee(f"no bee is named {name!r}{did_you_mean(name, [one['name'] for one in found])}")
    if json:
        show.document(bee)
        return
    show.fields({**bee, "state": _state(bee), "last_error": show.error_text(bee["last_error"]) or None})


def _state(bee: dict[str, Any]) -> str:
    from hive.status import left_alone

    if bee["removed"]:
        return "removed"
    if not bee["enabled"]:
        return "disabled"
    if bee["paused_at"]:
        return "paused"
    why = left_alone(bee)
    return f"{why} until {show.cell(bee['retry_at'])}" if why else "enabled"


def unregister(bee: Name) -> None:
    """Let a registered bee fly no more.

    That is one from Python or of a comb; a bee of a file is taken out of its file. What it landed stays, and its name
    is free again.
    """
    from hive.manager import HiveManager

    with HiveManager() as hive:
        done = hive.unregister_worker(bee)
    show.say(f"{bee}: flies no more" if done else f"{bee}: did not fly any more")


def check(bee: Name, config: Config = None, json: show.Json = False) -> None:
    """Prove that a bee can read its source."""
    from hive.config.problems import ConfigProblems
    from hive.keycheck import key_problems

    with _open(bee, config) as opened, show.working(f"{bee}: connects"):
        opened.validate_flight_path()
        streams = opened.get_pollen_schema()
        problems = key_problems(bee, opened, streams)
    if problems:
        raise ConfigProblems(problems)
    found = [{"stream": s.name, "key": list(s.key), "cursor": s.cursor} for s in streams]
    if json:
        show.document({"bee": bee, "ok": True, "streams": found})
        return
    rows = [(s["stream"], s["key"] or None, s["cursor"]) for s in found]
    show.table(("stream", "key", "cursor"), rows, empty="the source offers no stream")
    show.say(f"{bee}: its source answers, and what it asks for can be read")


def schema(bee: Name, config: Config = None, json: show.Json = False) -> None:
    """Show a source's streams and columns."""
    with _open(bee, config) as opened, show.working(f"{bee}: asks"):
        streams = opened.get_pollen_schema()
    if json:
        show.document([_stream(s) for s in streams])
        return
    rows: list[tuple[Any, ...]] = [
        (s.name, c.name, c.kind, c.source_type or None, c.nullable, "key" if c.name in s.key else None)
        for s in streams
        for c in s.columns
    ]
    rows += [(s.name, None, None, None, None, ", ".join(s.key) or None) for s in streams if not s.columns]
    show.table(("stream", "column", "kind", "in the source", "nullable", "key"), rows, empty="there is no stream")
    for one in streams:
        if one.trouble:
            show.say(f"{one.name}: it cannot be read: {one.trouble}")


def dance(bee: Name, config: Config = None, json: show.Json = False) -> None:  # noqa: ARG001 - always JSON
    """Print what others may know of a bee, as JSON."""
    with _open(bee, config) as opened:
        show.document(opened.dance_instructions())


@contextmanager
def _open(name: str, config: Path | None) -> Iterator[WorkerBee]:
    """The live bee, from the running hive or from a file; an error of its source names the bee."""
    with open_with_block(name, config) as (opened, _):
        yield opened


@contextmanager
def open_with_block(name: str, config: Path | None) -> Iterator[tuple[WorkerBee, dict[str, Any]]]:
    """As `_open`, with the bee's native block beside it."""
    from bees.core.errors import SourceError

    try:
        if config is None:
            from hive.manager import HiveManager

            with HiveManager() as hive, hive.open_bee(name) as opened:
                yield opened, hive.block(name)
        else:
            made, block = _from_file(name, config)
            with made as opened:
                yield opened, block
    except SourceError as error:
        whose = f"bee {name!r}: "
        if error.args and not str(error.args[0]).startswith(whose):
            error.args = (whose + str(error.args[0]), *error.args[1:])
        raise


def _from_file(name: str, config: Path) -> tuple[WorkerBee, dict[str, Any]]:
    from hive.config.load import load
    from hive.config.problems import ConfigProblems, Problem
    from hive.flight.bees import make_bee
    from hive.settings import environment
    from hive.vault.store import MissingSecret

    def vault(path: str) -> str:
        """Of the running hive, where one runs."""
        from hive.runtime import open_runtime
        from hive.settings import NotRunning

        try:
            rt = open_runtime()
        except NotRunning:
            raise MissingSecret(path) from None
        try:
            return rt.vault().text(path)
        finally:
            rt.close()

    found = load(config, environ=environment()).bee(name)
    if found.missing:
        raise ConfigProblems([Problem(f"cannot fly: {reason}", bee=name) for reason in found.missing])
    block = found.block()
    return make_bee(name, found.type, block, vault), block


def _stream(stream: Any) -> dict[str, Any]:
    columns = [
        {"name": c.name, "kind": c.kind, "nullable": c.nullable, "source_type": c.source_type, "comment": c.comment}
        for c in stream.columns
    ]
    return {
        "stream": stream.name, "key": list(stream.key), "cursor": stream.cursor, "cursors": list(stream.cursors),
        "document": stream.document, "columns": columns, "trouble": str(stream.trouble) if stream.trouble else None,
    }  # fmt: skip

"""`hive scrub`: try scrubbing on a text, and look at what it would do to a source."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hive.cli import show
from hive.cli.bees import Config, Name, open_with_block

if TYPE_CHECKING:
    from hive.preview import Preview

Profile = Annotated[str | None, typer.Option(help="Name of a scrubbing profile.", metavar="NAME")]
_ALL = "all kinds"


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Try what is taken out of data.", no_args_is_help=True, rich_markup_mode=None)
    group.command()(text)
    group.command()(preview)
    app.add_typer(group, name="scrub")


def text(
    given: Annotated[str, typer.Argument(metavar="[TEXT]", help="The text; `-` reads standard input.")] = "-",
    profile: Profile = None,
    entities: Annotated[
        str | None, typer.Option(help="Kinds to look for, such as EMAIL_ADDRESS,US_SSN.", metavar="A,B")
    ] = None,
    field: Annotated[str, typer.Option(help="Name of the field that the text stands in.", metavar="NAME")] = "text",
    config: Annotated[Path | None, typer.Option(help="Take profiles of one's own from this file.")] = None,
    json: show.Json = False,
) -> None:
    """Scrub a text and show what was found where.

    Without a profile or kinds, all kinds are looked for and replaced by their names. Needs no hive; pseudonyms are
    made with a key that is thrown away, so they join with nothing.
    """
    from nectar.errors import BadProfile, SkipRecord
    from nectar.keys import InMemoryKeys
    from nectar.scrub import DataScrubber, detect
    from nectar.scrub.profile.profiles import profile_named

    if profile is not None and entities is not None:
        raise typer.BadParameter("give either --profile or --entities", param_hint="--entities")
    own: Mapping[str, Any] = _profiles(config)
    if profile is None:
        profile, own = _ALL, {_ALL: _replacing(entities)}
    words = _standard_input() if given == "-" else given.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        wanted = [kind for kind, _ in profile_named(profile, own).actions]
        scrubber = DataScrubber({"profile": profile, "profiles": own}, InMemoryKeys())
        found = detect([words], wanted, context=[field])[0] if wanted else []
        scrubbed = scrubber.process({field: words})[field]
    except (BadProfile, SkipRecord) as error:
        show.say(f"hive: {error}")
        raise typer.Exit(2 if isinstance(error, BadProfile) else 1) from None
    lines = [
        {
            "kind": finding.entity_type, "start": finding.start, "end": finding.end, "score": round(finding.score, 2),
            "action": scrubber.action_of(field, finding.entity_type),
        }
        for finding in found
    ]  # fmt: skip
    if json:
        show.document({"findings": lines, "text": scrubbed})
        return
    print("" if scrubbed is None else scrubbed)
    if any("hash" in str(line["action"]) or "token" in str(line["action"]) for line in lines):
        show.say("hive: pseudonyms are made with a throw-away key here")
    print()
    names = ("kind", "start", "end", "score", "action")
    show.table(names, [tuple(line.values()) for line in lines], empty="nothing was found")


def preview(
    bee: Name,
    rows: Annotated[int, typer.Option(min=1, max=100_000, help="How many records of each stream.")] = 200,
    profile: Profile = None,
    config: Config = None,
    json: show.Json = False,
) -> None:
    """Show what scrubbing would take out of a bee's source.

    Reads a sample; nothing lands, and values are shown as shapes: letters as x, digits as 9. Ends with 1 where a stream
    could not be read; the others are shown all the same.
    """
    from hive.preview import preview as look
    from nectar.errors import BadProfile
    from nectar.keys import InMemoryKeys

    with open_with_block(bee, config) as (opened, block), show.working(f"{bee}: reads"):
        scrubbing = dict(block.get("scrubbing") or {})
        if profile is not None:
            scrubbing["profile"] = profile
        try:
            found = look(opened, scrubbing, InMemoryKeys(), rows=rows, steps=block.get("transform") or ())
        except BadProfile as error:
            show.say(f"hive: {error}")
            raise typer.Exit(2) from None
    if json:
        about = {"bee": bee, "profile": scrubbing.get("profile"), "rows": found.rows, "refused": dict(found.refused)}
        troubles = {stream: str(error) for stream, error in found.troubles.items()}
        show.document({**about, "troubles": troubles, "fields": [line.json() for line in found.lines]})
        _end(found)
        return
    lines = [
        (
            line.stream, line.field, line.kind or None, _share(line.found, line.values) if line.kind else None,
            line.count if line.kind else None, line.action or None, line.example or None, line.hint or None,
        )
        for line in found.lines
    ]  # fmt: skip
    names = ("stream", "field", "kind", "of values", "pieces", "action", "such as", "hint")
    show.table(names, lines, empty=f"{bee}: nothing was found in {show.counted(found.rows, 'record')}")
    for code, number in sorted(found.refused.items()):
        show.say(f"hive: {show.counted(number, 'record')} would go to quarantine: {code}")
    if not scrubbing.get("profile") and not scrubbing.get("custom_rules"):
        show.say(f"hive: bee {bee!r} has no `scrubbing`: all of it lands as it is; try --profile gdpr_compliant")
    for stream, trouble in found.troubles.items():
        show.say(f"hive: bee {bee!r}, stream {stream!r} cannot be read: {trouble}")
    _end(found)


def _end(found: Preview) -> None:
    """Whoever relies on a preview of all of a source learns that it is not."""
    if found.troubles:
        raise typer.Exit(1)


def _standard_input() -> str:
    """All of it; bytes that are no UTF-8 become replacement characters."""
    buffer = getattr(sys.stdin, "buffer", None)
    return sys.stdin.read() if buffer is None else buffer.read().decode("utf-8", "replace")


def _share(found: int, values: int) -> str:
    return f"{found} of {values}"


def _replacing(entities: str | None) -> dict[str, Any]:
    from nectar.scrub.find.entities import DEFAULT

    kinds = list(DEFAULT) if entities is None else [kind.strip() for kind in entities.split(",") if kind.strip()]
    return {"pii_detection": kinds, "actions": dict.fromkeys(kinds, "replace")}


def _profiles(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    from hive.config.load import load
    from hive.settings import environment

    fleet = load(config, environ=environment())
    own = {name: profile for bee in fleet.bees.values() for name, profile in bee.scrubbing.profiles.items()}
    return {**own, **fleet.scrubbing_profiles}

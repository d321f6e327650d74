"""`hive slots`, `hive pause`, `hive resume`, `hive backfill`: when bees fly, and when they did not."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from hive.cli import show

Name = Annotated[str, typer.Argument(metavar="BEE", help="Name of the bee.")]


def register(app: typer.Typer) -> None:
    for command in (slots, pause, resume, backfill):
        app.command()(command)


def slots(
    bee: Annotated[str | None, typer.Argument(metavar="[BEE]", help="Of this bee alone.")] = None,
    most: Annotated[int, typer.Option("--most", "-n", min=1, max=1000, help="How many of each to show.")] = 20,
    json: show.Json = False,
) -> None:
    """Show what flies next, and what was left out and why."""
    from hive.manager import HiveManager

    with HiveManager() as hive:
        found = hive.slots(bee, most)
    if json:
        show.document(
            {
                "next": [one.__dict__ for one in found.next],
                "missed": [one.__dict__ for one in found.missed],
                "paused": [{"bee": name, "since": since} for name, since in found.paused.items()],
            }
        )
        return
    rows = [(one.bee, one.schedule, one.slot, one.starts_at) for one in found.next]
    show.table(("bee", "schedule", "next slot", "starts"), rows, empty="no slot is to come")
    if found.missed:
        print()
        missed = [(one.bee, one.schedule, one.slot, one.why, one.meaning) for one in found.missed]
        show.table(("bee", "schedule", "left out", "why", ""), missed, empty="")
    for name, since in found.paused.items():
        show.say(f"{name}: paused since {show.cell(since)}; `hive resume {name}` lets it fly again")


def pause(bee: Name) -> None:
    """Let no schedule and no event fly a bee.

    Flights that are under way go on; it stays paused when the configuration is loaded anew.
    """
    from hive.manager import HiveManager

    with HiveManager() as hive:
        done = hive.pause(bee)
    show.say(f"{bee}: paused" if done else f"{bee}: was paused already")


def resume(bee: Name) -> None:
    """Let a paused bee fly again.

    Its catch-up rule says what is flown of the slots that came meanwhile.
    """
    from hive.manager import HiveManager

    with HiveManager() as hive:
        done = hive.resume(bee)
    show.say(f"{bee}: flies again" if done else f"{bee}: was not paused")


def backfill(
    bee: Name,
    since: Annotated[str, typer.Option("--from", metavar="T", help="First instant, such as 2026-03-01T00:00:00Z.")],
    until: Annotated[str, typer.Option("--to", metavar="T", help="Last instant; not in the future.")],
    schedule: Annotated[str | None, typer.Option(help="Of this schedule alone.")] = None,
    most: Annotated[int, typer.Option(min=1, max=100_000, help="Refuse a range with more slots.")] = 1000,
    json: show.Json = False,
) -> None:
    """Make the flights of slots in the past that were not flown.

    An instant without a zone is UTC. None is flown twice, however often this is said.
    """
    from hive.manager import HiveManager

    first, last = _instant("--from", since), _instant("--to", until)
    with HiveManager() as hive:
        try:
            made = hive.backfill(bee, first, last, schedule=schedule, most=most)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    if json:
        show.document({"bee": bee, "slots": made})
    else:
        show.say(f"{bee}: {show.counted(len(made), 'flight')} made; see `hive flights {bee}`")


def _instant(option: str, text: str) -> dt.datetime:
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no instant: write one such as 2026-03-01T00:00:00Z", param_hint=option
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)
